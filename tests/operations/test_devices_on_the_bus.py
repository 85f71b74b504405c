"""Listing devices over a real broker, and what an edge still knows after a stop and after a crash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.messages import Outgoing
from tests.running_edge import ANSWER_S, RunningEdge, running_edge

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.broker, pytest.mark.models]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with running_edge(tmp_path_factory.mktemp("hall"), limits={"devices": 3}) as made:
        made.start()
        yield made


def known(edge: RunningEdge) -> dict[str, dict[str, Any]]:
    """Return what the edge knows, once it has handled all that was said before."""
    return {each["device"]: each for each in edge.client("ada").devices(timeout_s=ANSWER_S)}


def test_devices_and_their_values_are_known_after_a_stop_and_after_a_crash(edge: RunningEdge) -> None:
    edge.report(load=10)
    edge.report("press-2", load=20)
    before = known(edge)
    assert {name: each["fields"]["load"]["value"] for name, each in before.items()} == {
        "press-1": 10,
        "press-2": 20,
    }

    edge.end()
    edge.start()
    stopped = known(edge)
    edge.report(load=11)
    assert known(edge)["press-1"]["fields"]["load"]["value"] == 11
    edge.kill()
    edge.start()
    crashed = known(edge)

    assert [each["online"] for each in (*stopped.values(), *crashed.values())] == [True] * 4
    for name, each in before.items():
        assert stopped[name]["fields"]["load"]["at"] == each["fields"]["load"]["at"]
    assert crashed["press-1"]["fields"]["load"]["value"] == 11
    assert crashed["press-2"]["fields"]["load"]["at"] == before["press-2"]["fields"]["load"]["at"]


def test_the_command_line_lists_them(edge: RunningEdge) -> None:
    edge.report(load=12)

    told = CliRunner().invoke(
        edge_node,
        ["devices", "--json", "--config", str(edge.config), "--user", "ada"],
        catch_exceptions=False,
    )

    assert told.exit_code == 0
    listed = {each["device"]: each for each in json.loads(told.output)}
    assert listed["press-1"]["fields"]["load"]["topic"] == "shop/press-1/state"


def test_a_flood_of_devices_is_one_alert_and_known_ones_go_on(edge: RunningEdge) -> None:
    edge.report(load=1)
    since = len(edge.observer.said)
    for number in range(200):
        edge.report(f"flood-{number}", load=1)
    edge.observed(lambda message: message.topic == edge.topics.alert("devices_refused"), since=since)
    edge.report(load=13)

    after = known(edge)

    assert len(after) == 3
    assert after["press-1"]["fields"]["load"]["value"] == 13
    alerts = [
        each for each in edge.observer.said[since:] if each.topic == edge.topics.alert("devices_refused")
    ]
    assert [json.loads(each.payload)["data"]["state"] for each in alerts][:1] == ["begin"]
    assert sum(json.loads(each.payload)["data"]["state"] == "begin" for each in alerts) == 1


def test_a_key_that_the_operation_does_not_have_is_refused(edge: RunningEdge) -> None:
    reply = edge.client("ada").operate("devices", device="press-1")

    assert reply.kind == "error"
    assert "only node, after, correlation" in reply.text


def test_a_request_without_a_payload_is_answered_too(edge: RunningEdge) -> None:
    since = len(edge.observer.said)

    edge.publish(Outgoing(edge.topics.operation("bob", "devices"), b""))

    answer = edge.observed(
        lambda message: message.topic == edge.topics.operation_response("bob", "devices"), since=since
    )
    assert json.loads(answer.payload)["data"]["devices"]
