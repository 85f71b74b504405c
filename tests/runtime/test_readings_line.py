"""Which readings get a connection of their own, and what it says of itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edge_node.bus.memory import MemoryBroker, MemoryBus
from edge_node.messages import Outgoing
from edge_node.runtime.filters import readings_among
from edge_node.runtime.readings_line import ReadingsLine

if TYPE_CHECKING:
    from edge_node.bus.client import Listeners
    from edge_node.messages import Message

OWN = {"edge/v1/hall/probe/1": 0, "edge/v1/hall/op/+/request/+": 1, "$share/halls/edge/v1/halls/ask/+": 1}


def test_readings_get_a_connection_of_their_own_and_what_is_acknowledged_does_not() -> None:
    heard = {"plant/+/fast": 0, "plant/+/report": 1}
    assert readings_among(heard, own=OWN) == {"plant/+/fast": 0}


def test_readings_that_could_come_twice_stay_where_the_others_are() -> None:
    heard = {"plant/#": 0, "plant/+/report": 1, "edge/v1/halls/ask/ada": 0, "hall/+": 0}
    assert readings_among(heard, own=OWN) == {"hall/+": 0}


def test_a_line_without_readings_is_never_opened_and_always_well() -> None:
    opened: list[Any] = []

    class Bus(MemoryBus):
        def start(self) -> None:
            opened.append(self)

    broker = MemoryBroker(clock=lambda: 0.0)
    line = ReadingsLine(
        {},
        probe="probe/1",
        connect=lambda listeners: Bus(broker, on_message=listeners.message),  # type: ignore[arg-type, return-value]
        on_reading=lambda _: None,
        on_settled=lambda: None,
    )
    line.start()
    assert not opened
    assert (line.alive, line.settled, line.idle_s, line.troubles) == (True, True, 0.0, ())
    assert line.hears_since == -math.inf


def test_a_reading_proves_that_the_line_hears_as_well_as_the_own_word_does() -> None:
    broker = MemoryBroker(clock=lambda: 0.0)
    read: list[Message] = []
    settled: list[str] = []

    def connect(listeners: Listeners) -> Any:
        return MemoryBus(broker, on_message=listeners.message)

    line = ReadingsLine(
        {"plant/+/fast": 0},
        probe="probe/1",
        connect=connect,
        on_reading=read.append,
        on_settled=lambda: settled.append("now"),
    )
    speaker = MemoryBus(broker, on_message=lambda *_: None)
    assert not line.settled
    speaker.publish(Outgoing("plant/press-1/fast", b"{}", qos=0))
    assert line.settled
    assert [message.topic for message in read] == ["plant/press-1/fast"]
    speaker.publish(Outgoing("probe/1", b"", qos=0))
    assert settled == ["now"]
