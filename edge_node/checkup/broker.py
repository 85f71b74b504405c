"""The broker: whether it lets this edge in and speak to itself, and keeps what comes while it is away.

Knows the bus and the topics that an edge has for itself; sends nothing that another edge or a device hears.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_node.bus.client import Listeners, MqttBus
from edge_node.checkup.findings import Finding, Level
from edge_node.errors import BrokerRefused, BrokerUnreachable, BusError, ConfigurationError
from edge_node.identifiers import new_id
from edge_node.messages import Outgoing
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_node.bus.receipt import Receipt
    from edge_node.config.models import BrokerConfig, RuntimeConfig
    from edge_node.messages import Message

PATIENCE_S = 10.0
_AWAY_S = 60.0
_PROMISES = {"persistence": "true", "autosave_on_changes": "true", "autosave_interval": "1"}
_FOLDER = Path("/etc/mosquitto")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def check_broker(runtime: RuntimeConfig) -> Iterator[Finding]:
    """Yield how the broker answers this edge's own name and password, and what it keeps."""
    broker = runtime.broker
    name = f"edge-node-doctor-{new_id()}"
    topic = EdgeTopics(runtime.edge).probe(name)
    address = f"{broker.host}:{broker.port}"
    try:
        spent_ms = _round_trip(broker, name=name, topic=topic)
        yield Finding(
            "broker", Level.OK, f"{address}: a word to itself came back in {spent_ms:.0f} ms (QoS 1)"
        )
        kept = _keeps(broker, name=name, topic=topic)
    except (BusError, ConfigurationError) as error:
        yield Finding.of("broker", error)
        return
    if kept:
        yield Finding("sessions", Level.OK, f"{address} keeps what comes while this edge is away")
    else:
        text = f"{address} did not keep a message for a client that was away"
        yield Finding(
            "sessions", Level.FAIL, text, "let the broker keep sessions: persistence, and no limit of 0"
        )
    if broker.host in _LOOPBACK and _FOLDER.is_dir():
        yield _check_settings(_FOLDER)


def _check_settings(folder: Path) -> Finding:
    """Return whether mosquitto's files on this machine let it keep its word through a power cut."""
    try:
        files = [folder / "mosquitto.conf", *sorted((folder / "conf.d").glob("*.conf"))]
        said = [line.split() for file in files if file.is_file() for line in file.read_text().splitlines()]
    except OSError as problem:
        return Finding("persistence", Level.WARN, f"{folder} cannot be read ({problem})")
    settings: Mapping[str, str] = {words[0]: words[1] for words in said if len(words) > 1}
    lacking = [f"{key} {value}" for key, value in _PROMISES.items() if settings.get(key) != value]
    if not lacking:
        return Finding("persistence", Level.OK, f"{folder} lets mosquitto keep its word through a power cut")
    text = f"{folder}: expected {', '.join(lacking)}; without it mosquitto forgets what it acknowledged"
    return Finding("persistence", Level.WARN, text, "take over the configuration in config/mosquitto")


class _Ear:
    """What one connection hears."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        self.refusal: BusError | None = None
        self.bus: MqttBus

    def take(self, message: Message, receipt: Receipt) -> None:
        self.bus.acknowledge(receipt)
        if not message.retained:
            self.heard.set()

    def refuse(self, refusal: BusError) -> None:
        self.refusal = refusal


@contextmanager
def _connected(broker: BrokerConfig, *, name: str, filters: Mapping[str, int]) -> Iterator[_Ear]:
    """Give a connection that is there and has its subscriptions.

    Raises:
        BusError: The broker does not answer, or answers no.
        ConfigurationError: A certificate or the password cannot be read.
    """
    ear = _Ear()
    ear.bus = MqttBus(broker, client_id=name, listeners=Listeners(message=ear.take, refused=ear.refuse))
    ear.bus.subscribe(filters)
    ear.bus.start()
    try:
        until_s = time.monotonic() + PATIENCE_S
        while not ear.bus.wait_subscribed(0.1):
            if ear.refusal is not None:
                raise ear.refusal
            if time.monotonic() >= until_s:
                reason = ear.bus.trouble or f"no answer within {PATIENCE_S:g} s"
                raise BrokerUnreachable(f"{broker.host}:{broker.port}", reason=reason)
        yield ear
    finally:
        ear.bus.stop()


def _round_trip(broker: BrokerConfig, *, name: str, topic: str) -> float:
    """Return how long a message to oneself takes, in milliseconds.

    Raises:
        BusError: It does not come.
    """
    with _connected(broker.model_copy(update={"session": 0.0}), name=name, filters={topic: 1}) as ear:
        began_s = time.perf_counter()
        ear.bus.publish(Outgoing(topic, b"", content_type=""))
        if not ear.heard.wait(PATIENCE_S):
            reason = f"its own message on {topic} did not come"
            raise BrokerRefused(f"{broker.host}:{broker.port}", reason=reason)
        return (time.perf_counter() - began_s) * 1000


def _keeps(broker: BrokerConfig, *, name: str, topic: str) -> bool:
    """Return whether a message comes that was sent while its listener was away."""
    away, listener = broker.model_copy(update={"session": _AWAY_S}), f"{name}-away"
    fleeting = broker.model_copy(update={"session": 0.0})
    with _connected(away, name=listener, filters={topic: 1}):
        pass
    with _connected(fleeting, name=name, filters={topic: 0}) as speaker:
        sent = threading.Event()
        speaker.bus.publish(Outgoing(topic, b"", content_type=""), on_acknowledged=sent.set)
        sent.wait(PATIENCE_S)
    with _connected(away, name=listener, filters={topic: 1}) as ear:
        kept = ear.heard.wait(PATIENCE_S)
    # With MQTT 3.1.1 a session has no end of its own.
    with _connected(fleeting, name=listener, filters={topic: 0}):
        return kept
