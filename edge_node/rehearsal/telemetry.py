"""What a device would publish so that a node knows some fields of it.

The way back from fields to topics and payloads. Knows `listen` entries; knows nothing of what is done with
the messages.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_node.config.loaded import Node
    from edge_node.config.models import ListenConfig

_WHOLE = "$"
_HOW_MANY = "#"
_EACH = "*"
_ANY = "any"


def telemetry(node: Node, device: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield topic and payload of the messages that tell `fields`, in the order of `listen`.

    A device that reports no field at all is heard on its first topic.
    """
    for index, entry in enumerate(node.spec.listen):
        told = {entry.fields[name]: value for name, value in fields.items() if name in entry.fields}
        if told or (not fields and index == 0):
            yield _topic(entry, device), _payload(told)


def _topic(entry: ListenConfig, device: str) -> str:
    pattern = TopicPattern.parse(entry.topic)
    own = f"{{{pattern.names[0]}}}" if pattern.names else ""
    levels = entry.topic.split("/")
    filled = (device if level == own else _ANY if level[:1] in {"{", "+", "#"} else level for level in levels)
    return "/".join(filled)


def _payload(told: Mapping[str, Any]) -> bytes:
    if _WHOLE in told:
        whole = told[_WHOLE]
        return whole.encode() if isinstance(whole, str) else json.dumps(whole).encode()
    body: dict[str, Any] = {}
    for path, value in told.items():
        _put(body, path.split("."), value)
    return json.dumps(body, ensure_ascii=False).encode()


def _put(body: dict[str, Any] | list[Any], steps: list[str], value: Any) -> None:
    """Put a value at a path; what is missing on the way is made, lists where a number picks from them."""
    step, *rest = steps
    picks = bool(rest) and (rest[0].isdecimal() or rest[0] in {_HOW_MANY, _EACH})
    missing: Any = ([] if picks else {}) if rest else value
    if isinstance(body, list):
        if step == _HOW_MANY:
            body += [{} for _ in range(int(value) - len(body))]
            return
        if step == _EACH:
            body += [] if body or value == "" else [{}]
            for item in (each for each in body if each is not None):
                _put(item, rest, value)
            return
        place = int(step)
        body += [None] * (place + 1 - len(body))
        if body[place] is None:
            body[place] = missing
        here = body[place]
    else:
        here = body.setdefault(step, missing)
    if rest:
        _put(here, rest, value)
