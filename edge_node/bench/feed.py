"""Publications as fast as a broker takes them, for a price that does not disturb what is measured.

Each packet is put together once, before the measurement, and then only copied to a socket: an MQTT client
would take as much of the machine as the receiver that is measured. Knows the few bytes of MQTT 3.1.1 that
this needs; knows nothing of who receives.
"""

from __future__ import annotations

import json
import select
import socket
from typing import TYPE_CHECKING, Self

from edge_node.errors import BrokerUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PAYLOAD_BYTES = 200
PACKETS = 1000
_PUMPS = 8
_TIMEOUT_S = 10.0
_READ_BYTES = 65_536
_CONNECT, _CONNACK, _PUBLISH = 0x10, 0x20, 0x30
_CLEAN_SESSION = 0x02
_SEVEN_BITS = 0x80


def telemetry(place: int) -> bytes:
    """Return what a pump in good order sends: JSON of 200 bytes whose values vary with `place`."""
    said = {
        "speed_percent": 40 + place % 20,
        "temp": {"bearing": 55 + place % 100 / 10},
        "vib_rms": 1 + place % 30 / 10,
        "valve": "open",
        "count": place,
        "note": "",
    }
    room = PAYLOAD_BYTES - len(json.dumps(said))
    said["note"] = ("in good order, " * 20)[:room]
    return json.dumps(said).encode()


class Feed:
    """A publisher of telemetry; use it in a `with` block.

    Args:
        port: Where the broker listens on loopback.
        topic: Topic with `{pump}` in place of the device.
        qos: Quality of service, 0 or 1.

    Attributes:
        sent: How many publications have left.
    """

    def __init__(self, host: str, *, port: int, topic: str, qos: int) -> None:
        self._address = (host, port)
        # At quality of service 1 each carries its own packet identifier; fewer are under way than there are.
        self._packets: Sequence[bytes] = [
            publication(
                topic.format(pump=f"pump-{1 + place % _PUMPS}"), telemetry(place), qos=qos, mid=place + 1
            )
            for place in range(PACKETS)
        ]
        self.sent = 0

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerUnreachable: The broker does not answer.
        """
        try:
            self._socket = socket.create_connection(self._address, timeout=_TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(_connect())
            answer = self._socket.recv(4)
        except OSError as problem:
            raise BrokerUnreachable(str(self._address), reason=str(problem)) from problem
        if not answer or answer[0] != _CONNACK:
            raise BrokerUnreachable(str(self._address), reason=f"expected CONNACK, came {answer.hex()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def publish(self, count: int) -> None:
        """Send so many publications; what the broker answers is read and forgotten.

        Raises:
            BrokerUnreachable: The connection is over.
        """
        places = ((self.sent + step) % PACKETS for step in range(count))
        try:
            self._socket.sendall(b"".join(self._packets[place] for place in places))
            while select.select([self._socket], [], [], 0)[0]:
                if not self._socket.recv(_READ_BYTES):
                    raise ConnectionResetError("closed by the broker")
        except OSError as problem:
            raise BrokerUnreachable(str(self._address), reason=str(problem)) from problem
        self.sent += count


def publication(topic: str, payload: bytes, *, qos: int, mid: int) -> bytes:
    """Return a PUBLISH packet.

    Source: MQTT 3.1.1, section 3.3.
    """
    identifier = mid.to_bytes(2, "big") if qos else b""
    return _packet(_PUBLISH | qos << 1, _text(topic) + identifier + payload)


def _connect() -> bytes:
    """Return a CONNECT packet without keep-alive, for a session that ends with the connection."""
    return _packet(_CONNECT, _text("MQTT") + bytes([4, _CLEAN_SESSION, 0, 0]) + _text("edge-node-feed"))


def _text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def _packet(kind: int, body: bytes) -> bytes:
    """Return a packet with its length in groups of seven bits. Source: MQTT 3.1.1, section 2.2.3."""
    length, left = bytearray(), len(body)
    while left >= _SEVEN_BITS:
        length.append(left % _SEVEN_BITS | _SEVEN_BITS)
        left //= _SEVEN_BITS
    length.append(left)
    return bytes([kind, *length]) + body
