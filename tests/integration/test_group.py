from __future__ import annotations

import json
import random
import threading
from collections import Counter, defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import pytest

from edge_node.bus.client import Listeners, MqttBus
from edge_node.client import Client
from edge_node.config.models import BrokerConfig
from edge_node.messages import Message, Outgoing
from tests.brokers import DEADLINE_S, mosquitto
from tests.integration.runtimes import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_node.bus.receipt import Receipt

pytestmark = [pytest.mark.broker, pytest.mark.models]

GROUP = "halls"
EDGES = ("north", "south")
READY_S = 60.0
QUESTIONS = 80
KILLS = 4
# An order that a template knows and the gate denies: the whole path, and no word of the model.
NODE = """\
edge_node: 1
name: bell
ask: true
listen:
  - {topic: bell/state, fields: {free: free}}
commands:
  ring:
    description: Ring the bell.
    examples: ["ring the bell"]
    publish: {topic: bell/ring, payload: 1}
    require: [free]
"""


class Crowd:
    """People who ask a group and count its answers; use it in a `with` block."""

    def __init__(self, port: int) -> None:
        self._changed = threading.Condition()
        self.finals: dict[str, set[str]] = defaultdict(set)
        self.sources: Counter[str] = Counter()
        self.states: dict[str, str] = {}
        self._bus = MqttBus(
            BrokerConfig(port=port), client_id="crowd", listeners=Listeners(message=self._hear)
        )
        self._bus.subscribe({f"edge/v1/{GROUP}/reply/#": 1, "edge/v1/+/status": 1})

    def __enter__(self) -> Self:
        self._bus.start()
        assert self._bus.wait_subscribed(DEADLINE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.stop()

    def ask(self, correlation: str, *, copies: int = 1) -> None:
        """Ask once, or several times in the same words, as somebody does who hears nothing."""
        question = Outgoing(
            f"edge/v1/{GROUP}/ask/ada",
            b"ring the bell",
            correlation=correlation.encode(),
            content_type="text/plain",
        )
        for _ in range(copies):
            self._bus.publish(question)

    def wait_answered(self, correlations: list[str]) -> None:
        """Return once each of these questions has an answer."""
        answered = self.wait(lambda: all(name in self.finals for name in correlations), timeout_s=READY_S)
        assert answered, [name for name in correlations if name not in self.finals]

    def wait_ready(self, *edges: str) -> None:
        """Return once these edges say that they are ready."""
        ready = self.wait(lambda: all(self.states.get(edge) == "ready" for edge in edges), timeout_s=READY_S)
        assert ready, self.states

    def wait(self, until: Callable[[], bool], *, timeout_s: float) -> bool:
        """Return whether something comes true in time."""
        with self._changed:
            return bool(self._changed.wait_for(until, timeout_s))

    def _hear(self, message: Message, receipt: Receipt) -> None:
        self._bus.acknowledge(receipt)
        with self._changed:
            if message.topic.endswith("/status"):
                self.states[message.topic.split("/")[2]] = message.payload.decode()
            else:
                body = json.loads(message.payload)
                if body["data"]["final"]:
                    # The same reply may come twice after a crash; its id tells, so that it counts once.
                    self.finals[body["corr"]].add(body["id"])
                    self.sources[body["src"]] += 1
            self._changed.notify_all()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with mosquitto(tmp_path / "mosquitto") as broker:
        yield broker.port


@pytest.fixture
def make_runtime(tmp_path: Path, port: int) -> Iterator[Callable[[str], Runtime]]:
    node = tmp_path / "nodes" / "bell" / "node.yaml"
    node.parent.mkdir(parents=True)
    node.write_text(NODE, encoding="utf-8")
    with ExitStack() as ends:

        def make(edge: str) -> Runtime:
            nodes, extra = [str(node.parent)], {"group": GROUP}
            runtime = Runtime(tmp_path / edge, edge, {"port": port}, nodes, extra)
            ends.callback(runtime.kill)
            runtime.start()
            return runtime

        yield make


def test_each_question_is_answered_once_while_edges_are_killed_and_people_ask_twice(
    port: int, make_runtime: Callable[[str], Runtime]
) -> None:
    chance = random.Random(3)  # noqa: S311 - moments, not secrets
    with Crowd(port) as crowd:
        runtimes = [make_runtime(edge) for edge in EDGES]
        asked: list[str] = []
        for turn in range(KILLS):
            crowd.wait_ready(*EDGES)
            victim = chance.choice(runtimes)
            dies_at = chance.randrange(QUESTIONS)
            for number in range(QUESTIONS):
                asked.append(f"{turn}-{number}")
                crowd.ask(asked[-1], copies=chance.choice((1, 2, 3)))
                if number == dies_at:
                    # Not every question at once: the kill is to meet them at every step of their way.
                    crowd.wait(lambda: False, timeout_s=chance.uniform(0.0, 0.1))
                    victim.kill()
                    crowd.states.pop(victim.edge)
                    victim.start()
        crowd.wait_answered(asked)
        crowd.wait_ready(*EDGES)
        # Whatever was still to come has come once both have answered later questions.
        last = [f"last-{number}" for number in range(20)]
        for correlation in last:
            crowd.ask(correlation, copies=2)
        crowd.wait_answered(last)
        assert {name: len(ids) for name, ids in crowd.finals.items() if len(ids) != 1} == {}
        assert set(crowd.finals) == {*asked, *last}
        assert set(crowd.sources) == set(EDGES)


def test_a_group_is_asked_under_its_own_name(port: int, make_runtime: Callable[[str], Runtime]) -> None:
    with Crowd(port) as crowd:
        make_runtime(EDGES[0])
        crowd.wait_ready(EDGES[0])
        with Client(BrokerConfig(port=port), edge=GROUP, user="bob") as client:
            replies = list(client.ask("ring the bell", timeout_s=DEADLINE_S))
    assert [(reply.kind, reply.data["state"]) for reply in replies] == [("command", "denied")]


def test_a_second_service_on_the_same_state_ends_and_names_the_first(
    port: int, make_runtime: Callable[[str], Runtime]
) -> None:
    with Crowd(port) as crowd:
        first = make_runtime(EDGES[0])
        crowd.wait_ready(EDGES[0])
        second = Runtime(first.folder, first.edge, first.broker, first.nodes, first.extra)
        second.start()
        assert first.process is not None
        assert second.process is not None
        assert second.process.wait(READY_S) == 78
        assert f"in use by process {first.process.pid}" in first.log
        assert first.process.poll() is None
