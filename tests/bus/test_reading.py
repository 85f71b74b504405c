from __future__ import annotations

import socket
import time

from hypothesis import given
from hypothesis import strategies as st

from edge_node.bus.reading import ReadAhead, Watch


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
