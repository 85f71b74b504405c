"""What the presses and a person send: telemetry that fires alarms, and orders, each with its number."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from edge_node.bus.backoff import Backoff
from edge_node.bus.client import Listeners, MqttBus
from edge_node.config.models import BrokerConfig
from edge_node.errors import BrokerUnreachable
from edge_node.messages import Outgoing

if TYPE_CHECKING:
    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

PRESSES = ("press-1", "press-2", "press-3")
_KINDS = ("rest", "stamp", "trim", "rest", "rest")
_ORDER_EVERY = 13
_WINDOW = 64
DEADLINE_S = 30.0

Key = tuple[str, bytes]


class Feeder:
    """A client that never sends anything twice.

    Attributes:
        kept: Topic and payload of what the broker has acknowledged.
        doubtful: The same of what it may or may not have, because the connection went.
    """

    def __init__(self, port: int, *, edge: str) -> None:
        self.kept: set[Key] = set()
        self.doubtful: set[Key] = set()
        self._edge = edge
        self._number = 0
        self._room = threading.Semaphore(_WINDOW)
        self._flying = 0
        self._landed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._bus = MqttBus(
            BrokerConfig(port=port).model_copy(update={"session": 0.0}),
            client_id="feeder",
            listeners=Listeners(message=self._nothing),
            backoff=Backoff(lambda: 0.5, first_s=0.05, longest_s=0.4),
        )
        self._bus.start()
        assert self._bus.wait_connected(DEADLINE_S)

    @property
    def bus(self) -> MqttBus:
        """The connection, for what else is to be published."""
        return self._bus

    def start(self, *, per_s: float) -> None:
        """Feed at a steady rate, on a thread of its own."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._steadily, args=(per_s,), name="feeder")
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait until the broker has answered for everything."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._landed:
            assert self._landed.wait_for(lambda: self._flying == 0, DEADLINE_S)

    def close(self) -> None:
        """End the connection."""
        self.stop()
        self._bus.stop()

    def feed(self, count: int) -> None:
        """Send so many, as fast as the broker takes them."""
        for _ in range(count):
            self._send_next()
        self.stop()

    def order(self, *, press: str = PRESSES[0], name: str = "stamp", to: str = "with") -> int:
        """Send an order of a person and return its number."""
        self._number += 1
        self._send_order(press, name, to)
        return self._number

    def _steadily(self, per_s: float) -> None:
        next_s = time.monotonic()
        while not self._stopping.is_set():
            self._send_next()
            next_s = max(next_s + 1 / per_s, time.monotonic() - 1.0)
            self._stopping.wait(max(0.0, next_s - time.monotonic()))

    def _send_next(self) -> None:
        self._number += 1
        number = self._number
        press = PRESSES[number % len(PRESSES)]
        if number % _ORDER_EVERY == 0:
            self._send_order(press, *(("stamp", "with") if number % 2 else ("trim", "to")))
            return
        said = {"seq": number, "kind": _KINDS[number // len(PRESSES) % len(_KINDS)], "pad": "x" * 140}
        self.send(Outgoing(f"plant/{press}/telemetry", json.dumps(said).encode()))

    def _send_order(self, press: str, name: str, to: str) -> None:
        said = {"text": f"{name} {press} {to} {self._number}", "correlation": str(self._number)}
        topic = f"edge/v1/{self._edge}/ask/ada"
        payload = json.dumps(said).encode()
        self.send(Outgoing(topic, payload, correlation=str(self._number).encode()))

    def send(self, outgoing: Outgoing) -> None:
        """Send a message once, as soon as there is a connection and room."""
        assert self._room.acquire(timeout=DEADLINE_S)
        with self._landed:
            self._flying += 1
        key = (outgoing.topic, outgoing.payload)
        while True:
            try:
                self._bus.publish(
                    outgoing,
                    on_acknowledged=lambda: self._land(key, self.kept),
                    on_failed=lambda _: self._land(key, self.doubtful),
                )
            except BrokerUnreachable:
                assert self._bus.wait_connected(DEADLINE_S)
            else:
                return

    def _land(self, key: Key, where: set[Key]) -> None:
        where.add(key)
        self._room.release()
        with self._landed:
            self._flying -= 1
            self._landed.notify_all()

    @staticmethod
    def _nothing(_message: Message, _receipt: Receipt) -> None:
        """Listen to nothing."""
