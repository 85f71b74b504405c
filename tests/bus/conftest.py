"""Brokers and clients for the tests of the bus."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.bus.backoff import Backoff
from edge_node.bus.client import Listeners, MqttBus
from edge_node.config.models import BrokerConfig
from tests.brokers import DEADLINE_S, embedded, mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_node.bus.receipt import Receipt
    from edge_node.errors import BrokerRefused
    from edge_node.messages import Message


@dataclass
class Client:
    """A bus, and what it told."""

    bus: MqttBus
    received: queue.Queue[tuple[Message, Receipt]] = field(default_factory=queue.Queue)
    connected: queue.Queue[bool] = field(default_factory=queue.Queue)
    disconnected: queue.Queue[str] = field(default_factory=queue.Queue)
    refused: queue.Queue[BrokerRefused] = field(default_factory=queue.Queue)

    def next(self) -> tuple[Message, Receipt]:
        """Return the next message, which must come."""
        return self.received.get(timeout=DEADLINE_S)

    def publish(self, outgoing: Any) -> None:
        """Publish and wait until the broker has it."""
        done = threading.Event()
        self.bus.publish(outgoing, on_acknowledged=done.set)
        assert done.wait(DEADLINE_S)


MakeClient = "Callable[..., Client]"


@pytest.fixture
def make_client() -> Iterator[Callable[..., Client]]:
    """Give a function that makes clients; those are stopped at the end."""
    buses: list[MqttBus] = []

    def make(
        port: int,
        *,
        name: str = "edge",
        filters: dict[str, int] | None = None,
        wait: bool = True,
        acknowledge: bool = True,
        on_message: Callable[[Message, Receipt], None] | None = None,
        broker: dict[str, Any] | None = None,
        **options: Any,
    ) -> Client:
        def take(message: Message, receipt: Receipt) -> None:
            client.received.put((message, receipt))
            if on_message:
                on_message(message, receipt)
            if acknowledge:
                client.bus.acknowledge(receipt)

        client = Client(bus=None)  # type: ignore[arg-type]
        listeners = Listeners(take, client.connected.put, client.disconnected.put, client.refused.put)
        client.bus = MqttBus(
            BrokerConfig(port=port, **(broker or {})),
            client_id=name,
            listeners=listeners,
            backoff=Backoff(lambda: 0.5, first_s=0.02, longest_s=0.2),
            **options,
        )
        buses.append(client.bus)
        client.bus.subscribe(filters or {})
        client.bus.start()
        if wait:
            assert client.bus.wait_connected(DEADLINE_S)
            assert client.bus.wait_subscribed(DEADLINE_S)
        return client

    yield make
    for bus in buses:
        bus.stop()
        assert not bus.alive


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.broker), "embedded"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Give the port of a running broker, of each kind in turn."""
    if request.param == "mosquitto":
        with mosquitto(tmp_path / "mosquitto") as broker:
            yield broker.port
    else:
        with embedded() as broker:
            yield broker.port
