from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner, Result

from edge_node.announcing import Announcing
from edge_node.bus.client import Listeners, MqttBus
from edge_node.cli import edge_node
from edge_node.cli.devices import age
from edge_node.config.models import BrokerConfig
from edge_node.errors import BrokerUnreachable, ConfigurationError, EdgeSilent, OperationRefused
from edge_node.topics import EdgeTopics
from tests.brokers import DEADLINE_S, embedded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

TOPICS = EdgeTopics("hall-3")
ANNOUNCING = Announcing(TOPICS, clock=lambda: 1_750_000_000.0)
NODE = "edge_node: 1\nname: lamp\n"


def field(value: Any, *, age_s: float | None = 3.0, fresh: bool = True, **more: Any) -> dict[str, Any]:
    told = {"value": value, "at": "2026-01-01T00:00:00.000Z", "age_s": age_s, "fresh": fresh}
    return {**told, "topic": "house/lamp-1/state", "entry": 0, **more}


def device(name: str, **fields: dict[str, Any]) -> dict[str, Any]:
    return {"node": "lamp", "device": name, "online": True, "seen_at": None, "fields": fields}


class HandEdge:
    """An edge that tells the pages which the test puts in, by where they begin."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, dict[str, Any]] = {}
        self.kind = "response"
        self.heard: list[dict[str, Any]] = []
        self.bus = MqttBus(
            BrokerConfig(port=port), client_id="edge", listeners=Listeners(message=self._on_message)
        )
        self.bus.subscribe({TOPICS.operations: 1})
        self.bus.start()
        assert self.bus.wait_subscribed(DEADLINE_S)

    def _on_message(self, message: Message, receipt: Receipt) -> None:
        self.bus.acknowledge(receipt)
        user, operation = TOPICS.operating(message.topic) or ("", "")
        asked = json.loads(message.payload)
        self.heard.append({**asked, "user": user, "operation": operation})
        page = self.pages.get(asked["after"])
        if page is not None:
            told = {"text": "no such node", "final": True, **page}
            topic = TOPICS.operation_response(user, operation)
            self.bus.publish(ANNOUNCING.envelope(topic, self.kind, told, corr=message.correlation.decode()))


@pytest.fixture(scope="module")
def edge() -> Iterator[HandEdge]:
    with embedded() as broker:
        made = HandEdge(broker.port)
        yield made
        made.bus.stop()


@pytest.fixture
def config(edge: HandEdge, tmp_path: Path) -> Path:
    edge.pages, edge.heard, edge.kind = {}, [], "response"
    return configured(tmp_path, port=edge.port)


def configured(folder: Path, *, port: int) -> Path:
    node = folder / "nodes" / "lamp" / "node.yaml"
    node.parent.mkdir(parents=True)
    node.write_text(NODE, encoding="utf-8")
    file = folder / "edge-node.yaml"
    file.write_text(f"edge_node: 1\nedge: hall-3\nbroker: {{port: {port}}}\n", encoding="utf-8")
    return file


def run(config: Path, *arguments: str) -> Result:
    try:
        return CliRunner(env={"COLUMNS": "160"}).invoke(
            edge_node, ["devices", "--config", str(config), "--user", "ada", *arguments]
        )
    finally:
        structlog.reset_defaults()  # the command line sends log lines to a standard error that ends here


def test_devices_stand_in_a_table_with_values_ages_and_what_was_ordered(edge: HandEdge, config: Path) -> None:
    lit = field("off", desired={"value": "on", "at": "2026-01-01T00:00:00.000Z", "command_id": "c1"})
    edge.pages[""] = {"devices": [device("lamp-1", lit=lit, watts=field(7.5, age_s=420.0, fresh=False))]}

    result = run(config)

    assert result.exit_code == 0
    first, second = (line.split("│")[1:-1] for line in result.stdout.splitlines()[3:5])
    assert [cell.strip() for cell in first] == ["lamp-1", "lamp", "yes", "lit", "off", "3 s", "on"]
    assert [cell.strip() for cell in second] == ["", "", "", "watts", "[7.5]", "7 min", ""]


def test_verbose_names_the_source_of_each_value(edge: HandEdge, config: Path) -> None:
    edge.pages[""] = {"devices": [device("lamp-1", lit=field("on"))]}

    assert "house/lamp-1/state (listen[0])" in run(config, "-v").stdout
    assert "listen[0]" not in run(config).stdout


def test_pages_are_joined_and_json_holds_all_that_was_said(edge: HandEdge, config: Path) -> None:
    edge.pages[""] = {"devices": [device("lamp-1")], "after": "lamp/lamp-1"}
    edge.pages["lamp/lamp-1"] = {"devices": [device("lamp-2", lit=field("on"))], "after": ""}

    result = run(config, "--json", "--node", "lamp")

    assert [each["device"] for each in json.loads(result.stdout)] == ["lamp-1", "lamp-2"]
    assert [(each["user"], each["operation"], each["node"]) for each in edge.heard] == [
        ("ada", "devices", "lamp")
    ] * 2


def test_what_a_device_says_neither_colours_nor_moves_the_terminal(edge: HandEdge, config: Path) -> None:
    edge.pages[""] = {"devices": [device("[red]evil[/red]", lit=field("\x1b[2J\x07gone"))]}

    told = run(config).stdout

    assert "[red]evil[/red]" in told
    assert "\x1b" not in told
    assert "\x07" not in told


def test_an_edge_that_heard_no_device_says_so(edge: HandEdge, config: Path) -> None:
    edge.pages[""] = {"devices": []}

    assert run(config).stdout == "no device was heard yet\n"


def test_an_edge_that_does_not_run_is_an_error_with_the_way_out(config: Path) -> None:
    result = run(config, "--timeout", "0.2")

    assert isinstance(result.exception, EdgeSilent)
    assert "edge-node run" in result.exception.hint


def test_a_broker_that_is_away_is_an_error_that_names_it(tmp_path: Path) -> None:
    with embedded() as gone:
        port = gone.port

    result = run(configured(tmp_path, port=port))

    assert isinstance(result.exception, BrokerUnreachable)
    assert f"127.0.0.1:{port}" in str(result.exception)


def test_a_refusal_of_the_edge_is_told(edge: HandEdge, config: Path) -> None:
    edge.kind, edge.pages[""] = "error", {}

    result = run(config)

    assert isinstance(result.exception, OperationRefused)
    assert "no such node" in str(result.exception)


def test_a_node_that_is_not_configured_is_named_before_anybody_is_asked(edge: HandEdge, config: Path) -> None:
    result = run(config, "--node", "lmap")

    assert isinstance(result.exception, ConfigurationError)
    assert "expected one of lamp" in str(result.exception)
    assert edge.heard == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (7200, "2 h"), (259_200, "3 d")]
)
def test_an_age_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert age(seconds) == words
