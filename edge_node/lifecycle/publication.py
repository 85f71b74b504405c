"""What a device gets: topic and payload of a command, filled from its arguments.

Pure functions; knows no state of a command. Values are put in once and never looked at again, so that an
argument with braces in it stays what it is.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_node.errors import TopicInvalid
from edge_node.topics import check_topic

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def topic_of(template: str, values: Mapping[str, Any]) -> str:
    """Return the topic that a template gives, where each value fills no more than its place in a level.

    Raises:
        TopicInvalid: A value is empty or holds '/', '+' or '#', or no message may be published on it.
    """
    for name in _NAME.findall(template):
        value = _text(values[name]) if name in values else ""
        if not value or any(sign in value for sign in "/+#"):
            raise TopicInvalid(value[:80], expected=f"a value for {{{name}}} without '/', '+' and '#'")
    return check_topic(_fill_text(template, values))


def payload_of(template: Any, values: Mapping[str, Any]) -> bytes:
    """Return the payload that a template gives: text as it stands for a text, JSON for all else."""
    if isinstance(template, str):
        return _fill_text(template, values).encode()
    filled = _fill(template, values)
    return json.dumps(filled, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def is_of(payload: bytes, template: Any, values: Mapping[str, Any]) -> bool:
    """Return whether a template may have given a payload; names without a value stand for anything."""
    if isinstance(template, str):
        return _may_be(payload.decode(errors="replace"), template, values)
    try:
        return _may_be(json.loads(payload), template, values)
    except ValueError:
        return False


def _may_be(came: Any, template: Any, values: Mapping[str, Any]) -> bool:
    match template, came:
        case dict(), dict():
            same = template.keys() == came.keys()
            return same and all(_may_be(came[key], each, values) for key, each in template.items())
        case list(), list():
            same = len(template) == len(came)
            return same and all(_may_be(*pair, values) for pair in zip(came, template, strict=True))
        case str(), _ if unknown := names_in(template) - values.keys():
            if template == f"{{{next(iter(unknown))}}}":
                return True
            known = _fill_text(template, values)
            gaps = "|".join(re.escape(f"{{{name}}}") for name in unknown)
            pattern = ".*".join(map(re.escape, re.split(gaps, known)))
            return isinstance(came, str) and re.fullmatch(pattern, came, re.DOTALL) is not None
    return bool(_fill(template, values) == came)


def stamp(at: float) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds, as in `2026-01-01T10:00:00.000Z`."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def names_in(template: Any) -> frozenset[str]:
    """Return the names in braces anywhere in a template."""
    match template:
        case dict():
            return frozenset().union(*map(names_in, template.values()))
        case list():
            return frozenset().union(*map(names_in, template))
        case str():
            return frozenset(_NAME.findall(template))
    return frozenset()


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Return a JSON value; a text that is one name in braces alone becomes the value with its type.

    A key whose value is an argument that was left out is left out too.
    """
    match template:
        case dict():
            return {
                key: _fill(value, values)
                for key, value in template.items()
                if not _is_left_out(value, values)
            }
        case list():
            return [_fill(value, values) for value in template]
        case str():
            alone = _NAME.fullmatch(template)
            return values[alone[1]] if alone and alone[1] in values else _fill_text(template, values)
    return template


def _is_left_out(value: Any, values: Mapping[str, Any]) -> bool:
    alone = _NAME.fullmatch(value) if isinstance(value, str) else None
    return alone is not None and alone[1] not in values


def _fill_text(template: str, values: Mapping[str, Any]) -> str:
    return _NAME.sub(lambda found: _text(values[found[1]]) if found[1] in values else found[0], template)


def _text(value: Any) -> str:
    """Return a value as a device reads it in a text: `true`, not `True`."""
    return value if isinstance(value, str) else json.dumps(value)
