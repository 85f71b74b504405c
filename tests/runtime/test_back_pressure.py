"""More than an edge can bear: people are told, and the trouble is told once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.messages import Outgoing
from tests.running_edge import ANSWER_S, running_edge

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.messages import Message

pytestmark = [pytest.mark.broker, pytest.mark.models]

ASKED = 40


def test_everybody_is_answered_some_with_busy_and_one_alert_tells_of_it(tmp_path: Path) -> None:
    with running_edge(tmp_path, limits={"queue": 2}) as edge:
        edge.start()
        since = len(edge.observer.said)
        for number in range(ASKED):
            question = {"text": "how often is the ram greased, and why?", "correlation": f"c-{number}"}
            edge.publish(Outgoing(edge.topics.ask("crowd"), json.dumps(question).encode()))

        final: dict[str, dict[str, Any]] = {}

        def all_answered(message: Message) -> bool:
            if message.topic == edge.topics.reply("crowd"):
                body = json.loads(message.payload)
                final[body["corr"]] = body["data"]
            return len(final) == ASKED

        edge.observed(all_answered, since=since, timeout_s=ANSWER_S * 3)

        busy = [data for data in final.values() if "error" in data]
        assert busy
        assert {(data["error"]["code"], data["error"]["retryable"]) for data in busy} == {("busy", True)}
        edge.observed(
            lambda message: message.topic == edge.topics.alert("queue_full") and b'"end"' in message.payload,
            since=since,
        )
        alerts = [
            json.loads(message.payload)["data"]
            for message in edge.observer.said[since:]
            if message.topic == edge.topics.alert("queue_full")
        ]
        assert [alert["state"] for alert in alerts] == ["begin", "end"]
        assert alerts[1]["count"] >= len(busy)
