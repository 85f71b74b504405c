from __future__ import annotations

import io
import itertools
import socket
import time
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet as paho_packet
from paho.mqtt.enums import MQTTProtocolVersion

from edge_node.bus.reading import ReadAhead, Watch, plain_publication

if TYPE_CHECKING:
    from collections.abc import Callable


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10), st.integers(1, 20))
def test_what_is_taken_in_pieces_is_what_came_in_its_order(came: list[bytes], size: int) -> None:
    ahead, left, taken = ReadAhead(), list(came), b""
    while left or ahead:
        piece = ahead.take(size, read=lambda _: left.pop(0))
        assert 1 <= len(piece) <= size
        taken += piece
    assert taken == b"".join(came)


def test_the_socket_is_asked_only_when_nothing_is_left() -> None:
    ahead, asked = ReadAhead(), []

    def read(size: int) -> bytes:
        asked.append(size)
        return b"abc"

    assert [ahead.take(1, read=read) for _ in range(3)] == [b"a", b"b", b"c"]
    assert len(asked) == 1
    assert not ahead


def test_the_end_of_a_socket_is_told() -> None:
    assert ReadAhead().take(1, read=lambda _: b"") == b""


def test_a_watch_returns_for_its_socket_and_for_what_wakes_it() -> None:
    sock, peer = socket.socketpair()
    wake, bell = socket.socketpair()
    with sock, peer, wake, bell:
        watch = Watch(wake.fileno())
        assert watch.wait(sock, wants_write=False, timeout_s=0) == (False, False)
        assert watch.wait(sock, wants_write=True, timeout_s=0) == (False, True)
        peer.send(b"x")
        assert watch.wait(sock, wants_write=False, timeout_s=0) == (True, False)
        sock.recv(1)
        bell.send(b"x")
        began_s = time.monotonic()
        assert watch.wait(sock, wants_write=False, timeout_s=30) == (False, False)
        assert time.monotonic() - began_s < 10


@given(
    topic=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    payload=st.binary(max_size=40),
    flags=st.sampled_from([0x30, 0x31, 0x32, 0x33, 0x3A, 0x3B]),
    mid=st.integers(1, 65_535),
    five=st.booleans(),
)
def test_a_publication_without_properties_is_read_as_paho_reads_it(
    *, topic: str, payload: bytes, flags: int, mid: int, five: bool
) -> None:
    name = topic.encode()
    identifier = mid.to_bytes(2, "big") if flags & 6 else b""
    body = len(name).to_bytes(2, "big") + name + identifier + (b"\0" if five else b"") + payload
    version = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
    theirs = paho_packet.decode_publish(flags, body, version)

    came = plain_publication(flags, bytearray(body), five=five)

    assert came is not None
    assert (came.topic.encode(), bytes(came.payload)) == (theirs.topic, theirs.payload)
    assert (came.qos, came.retain, came.dup, came.mid) == (
        theirs.qos,
        theirs.retain,
        theirs.dup,
        theirs.mid,
    )


def packet(first: int, body: bytes) -> bytes:
    """Return a packet with its length in groups of seven bits."""
    length, left = b"", len(body)
    while left > 0x7F:
        length += bytes([left & 0x7F | 0x80])
        left >>= 7
    return bytes([first]) + length + bytes([left]) + body


def taken_as_paho_takes_it(ahead: ReadAhead, read: Callable[[int], bytes]) -> bytes:
    """Return the next packet, asked for as paho asks: the first byte, the length, the rest."""
    head = ahead.take(1, read=read)
    length = b""
    while not length or length[-1] & 0x80:
        length += ahead.take(1, read=read)
    left = sum((each & 0x7F) << 7 * place for place, each in enumerate(length))
    body = b""
    while len(body) < left:
        body += ahead.take(left - len(body), read=read)
    return head + length + body


PUBLICATIONS = st.tuples(st.sampled_from([0x30, 0x32]), st.sampled_from([0, 1, 80, 150, 17_000]))
OTHERS = st.sampled_from([b"\xd0\x00", b"\x40\x02\x00\x07", b"\x30\x08\x00\x01a\x02\x01\x01{}"])


@given(st.lists(PUBLICATIONS | OTHERS, max_size=8), st.lists(st.integers(1, 400), min_size=1))
def test_no_packet_is_lost_or_changed_wherever_reading_breaks_off(
    wanted: list[tuple[int, int] | bytes], sizes: list[int]
) -> None:
    packets = [
        each
        if isinstance(each, bytes)
        else packet(
            each[0], b"\0\x01t" + (b"\0\x05" if each[0] & 2 else b"") + b"\0" + bytes([place]) * each[1]
        )
        for place, each in enumerate(wanted)
    ]
    stream, ahead, sizes_again = io.BytesIO(b"".join(packets)), ReadAhead(), itertools.cycle(sizes)

    def read(_size: int) -> bytes:
        return stream.read(next(sizes_again))

    for expected in packets:
        came = ahead.publication(five=True)
        if came is None:
            assert taken_as_paho_takes_it(ahead, read) == expected
        else:
            identifier = b"\0\x05" if came.qos else b""
            body = b"\0\x01" + came.topic.encode() + identifier + b"\0" + bytes(came.payload)
            assert packet(expected[0], body) == expected
    assert not ahead


@given(body=st.binary(max_size=30), first=st.integers(0x30, 0x3F), five=st.booleans())
def test_what_is_out_of_the_ordinary_is_left_to_paho(*, body: bytes, first: int, five: bool) -> None:
    came = plain_publication(first, body, five=five)
    assert came is None or (came.topic and came.qos < 2 and body.endswith(bytes(came.payload)))


def test_properties_are_left_to_paho() -> None:
    assert plain_publication(0x30, b"\0\x01a\x02\x01\x01{}", five=True) is None
    assert plain_publication(0x30, b"\0\x01a", five=True) is None
    assert plain_publication(0x34, b"\0\x01a\0\x01{}", five=False) is None
