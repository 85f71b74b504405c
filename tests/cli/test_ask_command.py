from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner, Result

from edge_node.announcing import Announcing
from edge_node.bus.client import Listeners, MqttBus
from edge_node.cli import edge_node
from edge_node.config.models import BrokerConfig
from edge_node.errors import EdgeSilent
from edge_node.topics import EdgeTopics
from tests.brokers import DEADLINE_S, embedded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

TOPICS = EdgeTopics("hall-3")
ANNOUNCING = Announcing(TOPICS, clock=lambda: 1_750_000_000.0)
NODE = """\
edge_node: 1
name: lamp
commands:
  switch:
    description: Switch the lamp.
    examples: ["switch (on|off)"]
    publish: {topic: lamp/set, payload: 1}
"""


class HandEdge:
    """An edge that answers each question with what the test puts in."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.says: list[tuple[str, dict[str, Any]]] = []
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.bus = MqttBus(
            BrokerConfig(port=port), client_id="edge", listeners=Listeners(message=self._on_message)
        )
        self.bus.subscribe({TOPICS.asks: 1})
        self.bus.start()
        assert self.bus.wait_subscribed(DEADLINE_S)

    def _on_message(self, message: Message, receipt: Receipt) -> None:
        self.bus.acknowledge(receipt)
        user = TOPICS.asking_user(message.topic) or ""
        self.heard.append((user, json.loads(message.payload)))
        for number, (kind, data) in enumerate(self.says, start=1):
            said = {"final": number == len(self.says), **data}
            corr = message.correlation.decode()
            topic = TOPICS.stream(user) if kind == "piece" else TOPICS.reply(user)
            self.bus.publish(ANNOUNCING.envelope(topic, kind, said, corr=corr))


@pytest.fixture(scope="module")
def edge() -> Iterator[HandEdge]:
    with embedded() as broker:
        made = HandEdge(broker.port)
        yield made
        made.bus.stop()


@pytest.fixture
def config(edge: HandEdge, tmp_path: Path) -> Path:
    edge.says, edge.heard = [], []
    node = tmp_path / "nodes" / "lamp" / "node.yaml"
    node.parent.mkdir(parents=True)
    node.write_text(NODE, encoding="utf-8")
    file = tmp_path / "edge-node.yaml"
    file.write_text(
        f"edge_node: 1\nedge: hall-3\nbroker: {{port: {edge.port}}}\n",
        encoding="utf-8",
    )
    return file


def run(config: Path, *arguments: str) -> Result:
    try:
        return CliRunner().invoke(edge_node, ["ask", "--config", str(config), "--user", "ada", *arguments])
    finally:
        structlog.reset_defaults()  # the command line sends log lines to a standard error that ends here


def test_words_are_joined_and_said_as_the_user_to_the_node(edge: HandEdge, config: Path) -> None:
    edge.says = [("answer", {"text": "“500 h” (manual.md:3)", "found": True})]

    result = run(config, "--node", "pump-guard", "how", "often", "is it greased?")

    assert (result.exit_code, result.stdout) == (0, "“500 h” (manual.md:3)\n")
    ((user, asked),) = edge.heard
    assert (user, asked["text"], asked["node"]) == ("ada", "how often is it greased?", "pump-guard")


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("answer", {"found": True}, 0),
        ("answer", {"found": False}, 1),
        ("command", {"state": "verified"}, 0),
        ("command", {"state": "acknowledged"}, 0),
        ("command", {"state": "denied"}, 1),
        ("command", {"state": "unverified"}, 1),
        ("command", {"state": "expired"}, 1),
        ("command", {"state": "cancelled"}, 1),
        ("command", {"state": "unknown"}, 1),
        ("nothing", {"code": "ask_back"}, 1),
        ("error", {"error": {"code": "busy"}}, 1),
    ],
)
def test_the_exit_status_tells_whether_it_worked(
    edge: HandEdge, config: Path, kind: str, data: dict[str, Any], status: int
) -> None:
    edge.says = [(kind, {"text": "so it is", **data})]

    result = run(config, "now")

    assert (result.exit_code, result.stdout) == (status, "so it is\n")


def test_each_step_of_a_command_is_a_line_and_the_last_one_counts(edge: HandEdge, config: Path) -> None:
    edge.says = [
        ("command", {"text": "jog() sent", "state": "sent"}),
        ("command", {"text": "jog() unverified: expected more", "state": "unverified"}),
    ]

    result = run(config, "jog")

    assert (result.exit_code, result.stdout) == (1, "jog() sent\njog() unverified: expected more\n")


def test_with_json_each_line_is_what_the_edge_said(edge: HandEdge, config: Path) -> None:
    edge.says = [
        ("command", {"text": "größer", "state": "sent"}),
        ("command", {"text": "done", "state": "verified"}),
    ]

    result = run(config, "--json", "jog")

    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"type": "command", "final": False, "text": "größer", "state": "sent"},
        {"type": "command", "final": True, "text": "done", "state": "verified"},
    ]
    assert "größer" in result.stdout


@pytest.mark.usefixtures("edge")
def test_an_edge_that_says_nothing_is_an_error(config: Path) -> None:
    result = run(config, "--timeout", "0.05", "anybody?")

    assert isinstance(result.exception, EdgeSilent)
    assert result.stdout == ""


def test_an_order_that_waits_for_an_approval_says_so_and_does_not_wait(edge: HandEdge, config: Path) -> None:
    edge.says = [
        (
            "command",
            {
                "text": "jog() awaiting approval: …; who may: ada",
                "state": "awaiting_approval",
                "command_id": "c-1",
            },
        ),
        ("command", {"text": "jog() expired", "state": "expired"}),
    ]

    result = run(config, "jog")
    assert (result.exit_code, result.stdout) == (75, "jog() awaiting approval: …; who may: ada\n")
    assert result.stderr == "to approve it: edge-node approve c-1\n"

    waited = run(config, "--wait", "jog")
    assert (waited.exit_code, waited.stdout.splitlines()[-1]) == (1, "jog() expired")


@pytest.mark.parametrize(
    ("answer", "shown"), [("one\ntwo", "one\ntwo\n"), ("two\none", "one\ntwo\ntwo\none\n")]
)
def test_pieces_are_shown_as_they_come_and_the_answer_where_it_says_otherwise(
    edge: HandEdge, config: Path, answer: str, shown: str
) -> None:
    edge.says = [
        ("piece", {"text": "one"}),
        ("piece", {"text": "two"}),
        ("answer", {"text": answer, "found": True}),
    ]

    result = run(config, "--stream", "--deadline", "10s", "now")

    assert (result.exit_code, result.stdout) == (0, shown)
    ((_, asked),) = edge.heard
    assert (asked["stream"], asked["deadline"]) == (True, "10s")


def test_where_an_order_is_said_is_told_with_it(edge: HandEdge, config: Path) -> None:
    edge.says = [("answer", {"text": "so it is", "found": True})]

    run(config, "--area", "kitchen", "light", "on")

    ((_, asked),) = edge.heard
    assert asked["context"] == {"area": "kitchen"}


def test_who_wants_no_pieces_says_nothing_of_them(edge: HandEdge, config: Path) -> None:
    edge.says = [("answer", {"text": "so it is", "found": True})]

    run(config, "now")

    ((_, asked),) = edge.heard
    assert sorted(asked) == ["correlation", "text"]
