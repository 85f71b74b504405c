"""An unknown value fires nothing, however it became unknown."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import Message, Request
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.twin import DeviceTwin


class Hall:
    """Triggers over a real twin of pumps that tell their own time, on a clock that the test turns."""

    def __init__(self, when: str, **trigger: Any) -> None:
        self.now = 1_790_000_000.0
        spec = {
            "edge_node": 1,
            "name": "pump-guard",
            "stale": "60s",
            "listen": [{"topic": "plant/{pump}", "fields": {"bearing_c": "c", "load": "load"}, "time": "ts"}],
            "triggers": {"hot": {"when": when, **trigger}},
        }
        nodes = [Node(NodeConfig.model_validate(spec), Path())]
        limits = LimitsConfig()
        self.twin = DeviceTwin(nodes, limits=limits, clock=lambda: self.now)
        self.engine = TriggerEngine(nodes, twin=self.twin, topics=EdgeTopics("hall"), limits=limits)
        self._names = (f"m{number}" for number in itertools.count())

    def say(self, *, retained: bool = False, **fields: Any) -> tuple[Request, ...]:
        body = json.dumps(fields).encode()
        message = Message(next(self._names), "plant/pump-1", body, self.now, retained=retained)
        return self.engine.requests(message, self.twin.observe(message))


@pytest.mark.parametrize("bearing", [None, "90", [90], {"c": 90}, True])
@pytest.mark.parametrize("when", ["bearing_c > 85", "!(bearing_c <= 85)", "bearing_c > 85 && load > 1"])
def test_a_value_of_no_use_or_of_another_type_fires_nothing(when: str, bearing: Any) -> None:
    hall = Hall(when)
    hall.say(c=60, load=5)

    assert hall.say(c=bearing, load=5) == ()


def test_a_value_that_became_stale_fires_nothing_with_a_fresh_one() -> None:
    hall = Hall("bearing_c > 85 && load > 50")
    hall.say(c=90, load=5)
    hall.now += 61

    assert hall.say(load=90) == ()
    assert len(hall.say(c=90)) == 1


def test_a_report_of_a_time_long_gone_fires_nothing() -> None:
    hall = Hall("bearing_c > 85")

    assert hall.say(c=90, ts=hall.now - 61) == ()
    assert len(hall.say(c=90, ts=hall.now - 59)) == 1


def test_a_report_that_comes_out_of_order_fires_nothing() -> None:
    hall = Hall("bearing_c > 85")
    hall.say(c=60, ts=hall.now)

    assert hall.say(c=90, ts=hall.now - 1) == ()


def test_what_is_retained_fires_nothing() -> None:
    assert Hall("bearing_c > 85").say(c=90, retained=True) == ()


def test_what_became_stale_while_it_held_does_not_fire() -> None:
    hall = Hall("bearing_c > 85", **{"for": "100s"})
    hall.say(c=90)
    hall.now += 101

    assert hall.engine.due(hall.now) == ()
