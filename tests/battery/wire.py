"""Packets of MQTT 5 and 3.1.1, as far as a witness between a client and a broker needs them.

Source: MQTT 5.0, sections 2.1, 3.3 and 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT, PUBLISH, PUBACK, SUBSCRIBE = 1, 3, 4, 8
_LEVEL_AT = 6
_FIVE = 5


@dataclass(frozen=True, slots=True)
class Publication:
    """A PUBLISH packet.

    Attributes:
        topic: Its topic.
        payload: Its payload.
        mid: Packet identifier; 0 at quality of service 0.
    """

    topic: str
    payload: bytes
    mid: int


class Packets:
    """A stream of bytes, cut into packets."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, memoryview]]:
        """Yield the first byte and the body of each packet that is whole."""
        rest = self._rest
        rest += data
        view = memoryview(bytes(rest))
        at = 0
        while at < len(view):
            length, start = _variable(view, at + 1)
            if start < 0 or start + length > len(view):
                break
            yield view[at], view[start : start + length]
            at = start + length
        del rest[:at]


def speaks_five(connect: memoryview) -> bool:
    """Return whether a CONNECT packet asks for MQTT 5."""
    return connect[_LEVEL_AT] == _FIVE


def publication(first: int, body: memoryview, *, five: bool) -> Publication:
    """Return the PUBLISH packet with this first byte and body."""
    size = int.from_bytes(body[:2])
    at = 2 + size
    topic = bytes(body[2:at]).decode()
    mid = 0
    if first & 0x06:
        mid = int.from_bytes(body[at : at + 2])
        at += 2
    length, at = _variable(body, at) if five else (0, at)
    return Publication(topic, bytes(body[at + length :]), mid)


def _variable(view: memoryview, at: int) -> tuple[int, int]:
    """Return a variable byte integer and where it ends, or -1 where it is not whole."""
    value, shift = 0, 0
    while at < len(view):
        byte = view[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if not byte & 0x80:
            return value, at
    return 0, -1
