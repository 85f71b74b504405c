"""A hall of pumps: every stage real but for what the models would say and find."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from edge_node.announcing import Announcing
from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig, RuntimeConfig
from edge_node.gate import PolicyGate
from edge_node.identifiers import new_id
from edge_node.journal.journal import Journal
from edge_node.lifecycle import CommandLifecycle
from edge_node.messages import AnswerDraft, Message, Outgoing, Passage, Quotation, Wanted
from edge_node.operations import OperatorDesk
from edge_node.pipeline import Pipeline, Result, Stages
from edge_node.stop import Outlet, StopFile, StopLatch
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.twin import DeviceTwin
from edge_node.understand.cascade import Cascade

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_node.messages import Draft, Open, Request
    from edge_node.protocols import Attention

TOPICS = EdgeTopics("hall-3")
DEADLINE_S = 3600.0
"""Seconds of the hall's own clock."""
PASSAGE = Passage("manual/pump.md", 12, 14, "Grease the bearing\nevery 500 hours.\n", node="pump-guard")
QUOTATION = Quotation("Grease the bearing every 500 hours.", "manual/pump.md", 12, 13)
SPEC: dict[str, Any] = {
    "edge_node": 1,
    "name": "pump-guard",
    "ask": True,
    "listen": [
        {"topic": "plant/{pump}/telemetry", "fields": {"speed": "rpm", "bearing_c": "c", "vib": "vib"}}
    ],
    "triggers": {
        "shaking": {"when": "vib > 7.1", "choose": ["set_speed"]},
        "overheating": {"when": "bearing_c > 85", "do": {"set_speed": {"pump": "{pump}", "percent": 30}}},
        "rattling": {"when": "vib > 8.5", "choose": ["set_speed"]},
    },
    "commands": {
        "set_speed": {
            "description": "Change the speed of a pump.",
            "examples": ["(set|slow) {pump} to {percent} [percent]"],
            "args": {
                "pump": {"device": True},
                "percent": {"type": "integer", "minimum": 0, "maximum": 100},
            },
            "publish": {
                "topic": "plant/{pump}/set",
                "payload": {"speed": "{percent}"},
                "idempotent": True,
            },
            "limit": {"every": "10s"},
            "expect": {"field": "speed", "equals": "percent", "within": "5s"},
        },
        "jog": {
            "description": "Move the plunger once.",
            "examples": ["jog {pump}"],
            "args": {"pump": {"device": True}},
            "publish": {"topic": "plant/{pump}/jog", "payload": "go"},
        },
    },
}


class WordEmbedder:
    """Hashed bags of words: sentences with the same words are near."""

    name = "words"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.casefold()):
                vectors[row, crc32(word.encode()) % 256] += 1.0
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


@dataclass
class HeldManuals:
    """Manuals in which one passage is found, whatever is looked for."""

    looked_for: list[tuple[str, str, int]] = field(default_factory=list)

    def passages(self, text: str, *, node: str = "", limit: int = 4) -> tuple[Passage, ...]:
        self.looked_for.append((text, node, limit))
        return (PASSAGE,)


def _quote(_request: Request, _matter: Open, _passages: Sequence[Passage]) -> Draft:
    return AnswerDraft("pump-guard", (QUOTATION,))


@dataclass
class SaidDrafting:
    """What the model would propose, as the test says."""

    say: Callable[[Request, Open, Sequence[Passage]], Draft] = _quote
    asked: list[Request] = field(default_factory=list)
    attention: Attention | None = None

    def draft(
        self, request: Request, matter: Open, passages: Sequence[Passage], *, attention: Attention | None
    ) -> tuple[Draft, Mapping[str, object]]:
        self.asked.append(request)
        self.attention = attention
        return self.say(request, matter, passages), {"text": "what the model wrote"}


