"""Changed files taken up by a running edge, over a real broker, with the real models."""

from __future__ import annotations

import copy
import json
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.messages import Outgoing
from tests.running_edge import ANSWER_S, PRESS_NODE, RunningEdge, running_edge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_node.messages import Message

pytestmark = [pytest.mark.broker, pytest.mark.models]

SETTINGS: dict[str, Any] = {"operators": {"reload": ["ada"], "approve": ["ada"]}}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with running_edge(tmp_path_factory.mktemp("hall"), **SETTINGS) as made:
        made.start()
        made.report(load=10)
        yield made


@pytest.fixture(autouse=True)
def _as_it_was(edge: RunningEdge) -> Iterator[None]:
    """Put the files back after each test."""
    yield
    put(edge, PRESS_NODE)
    for file in ("added", "fan"):
        node_file(edge, file).unlink(missing_ok=True)
    edge.write(nodes=str(edge.folder / "nodes" / "*"), **SETTINGS)
    edge.client("ada").operate("reload", timeout_s=ANSWER_S)


def node_file(edge: RunningEdge, name: str = "press-shop") -> Path:
    return edge.folder / "nodes" / name / "node.yaml"


def put(edge: RunningEdge, node: dict[str, Any]) -> None:
    """Write a node file as an editor does: another file under the same name."""
    file = node_file(edge, node["name"])
    file.parent.mkdir(exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(node, indent=1))
    draft.replace(file)


def node(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(PRESS_NODE), **changes}


def with_maximum(force: int) -> dict[str, Any]:
    changed = node()
    changed["commands"]["press"]["args"]["force"]["maximum"] = force
    return changed


def alert(state: str) -> Callable[[Message], bool]:
    def tells(message: Message) -> bool:
        told = message.topic.endswith("/alert/configuration_refused")
        return told and json.loads(message.payload)["data"]["state"] == state

    return tells


