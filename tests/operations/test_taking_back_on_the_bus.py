"""Pieces of answers, deadlines and questions that are taken back, over a real broker with the real models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.messages import Outgoing
from tests.running_edge import ANSWER_S, RunningEdge, running_edge

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.broker, pytest.mark.models]

QUESTION = "how often is the ram greased, and why?"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with running_edge(tmp_path_factory.mktemp("hall")) as made:
        made.start()
        yield made


def test_what_an_answer_will_hold_comes_before_it(edge: RunningEdge) -> None:
    *pieces, answer = edge.client("ada").ask(QUESTION, stream=True, timeout_s=ANSWER_S)

    assert (answer.kind, answer.final) == ("answer", True)
    assert [piece.kind for piece in pieces] == ["piece"] * len(answer.data["quotations"])
    assert [piece.data["seq"] for piece in pieces] == list(range(len(pieces)))
    assert sorted(piece.text for piece in pieces) == sorted(answer.text.splitlines())
    assert pieces


def test_what_was_decided_already_cannot_be_taken_back(edge: RunningEdge) -> None:
    told = CliRunner().invoke(
        edge_node, ["cancel", "--request", "c-1", "--config", str(edge.config), "--user", "ada", "--json"]
    )

    assert told.exit_code == 1
    assert json.loads(told.stdout)["error"]["code"] == "request_unknown"


def test_of_more_questions_than_can_be_answered_in_time_each_is_told_its_end(edge: RunningEdge) -> None:
    since = len(edge.observer.said)
    count = 60
    for number in range(count):
        question = {"text": QUESTION, "correlation": f"d-{number}", "deadline": "50ms"}
        edge.publish(Outgoing(edge.topics.ask("crowd"), json.dumps(question).encode()))

    ends: dict[str, str] = {}

    def all_ended(message: object) -> bool:
        topic, payload = getattr(message, "topic", ""), getattr(message, "payload", b"")
        if topic == edge.topics.reply("crowd"):
            body = json.loads(payload)
            ends[body["corr"]] = body["data"].get("code", body["type"])
        return len(ends) == count

    edge.observed(all_ended, since=since, timeout_s=ANSWER_S * 2)

    assert set(ends.values()) <= {"answer", "deadline"}
    assert "deadline" in ends.values()