class Hall:
    """A pipeline over a journal on the disk, on a clock that the test turns.

    With `before`, it shares journal, clock and commands with a hall, as after a reload with other nodes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: float = 1000.0,
        spec: Mapping[str, Any] = SPEC,
        before: Hall | None = None,
        operators: Mapping[str, Any] | None = None,
    ) -> None:
        self._turned = before._turned if before else [clock]
        self.verdicts = before.verdicts if before else threading.Lock()
        self.drafting = SaidDrafting()
        self.take_back: Callable[[str, str], bool] = lambda *_: False
        self.manuals = HeldManuals()
        self.journal = before.journal if before else Journal.open(folder / "journal.db", clock=self.clock)
        nodes = [Node(NodeConfig.model_validate(spec), Path())]
        self.twin = DeviceTwin(nodes, limits=LimitsConfig(), clock=self.clock)
        self.lifecycle = (
            before.lifecycle.renewed(nodes) if before else CommandLifecycle(nodes, clock=self.clock)
        )
        self.triggers = TriggerEngine(
            nodes, twin=self.twin, topics=TOPICS, limits=LimitsConfig(), clock=self.clock
        )
        runtime = RuntimeConfig.model_validate(
            {"edge_node": 1, "edge": TOPICS.edge, "operators": dict(operators or {})}
        )
        gate = PolicyGate(
            nodes,
            twin=self.twin,
            last_issued=self.lifecycle.last_issued,
            issued=self.lifecycle.issued,
            operators=runtime.operators,
            clock=self.clock,
        )
        latch = StopLatch(StopFile(folder), outlet=Outlet(), boot="b", clock=self.clock)
        stages = Stages(
            twin=self.twin,
            lifecycle=self.lifecycle,
            operations=OperatorDesk(
                runtime,
                topics=TOPICS,
                lifecycle=self.lifecycle,
                gate=gate,
                stop=latch,
                twin=self.twin,
                decisions=self.journal.archive,
                take_back=lambda user, correlation: self.take_back(user, correlation),  # noqa: PLW0108 - a test sets it
            ),
            triggers=self.triggers,
            understanding=Cascade(nodes, twin=self.twin, embedder=WordEmbedder()),
            retrieval=self.manuals,
            drafting=self.drafting,
            gate=gate,
            announcing=Announcing(TOPICS, clock=self.clock),
            journal=self.journal,
            remembering={"twin": self.twin, "triggers": self.triggers},
        )
        self.pipeline = Pipeline(stages, passages=3, deadline_s=DEADLINE_S, one_at_a_time=self.verdicts)

    @property
    def now(self) -> float:
        return self._turned[0]

    @now.setter
    def now(self, at: float) -> None:
        self._turned[0] = at

    def clock(self) -> float:
        return self.now

    def take_over(self, before: Hall) -> Pipeline:
        """Return the pipeline, once it knows what the one before knows."""
        self.pipeline.take_over(before.pipeline)
        return self.pipeline

    def received(self, message: Message) -> Message:
        """Return a message that stands in the journal, as it does before it is handled."""
        self.journal.receive(message, on_durable=_nothing, on_duplicate=_nothing)
        self.journal.pending()  # written behind it, so the message is on the disk now
        return message

    def telemetry(self, device: str = "pump-1", **values: Any) -> Message:
        topic = f"plant/{device}/telemetry"
        return self.received(
            Message(new_id(), topic, json.dumps(values).encode(), self.now, qos=1, durable=True)
        )

    def operate(self, operation: str, *, user: str = "ada", **body: str) -> Message:
        topic = TOPICS.operation(user, operation)
        return self.received(
            Message(new_id(), topic, json.dumps(body).encode(), self.now, qos=1, durable=True)
        )

    def ask(self, payload: str | bytes, *, user: str = "ada", **properties: Any) -> Message:
        body = payload.encode() if isinstance(payload, str) else payload
        return self.received(
            Message(new_id(), TOPICS.ask(user), body, self.now, qos=1, durable=True, **properties)
        )

    def walk(self, message: Message | None) -> tuple[int, Result]:
        """Return how often the model was needed, and the result."""
        *hops, result = self.pipeline.path(message, now=self.now)
        assert all(isinstance(hop, Wanted) for hop in hops)
        assert isinstance(result, Result)
        return len(hops), result

    def told(self) -> list[Outgoing]:
        """Return what is to leave, in order."""
        return [parcel.outgoing for parcel in self.journal.pending()]

    def bodies(self, topic: str) -> list[dict[str, Any]]:
        """Return the envelopes that are to leave on a topic."""
        return [json.loads(outgoing.payload) for outgoing in self.told() if outgoing.topic == topic]


def _nothing() -> None:
    """Do nothing."""
