"""The head of a GGUF file, walked once before a library reads it.

Knows how long each part of the head says it is; knows nothing of what the parts mean.

The library takes lengths at their word: one altered byte in the length of a list makes it loop for hours.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

from edge_node.errors import ModelCorrupt

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"GGUF"
_STRING, _LIST = 8, 9
# Source: the GGUF specification, gguf_metadata_value_type; bytes that a value of each type takes.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_SMALLEST_KEY, _SMALLEST_TENSOR = 13, 24
_MOST_AXES = 4


def check_header(path: Path) -> None:
    """Make sure that every length in the head of a file lies within the file.

    Raises:
        ModelCorrupt: One does not, or it is no GGUF file.
    """
    try:
        with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _Walk(path, content=content).whole()
    except (OSError, ValueError) as error:  # a file of no bytes cannot be mapped
        raise _corrupt(path, came=str(error)) from error


class _Walk:
    def __init__(self, path: Path, *, content: mmap.mmap) -> None:
        self._path = path
        self._content = content
        self._at = 0

    def whole(self) -> None:
        if self._content[:4] != _MAGIC:
            raise _corrupt(self._path, came="other first bytes")
        self._skip(8)
        tensors, keys = self._count(smallest=_SMALLEST_TENSOR), self._count(smallest=_SMALLEST_KEY)
        for _ in range(keys):
            self._string()
            self._value(self._number("<I"))
        for _ in range(tensors):
            self._string()
            axes = self._number("<I")
            if not 1 <= axes <= _MOST_AXES:
                raise _corrupt(self._path, came=f"a tensor of {axes} axes")
            self._skip(8 * axes + 12)

    def _value(self, kind: int) -> None:
        if kind == _STRING:
            self._string()
        elif kind == _LIST:
            self._list(self._number("<I"))
        else:
            self._skip(self._size(kind))

    def _list(self, kind: int) -> None:
        if kind == _STRING:
            for _ in range(self._count(smallest=8)):
                self._string()
        else:
            size = self._size(kind)
            self._skip(size * self._count(smallest=size))

    def _size(self, kind: int) -> int:
        if kind not in _SIZES:
            raise _corrupt(self._path, came=f"a value of type {kind} at byte {self._at}")
        return _SIZES[kind]

    def _string(self) -> None:
        self._skip(self._count(smallest=1))

    def _count(self, *, smallest: int) -> int:
        count = self._number("<Q")
        if count * smallest > len(self._content) - self._at:
            raise _corrupt(self._path, came=f"{count} entries at byte {self._at - 8}, past its end")
        return count

    def _number(self, layout: str) -> int:
        start = self._at
        self._skip(struct.calcsize(layout))
        return int(struct.unpack_from(layout, self._content, start)[0])

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._content):
            raise _corrupt(self._path, came=f"an end within its head, at byte {len(self._content)}")


def _corrupt(path: Path, *, came: str) -> ModelCorrupt:
    return ModelCorrupt(path, expected="a whole GGUF file", came=came, hint="fetch it again")
