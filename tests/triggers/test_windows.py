from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import Message, Request, StateRow
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.triggers.series import Budget, Series
from edge_node.twin import DeviceTwin


class Plant:
    """Triggers over a twin, on a clock that the test turns."""

    def __init__(self, *, limits: LimitsConfig | None = None, **triggers: dict[str, Any]) -> None:
        self.now = 10_000.0
        self.limits = limits or LimitsConfig()
        self.spec = {
            "edge_node": 1,
            "name": "guard",
            "listen": [{"topic": "plant/{pump}/telemetry", "fields": {"v": "v", "mode": "mode"}}],
            "triggers": triggers,
        }
        self.disk: dict[str, StateRow] = {}
        self._messages = itertools.count(1)
        self._nodes = [Node(NodeConfig.model_validate(self.spec), Path())]
        self.twin = DeviceTwin(self._nodes, limits=self.limits, clock=lambda: self.now)
        self.engine = self.start()

    def start(self) -> TriggerEngine:
        nodes = [Node(NodeConfig.model_validate(self.spec), Path())]
        return TriggerEngine(
            nodes, twin=self.twin, topics=EdgeTopics("hall"), limits=self.limits, clock=lambda: self.now
        )

    def say(self, *, device: str = "p1", at: float | None = None, **fields: Any) -> list[str]:
        time = self.now if at is None else at
        body = json.dumps(fields).encode()
        message = Message(f"m{next(self._messages)}", f"plant/{device}/telemetry", body, time)
        return _names(self.engine.requests(message, self.twin.observe(message)))

    def each_second(self, *values: Any) -> list[int]:
        """Return how often something fired with each value, told a second apart."""
        fired = []
        for value in values:
            fired.append(len(self.say(v=value)))
            self.now += 1
        return fired

    def wait(self, seconds: float) -> list[str]:
        self.now += seconds
        return _names(self.engine.due(self.now))

    def keep(self, *, urgent: bool) -> None:
        for row in self.engine.take_changes(urgent=urgent):
            if row.body is None:
                self.disk.pop(row.key, None)
            else:
                self.disk[row.key] = row

    def restart(self, *, down_s: float) -> None:
        self.now += down_s
        self.engine = self.start()
        self.engine.restore(list(self.disk.values()))


def _names(requests: tuple[Request, ...]) -> list[str]:
    return [request.trigger for request in requests]


def test_a_mean_over_ten_seconds_is_unknown_until_ten_seconds_were_seen() -> None:
    plant = Plant(shaking={"when": "avg(v, 10s) > 7.1"})

    assert plant.each_second(*[9] * 12) == [0] * 10 + [1, 0]


def test_one_spike_does_not_move_a_mean_over_its_limit() -> None:
    plant = Plant(shaking={"when": "avg(v, 10s) > 7.1"})

    assert sum(plant.each_second(*[6] * 12, 12, *[6] * 12)) == 0


def test_a_window_that_slides_ends_now_and_one_that_tumbles_at_its_multiples() -> None:
    plant = Plant(sliding={"when": "max(v, 10s) > 8"}, tumbling={"when": "max(v, 10s, tumbling) > 8"})
    plant.each_second(*[1] * 13)

    assert plant.say(v=9) == ["sliding"]
    assert [name for _ in range(8) for name in (plant.wait(1), plant.say(v=1))[1]] == ["tumbling"]
    assert plant.now >= 10_020


def test_a_gap_longer_than_stale_makes_a_window_unknown_again() -> None:
    plant = Plant(low={"when": "sum(v, 10s) < 5"})
    plant.each_second(*[9] * 12)
    plant.now += 61

    assert plant.each_second(*[0] * 12) == [0] * 10 + [1, 0]


@pytest.mark.parametrize("odd", ["hot", None, True, [1], {"a": 1}])
def test_what_is_no_number_stays_out_of_windows(odd: Any) -> None:
    plant = Plant(four={"when": "sum(v, 10s) == 4.0 && count(v, 10s) == 4.0"})

    assert sum([*plant.each_second(*[1] * 6, *[odd] * 6), len(plant.say(v=1))]) == 1


def test_numbers_whose_sum_is_infinite_make_a_window_unknown() -> None:
    plant = Plant(much={"when": "sum(v, 5s) > 0"}, little={"when": "sum(v, 5s) <= 0"})

    assert sum(plant.each_second(*[1e308] * 12)) == 0


def test_each_change_of_a_value_fires_and_the_first_value_is_no_change() -> None:
    plant = Plant(switched={"when": "changed(mode)"})

    modes = ("auto", "auto", "manual", "off", "off", 1, True)
    assert [len(plant.say(mode=mode)) for mode in modes] == [0, 0, 1, 1, 0, 1, 1]
    assert plant.say(v=3) == []


def test_a_rate_is_the_change_in_a_second() -> None:
    plant = Plant(rising={"when": "rate(v, 10s) > 1.9"})

    assert sum(plant.each_second(*(value * 1.8 for value in range(15)))) == 0
    assert sum(plant.each_second(*(25 + value * 2.2 for value in range(15)))) == 1


