"""A service that is stopped or killed: what was acknowledged is answered, and no command runs twice."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edge_node.demo.pump import SimulatedPump
from edge_node.demo.rover import SimulatedRover
from edge_node.demo.site import Observer
from edge_node.identifiers import new_id
from tests.brokers import mosquitto
from tests.integration.edges import (
    ANSWER_S,
    HOST,
    QUESTION,
    Edge,
    Speaker,
    correlation_of,
    data_of,
    mosquitto_tool,
    small_nodes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.messages import Message

pytestmark = [pytest.mark.broker, pytest.mark.models]

ORDER = "slow pump one down to {percent} percent"
DRIVE = "drive rover one 1 metre forward"


@dataclass(frozen=True)
class Hall:
    """An edge that may be ended and started again, with a pump and a robot, and who watches and speaks."""

    edge: Edge
    observer: Observer
    speaker: Speaker
    pump: SimulatedPump
    rover: SimulatedRover


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Hall]:
    folder = tmp_path_factory.mktemp("hall")
    with mosquitto(folder / "broker") as broker:
        edge = Edge.make(folder / "edge", port=broker.port, home=home, nodes=small_nodes(folder / "nodes"))
        with (
            Observer(edge.broker) as observer,
            Speaker(broker.port) as speaker,
            SimulatedPump("pump-1", host=HOST, port=broker.port, interval_s=0.1, pace=8.0) as pump,
            SimulatedRover("rover-1", host=HOST, port=broker.port, interval_s=0.1, pace=8.0) as rover,
        ):
            try:
                edge.start(observer)
                yield Hall(edge, observer, speaker, pump, rover)
            finally:
                edge.close()


def _ask(hall: Hall, text: str) -> str:
    """Ask, and return the correlation once the broker has acknowledged the question."""
    correlation = new_id()
    body = json.dumps({"text": text, "correlation": correlation}).encode()
    hall.speaker.say(hall.edge.topics.ask("ada"), body, correlation=correlation)
    return correlation


def _is_reply(hall: Hall, message: Message, correlation: str) -> bool:
    return message.topic == hall.edge.topics.reply("ada") and correlation_of(message) == correlation


def _final(hall: Hall, correlation: str, *, timeout_s: float = ANSWER_S) -> Message | None:
    return hall.observer.wait_for(
        lambda message: _is_reply(hall, message, correlation) and data_of(message)["final"],
        timeout_s=timeout_s,
    )


# The first kill comes with the broker's acknowledgement, the others a little later: before the journal has
# the message, while the model runs, while the answer leaves.
@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.1, 0.6])
def test_what_was_acknowledged_before_a_kill_is_answered_after_it_and_no_command_runs_twice(
    hall: Hall, after_s: float
) -> None:
    texts = (ORDER.format(percent=30 + int(after_s * 50)), DRIVE, QUESTION)
    since, before = len(hall.observer.said), len(hall.pump.orders)
    asked = [_ask(hall, text) for text in texts]
    _final(hall, asked[-1], timeout_s=after_s)
    hall.edge.kill()
    hall.edge.start(hall.observer)

    ends = [_final(hall, correlation) for correlation in asked]

    assert None not in ends, dict(zip(asked, ends, strict=True))
    for correlation in asked:
        told = [m for m in hall.observer.said[since:] if _is_reply(hall, m, correlation)]
        assert len({data_of(message).get("command_id") for message in told}) == 1
    driven = Counter(order.id for order in hall.rover.orders)
    assert set(driven.values()) <= {1}
    issued = {data_of(end).get("command_id") for end in ends if end}
    # The pump may get its order twice, for that is idempotent, but only under one identifier.
    assert {order.id for order in hall.pump.orders[before:]} <= issued


def test_after_all_kills_orders_still_reach_the_devices(hall: Hall) -> None:
    before = len(hall.pump.orders), len(hall.rover.orders)
    ends = [_final(hall, _ask(hall, text)) for text in (ORDER.format(percent=20), "halt rover one")]
    assert [data_of(end)["state"] for end in ends if end] == ["verified", "verified"], str(
        [data_of(end).get("reason") for end in ends if end]
    )
    assert (len(hall.pump.orders), len(hall.rover.orders)) == (before[0] + 1, before[1] + 1)


def _retained(hall: Hall) -> bytes:
    """Return the state that somebody reads who comes only now."""
    words = ("-t", hall.edge.topics.status, "-C", "1", "-W", "20")
    return mosquitto_tool("mosquitto_sub", hall.edge.port, *words).rstrip(b"\n")


def test_the_broker_tells_that_a_killed_service_is_lost_and_later_that_it_is_back(hall: Hall) -> None:
    since = len(hall.observer.said)
    hall.edge.kill()
    assert hall.observer.wait_for(hall.edge.tells("lost"), timeout_s=ANSWER_S, since=since)
    assert _retained(hall) == b"lost"
    hall.edge.start(hall.observer)
    assert _retained(hall) == b"ready"


def test_a_service_that_is_told_to_stop_does_so_within_ten_seconds_and_says_so(hall: Hall) -> None:
    try:
        assert hall.edge.stop(timeout_s=10.0) == 0
        assert _retained(hall) == b"offline"
        assert hall.edge.log[-1]["event"] == "stopped"
    finally:
        hall.edge.start(hall.observer)
