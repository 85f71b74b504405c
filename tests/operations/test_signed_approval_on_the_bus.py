"""A signed approval over a real broker, and the same message sent again by who has read it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.messages import Outgoing
from tests.running_edge import ANSWER_S, PRESS_NODE, RunningEdge, running_edge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.models]


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[RunningEdge]:
    assert CliRunner().invoke(edge_node, ["key", "new", "anna", "--folder", str(tmp_path)]).exit_code == 0
    operators = {"roles": {"keeper": ["anna"]}, "keys": {"anna": "anna.pub"}, "approve": ["ada"]}
    with running_edge(tmp_path, operators=operators) as made:
        spec = copy.deepcopy(PRESS_NODE)
        guard = spec["commands"]["open_guard"]
        guard |= {"approve": {"by": ["keeper"], "signed": True}, "limit": {}, "expires": "10m"}
        (tmp_path / "nodes" / "press-shop" / "node.yaml").write_text(json.dumps(spec))
        made.start()
        made.report(load=10)
        yield made


def approve(edge: RunningEdge, command_id: str, *more: str) -> tuple[int, str]:
    words = ["approve", command_id, "--config", str(edge.config), "--user", "anna", *more]
    done = CliRunner().invoke(edge_node, words)
    return done.exit_code, done.output


def test_who_is_asked_signs_and_nobody_can_say_it_again(edge: RunningEdge) -> None:
    since = len(edge.observer.said)
    asked = CliRunner().invoke(
        edge_node, ["ask", "open", "guard", "of", "press-1", "--config", str(edge.config), "--user", "bob"]
    )
    assert asked.exit_code == 75
    assert "who may: anna" in asked.output

    request = edge.observed(
        lambda message: message.topic == edge.topics.operation_response("anna", "approval"), since=since
    )
    told: dict[str, Any] = json.loads(request.payload)["data"]
    assert (told["state"], told["asked_by"]) == ("awaiting_approval", "bob")

    command_id = told["command_id"]
    status, said = approve(edge, command_id)
    assert (status, "expected a signature" in said) == (1, True)
    key = ("--key", str(edge.folder / "anna.key"))
    assert approve(edge, command_id, *key) == (0, "open_guard sent: approved by anna\n")
    topic = edge.topics.operation("anna", "approve")
    recorded = next(m for m in edge.observer.said[since:] if m.topic == topic and b"signature" in m.payload)

    waiting = edge.first("open guard of press-1")
    forged = {**json.loads(recorded.payload), "command_id": waiting["command_id"], "correlation": "forged"}
    edge.end()
    edge.start()
    edge.report(load=10)
    for body in (json.loads(recorded.payload) | {"correlation": "again"}, forged):
        refused = said_to(edge, topic, body)
        assert refused["error"]["code"] in {"transition_invalid", "signature_refused"}
    assert approve(edge, waiting["command_id"], *key)[0] == 0


def said_to(edge: RunningEdge, topic: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return what is answered to a message that anybody may have sent."""
    since = len(edge.observer.said)
    edge.publish(Outgoing(topic, json.dumps(body).encode(), correlation=body["correlation"].encode()))
    answer = edge.observed(
        lambda message: (
            message.topic == edge.topics.operation_response("anna", "approve")
            and json.loads(message.payload)["corr"] == body["correlation"]
        ),
        since=since,
        timeout_s=ANSWER_S,
    )
    data: dict[str, Any] = json.loads(answer.payload)["data"]
    return data