def test_debounce_lets_neither_a_short_rise_nor_a_short_fall_through() -> None:
    plant = Plant(high={"when": "v > 5", "debounce": "3s"})

    assert plant.each_second(9, 9, 1, 9, 9, 9, 9, 1, 9, 9, 9, 9) == [0] * 6 + [1] + [0] * 5


def test_cool_down_holds_an_alarm_back_and_does_not_lose_it() -> None:
    plant = Plant(high={"when": "v > 5", "cooldown": "10s"})

    assert plant.each_second(9, 1, 9, 1, 9, 9) == [1, 0, 0, 0, 0, 0]
    assert plant.wait(4) == ["high"]


def test_triggers_that_must_fire_within_a_time_of_one_another() -> None:
    plant = Plant(
        high={"when": "v > 5"}, off={"when": "mode == 'off'"}, bad={"all": ["high", "off"], "within": "10s"}
    )

    assert plant.say(v=9) == ["high"]
    plant.now += 11
    assert plant.say(mode="off") == ["off"]
    assert plant.say(v=1) == []
    assert plant.say(v=9) == ["high", "bad"]


def test_any_of_several_triggers_makes_one_episode() -> None:
    plant = Plant(high={"when": "v > 5"}, off={"when": "mode == 'off'"}, bad={"any": ["high", "off"]})

    assert plant.say(v=9) == ["high", "bad"]
    assert plant.say(mode="off") == ["off"]
    assert plant.say(v=1) == []
    assert plant.say(mode="on") == []
    assert plant.say(v=9) == ["high", "bad"]


def test_a_schedule_fires_at_its_times_once_or_for_each_device() -> None:
    plant = Plant(hourly={"every": "1h"}, round={"every": "30m", "when": "v > 5"})
    plant.wait(0)
    plant.now = 3600 * 3 - 1
    plant.say(device="p1", v=9)
    plant.say(device="p2", v=1)
    plant.say(device="p3", v=8)

    assert plant.wait(1) == ["hourly", "round", "round"]
    assert plant.wait(1) == []


def test_a_time_that_was_missed_is_left_out() -> None:
    plant = Plant(hourly={"every": "1h"})
    plant.wait(0)

    assert plant.wait(3600 * 5 + 1800) == []
    assert plant.wait(10) == []


def test_for_goes_on_after_a_restart_and_does_not_count_the_time_between() -> None:
    plant = Plant(high={"when": "v > 5", "for": "30s"})
    plant.each_second(*[9] * 21)
    plant.keep(urgent=False)
    plant.restart(down_s=1000)

    assert plant.say(v=9) == []
    assert plant.wait(8) == []
    assert plant.wait(1) == ["high"]


def test_an_open_episode_does_not_fire_again_after_a_crash() -> None:
    plant = Plant(high={"when": "v > 5"})
    assert plant.say(v=9) == ["high"]
    plant.keep(urgent=True)
    plant.restart(down_s=5)

    assert plant.say(v=9) == []
    assert plant.say(v=1) == []
    assert plant.say(v=9) == ["high"]


def test_silence_starts_anew_with_the_process_and_is_told_once() -> None:
    plant = Plant(silent={"absent": "2m"})
    plant.say(v=1)
    plant.keep(urgent=True)
    plant.now += 100
    plant.restart(down_s=1000)

    assert plant.wait(119) == []
    assert plant.wait(1) == ["silent"]
    plant.keep(urgent=True)
    plant.restart(down_s=1)
    assert plant.wait(500) == []


def test_windows_go_on_after_a_restart_unless_it_took_longer_than_stale() -> None:
    for down_s, fired in ((1, ["high"]), (100, [])):
        plant = Plant(high={"when": "avg(v, 10s) > 5"})
        plant.each_second(*[1] * 10)
        plant.keep(urgent=False)
        plant.restart(down_s=down_s)
        assert plant.say(v=99) == fired


def test_a_trigger_that_was_changed_in_the_file_starts_anew() -> None:
    plant = Plant(high={"when": "v > 5"})
    plant.say(v=9)
    plant.keep(urgent=True)
    plant.spec["triggers"] = {"high": {"when": "v > 4"}}
    plant.restart(down_s=1)

    assert plant.say(v=9) == ["high"]


@pytest.mark.parametrize("key", ["", "{}", "[]", '["watch"]', '["watch","guard","high","p1"]', '["clock"]'])
@pytest.mark.parametrize(
    "body", ["", "[]", "{", "null", '{"open": 1}', '{"at": "x"}', '{"of": 3, "open": {}}']
)
def test_a_row_that_cannot_be_read_is_left_out(key: str, body: str) -> None:
    plant = Plant(high={"when": "v > 5", "for": "5s"}, silent={"absent": "2m"})
    plant.disk["x"] = StateRow("triggers", key, body)
    plant.restart(down_s=1)

    assert plant.each_second(*[9] * 7) == [0] * 5 + [1, 0]


