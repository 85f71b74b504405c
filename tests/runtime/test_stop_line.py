"""What a message on a stop topic does, in which order."""

from __future__ import annotations

import json
import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.announcing import Announcing
from edge_node.bus.memory import MemoryBroker, MemoryBus
from edge_node.errors import LatchError
from edge_node.messages import Message, Outgoing
from edge_node.runtime.stop_line import StopLine
from edge_node.stop import Outlet, StopFile, StopLatch
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.bus.client import Listeners
    from edge_node.bus.receipt import Receipt

TOPICS = EdgeTopics("hall")


@dataclass
class Desk:
    """A stop line over a bus in memory."""

    folder: Path
    now: float = 1000.0
    states: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    changes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(clock=lambda: self.now)
        self.outlet = Outlet()
        self.latch = StopLatch(StopFile(self.folder), outlet=self.outlet, boot="b-1", clock=lambda: self.now)
        self.line = StopLine(
            self.latch,
            outlet=self.outlet,
            announcing=Announcing(TOPICS, clock=lambda: self.now),
            connect=self.connect,
            on_change=lambda: self.changes.append("look"),
        )
        self.operator = MemoryBus(self.broker, on_message=self.hear)
        self.operator.subscribe({TOPICS.stop_state: 1})

    def connect(self, listeners: Listeners) -> Any:
        self.edge = MemoryBus(self.broker, on_message=listeners.message)
        return self.edge

    def hear(self, message: Message, receipt: Receipt) -> None:
        self.operator.acknowledge(receipt)
        self.states.put(json.loads(message.payload))

    def say(self, payload: bytes = b"", *, user: str = "bob", **properties: Any) -> None:
        self.operator.publish(Outgoing(TOPICS.stop(user), payload, **properties))

    def state(self) -> dict[str, Any]:
        return self.states.get(timeout=10)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_stop_is_latched_told_and_retained(desk: Desk) -> None:
    desk.say(b'{"reason": "smoke\\u0007 in  the hall", "correlation": "c-1"}')

    body = desk.state()
    assert (body["type"], body["corr"]) == ("stop", "c-1")
    data = body["data"]
    assert (data["state"], data["by"], data["reason"]) == ("stopped", "bob", "smoke in the hall")
    assert (data["boot"], data["durable"], data["under_way"]) == ("b-1", True, 0)
    assert data["id"] == desk.latch.record.id
    assert [outgoing.topic for outgoing in desk.broker.retained()] == [TOPICS.stop_state]
    assert desk.changes


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", ""),
        (b"Rauch in Halle 3", "Rauch in Halle 3"),
        (b"x" * 10_000, "x" * 200),
        (b"\xff\x00\n", "\ufffd"),
        (b'{"reason": 7}', ""),
        (b'{"reason": "cut', '{"reason": "cut'),
        (b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
    ],
)
def test_whatever_is_said_stops(desk: Desk, payload: bytes, reason: str) -> None:
    desk.say(payload)

    assert desk.outlet.is_shut
    assert desk.state()["data"]["reason"] == reason


def test_a_correlation_that_is_too_long_stops_all_the_same(desk: Desk) -> None:
    desk.say(b"smoke", correlation=b"c" * 1000)

    assert desk.state()["data"]["reason"] == "smoke"


def test_the_own_state_is_no_stop(desk: Desk) -> None:
    desk.line.tell()

    assert desk.state()["data"]["state"] == "clear"
    assert not desk.outlet.is_shut


def test_the_state_is_told_once_what_left_before_has_arrived(desk: Desk) -> None:
    with desk.outlet.leaving("a") as may:
        assert may
    stopping = threading.Thread(target=desk.say)
    stopping.start()
    while not desk.outlet.is_shut:
        pass
    with pytest.raises(queue.Empty):
        desk.states.get(timeout=0.05)

    desk.outlet.landed("a", answered=True)

    assert desk.state()["data"]["under_way"] == 0
    stopping.join()


def test_a_broker_that_does_not_answer_for_a_command_does_not_hold_up_the_state(desk: Desk) -> None:
    with desk.outlet.leaving("a"):
        pass

    desk.say()

    assert desk.state()["data"]["under_way"] == 1


def test_a_stop_that_is_not_on_the_disk_blocks_and_is_not_acknowledged(desk: Desk) -> None:
    (desk.folder / "stop.json.new").mkdir()
    with pytest.raises(LatchError):
        desk.say(b"smoke")

    assert desk.outlet.is_shut
    told = desk.broker.retained()[0].payload
    assert json.loads(told)["data"]["state"] == "stopped"
    assert json.loads(told)["data"]["durable"] is False
    (desk.folder / "stop.json.new").rmdir()
    desk.edge.reconnect()
    assert desk.latch.durable


def test_a_reset_is_told(desk: Desk) -> None:
    desk.say()
    stop = desk.state()["data"]
    desk.now += 1
    desk.latch.reset(user="ada", stop_id="", asked_at=desk.now, decided=[])

    cleared = desk.state()["data"]
    assert (cleared["state"], cleared["by"], cleared["id"]) == ("clear", "ada", stop["id"])
