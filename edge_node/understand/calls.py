"""The JSON form of a call: the grammar a model must keep to, and the call read back.

Knows arguments and JSON Schema; knows nothing of prompts or of whether a call is allowed.
"""

from __future__ import annotations

import json
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
# Six digits hold any setting; more would be a model that does not stop.
_LARGEST_NUMBER = 999_999


def call_grammar(
    commands: Mapping[str, CommandConfig], *, devices: Sequence[str], numbers: Sequence[float]
) -> Grammar:
    """Return the grammar of one call of `commands`, or of none.

    Devices are those given. Numbers are those that were said, in or out of range, so that the gate can
    deny what was really said; where none was said any number is let through, to be found without ground.
    """
    calls: list[dict[str, Any]] = [
        _object({"command": {"const": name}, "arguments": _arguments(command, devices, numbers)})
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


def _arguments(command: CommandConfig, devices: Sequence[str], numbers: Sequence[float]) -> dict[str, Any]:
    properties = {name: _value(argument, devices, numbers) for name, argument in command.args.items()}
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


def _value(argument: ArgumentConfig, devices: Sequence[str], numbers: Sequence[float]) -> dict[str, Any]:
    if argument.device:
        return {"enum": list(devices)}
    if argument.enum is not None:
        return {"enum": list(argument.enum)}
    if argument.type == "boolean":
        return {"type": "boolean"}
    if argument.type in {"integer", "number"}:
        if numbers:
            known = [] if argument.default is None else [argument.default]
            return {"enum": list(dict.fromkeys([*numbers, *known]))}
        return {"type": "integer", "minimum": -_LARGEST_NUMBER, "maximum": _LARGEST_NUMBER}
    return {"type": "string", "maxLength": _LONGEST_TEXT}
