"""The JSON form of a call: the grammar a model must keep to, and the call read back.

Knows arguments and JSON Schema; knows nothing of prompts or of whether a call is allowed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.errors import PayloadInvalid
from edge_node.messages import Grammar
from edge_node.payloads import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.models import ArgumentConfig, CommandConfig

NONE = "none"
_LONGEST_TEXT = 120
_MAX_DEPTH = 8
# Longer sentences would make a grammar of thousands of texts.
_MOST_WORDS, _LONGEST_STRETCH = 40, 12
_AROUND = " .,;:!?\"'()<>"
# Six digits hold any setting; more would be a model that does not stop.
_LARGEST_NUMBER = 999_999


def call_grammar(
    commands: Mapping[str, CommandConfig],
    *,
    devices: Sequence[str],
    numbers: Sequence[float],
    text: str = "",
) -> Grammar:
    """Return the grammar of one call of `commands`, or of none.

    Devices are those given. Numbers are those that were said, in or out of range, so that the gate can
    deny what was really said; where none was said any number is let through, to be found without ground.
    Free texts are words that stand together in `text`, for the same reason; any where it is empty or long.
    """
    said = _Said(devices, numbers, _stretches(text))
    calls: list[dict[str, Any]] = [
        _object({"command": {"const": name}, "arguments": _arguments(command, said)})
        for name, command in commands.items()
        if devices or not any(argument.device for argument in command.args.values())
    ]
    calls.append(_object({"command": {"const": NONE}}))
    spacing = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    return Grammar(json.dumps({"x-guidance": spacing, "anyOf": calls}, ensure_ascii=False))


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a call as a model is to write it; that of none where `name` is empty."""
    call = {"command": name, "arguments": dict(arguments)} if name else {"command": NONE}
    return json.dumps(call, separators=(",", ":"), ensure_ascii=False)


def read_call(text: str) -> tuple[str, dict[str, Any]] | None:
    """Return name and arguments of the call that `text` is, or None where it is none.

    Read as strictly as what comes from outside: a grammar of JSON lets a model write half a character, a
    number that no double holds, or a name twice.
    """
    content = text.encode("utf-8", "replace")
    try:
        call = read_json(content, max_bytes=len(content), max_depth=_MAX_DEPTH)
    except PayloadInvalid:
        return None
    if not isinstance(call, dict) or not isinstance(call.get("command"), str):
        return None
    arguments = call.get("arguments", {})
    return (call["command"], arguments) if isinstance(arguments, dict) else None


def fits(arguments: Mapping[str, Any], command: CommandConfig) -> bool:
    """Return whether all arguments are known and of the types that the grammar would have allowed."""
    return all(
        name in command.args and _is_of_type(value, command.args[name]) for name, value in arguments.items()
    )


def _is_of_type(value: Any, argument: ArgumentConfig) -> bool:
    if argument.device or argument.enum is not None or argument.type == "string":
        return isinstance(value, str) and len(value) <= _LONGEST_TEXT
    if argument.type == "boolean":
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class _Said:
    """What values may be: the devices, the numbers and the texts that were said."""

    devices: Sequence[str]
    numbers: Sequence[float]
    texts: Sequence[str]


def _stretches(text: str) -> list[str]:
    """Return the texts that whole words of a sentence make, without the punctuation around them."""
    words = text.split()
    if len(words) > _MOST_WORDS:
        return []
    found = (
        " ".join(words[first:last]).strip(_AROUND)
        for first in range(len(words))
        for last in range(first + 1, min(first + _LONGEST_STRETCH, len(words)) + 1)
    )
    offered = [each for text in found for each in dict.fromkeys((text, text.removesuffix("'s")))]
    return [text for text in dict.fromkeys(offered) if 0 < len(text) <= _LONGEST_TEXT]


def _arguments(command: CommandConfig, said: _Said) -> dict[str, Any]:
    properties = {name: _value(argument, said) for name, argument in command.args.items()}
    required = [
        name for name, argument in command.args.items() if argument.default is None and not argument.optional
    ]
    return _object(properties, required=required)


def _object(properties: dict[str, Any], *, required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def _value(argument: ArgumentConfig, said: _Said) -> dict[str, Any]:
    if argument.device:
        return {"enum": list(said.devices)}
    if argument.enum is not None:
        return {"enum": list(argument.enum)}
    return _plain_value(argument, said)


def _plain_value(argument: ArgumentConfig, said: _Said) -> dict[str, Any]:
    if argument.type == "boolean":
        return {"type": "boolean"}
    if argument.type in {"integer", "number"}:
        if said.numbers:
            known = [] if argument.default is None else [argument.default]
            return {"enum": list(dict.fromkeys([*said.numbers, *known]))}
        return {"type": "integer", "minimum": -_LARGEST_NUMBER, "maximum": _LARGEST_NUMBER}
    if said.texts:
        known = [argument.default] if isinstance(argument.default, str) else []
        return {"enum": list(dict.fromkeys([*said.texts, *known]))}
    return {"type": "string", "maxLength": _LONGEST_TEXT}
