"""Why a trigger with windows fired: what its windows came to at that moment."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import Message, Request
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.twin import DeviceTwin


class Shaft:
    """One device with triggers, on a clock that goes on by a second with each message."""

    def __init__(self, **triggers: dict[str, Any]) -> None:
        self.now = 10_000.0
        spec = {
            "edge_node": 1,
            "name": "guard",
            "listen": [
                {"topic": "plant/{pump}/telemetry", "fields": {"v": "v", "mode": "mode", "line": "line"}}
            ],
            "triggers": triggers,
        }
        nodes = [Node(NodeConfig.model_validate(spec), Path())]
        limits = LimitsConfig()
        self._numbers = itertools.count(1)
        self._twin = DeviceTwin(nodes, limits=limits, clock=lambda: self.now)
        self._engine = TriggerEngine(
            nodes, twin=self._twin, topics=EdgeTopics("hall"), limits=limits, clock=lambda: self.now
        )

    def say(self, **fields: Any) -> tuple[Request, ...]:
        message = Message(
            f"m{next(self._numbers)}", "plant/p1/telemetry", json.dumps(fields).encode(), self.now
        )
        requests = self._engine.requests(message, self._twin.observe(message))
        self.now += 1
        return requests

    def wait(self, seconds: float) -> tuple[Request, ...]:
        self.now += seconds
        return self._engine.due(self.now)


def test_an_alarm_holds_what_its_windows_came_to_as_they_are_written() -> None:
    shaft = Shaft(shaking={"when": "avg(v,  4s) > 7.1 && max(v, 4s) > 8"})

    fired = [request for value in (6, 6, 6, 6, 6, 8, 9, 10) for request in shaft.say(v=value)]

    (request,) = fired
    assert request.evidence["values"] == {"v": 9}
    assert request.evidence["windows"] == {"avg(v, 4s)": 7.25, "max(v, 4s)": 9.0}


def test_what_belongs_to_the_message_alone_is_shown_with_it() -> None:
    shaft = Shaft(restless={"when": "changed(mode) && count(changed(mode), 4s) > 1"})

    fired = [request for mode in "aaaaabcd" for request in shaft.say(mode=mode)]

    assert fired[0].evidence["windows"] == {"changed(mode)": True, "count(changed(mode), 4s)": 2.0}


def test_a_window_that_was_unknown_is_shown_as_such() -> None:
    shaft = Shaft(odd={"when": "v > 9 || avg(v, 1h) > 7"})

    (request,) = shaft.say(v=10)

    assert request.evidence["windows"] == {"avg(v, 1h)": None}


def test_a_condition_that_held_long_enough_shows_its_windows_as_it_fires() -> None:
    shaft = Shaft(shaking={"when": "avg(v, 4s) > 7", "for": "3s"})
    for value in (6, 6, 6, 6, 6, 8, 10, 10):
        assert shaft.say(v=value) == ()

    (request,) = shaft.wait(2.5)

    assert request.evidence["windows"] == {"avg(v, 4s)": 10.0}


def test_a_time_of_the_clock_shows_the_windows_of_its_condition() -> None:
    shaft = Shaft(report={"every": "10s", "when": "sum(v, 4s) > 1"})
    for value in (1, 2, 3, 4, 5, 6):
        shaft.say(v=value)

    requests = [request for _ in range(12) for request in (*shaft.say(v=2), *shaft.wait(0))]

    assert requests[0].evidence["windows"] == {"sum(v, 4s)": 6.0}


def test_the_end_of_an_alert_shows_what_its_windows_came_to_then() -> None:
    shaft = Shaft(shaking={"when": "avg(v, 2s) > 7", "until": "max(v, 2s) < 7", "alert": "{pump} shakes"})

    told = [request for value in (8, 8, 8, 8, 2, 2, 2) for request in shaft.say(v=value)]

    begun, _, ended = told
    assert begun.evidence["windows"] == {"avg(v, 2s)": 8.0, "max(v, 2s)": 8.0}
    assert ended.over
    assert ended.evidence["windows"] == {"avg(v, 2s)": 2.0, "max(v, 2s)": 2.0}


def test_a_trigger_without_windows_tells_none() -> None:
    shaft = Shaft(high={"when": "v > 5"})

    (request,) = shaft.say(v=6)

    assert "windows" not in request.evidence
