"""How a connection waits for its socket and reads from it, with few calls of the operating system.

Each call hands the interpreter to another thread, from which it comes back only milliseconds later where that
one is busy. Knows sockets, and of MQTT the one packet that comes most often.
"""

from __future__ import annotations

import select
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_BYTES = 64 * 1024
_EMPTY_TOPIC = 2
_PUBLISH = 3
_LEAST_PACKET = 3
_MORE = 0x80


class ReadAhead:
    """Bytes that were read from a socket together and are taken piece by piece."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def __bool__(self) -> bool:
        """Whether bytes wait here, of which the socket knows nothing any more."""
        return self._at < len(self._bytes)

    def take(self, size: int, *, read: Callable[[int], bytes]) -> bytes:
        """Return 1 to `size` bytes, read from the socket where none are left; none at its end."""
        if not self:
            self._bytes, self._at = read(max(size, _READ_BYTES)), 0
        start = self._at
        self._at = min(start + size, len(self._bytes))
        return self._bytes[start : self._at]

    def publication(self, *, five: bool) -> Publication | None:
        """Return the PUBLISH packet that lies whole and plain here, or None where another look is needed.

        To be called between two packets.

        Source: MQTT 5.0, section 1.5.5: the length of a packet, seven bits a byte, the least first.
        """
        data, start = self._bytes, self._at
        if len(data) - start < _LEAST_PACKET or data[start] >> 4 != _PUBLISH:
            return None
        length, body = data[start + 1], start + 2
        if length & _MORE:
            if data[body] & _MORE:
                return None
            length, body = (length & ~_MORE) + (data[body] << 7), body + 1
        if body + length > len(data):
            return None
        came = plain_publication(data[start], data[body : body + length], five=five)
        if came is not None:
            self._at = body + length
        return came


class Publication(NamedTuple):
    """A PUBLISH packet without properties, under the names that paho gives its own messages.

    Attributes:
        topic: Its topic.
        payload: Its payload.
        qos: Quality of service, 0 or 1.
        retain: Whether the broker had kept it.
        dup: Whether it is delivered again.
        mid: Packet identifier; 0 at quality of service 0.
        properties: None.
    """

    topic: str
    payload: bytes | bytearray
    qos: int
    retain: bool
    dup: bool
    mid: int
    properties: None = None


def plain_publication(first: int, body: bytes | bytearray, *, five: bool) -> Publication | None:
    """Return the publication in a packet, or None where it has properties or is out of the ordinary.

    Args:
        first: The first byte of the packet.
        body: What follows its length.
        five: Whether it is one of MQTT 5.

    Source: MQTT 5.0, section 3.3; MQTT 3.1.1, section 3.3.
    """
    qos = first >> 1 & 3
    start = 2 + int.from_bytes(body[:2], "big")
    mid_end = start + 2 if qos else start
    end = mid_end + 1 if five else mid_end
    if qos > 1 or start == _EMPTY_TOPIC or len(body) < end or (five and body[mid_end]):
        return None
    try:
        topic = body[2:start].decode()
    except UnicodeDecodeError:
        return None
    mid = int.from_bytes(body[start:mid_end], "big")
    return Publication(topic, body[end:], qos, bool(first & 1), bool(first & 8), mid)


def expiry_of(properties: Any, *, now: float) -> float | None:
    """Return when the sender of a publication wants it no more, seconds since the epoch, or None.

    Args:
        properties: The properties of the packet as paho gives them, or None.
        now: When it came, seconds since the epoch.

    Source: MQTT 5.0, section 3.3.2.3.3: what arrives is what is left of the interval.
    """
    left_s = getattr(properties, "MessageExpiryInterval", None)
    return None if left_s is None else now + left_s


class Watch:
    """What a thread sleeps on: its socket, and a file number that wakes it.

    Args:
        wake: Becomes readable when there is something else to do.
    """

    def __init__(self, wake: int) -> None:
        self._poll = select.poll()
        self._poll.register(wake, select.POLLIN)
        self._wanted: tuple[int, int] | None = None

    def wait(self, sock: Any, *, wants_write: bool, timeout_s: float) -> tuple[bool, bool]:
        """Return whether a socket can be read, and whether it can be written and should."""
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True, wants_write
        number = sock.fileno()
        wanted = (number, select.POLLIN | (select.POLLOUT if wants_write else 0))
        if wanted != self._wanted:
            self._poll.register(*wanted)
            self._wanted = wanted
        happened = dict(self._poll.poll(timeout_s * 1000)).get(number, 0)
        # An error or a hang-up is found by reading.
        return bool(happened & ~select.POLLOUT), bool(happened & select.POLLOUT)