@pytest.mark.parametrize(("step_s", "fires_after"), [(-5.0, 15), (-3600.0, 11)])
def test_a_clock_that_goes_back_neither_fires_nor_forgets(step_s: float, fires_after: int) -> None:
    plant = Plant(high={"when": "v > 5", "for": "30s"})
    plant.each_second(*[9] * 20)
    plant.now += step_s

    assert plant.each_second(*[9] * 20).index(1) == fires_after


def test_a_message_from_the_future_counts_as_now() -> None:
    plant = Plant(high={"when": "v > 5", "for": "30s"})
    plant.say(v=9)

    assert plant.say(v=9, at=plant.now + 86_400) == []
    assert plant.each_second(*[9] * 31)[-1] == 1


def test_samples_beyond_the_limit_are_merged_and_the_mean_stays() -> None:
    plant = Plant(limits=LimitsConfig(window=16), high={"when": "avg(v, 1m) > 5 && max(v, 1m) >= 9"})

    fired = plant.each_second(*itertools.islice(itertools.cycle((2, 9)), 70))

    assert fired.index(1) in {60, 61}


@given(values=st.lists(st.integers(-50, 50), min_size=1, max_size=400))
def test_merging_keeps_count_sum_and_extremes_exact(values: list[int]) -> None:
    budget = Budget(1000)
    series = Series(1e6, tumbling=False, stale_s=60.0, limit=16, budget=budget)
    for second, value in enumerate(values):
        series.add(float(second), float(value))
    series.since = -2e6

    told = {name: series.value(name, len(values) - 1.0) for name in ("count", "sum", "min", "max")}

    assert told["count"] == len(values)
    assert told["sum"] == pytest.approx(sum(values), abs=1e-6)
    assert (told["min"], told["max"]) == (min(values), max(values))
    assert len(series.times) <= 16
    assert budget.held == len(series.times)


def test_all_windows_together_never_hold_more_than_their_limit() -> None:
    plant = Plant(limits=LimitsConfig(samples=64), high={"when": "avg(v, 5m) > 5"})

    for _ in range(50):
        for device in range(20):
            plant.say(device=f"p{device}", v=1)
        plant.now += 1

    assert plant.engine._budget.held <= 64


def test_a_count_over_a_condition_counts_the_messages_for_which_it_held() -> None:
    plant = Plant(bad={"when": "count(mode == 'off' && v > 5, 10s) > 2"})
    plant.each_second(*[1] * 11)

    assert plant.say(v=9, mode="off") == []
    assert plant.say(v=9, mode="on") == []
    assert plant.say(v=2, mode="off") == []
    assert plant.say(v=8, mode="off") == []
    assert plant.say(v=7, mode="off") == ["bad"]


def test_a_condition_that_is_unknown_is_not_counted_either_way() -> None:
    plant = Plant(mostly={"when": "share(mode == 'off', 10s) > 0.5"})
    for _ in range(12):
        plant.say(mode="on")
        plant.now += 1
    assert [plant.say(mode=None) for _ in range(20)] == [[]] * 20

    assert [plant.say(mode="off") for _ in range(11)][-2:] == [["mostly"], []]


def test_a_window_over_an_expression_outlives_a_restart() -> None:
    plant = Plant(errors={"when": "count(mode == 'error', 20s) >= 3"})
    for mode in ("ok",) * 21 + ("error", "error"):
        assert plant.say(mode=mode) == []
        plant.now += 1
    plant.keep(urgent=False)
    plant.restart(down_s=5)

    assert plant.say(mode="error") == ["errors"]


def test_an_expression_of_numbers_may_stand_for_the_field() -> None:
    plant = Plant(apart={"when": "max(v - low, 10s) > 5"})
    plant.spec["listen"][0]["fields"]["low"] = "low"
    nodes = [Node(NodeConfig.model_validate(plant.spec), Path())]
    plant.twin = DeviceTwin(nodes, limits=plant.limits, clock=lambda: plant.now)
    plant.engine = plant.start()
    for _ in range(11):
        assert plant.say(v=5, low=1) == []
        plant.now += 1

    assert plant.say(v=9, low=1) == ["apart"]


def test_changes_can_be_counted() -> None:
    plant = Plant(flapping={"when": "count(changed(mode), 10s) >= 3"})
    for mode in ("on",) * 12 + ("off", "off", "on"):
        assert plant.say(mode=mode) == []
        plant.now += 1

    assert plant.say(mode="off") == ["flapping"]


def test_what_was_taken_is_not_given_again_while_no_time_passes() -> None:
    plant = Plant(high={"when": "v > 5", "for": "30s"})
    plant.say(v=9)

    assert plant.engine.take_changes(urgent=True)
    assert plant.engine.take_changes(urgent=False)
    assert plant.engine.take_changes(urgent=False) == []
