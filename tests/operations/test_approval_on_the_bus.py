"""Approving and cancelling over a real broker, with the ready pump node and a simulated pump."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.demo.pump import SimulatedPump
from edge_node.messages import Outgoing
from tests.running_edge import ANSWER_S, ROOT, RunningEdge, running_edge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_node.client import Reply

pytestmark = [pytest.mark.broker, pytest.mark.models]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    """Give a hall with a pump and a press; two may approve."""
    folder = tmp_path_factory.mktemp("hall")
    with running_edge(folder, operators={"approve": ["ada", "cem"]}, stop={"reset": ["ada"]}) as made:
        (folder / "nodes" / "pump-guard").symlink_to(ROOT / "nodes" / "pump-guard")
        made.start()
        made.report(load=10)
        yield made


@pytest.fixture
def pump(edge: RunningEdge) -> Iterator[SimulatedPump]:
    with SimulatedPump("pump-1", host="127.0.0.1", port=edge.port, speed=0.0, pace=4.0) as made:
        assert made.wait_for_report(lambda _: True, timeout_s=ANSWER_S)
        edge.observed(lambda message: message.topic == "plant/pump-1/telemetry")
        yield made


def ordered(edge: RunningEdge, words: str, *, user: str = "bob") -> tuple[str, Iterator[Reply]]:
    """Return a command that waits for approval, and what is said of it later."""
    replies = edge.client(user).ask(words, timeout_s=ANSWER_S)
    reply = next(replies)
    assert reply.data["state"] == "awaiting_approval", reply.data
    return reply.data["command_id"], replies


def code(reply: Reply) -> tuple[str, str]:
    error: Any = reply.data.get("error", {})
    return reply.kind, error.get("code", "")


def test_an_approved_valve_opens_and_who_ordered_it_hears_so(edge: RunningEdge, pump: SimulatedPump) -> None:
    command_id, replies = ordered(edge, "open the valve of pump one")
    assert pump.orders == ()

    told = CliRunner().invoke(
        edge_node, ["approve", command_id, "--config", str(edge.config), "--user", "ada"]
    )

    assert (told.exit_code, told.output) == (0, "open_valve sent: approved by ada\n")
    assert [reply.data["state"] for reply in replies] == ["sent", "acknowledged", "verified"]
    assert [(order.id, order.body["valve"]) for order in pump.orders] == [(command_id, "open")]
    again = edge.client("cem").operate("approve", command_id=command_id)
    assert code(again) == ("error", "transition_invalid")
    assert len(pump.orders) == 1


def test_two_approvals_at_once_send_one_command(edge: RunningEdge, pump: SimulatedPump) -> None:
    command_id, replies = ordered(edge, "open the valve of pump one")
    payload = json.dumps({"command_id": command_id}).encode()

    for user in ("ada", "cem", "ada"):
        edge.publish(Outgoing(edge.topics.operation(user, "approve"), payload))

    assert [reply.data["state"] for reply in replies][-1] == "verified"
    edge.client("ada").operate("cancel", command_id=command_id)
    assert [order.id for order in pump.orders] == [command_id]


def test_who_may_not_approve_is_refused_and_the_command_waits_on(edge: RunningEdge) -> None:
    edge.report(load=10)
    command_id, replies = ordered(edge, "open guard of press-1")

    assert code(edge.client("bob").operate("approve", command_id=command_id)) == ("error", "not_permitted")
    assert code(edge.client("eve").operate("cancel", command_id=command_id)) == ("error", "not_permitted")
    assert edge.client("bob").operate("cancel", command_id=command_id).data["state"] == "cancelled"
    assert next(replies).data["reason"] == "cancelled by bob"


def test_an_approval_is_judged_as_things_are_now(edge: RunningEdge) -> None:
    edge.report("press-2", load=10)
    command_id, replies = ordered(edge, "open guard of press-2")
    edge.report("press-2", load=90)

    denied = edge.client("ada").operate("approve", command_id=command_id)

    assert code(denied) == ("error", "denied")
    assert "require[0]" in denied.text
    edge.report("press-2", load=20)
    assert edge.client("ada").operate("approve", command_id=command_id).data["state"] == "sent"
    assert [reply.data["state"] for reply in replies] == ["sent", "acknowledged"]


def test_an_approval_that_comes_too_late_is_refused(edge: RunningEdge) -> None:
    edge.report("press-3", load=10)
    command_id, replies = ordered(edge, "open guard of press-3")
    assert [reply.data["state"] for reply in replies] == ["expired"]

    late = edge.client("ada").operate("approve", command_id=command_id)

    assert code(late) == ("error", "transition_invalid")


def test_an_approval_survives_a_restart_of_the_edge(edge: RunningEdge) -> None:
    edge.report("press-4", load=10)
    command_id, _ = ordered(edge, "open guard of press-4")

    edge.kill()
    edge.start()
    edge.report("press-4", load=10)

    assert edge.client("ada").operate("approve", command_id=command_id).data["state"] == "sent"


def test_nothing_is_approved_while_stopped(edge: RunningEdge) -> None:
    edge.report("press-5", load=10)
    command_id, _ = ordered(edge, "open guard of press-5")
    edge.client("bob").stop("leak")

    refused = edge.client("ada").operate("approve", command_id=command_id)
    edge.client("ada").reset_stop()

    assert refused.kind == "error"
    assert code(edge.client("ada").operate("approve", command_id=command_id)) == (
        "error",
        "transition_invalid",
    )


@pytest.mark.parametrize(
    ("operation", "payload", "field"),
    [
        ("approve", b"", "command_id"),
        ("approve", b"{", "payload"),
        ("approve", b"[]", "payload"),
        ("approve", b'{"command_id": 7}', "command_id"),
        ("approve", b'{"command_id": "' + b"x" * 100 + b'"}', "command_id"),
        ("approve", b'{"command_id": "x", "user": "ada"}', "user"),
        ("explode", b"{}", "operation"),
    ],
)
def test_a_malformed_operation_is_answered(
    edge: RunningEdge, operation: str, payload: bytes, field: str
) -> None:
    since = len(edge.observer.said)
    edge.publish(Outgoing(edge.topics.operation("ada", operation), payload, correlation=b"c-1"))

    answer = edge.observed(
        lambda message: message.topic == edge.topics.operation_response("ada", operation), since=since
    )

    body = json.loads(answer.payload)
    assert (body["type"], body["corr"], body["data"]["error"]["field"]) == ("error", "c-1", field)
