"""A whole edge for tests: mosquitto, the service as a process of its own, and an ear on the bus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.bus.client import Listeners, MqttBus
from edge_node.client import Client
from edge_node.config.models import BrokerConfig
from edge_node.demo.site import Observer
from edge_node.messages import Outgoing
from edge_node.topics import EdgeTopics
from tests.brokers import mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

EDGE = "hall"
READY_S = 60.0
ANSWER_S = 30.0
ROOT = Path(__file__).parents[1]

PRESS_NODE: dict[str, Any] = {
    "edge_node": 1,
    "name": "press-shop",
    "description": "Presses that take orders.",
    "knowledge": ["manual/*.md"],
    "listen": [{"topic": "shop/{press}/state", "qos": 1, "fields": {"load": "load"}}],
    "stale": "1h",
    "ask": True,
    "commands": {
        "press": {
            "description": "Press with a force.",
            "examples": ["press {press} with {force}"],
            "args": {
                "press": {"device": True},
                "force": {"type": "integer", "minimum": 0, "maximum": 100000},
            },
            "publish": {
                "topic": "shop/{press}/set",
                "payload": {"force": "{force}", "id": "{command_id}"},
                "idempotent": True,
            },
        },
        "stamp": {
            "description": "Stamp once with a force.",
            "examples": ["stamp {press} with {force}"],
            "args": {
                "press": {"device": True},
                "force": {"type": "integer", "minimum": 0, "maximum": 100000},
            },
            "publish": {
                "topic": "shop/{press}/set",
                "payload": {"force": "{force}", "id": "{command_id}"},
                "idempotent": False,
            },
        },
        "open_guard": {
            "description": "Open the guard.",
            "examples": ["open guard of {press}"],
            "args": {"press": {"device": True}},
            "publish": {"topic": "shop/{press}/set", "payload": {"guard": "open", "id": "{command_id}"}},
            "require": ["load < 50"],
            "limit": {"every": "10s"},
            "approve": "always",
            "expires": "20s",
        },
    },
}
MANUAL = """# The press

The ram is greased every 40 hours with grease type 2. The guard is opened only while the ram stands still.
The oil is changed once a year. The filter is washed each month in warm water.
"""


@dataclass
class Actuator:
    """A device that hears orders and the state of the stop on one connection, in order.

    Attributes:
        heard: Topic and payload of everything, as it came.
    """

    bus: MqttBus = field(init=False)
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, message: Message, receipt: Receipt) -> None:
        body = json.loads(message.payload)
        with self.changed:
            self.heard.append((message.topic, body.get("data", body)))
            self.changed.notify_all()
        self.bus.acknowledge(receipt)

    def wait_for(self, holds: Callable[[list[tuple[str, dict[str, Any]]]], bool]) -> None:
        """Return once what was heard is as wanted."""
        with self.changed:
            assert self.changed.wait_for(lambda: holds(self.heard), ANSWER_S), self.heard[-5:]

    def orders(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the orders from a place on."""
        with self.changed:
            return [body for topic, body in self.heard[since:] if topic.endswith("/set")]


@dataclass
class RunningEdge:
    """The service as a process, and what is needed to speak with it."""

    folder: Path
    port: int
    observer: Observer
    stack: ExitStack
    process: subprocess.Popen[bytes] | None = None
    anybody: MqttBus | None = None
    topics: EdgeTopics = field(default_factory=lambda: EdgeTopics(EDGE))
    clients: dict[str, Client] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "edge-node.yaml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def broker(self) -> BrokerConfig:
        return BrokerConfig(port=self.port)

    def write(self, *, nodes: str, **settings: Any) -> None:
        """Write the runtime file."""
        content = {
            "edge_node": 1,
            "edge": EDGE,
            "broker": {"port": self.port},
            "nodes": [nodes],
            "state": str(self.state),
            "log": {"format": "json"},
            **settings,
        }
        self.config.write_text(json.dumps(content))

    def start(self) -> None:
        """Start the service and return once it hears both what is asked and a stop."""
        since = len(self.observer.said)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_node", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        until_s = time.monotonic() + READY_S
        while not self.observer.wait_for(
            lambda message: message.payload in (b"ready", b"stopped"), timeout_s=1.0, since=since
        ):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-4000:]
            assert time.monotonic() < until_s
        self.observed(
            lambda message: message.topic == self.topics.stop_state and not message.retained, since=since
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """End it in order."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(READY_S)

    def observed(
        self, wanted: Callable[[Message], bool], *, since: int = 0, timeout_s: float = ANSWER_S
    ) -> Message:
        """Return the first message that is wanted, which must come."""
        message = self.observer.wait_for(wanted, timeout_s=timeout_s, since=since)
        assert message is not None, (self.folder / "log").read_text()[-4000:]
        return message

    def client(self, user: str) -> Client:
        """Return a connection of a user."""
        if user not in self.clients:
            self.clients[user] = self.stack.enter_context(Client(self.broker, edge=EDGE, user=user))
        return self.clients[user]

    def last(self, words: str, *, user: str = "bob") -> Mapping[str, Any]:
        """Return what is said last to an order, which is given again where the edge is busy."""
        while True:
            *_, reply = self.client(user).ask(words, timeout_s=ANSWER_S)
            if reply.data.get("error", {}).get("code") != "busy":
                return reply.data

    def first(self, words: str, *, user: str = "bob") -> Mapping[str, Any]:
        """Return what is said first to an order."""
        return next(iter(self.client(user).ask(words, timeout_s=ANSWER_S))).data

    def publish(self, outgoing: Outgoing) -> None:
        """Publish something as anybody may."""
        done = threading.Event()
        if self.anybody is None:
            self.anybody = MqttBus(self.broker, client_id="anybody", listeners=Listeners(_ignore))
            self.anybody.start()
            self.stack.callback(self.anybody.stop)
            assert self.anybody.wait_connected(ANSWER_S)
        self.anybody.publish(outgoing, on_acknowledged=done.set)
        assert done.wait(ANSWER_S)

    def actuator(self) -> Actuator:
        """Return a device that listens from now on."""
        actuator = Actuator()
        actuator.bus = MqttBus(self.broker, client_id="actuator", listeners=Listeners(actuator.take))
        actuator.bus.subscribe({"shop/+/set": 1, self.topics.stop_state: 1})
        actuator.bus.start()
        assert actuator.bus.wait_subscribed(ANSWER_S)
        self.stack.callback(actuator.bus.stop)
        return actuator

    def report(self, press: str = "press-1", **fields: Any) -> None:
        """Let a device report."""
        self.publish(Outgoing(f"shop/{press}/state", json.dumps(fields).encode()))


def _ignore(_message: Message, _receipt: Receipt) -> None:
    """Hear nothing."""


@contextmanager
def running_edge(folder: Path, *, nodes: str = "", **settings: Any) -> Iterator[RunningEdge]:
    """Give an edge that is not started yet, with the press shop where no nodes are named."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    shop = folder / "nodes" / "press-shop"
    (shop / "manual").mkdir(parents=True)
    (shop / "node.yaml").write_text(json.dumps(PRESS_NODE))
    (shop / "manual" / "press.md").write_text(MANUAL)
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(folder / "broker"))
        observer = stack.enter_context(Observer(BrokerConfig(port=broker.port)))
        edge = RunningEdge(folder, broker.port, observer, stack)
        edge.write(nodes=nodes or str(folder / "nodes" / "*"), **settings)
        stack.callback(edge.end)
        yield edge
