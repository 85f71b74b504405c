"""How much of a record is kept: long texts and long lists are cut, and say so.

Pure functions over what JSON has; knows nothing of what the values mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 4000
"""Characters of one text that are kept."""
MAX_ITEMS = 64
"""Items of one list, and keys of one object, that are kept."""
MAX_RECORD = 64_000
"""Characters of all texts, names and numbers of one record that are kept, the first ones first."""
_MAX_DEPTH = 16
_MAX_KEY = 128
_DIGEST = 16
_NUMBER = 8


def bounded(value: Any) -> Any:
    """Return a JSON value cut to these bounds; a text that was cut ends with its length and its hash."""
    return _fitted(value, _Room(MAX_RECORD), depth=0)


def cut(text: str, *, limit: int = MAX_TEXT) -> str:
    """Return a text of at most `limit` characters, and what was left out of it in brackets behind."""
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{text[:limit]} […cut, {len(text)} characters, sha256 {digest}]"


@dataclass(slots=True)
class _Room:
    """What may still be kept of a record.

    Attributes:
        left: Characters.
    """

    left: int

    def take(self, text: str) -> str:
        kept = cut(text, limit=min(MAX_TEXT, max(self.left, 0)))
        self.left -= len(kept)
        return kept


def _fitted(value: Any, room: _Room, *, depth: int) -> Any:
    if isinstance(value, str):
        return room.take(value)
    room.left -= _NUMBER
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth == _MAX_DEPTH or room.left <= 0:
        return room.take(f"[…cut, {len(value)} items]") if value else value
    if isinstance(value, Mapping):
        kept = {}
        for key, item in list(value.items())[:MAX_ITEMS]:
            name = cut(str(key), limit=_MAX_KEY)
            room.left -= len(name)
            kept[name] = _fitted(item, room, depth=depth + 1)
        return {**kept, "…": f"cut, {len(value)} keys"} if len(value) > MAX_ITEMS else kept
    items = [_fitted(item, room, depth=depth + 1) for item in value[:MAX_ITEMS]]
    return [*items, f"[…cut, {len(value)} items]"] if len(value) > MAX_ITEMS else items
