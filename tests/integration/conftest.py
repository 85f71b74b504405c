"""What the integration tests share: one broker with one running edge, and a home with the models."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edge_node.bus.client import Listeners, MqttBus
from edge_node.config.models import BrokerConfig
from edge_node.demo.pump import SimulatedPump
from edge_node.demo.site import Observer
from tests.brokers import mosquitto
from tests.integration.edges import HOST, Edge, Speaker, link_models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOREIGN = "elsewhere/thing"
"""A topic that no node listens to, of which the broker still keeps a subscription of the edge."""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a home for processes, with the models of this machine."""
    folder = tmp_path_factory.mktemp("home")
    link_models(folder)
    yield folder
    shutil.rmtree(folder / "state", ignore_errors=True)


@dataclass(frozen=True)
class Plant:
    """A running edge with the ready nodes on mosquitto, two pumps, and those who watch and speak."""

    edge: Edge
    observer: Observer
    speaker: Speaker
    pump: SimulatedPump
    spare: SimulatedPump


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Plant]:
    """Give the one edge that most of these tests speak to; they leave it running."""
    folder = tmp_path_factory.mktemp("plant")
    with mosquitto(folder / "broker") as broker:
        edge = Edge.make(folder / "edge", port=broker.port, home=home)
        _leave_subscription_behind(edge)
        with Observer(edge.broker) as observer, Speaker(broker.port) as speaker:
            try:
                edge.start(observer)
                with (
                    SimulatedPump("pump-1", host=HOST, port=broker.port, interval_s=0.2, pace=8.0) as pump,
                    SimulatedPump("pump-2", host=HOST, port=broker.port, interval_s=0.5) as spare,
                ):
                    yield Plant(edge, observer, speaker, pump, spare)
            finally:
                edge.close()


def _leave_subscription_behind(edge: Edge) -> None:
    """Subscribe to FOREIGN in the session of the edge, as an earlier configuration may have done."""
    broker = BrokerConfig(host=HOST, port=edge.port)
    ignored = Listeners(message=lambda _message, _receipt: None)
    bus = MqttBus(broker, client_id=f"edge-node-{edge.topics.edge}", listeners=ignored)
    bus.subscribe({FOREIGN: 1})
    bus.start()
    assert bus.wait_subscribed(30.0)
    bus.stop()
