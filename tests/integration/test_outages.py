"""A broker that is not there, goes away, or says no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edge_node.demo.site import Observer
from tests.brokers import Mosquitto, mosquitto
from tests.integration.edges import QUESTION, Edge, last_reply, small_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.models]


@dataclass(frozen=True)
class Late:
    """An edge that was started before its broker."""

    edge: Edge
    broker: Mosquitto


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Late]:
    folder = tmp_path_factory.mktemp("late")
    broker = Mosquitto(folder / "broker")
    edge = Edge.make(folder / "edge", port=broker.port, home=home, nodes=small_nodes(folder / "nodes"))
    edge.launch()
    try:
        assert edge.wait_for_log(lambda line: line["event"] == "broker_unreachable")
        broker.start()
        yield Late(edge, broker)
    finally:
        edge.close()
        broker.stop()


def test_a_service_without_a_broker_says_so_keeps_trying_and_answers_once_there_is_one(late: Late) -> None:
    assert late.edge.first("broker_unreachable")["broker"] == f"127.0.0.1:{late.broker.port}"
    assert late.edge.wait_for_log(lambda line: line["event"] == "broker_connected")
    with late.edge.client("ada") as client, Observer(late.edge.broker) as observer:
        assert observer.wait_for(late.edge.tells("ready"), timeout_s=20.0)
        assert "2,000 operating hours" in last_reply(client, QUESTION).text


@pytest.mark.parametrize("end", [Mosquitto.stop, Mosquitto.kill], ids=["stopped", "killed"])
def test_a_service_whose_broker_goes_away_answers_again_once_it_is_back(late: Late, end: object) -> None:
    assert late.edge.wait_for_log(lambda line: line["event"] == "broker_connected")
    losses = _count(late.edge, "broker_lost")
    connections = _count(late.edge, "broker_connected")
    assert callable(end)
    end(late.broker)
    assert late.edge.wait_for_log(lambda _: _count(late.edge, "broker_lost") > losses)
    late.broker.start()
    assert late.edge.wait_for_log(lambda _: _count(late.edge, "broker_connected") > connections)
    with late.edge.client("ada") as client, Observer(late.edge.broker) as observer:
        assert observer.wait_for(late.edge.tells("ready"), timeout_s=20.0)
        assert "2,000 operating hours" in last_reply(client, QUESTION).text


def _count(edge: Edge, event: str) -> int:
    return sum(line["event"] == event for line in edge.log)


def test_a_service_that_the_broker_does_not_let_in_ends_with_78_and_one_clear_line(
    tmp_path: Path, home: Path
) -> None:
    users, password = tmp_path / "users", tmp_path / "password"
    users.touch()
    password.write_text("wrong\n")
    password.chmod(0o600)
    with mosquitto(tmp_path / "broker", settings=f"allow_anonymous false\npassword_file {users}\n") as broker:
        access = {"username": "edge", "password_file": str(password)}
        nodes = small_nodes(tmp_path / "nodes")
        edge = Edge.make(tmp_path / "edge", port=broker.port, home=home, nodes=nodes, broker=access)
        edge.launch()
        assert edge.wait() == 78
    spoken = [line for line in edge.lines if not line.startswith("{")]
    assert len(spoken) == 1
    assert spoken[0].startswith(f"edge-node: broker 127.0.0.1:{broker.port}: expected to be let in")
    assert "password_file" in spoken[0]