def data(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(message.payload)["data"]
    return body


def reloaded(edge: RunningEdge) -> str:
    """Return what the edge says has changed."""
    return edge.client("ada").operate("reload", timeout_s=ANSWER_S).text


def test_a_saved_node_file_is_in_force_without_being_asked_for(edge: RunningEdge) -> None:
    assert edge.first("press press-1 with 700")["state"] == "sent"
    since = len(edge.observer.said)

    put(edge, with_maximum(600))
    # The retained description is said again with every configuration that is taken up.
    edge.observed(lambda message: message.topic == edge.topics.info, since=since)

    denied = edge.first("press press-1 with 700")
    assert (denied["state"], denied["rule"]) == ("denied", "arguments")
    assert edge.first("press press-1 with 500")["state"] == "sent"


def test_a_bad_file_leaves_the_old_configuration_and_one_alert_that_ends(edge: RunningEdge) -> None:
    since = len(edge.observer.said)

    bad = with_maximum(600)
    bad["commands"]["press"]["require"] = ["lode < 50"]
    put(edge, bad)

    told = data(edge.observed(alert("begin"), since=since))
    line = 1 + node_file(edge).read_text().split("lode < 50")[0].count("\n")
    assert f"{node_file(edge)}:{line}" in told["text"]
    assert edge.first("press press-1 with 700")["state"] == "sent"
    bad["commands"]["press"]["require"] = ["lade < 50"]
    put(edge, bad)
    refused = edge.client("ada").operate("reload", timeout_s=ANSWER_S)
    assert (refused.kind, refused.data["error"]["code"]) == ("error", "configuration_invalid")

    put(edge, with_maximum(650))
    edge.observed(alert("end"), since=since)
    assert sum(map(alert("begin"), edge.observer.said[since:])) == 1
    assert edge.first("press press-1 with 700")["state"] == "denied"


def test_who_may_is_told_what_has_changed_and_nobody_else_may(edge: RunningEdge) -> None:
    put(edge, node(stale="2h"))
    told = CliRunner().invoke(edge_node, ["reload", "--config", str(edge.config), "--user", "ada"])
    assert told.exit_code == 0
    assert "taken up: node press-shop changed (stale)" in told.output

    assert reloaded(edge) == "nothing to take up; last taken up: node press-shop changed (stale)"
    refused = edge.client("bob").operate("reload", timeout_s=ANSWER_S)
    assert refused.data["error"]["code"] == "not_permitted"


def test_what_needs_a_restart_is_named_and_the_rest_is_taken_up(edge: RunningEdge) -> None:
    operators = {"reload": ["ada", "cem"]}
    edge.write(nodes=str(edge.folder / "nodes" / "*"), operators=operators, edge="other", limits={"text": 50})

    told = edge.client("ada").operate("reload", timeout_s=ANSWER_S)
    assert told.data["restart"] == ["edge"]
    for key in ("operators.reload", "operators.approve", "limits.text"):
        assert key in told.text
    assert told.text.endswith("a restart is needed for edge")
    assert edge.client("cem").operate("reload", timeout_s=ANSWER_S).kind == "response"
    assert edge.first("press press-1 with 4" + " please" * 12)["error"]["code"] == "payload_invalid"


def test_a_signal_reloads_as_systemctl_does(edge: RunningEdge) -> None:
    since = len(edge.observer.said)
    put(edge, node(description="Another one."))
    assert edge.process is not None
    edge.process.send_signal(signal.SIGHUP)

    info = edge.observed(lambda message: message.topic == edge.topics.info, since=since)
    assert json.loads(info.payload)["nodes"] == {"press-shop": "Another one."}


def test_topics_follow_the_nodes(edge: RunningEdge) -> None:
    fan = node(name="fan", commands={}, listen=[{"topic": "fan/{fan}/rpm", "qos": 1, "fields": {"rpm": "$"}}])
    fan["triggers"] = {"fast": {"when": "rpm > 100", "say": "{fan} turns at {rpm}."}}
    fan["knowledge"] = []
    put(edge, fan)
    assert "taken up: node fan added" in reloaded(edge)

    since = len(edge.observer.said)
    edge.publish(Outgoing("fan/fan-1/rpm", b"150"))
    event = edge.observed(lambda message: message.topic == edge.topics.event("fast"), since=since)
    assert data(event)["alarm"] == "fan-1 turns at 150."

    node_file(edge, "fan").unlink()
    assert "taken up: node fan removed" in reloaded(edge)
    since = len(edge.observer.said)
    edge.publish(Outgoing("fan/fan-2/rpm", b"150"))
    assert edge.first("press press-1 with 3")["state"] == "sent"
    assert not any(message.topic == edge.topics.event("fast") for message in edge.observer.said[since:])


def test_an_episode_goes_on_over_a_reload(edge: RunningEdge) -> None:
    watched = node(triggers={"heavy": {"when": "load > 90", "until": "load < 20"}})
    put(edge, watched)
    reloaded(edge)
    heavy = edge.topics.event("heavy")
    since = len(edge.observer.said)
    edge.report("press-9", load=95)
    edge.observed(lambda message: message.topic == heavy, since=since)

    watched["description"] = "The same, in other words."
    put(edge, watched)
    reloaded(edge)
    edge.report("press-9", load=96)
    edge.report("press-8", load=95)
    edge.observed(
        lambda message: message.topic == heavy and data(message)["device"] == "press-8", since=since
    )

    devices = [data(message)["device"] for message in edge.observer.said[since:] if message.topic == heavy]
    assert devices == ["press-9", "press-8"]


def test_a_command_that_waited_is_not_approved_as_another_one(edge: RunningEdge) -> None:
    waiting = edge.first("open guard of press-1")
    assert waiting["state"] == "awaiting_approval"
    changed = node()
    changed["commands"]["open_guard"]["publish"]["payload"] = {"guard": "off", "id": "{command_id}"}
    put(edge, changed)
    reloaded(edge)

    refused = edge.client("ada").operate("approve", command_id=waiting["command_id"], timeout_s=ANSWER_S)
    assert refused.data["error"]["code"] == "transition_invalid"
    assert "older configuration" in refused.text
    cancelled = edge.client("ada").operate("cancel", command_id=waiting["command_id"], timeout_s=ANSWER_S)
    assert cancelled.data["state"] == "cancelled"


def test_a_changed_manual_is_searched_once_it_is_read(edge: RunningEdge) -> None:
    manual = edge.folder / "nodes" / "press-shop" / "manual" / "press.md"
    before = manual.read_text()
    since = (edge.folder / "log").read_text().count("knowledge_built")
    manual.write_text(before.replace("every 40 hours", "every 55 hours"))
    reloaded(edge)
    try:
        *_, reply = edge.client("bob").ask("how often is the ram greased?", timeout_s=ANSWER_S)
        while "55" not in reply.text:
            *_, reply = edge.client("bob").ask("how often is the ram greased?", timeout_s=ANSWER_S)
    finally:
        manual.write_text(before)
    assert (edge.folder / "log").read_text().count("knowledge_built") > since


def test_no_order_is_lost_or_carried_out_twice_while_files_change(edge: RunningEdge) -> None:
    actuator = edge.actuator()
    forces = range(20_000, 20_200)
    done = threading.Event()
    taken_up: list[str] = []

    def change() -> None:
        maximum = 90_000
        while not done.is_set() or len(taken_up) < 3:
            maximum -= 1
            put(edge, with_maximum(maximum))
            taken_up.append(reloaded(edge))

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for force in forces:
            edge.publish(Outgoing(edge.topics.ask("crowd"), f"press press-1 with {force}".encode()))
        actuator.wait_for(lambda heard: sum(topic.endswith("/set") for topic, _ in heard) >= len(forces))
    finally:
        done.set()
        changing.join(ANSWER_S)

    assert sorted(order["force"] for order in actuator.orders()) == list(forces)
    assert len(taken_up) >= 3
    assert all("node press-shop changed (commands.press" in text for text in taken_up)


def test_readings_that_come_apart_follow_the_nodes_too(edge: RunningEdge) -> None:
    fan = node(name="fan", commands={}, listen=[{"topic": "fan/{fan}/rpm", "fields": {"rpm": "$"}}])
    fan["triggers"] = {"racing": {"when": "rpm > 100"}}
    fan["knowledge"] = []
    put(edge, fan)
    assert "taken up: node fan added" in reloaded(edge)

    since = len(edge.observer.said)
    # The connection for readings may have to be opened first, and what comes before that is not kept.
    while not any(message.topic == edge.topics.event("racing") for message in edge.observer.said[since:]):
        edge.publish(Outgoing("fan/fan-3/rpm", b"150", qos=0))
        edge.first("press press-1 with 3")
