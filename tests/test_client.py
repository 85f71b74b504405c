from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from edge_node.announcing import Announcing
from edge_node.bus.client import Listeners, MqttBus
from edge_node.client import Client
from edge_node.config.models import BrokerConfig
from edge_node.errors import BrokerRefused, BrokerUnreachable, EdgeSilent
from edge_node.topics import EdgeTopics
from tests.brokers import DEADLINE_S, embedded, free_port, mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message, Outgoing

    Answer = Callable[[Message], list[Outgoing]]

TOPICS = EdgeTopics("hall-3")
ANNOUNCING = Announcing(TOPICS, clock=lambda: 1_750_000_000.0)


def reply(message: Message, kind: str, *, final: bool = True, **data: Any) -> Outgoing:
    """Return an envelope to whoever sent a message."""
    user = TOPICS.asking_user(message.topic) or ""
    said = {"text": "", "final": final, **data}
    return ANNOUNCING.envelope(TOPICS.reply(user), kind, said, corr=message.correlation.decode())


class HandEdge:
    """An edge that answers as the test says."""

    def __init__(self, port: int, answer: Answer) -> None:
        self.heard: list[dict[str, Any]] = []
        self._answer = answer
        self._bus = MqttBus(
            BrokerConfig(port=port), client_id="edge", listeners=Listeners(message=self._on_message)
        )
        self._bus.subscribe({TOPICS.asks: 1})
        self._bus.start()
        assert self._bus.wait_subscribed(DEADLINE_S)

    def publish(self, outgoing: Outgoing) -> None:
        self._bus.publish(outgoing)

    def stop(self) -> None:
        self._bus.stop()

    def _on_message(self, message: Message, receipt: Receipt) -> None:
        self._bus.acknowledge(receipt)
        self.heard.append(json.loads(message.payload))
        for outgoing in self._answer(message):
            self._bus.publish(outgoing)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Give the port of a running broker."""
    with embedded() as broker:
        yield broker.port


@pytest.fixture
def make_edge(port: int) -> Iterator[Callable[[Answer], HandEdge]]:
    """Give a function that starts an edge; all are stopped at the end."""
    edges: list[HandEdge] = []

    def make(answer: Answer) -> HandEdge:
        edges.append(HandEdge(port, answer))
        return edges[-1]

    yield make
    for edge in edges:
        edge.stop()


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with Client(BrokerConfig(port=port), edge="hall-3", user="ada") as made:
        yield made


def test_what_is_asked_reaches_the_edge_with_node_and_correlation(
    make_edge: Callable[[Answer], HandEdge], client: Client
) -> None:
    edge = make_edge(lambda message: [reply(message, "answer", text="500 h", found=True)])

    (answer,) = client.ask("how often is it greased?", node="pump-guard")
    (_,) = client.ask("how often is it greased?")

    assert (answer.kind, answer.text, answer.final, answer.data["found"]) == ("answer", "500 h", True, True)
    first, second = edge.heard
    assert (first["text"], first["node"]) == ("how often is it greased?", "pump-guard")
    assert "node" not in second
    assert first["correlation"] != second["correlation"]


def test_replies_come_in_order_until_the_final_one(
    make_edge: Callable[[Answer], HandEdge], client: Client
) -> None:
    states = ("sent", "acknowledged", "verified", "never heard")
    make_edge(
        lambda message: [
            reply(message, "command", state=state, final=state == "verified") for state in states
        ]
    )

    replies = list(client.ask("set pump-1 to 40 percent"))

    assert [each.data["state"] for each in replies] == ["sent", "acknowledged", "verified"]
    assert [each.final for each in replies] == [False, False, True]


def test_two_that_ask_at_once_do_not_hear_each_others_replies(
    make_edge: Callable[[Answer], HandEdge], client: Client
) -> None:
    waiting: list[Message] = []

    def cross(message: Message) -> list[Outgoing]:
        """Answer once both have asked, in turns, and the one who asked last first."""
        waiting.append(message)
        if len(waiting) < 2:
            return []
        return [
            reply(asked, "command", text=json.loads(asked.payload)["text"], final=final)
            for final in (False, True)
            for asked in reversed(waiting)
        ]

    make_edge(cross)
    heard: dict[str, list[str]] = {}

    def ask(text: str) -> None:
        heard[text] = [each.text for each in client.ask(text, timeout_s=DEADLINE_S)]

    threads = [threading.Thread(target=ask, args=(text,)) for text in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert heard == {"left": ["left", "left"], "right": ["right", "right"]}


def test_what_is_no_reply_of_an_edge_is_passed_over(
    make_edge: Callable[[Answer], HandEdge], client: Client
) -> None:
    odd = (
        b"[]",
        b"7",
        b"not json",
        b'{"corr": [], "data": {}}',
        b'{"corr": "%s", "data": 3}',
        b'{"corr": "x"}',
    )

    def answer(message: Message) -> list[Outgoing]:
        good = reply(message, "answer", text="good")
        payloads = (each.replace(b"%s", message.correlation) for each in odd)
        return [*(type(good)(good.topic, payload) for payload in payloads), good]

    make_edge(answer)

    with capture_logs() as lines:
        (only,) = client.ask("?", timeout_s=DEADLINE_S)

    assert only.text == "good"
    assert [line["event"] for line in lines] == ["reply_unreadable"] * 5


def test_an_edge_that_does_not_answer_is_silent(client: Client) -> None:
    with pytest.raises(EdgeSilent, match=r"edge hall-3: expected a reply within 0\.05 s, came none"):
        list(client.ask("anybody?", timeout_s=0.05))


def test_an_edge_that_falls_silent_half_way_is_silent(
    make_edge: Callable[[Answer], HandEdge], client: Client
) -> None:
    make_edge(lambda message: [reply(message, "command", state="sent", final=False)])
    replies = client.ask("set pump-1 to 40 percent", timeout_s=0.5)

    assert next(replies).data["state"] == "sent"
    with pytest.raises(EdgeSilent):
        next(replies)


def test_without_a_broker_nobody_can_be_asked() -> None:
    port = free_port()
    client = Client(BrokerConfig(port=port), edge="hall-3", user="ada", connect_timeout_s=0.2)

    with pytest.raises(BrokerUnreachable, match=f"broker 127.0.0.1:{port}"), client:
        pytest.fail("nobody is there")


def locked(folder: Path) -> str:
    """Return the settings of a mosquitto that lets in only ada with her password."""
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("mosquitto_passwd is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([tool, "-b", "-c", str(folder / "passwords"), "ada", "right"], check=True)
    (folder / "passwords").chmod(0o644)
    return f"allow_anonymous false\npassword_file {folder / 'passwords'}\n"


@pytest.mark.broker
@pytest.mark.parametrize("known", [True, False])
def test_only_who_knows_the_password_is_let_in(tmp_path: Path, *, known: bool) -> None:
    secret = tmp_path / "secret"
    secret.write_text("right" if known else "wrong")
    secret.chmod(0o600)
    with mosquitto(tmp_path / "mosquitto", settings=locked(tmp_path / "mosquitto")) as broker:
        access = BrokerConfig(port=broker.port, username="ada", password_file=str(secret))
        client = Client(access, edge="hall-3", user="ada", connect_timeout_s=60)

        if known:
            with client, pytest.raises(EdgeSilent):
                list(client.ask("anybody?", timeout_s=0.05))
        else:
            with pytest.raises(BrokerRefused, match=f"broker 127.0.0.1:{broker.port}"), client:
                pytest.fail("the password is wrong")


@pytest.mark.broker
def test_a_broker_that_lets_nobody_listen_to_replies_is_a_refusal(tmp_path: Path) -> None:
    plugin = next(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"), None)
    if plugin is None:
        pytest.skip("mosquitto's dynamic security plugin is not installed")
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"defaultACLAccess": {"publishClientSend": True, "subscribe": False}}))
    settings = f"allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {rules}\n"
    with mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        client = Client(BrokerConfig(port=broker.port), edge="hall-3", user="ada")

        with pytest.raises(BrokerRefused, match="reply/ada"), client:
            pytest.fail("no reply could be heard")
