"""The operational stop of a whole edge, over a real broker, with the real models."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.messages import Outgoing
from edge_node.stop import StopFile, StopRecord
from edge_node.stop.record import reset_at_rest
from tests.running_edge import ANSWER_S, Actuator, RunningEdge, running_edge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.models]

MOMENTS_S = [random.Random(7).uniform(0.0, 0.6) for _ in range(12)]  # noqa: S311 - any moments will do


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[RunningEdge]:
    with running_edge(
        tmp_path, stop={"reset": ["ada"]}, operators={"approve": ["ada"]}, limits={"queue": 8}
    ) as made:
        made.start()
        made.report(load=10)
        yield made


def stopped(body: dict[str, object]) -> bool:
    return body.get("state") == "stopped"


def place_of_stop(actuator: Actuator, stop_id: str) -> int:
    """Return the place behind the retained state of a stop, once it was heard."""
    actuator.wait_for(lambda heard: any(body.get("id") == stop_id and stopped(body) for _, body in heard))
    return 1 + max(at for at, (_, body) in enumerate(actuator.heard) if body.get("id") == stop_id)


def test_nothing_leaves_after_a_stop_whatever_the_moment(edge: RunningEdge) -> None:
    actuator = edge.actuator()
    forces = iter(range(100_000))
    told: set[str] = set()

    for moment in MOMENTS_S:
        # The model is asked, and its queue is full: a stop waits for neither.
        for _ in range(6):
            edge.publish(Outgoing(edge.topics.ask("crowd"), b"how often is the ram greased, and why?"))
        feeding = threading.Event()
        feeder = threading.Thread(target=feed, args=(edge, forces, feeding))
        feeder.start()
        threading.Event().wait(moment)
        state = edge.client("bob").stop("a person is in the cell").data
        place = place_of_stop(actuator, state["id"])
        feeding.set()
        feeder.join()

        late = edge.last(f"press press-1 with {next(forces)}")
        assert (late["state"], late["rule"]) == ("denied", "stop")
        assert "operational stop by bob" in late["reason"]
        assert edge.client("ada").reset_stop().kind == "response"
        before_reset = len(actuator.heard)
        first_after = next(forces)
        assert edge.last(f"press press-1 with {first_after}")["state"] == "acknowledged"
        actuator.wait_for(lambda heard, force=first_after: any(b.get("force") == force for _, b in heard))

        assert actuator.orders(place) == actuator.orders(before_reset)
        assert [order["force"] for order in actuator.orders(place)] == [first_after]
        told |= {order["id"] for order in actuator.orders()}

    assert len(actuator.orders()) == len(told), "an order came twice"


def feed(edge: RunningEdge, forces: Iterator[int], done: threading.Event) -> None:
    """Give order after order until it is enough; they are not waited for."""
    for verb in ("press", "stamp") * 200:
        if done.is_set():
            return
        order = f"{verb} press-1 with {next(forces)}".encode()
        edge.publish(Outgoing(edge.topics.ask("feeder"), order))


def test_what_waits_for_a_person_is_cancelled_and_stays_so(edge: RunningEdge) -> None:
    replies = edge.client("bob").ask("open guard of press-1", timeout_s=ANSWER_S)
    waiting = next(replies)
    assert waiting.data["state"] == "awaiting_approval"

    edge.client("eve").stop("smoke")
    cancelled = next(replies)

    assert cancelled.data["state"] == "cancelled"
    assert cancelled.data["reason"].startswith("operational stop by eve")
    assert edge.client("ada").reset_stop().data["text"].startswith("clear, reset by ada")
    too_late = edge.client("ada").operate("approve", command_id=waiting.data["command_id"])
    assert (too_late.kind, too_late.data["error"]["code"]) == ("error", "transition_invalid")


def test_the_status_says_stopped_until_the_reset_and_over_a_restart(edge: RunningEdge) -> None:
    def says(word: bytes, *, since: int) -> None:
        edge.observed(
            lambda message: (message.topic, message.payload) == (edge.topics.status, word), since=since
        )

    since = len(edge.observer.said)
    edge.client("bob").stop("leak")
    says(b"stopped", since=since)
    edge.end()

    since = len(edge.observer.said)
    edge.start()
    said = [message.payload for message in edge.observer.said[since:] if message.topic == edge.topics.status]
    assert said == [b"starting", b"stopped"]
    edge.client("ada").reset_stop()
    says(b"ready", since=since)


def test_a_latch_holds_over_a_kill(edge: RunningEdge) -> None:
    first = edge.client("bob").stop("leak").data
    edge.kill()
    edge.start()
    actuator = edge.actuator()

    edge.report(load=10)
    denied = edge.last("press press-1 with 7")

    assert (denied["state"], denied["rule"]) == ("denied", "stop")
    assert "leak" in denied["reason"]
    actuator.wait_for(lambda heard: any(stopped(body) for _, body in heard))
    state = next(body for topic, body in actuator.heard if topic == edge.topics.stop_state)
    assert (state["id"], state["by"], state["reason"]) == (first["id"], "bob", "leak")
    assert state["boot"] != first["boot"]
    assert actuator.orders() == []


@pytest.mark.parametrize("reset", [False, True])
def test_what_waited_before_a_crash_is_cancelled_at_the_start(edge: RunningEdge, *, reset: bool) -> None:
    waiting = edge.first("open guard of press-1")
    edge.kill()
    latch = StopFile(edge.state)
    latch.write(StopRecord("stopped", "a-stop", "bob", "leak", at=time.time(), boot="before"))
    if reset:
        reset_at_rest(latch, user="ada", at=time.time())
    since = len(edge.observer.said)
    edge.start()

    life = edge.topics.command(waiting["command_id"])
    edge.observed(
        lambda message: message.topic == life and b'"state":"cancelled"' in message.payload, since=since
    )
    late = edge.client("ada").operate("approve", command_id=waiting["command_id"])
    assert late.data["error"]["code"] == "transition_invalid"
    edge.report(load=10)
    assert edge.last("press press-1 with 7")["state"] == ("acknowledged" if reset else "denied")


def test_a_latch_that_cannot_be_read_counts_as_stopped(edge: RunningEdge) -> None:
    edge.end()
    (edge.state / "stop.json").write_text('{"v": 1, "state": "cl')
    edge.start()
    edge.report(load=10)

    denied = edge.last("press press-1 with 7")
    assert (denied["state"], denied["rule"]) == ("denied", "stop")
    assert "cannot be read" in denied["reason"]

    edge.client("ada").reset_stop()
    assert edge.last("press press-1 with 7")["state"] == "acknowledged"


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe\x00", b'{"reason": ', b"{}", b"x" * 5000, b"[1]"])
def test_anything_stops(edge: RunningEdge, payload: bytes) -> None:
    since = len(edge.observer.said)
    edge.publish(Outgoing(edge.topics.stop("bob"), payload, qos=0))

    state = json.loads(
        edge.observed(lambda message: message.topic == edge.topics.stop_state, since=since).payload
    )

    assert state["data"]["state"] == "stopped"
    assert len(state["data"]["reason"]) <= 200


def test_a_retained_stop_stops_too_and_after_every_start(edge: RunningEdge) -> None:
    since = len(edge.observer.said)
    edge.publish(Outgoing(edge.topics.stop("bob"), b"forgotten", retain=True))
    edge.observed(lambda message: message.topic == edge.topics.stop_state, since=since)
    edge.client("ada").reset_stop()
    assert edge.last("press press-1 with 7")["state"] == "acknowledged"

    edge.end()
    since = len(edge.observer.said)
    edge.start()

    edge.observed(
        lambda message: message.topic == edge.topics.stop_state and b'"stopped"' in message.payload,
        since=since,
    )


def test_only_who_is_named_resets(edge: RunningEdge) -> None:
    edge.client("bob").stop("leak")

    refused = edge.client("bob").reset_stop()

    assert (refused.kind, refused.data["error"]["code"]) == ("error", "not_permitted")
    assert "stop.reset" in refused.data["error"]["hint"]
    assert edge.last("press press-1 with 7")["rule"] == "stop"


def test_a_retained_reset_is_refused_when_it_comes_again(edge: RunningEdge) -> None:
    response = edge.topics.operation_response("ada", "reset_stop")
    edge.publish(Outgoing(edge.topics.operation("ada", "reset_stop"), b"{}", retain=True))
    edge.observed(lambda message: message.topic == response)
    edge.client("bob").stop("leak")
    edge.end()
    since = len(edge.observer.said)
    edge.start()

    answer = edge.observed(lambda message: message.topic == response, since=since)

    assert json.loads(answer.payload)["data"]["error"]["field"] == "retain"
    edge.report(load=10)
    assert edge.last("press press-1 with 7")["rule"] == "stop"


def test_a_reset_is_for_the_stop_it_names(edge: RunningEdge) -> None:
    first = edge.client("bob").stop("leak").data["id"]
    edge.client("bob").stop("fire")

    late = edge.client("ada").operate("reset_stop", stop_id=first)

    assert (late.kind, late.data["error"]["code"]) == ("error", "reset_refused")
    assert edge.last("press press-1 with 7")["rule"] == "stop"


def test_the_command_line_stops_and_resets(edge: RunningEdge) -> None:
    def called(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(edge_node, ["stop", "--config", str(edge.config), *words])
        return result.exit_code, result.output

    status, said = called("--reason", "smoke in hall 3", "--user", "bob")
    assert status == 0
    assert "operational stop by bob" in said
    assert "smoke in hall 3" in said

    status, said = called("--reset", "--user", "bob")
    assert status == 1
    assert "stop.reset" in said

    edge.end()
    status, said = called("--reset", "--user", "bob")
    assert status == 0
    assert said.startswith("clear, reset by bob")
    edge.start()
    edge.report(load=10)
    assert edge.last("press press-1 with 7")["state"] == "acknowledged"
