"""Triggers over random sequences of messages, with restarts anywhere, against a plain second evaluator."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import Message
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.twin import DeviceTwin
from tests.battery.counts import SEQUENCE
from tests.triggers.plain import FIELDS, RULES, STALE_S, Reference, Rule, Step, sequence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_node.messages import StateRow


class Engine:
    """The engine over a twin that lives on, on a clock that the sequence turns."""

    def __init__(self, rules: dict[str, Rule]) -> None:
        spec = {
            "edge_node": 1,
            "name": "node",
            "stale": f"{STALE_S:g}s",
            "listen": [{"topic": "plant/{pump}/telemetry", "fields": dict(zip(FIELDS, FIELDS, strict=True))}],
            "triggers": {name: rule.spec for name, rule in rules.items()},
        }
        self._nodes = [Node(NodeConfig.model_validate(spec), Path())]
        self._now = 0.0
        self._numbers = itertools.count()
        self._disk: dict[str, StateRow] = {}
        self._twin = DeviceTwin(self._nodes, limits=LimitsConfig(), clock=lambda: self._now)
        self._engine = self._start()

    def step(self, step: Step) -> list[str]:
        if step.kind == "restart":
            self._now = step.said_at
            self._write(self._engine.take_changes(urgent=False))
            self._now = step.now
            self._engine = self._start()
            self._engine.restore(list(self._disk.values()))
            return []
        self._now = step.now
        if step.kind == "tick":
            fired = self._engine.due(step.now)
        else:
            body = json.dumps(step.fields).encode()
            message = Message(f"m{next(self._numbers)}", "plant/p1/telemetry", body, step.said_at)
            fired = self._engine.requests(message, self._twin.observe(message))
        self._write(self._engine.take_changes(urgent=True))
        return [request.trigger for request in fired]

    def _start(self) -> TriggerEngine:
        limits, topics = LimitsConfig(), EdgeTopics("edge")
        return TriggerEngine(
            self._nodes, twin=self._twin, topics=topics, limits=limits, clock=lambda: self._now
        )

    def _write(self, rows: Iterable[StateRow]) -> None:
        for row in rows:
            self._disk[row.key] = row
            if row.body is None:
                del self._disk[row.key]


def chosen(seed: int) -> dict[str, Rule]:
    """Return some of the rules; a rule over others comes with them."""
    chance = random.Random(seed)
    names = [name for name in RULES if chance.random() < 0.6]
    names += [other for name in names for key in ("all", "any") for other in RULES[name].spec.get(key, ())]
    return {name: rule for name, rule in RULES.items() if name in names}


def test_restarts_change_nothing_and_all_is_as_the_plain_evaluator_says() -> None:
    firings = 0
    for seed in range(SEQUENCE.count):
        downtime = seed % 2 == 1
        rules = chosen(seed)
        steps = sequence(seed, downtime=downtime)
        engine, steady, reference = Engine(rules), Engine(rules), Reference(rules)
        for place, step in enumerate(steps):
            told = sorted(engine.step(step))
            assert told == sorted(reference.step(step)), (seed, place, step)
            firings += len(told)
            if not downtime and step.kind != "restart":
                assert told == sorted(steady.step(step)), (seed, place, step)
    assert firings > SEQUENCE.count
