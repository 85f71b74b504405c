"""Whether two commands contradict each other; knows node files, pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.config.models import CommandConfig
    from edge_node.messages import CommandDraft

_NAME = re.compile(r"\{[^{}]*\}")


def contradiction(
    one: CommandDraft, other: CommandDraft, *, commands: Mapping[tuple[str, str], CommandConfig]
) -> str:
    """Return why both cannot be meant for one device at once; nothing where they can."""
    first, second = commands[one.node, one.name], commands[other.node, other.name]
    if one.node != other.node or _device(one, first) != _device(other, second):
        return ""
    if one.name == other.name:
        return "one command cannot have two values"
    if first.expect and second.expect and first.expect.field == second.expect.field:
        wanted, instead = _value(first.expect.equals, one), _value(second.expect.equals, other)
        if wanted != instead:
            return f"{first.expect.field} cannot be {wanted} and {instead}"
    left, right = _payload(one, first), _payload(other, second)
    if _NAME.sub("+", first.publish.topic) != _NAME.sub("+", second.publish.topic):
        return ""
    for key in left.keys() & right.keys():
        if left[key] != right[key]:
            return f"{key} cannot be {left[key]} and {right[key]}"
    return ""


def _device(draft: CommandDraft, spec: CommandConfig) -> str:
    return next((str(draft.arguments.get(name)) for name, each in spec.args.items() if each.device), "")


def _value(equals: Any, draft: CommandDraft) -> Any:
    return draft.arguments.get(equals, equals) if isinstance(equals, str) else equals


def _payload(draft: CommandDraft, spec: CommandConfig) -> dict[str, Any]:
    """Return the plain values that a device gets by key, without those that no person says."""
    template = spec.publish.payload
    if not isinstance(template, dict):
        return {"payload": template} if isinstance(template, str) else {}
    filled = {}
    for key, value in template.items():
        if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
            if value[1:-1] in draft.arguments:
                filled[key] = draft.arguments[value[1:-1]]
        elif not isinstance(value, dict | list):
            filled[key] = value
    return filled
