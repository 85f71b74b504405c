"""A TCP proxy between the edge and the broker that cuts, freezes, and bears witness.

What it saw go by is the truth about what was acknowledged and what left, whatever happened to either end.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.battery.wire import CONNECT, PUBACK, PUBLISH, SUBSCRIBE, Packets, publication, speaks_five

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Witness:
    """What went by.

    Attributes:
        acknowledged: Topic and payload of each input that the edge acknowledged.
        left: Topic and payload of each publication of the edge, with how often it went by.
        sent_at: When each of them went by first, seconds of the monotonic clock.
        blind: Whether what comes to the edge is not looked at, where it is too much for that.
    """

    acknowledged: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    left: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    sent_at: dict[tuple[str, bytes], float] = field(default_factory=dict)
    blind: bool = False

    def __post_init__(self) -> None:
        self._ready = threading.Condition()
        self._ready_at: list[float] = []

    @property
    def readies(self) -> int:
        """How often the edge has said that it is ready."""
        return len(self._ready_at)

    def went(self, key: tuple[str, bytes]) -> None:
        """Take up a publication of the edge."""
        self.left[key] += 1
        self.sent_at.setdefault(key, time.monotonic())
        if key[1] == b"ready":
            with self._ready:
                self._ready_at.append(time.monotonic())
                self._ready.notify_all()

    def wait_ready(self, *, since: int, timeout_s: float) -> float | None:
        """Return when the edge said, after so many other times, that it is ready; None if it did not."""
        with self._ready:
            if not self._ready.wait_for(lambda: len(self._ready_at) > since, timeout_s):
                return None
            return self._ready_at[since]

    def forget(self) -> None:
        """Forget what went by so far."""
        for seen in (self.acknowledged, self.left, self.sent_at):
            seen.clear()


class _Link:
    """One connection of the edge, and its other half to the broker."""

    def __init__(self, near: socket.socket, far: socket.socket, witness: Witness) -> None:
        self.near, self.far = near, far
        self.frozen = False
        self.bytes_left: int | None = None
        self.subscribed = b""
        self._five = True
        self._witness = witness
        self._up, self._down = Packets(), Packets()
        self._open: dict[int, tuple[str, bytes]] = {}

    def carry(self, source: socket.socket) -> bool:
        """Carry what has come; return whether the link still stands."""
        try:
            data = source.recv(_CHUNK)
            if not data:
                return False
            if self.frozen:
                return True
            if self.bytes_left is not None:
                data = data[: self.bytes_left]
                self.bytes_left -= len(data)
            self._watch(data, up=source is self.near)
            (self.far if source is self.near else self.near).sendall(data)
        except OSError:
            return False
        return self.bytes_left != 0

    def _watch(self, data: bytes, *, up: bool) -> None:
        if self._witness.blind and not up:
            return
        for first, body in (self._up if up else self._down).feed(data):
            if first >> 4 == CONNECT:
                self._five = speaks_five(body)
            elif up and first >> 4 == SUBSCRIBE:
                self.subscribed += bytes(body)
            elif first >> 4 == PUBLISH:
                said = publication(first, body, five=self._five)
                key = (said.topic, said.payload)
                if up:
                    self._witness.went(key)
                elif said.mid:
                    self._open[said.mid] = key
            elif up and first >> 4 == PUBACK:
                key_of = self._open.pop(int.from_bytes(body[:2]), None)
                if key_of is not None:
                    self._witness.acknowledged[key_of] += 1

    def close(self, *, reset: bool = False) -> None:
        for sock in (self.near, self.far):
            with contextlib.suppress(OSError):
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()


class Proxy:
    """Listens on a port of loopback and carries everything to another one.

    Attributes:
        witness: What went by.
        slams: How many of the next connections are closed without a word.
    """

    def __init__(self, target: int) -> None:
        self.witness = Witness()
        self.slams = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many connections stand and are not frozen."""
        with self._lock:
            return sum(not link.frozen for link in self._links)

    def cut(self, *, reset: bool) -> None:
        """End all connections, in order or with a reset."""
        with self._lock:
            for link in list(self._links):
                self._drop(link, reset=reset)

    def cut_after(self, bytes_: int) -> None:
        """End each connection once so many more bytes went by, most often within a packet."""
        with self._lock:
            for link in self._links:
                link.bytes_left = bytes_

    def freeze(self) -> None:
        """Carry nothing more on the connections that stand, without ending them."""
        with self._lock:
            for link in self._links:
                link.frozen = True

    def hold(self, name: str) -> None:
        """Let what the broker sends wait on the connection that subscribed to a filter, until `release`."""
        with self._lock:
            for link in self._on(name):
                self._selector.unregister(link.far)

    def release(self, name: str) -> None:
        """Carry what was held."""
        with self._lock:
            for link in self._on(name):
                # One that came since has nothing to wait.
                if link.far not in self._selector.get_map():
                    self._selector.register(link.far, selectors.EVENT_READ, link)

    def end(self, name: str) -> None:
        """End the connection that subscribed to a filter, and no other."""
        with self._lock:
            for link in self._on(name):
                self._drop(link, reset=True)

    def carries(self, name: str) -> bool:
        """Return whether a connection stands that has subscribed to a filter."""
        with self._lock:
            return any(name.encode() in link.subscribed for link in self._links)

    def _on(self, name: str) -> list[_Link]:
        found = [link for link in self._links if name.encode() in link.subscribed]
        assert found, f"no connection has subscribed to {name}"
        return found

    def close(self) -> None:
        """End it and all connections."""
        self._ended = True
        self._thread.join(5.0)
        self.cut(reset=False)
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.1):
                with self._lock:
                    if key.data is None:
                        self._accept()
                    elif key.data in self._links and not key.data.carry(key.fileobj):
                        self._drop(key.data, reset=False)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self.slams:
            self.slams -= 1
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
        except OSError:
            near.close()
            return
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far.settimeout(5.0)
        near.settimeout(5.0)
        link = _Link(near, far, self.witness)
        self._links.add(link)
        for sock in (near, far):
            self._selector.register(sock, selectors.EVENT_READ, link)

    def _drop(self, link: _Link, *, reset: bool) -> None:
        if link not in self._links:
            return
        self._links.discard(link)
        for sock in (link.near, link.far):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
        link.close(reset=reset)
