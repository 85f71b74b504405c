"""What is not asked would not have held: triggers at rest, beside the same ones that are always asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import Message
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.triggers.series import BOUNDED, Budget, Series, inside
from edge_node.twin import DeviceTwin

START = 10_000.0
CONDITIONS = (
    "v > 7",
    "v >= 7 && w < 3",
    "w <= 3",
    "avg(v, 3s) > 6",
    "max(v, 4s) >= 7 && w < 5",
    "min(v, 3s) < 2",
    "min(v, 3s, tumbling) <= 2",
    "p95(v, 4s) > 7",
    "count(v, 3s) > 2",
    "sum(w, 3s) < 9",
    "stddev(w, 4s) > 1",
    "changed(mode) && v > 3",
    "v + w > 9",
    "count(v > 5, 4s) > 2",
    "share(v > 5, 4s) > 0.5",
    "share(w < 3 || v > 7, 3s, tumbling) <= 0.5",
    "avg(v - w, 3s) > 2",
    "max(v - w, 3s) < 1",
    "count(changed(mode), 6s) > 1",
    "new_pattern(mode, 2s) && v > 3",
    "repeats(mode, 4s) > 2",
    "repeats(mode, 4s) < 3 && v > 3",
)
TIMES: tuple[dict[str, Any], ...] = ({}, {"for": "2s"}, {"until": "v < 5"}, {"cooldown": "3s"})
NUMBERS = st.sampled_from([0, 1, 2, 3, 4.5, 5, 6, 7, 7.0, 7.5, 9, 100])
WHOLE = st.fixed_dictionaries({"v": NUMBERS, "w": NUMBERS}, optional={"mode": st.sampled_from(["on", "off"])})
BROKEN = st.fixed_dictionaries({}, optional={"v": st.sampled_from([3, None, "hot", True]), "w": NUMBERS})
STEADY = st.lists(st.tuples(WHOLE, st.sampled_from([0.5, 1.0])), min_size=6, max_size=20)
ODD = st.lists(st.tuples(WHOLE | BROKEN, st.sampled_from([0.0, 1.0, 4.0, 6.0, -8.0])), max_size=10)


class Engine:
    """Triggers over a twin of their own."""

    def __init__(self, form: str, *, samples: int) -> None:
        self.now = START
        triggers = {
            f"t{place}": {"when": form.format(condition), **TIMES[place % len(TIMES)]}
            for place, condition in enumerate(CONDITIONS)
        }
        fields = {name: name for name in ("v", "w", "mode")}
        listen = [{"topic": "plant/{pump}/telemetry", "fields": fields}]
        spec = {"edge_node": 1, "name": "guard", "stale": "5s", "listen": listen, "triggers": triggers}
        nodes = [Node(NodeConfig.model_validate(spec), Path())]
        limits = LimitsConfig(window=samples)
        self.twin = DeviceTwin(nodes, limits=limits, clock=lambda: self.now)
        self.engine = TriggerEngine(
            nodes, twin=self.twin, topics=EdgeTopics("hall"), limits=limits, clock=lambda: self.now
        )

    def say(self, values: dict[str, Any], *, after_s: float) -> list[str]:
        self.now += after_s
        due = self.engine.due(self.now)
        message = Message("m", "plant/p1/telemetry", json.dumps(values).encode(), self.now)
        return [
            request.trigger for request in (*due, *self.engine.requests(message, self.twin.observe(message)))
        ]


@settings(deadline=None)
@given(STEADY, ODD, STEADY, st.sampled_from([16, 1000]))
def test_triggers_that_are_asked_only_where_they_may_hold_fire_as_those_that_are_always_asked(
    first: list[tuple[dict[str, Any], float]],
    then: list[tuple[dict[str, Any], float]],
    last: list[tuple[dict[str, Any], float]],
    samples: int,
) -> None:
    sparing, always = Engine("{}", samples=samples), Engine("({}) || false", samples=samples)

    for values, after_s in (*first, *then, *last):
        assert sparing.say(values, after_s=after_s) == always.say(values, after_s=after_s)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 1.0, 3.0]), st.floats(-1e6, 1e6)), min_size=1, max_size=60),
    st.sampled_from([4, 100]),
    st.floats(-1e6, 1e6),
    st.floats(0.0, 1e6),
)
def test_a_window_comes_to_nothing_beyond_what_its_samples_lie_within(
    samples: list[tuple[float, float]], limit: int, below: float, wide: float
) -> None:
    series = Series(5.0, tumbling=False, stale_s=60.0, limit=limit, budget=Budget(1000))
    at, above = START, below + wide
    for after_s, value in samples:
        at += after_s
        series.add(at, value)
        values = [series.value(function, at) for function in sorted(BOUNDED)]
        if series.lies_within(*inside(below, above)):
            assert all(value is None or below < value < above for value in values)


def test_a_window_lies_within_its_limits_again_once_what_lay_beyond_has_left_it() -> None:
    series = Series(5.0, tumbling=False, stale_s=60.0, limit=100, budget=Budget(1000))
    for second, value in enumerate([99.0, *[50.0] * 10]):
        series.add(START + second, value)

    assert series.lies_within(40.0, 60.0)
    assert not series.lies_within(40.0, 50.0)
