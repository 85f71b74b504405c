"""Arguments of a command against what the node file says of them.

Pure checks over values; knows no device, no condition and no verdict.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.config.models import ArgumentConfig, CommandConfig

MAX_STRING = 256
"""Characters of a text argument."""
_GREATEST_INTEGER = 2**63 - 1
_SHOWN = 60
_KINDS = {"integer": "an integer", "number": "a number", "string": "a text", "boolean": "true or false"}


def complaint(spec: CommandConfig, arguments: Mapping[str, Any]) -> str:
    """Return what is wrong with the arguments of a command, in a sentence; empty where nothing is.

    Nothing is converted: 1 is no `true`, 40.0 is no integer, and `"40"` is no number.
    """
    for name in arguments:
        if name not in spec.args:
            known = ", ".join(spec.args) or "none"
            return f"{_cut(str(name))}: expected an argument of the command ({known}), came another one"
    for name, argument in spec.args.items():
        if name not in arguments and argument.optional:
            continue
        if name not in arguments:
            return f"{name}: expected {_expected(argument)}, came nothing"
        value = arguments[name]
        if not _is_of_type(argument, value):
            return f"{name}: expected {_expected(argument)}, came {_shown(argument, value)}"
        if not _is_in_range(argument, value):
            return f"{name}: expected {_range(argument)}, came {_shown(argument, value)}"
        if f"{{{name}}}" in spec.publish.topic and not _is_level(str(value)):
            return f"{name}: expected a text that may stand in a topic, came {_shown(argument, value)}"
    return ""


def _is_of_type(argument: ArgumentConfig, value: Any) -> bool:
    match _kind(argument):
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return _is_integer(value)
        case "number":
            return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, str) and value.isprintable() and len(value) <= MAX_STRING


def _is_in_range(argument: ArgumentConfig, value: Any) -> bool:
    if argument.enum is not None and value not in argument.enum:
        return False
    if isinstance(value, str | bool):
        return True
    below = argument.minimum is not None and value < argument.minimum
    above = argument.maximum is not None and value > argument.maximum
    return not below and not above


def _kind(argument: ArgumentConfig) -> str:
    """Return the JSON type; an argument without one is a text, as the name of a device is."""
    return argument.type or "string"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _GREATEST_INTEGER


def _is_level(text: str) -> bool:
    return bool(text) and not any(sign in text for sign in "/+#")


def _expected(argument: ArgumentConfig) -> str:
    if argument.device:
        return "the name of a device"
    span = _range(argument)
    return f"{_KINDS[_kind(argument)]}, {span}" if span else _KINDS[_kind(argument)]


def _range(argument: ArgumentConfig) -> str:
    """Return the values allowed as people say them; empty where all of the type are."""
    low, high = argument.minimum, argument.maximum
    if argument.enum is not None:
        return "one of " + ", ".join(argument.enum)
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"at least {low:g}"
    return "" if high is None else f"at most {high:g}"


def _shown(argument: ArgumentConfig, value: Any) -> str:
    unit = f" {argument.unit}" if argument.unit and isinstance(value, int | float) else ""
    return _cut(repr(value) if isinstance(value, str) else str(value)) + unit


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
