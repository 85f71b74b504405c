"""What is asked back when an order is not plain.

Pure functions over arguments and values; knows nothing of how the doubt arose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.models import ArgumentConfig

_MOST_CHOICES = 8


def ask_for_argument(name: str, argument: ArgumentConfig, *, devices: Sequence[str]) -> str:
    """Return the question for an argument that nobody said."""
    label = name.replace("_", " ")
    if argument.device:
        return (
            f"which {label} do you mean: {_listed(devices)}?" if devices else f"no {label} was heard from yet"
        )
    if argument.enum:
        return f"which {label}: {_listed(argument.enum)}?"
    if argument.type == "boolean":
        return f"{label}: on or off?"
    if argument.type in {"integer", "number"}:
        return f"what {label}{_range_in_words(argument)}?"
    return f"what {label}?"


def call_in_words(command: str, arguments: Mapping[str, Any]) -> str:
    """Return a command with its arguments as a person reads it: 'set_speed (pump pump-2, percent 40)'."""
    values = ", ".join(f"{name} {value}" for name, value in arguments.items())
    return f"{command} ({values})" if values else command


def _listed(choices: Sequence[str]) -> str:
    more = len(choices) - _MOST_CHOICES
    return ", ".join(choices[:_MOST_CHOICES]) + (f" or {more} more" if more > 0 else "")


def _range_in_words(argument: ArgumentConfig) -> str:
    unit = f" {argument.unit}" if argument.unit else ""
    if argument.minimum is not None and argument.maximum is not None:
        return f" ({argument.minimum:g} to {argument.maximum:g}{unit})"
    return f" (in {argument.unit})" if argument.unit else ""
