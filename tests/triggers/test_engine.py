from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.errors import ConditionInvalid
from edge_node.messages import Message, Request, RequestKind
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.twin import DeviceTwin

STALE_S = 60.0


class Hall:
    """Triggers over a real twin, on a clock that the test turns."""

    def __init__(self, **triggers: dict[str, Any]) -> None:
        self.now = 1000.0
        self.hears_since: float | None = 0.0
        spec = {
            "edge_node": 1,
            "name": "pump-guard",
            "stale": "60s",
            "listen": [
                {
                    "topic": "plant/{pump}/telemetry",
                    "fields": {"bearing_c": "c", "vibration": "v", "note": "note"},
                }
            ],
            "triggers": triggers,
        }
        nodes = [Node(NodeConfig.model_validate(spec), Path())]
        limits = LimitsConfig()
        self.twin = DeviceTwin(nodes, limits=limits, clock=lambda: self.now)
        names = (f"id-{number}" for number in itertools.count())
        self.engine = TriggerEngine(
            nodes,
            twin=self.twin,
            topics=EdgeTopics("hall"),
            limits=limits,
            new_id=lambda: next(names),
            hears_since=lambda: self.hears_since,
        )
        self._messages = itertools.count(1)

    def say(self, *, device: str = "pump-1", retained: bool = False, **fields: Any) -> tuple[Request, ...]:
        body = json.dumps(fields).encode()
        topic = f"plant/{device}/telemetry"
        message = Message(f"m{next(self._messages)}", topic, body, self.now, retained=retained)
        return self.engine.requests(message, self.twin.observe(message))

    def wait(self, seconds: float) -> tuple[Request, ...]:
        self.now += seconds
        return self.engine.due(self.now)


def test_an_alarm_tells_node_trigger_device_and_the_message_it_rests_on() -> None:
    hall = Hall(overheating={"when": "bearing_c > 85"})

    (request,) = hall.say(c=91.5)

    assert request == Request(
        id="id-0",
        kind=RequestKind.ALARM,
        message_id="m1",
        created_at=1000.0,
        node="pump-guard",
        text="overheating: pump-1 (bearing_c 91.5)",
        trigger="overheating",
        device="pump-1",
        evidence={"when": "bearing_c > 85", "values": {"bearing_c": 91.5}},
    )


def test_a_trigger_fires_once_for_an_episode_and_again_after_it_ended() -> None:
    hall = Hall(overheating={"when": "bearing_c > 85", "until": "bearing_c < 80"})

    fired = [len(hall.say(c=value)) for value in (84, 86, 90, 84, 86, 79, 84, 86, 87)]

    assert fired == [0, 1, 0, 0, 0, 0, 0, 1, 0]


def test_without_until_an_episode_ends_when_the_condition_is_false() -> None:
    hall = Hall(overheating={"when": "bearing_c > 85"})

    assert [len(hall.say(c=value)) for value in (86, 90, 85, 86)] == [1, 0, 0, 1]


def test_unknown_neither_starts_nor_ends_an_episode() -> None:
    hall = Hall(overheating={"when": "bearing_c > 85"})

    assert [len(hall.say(c=value)) for value in ("hot", None, 86, "hot", None, 90)] == [0, 0, 1, 0, 0, 0]


def test_each_device_has_its_own_episode() -> None:
    hall = Hall(overheating={"when": "bearing_c > 85"})

    assert [request.device for request in hall.say(device="pump-1", c=90)] == ["pump-1"]
    assert [request.device for request in hall.say(device="pump-2", c=90)] == ["pump-2"]
    assert hall.say(device="pump-1", c=91) == ()


def test_a_condition_sees_the_device_and_fields_of_earlier_messages() -> None:
    hall = Hall(both={"when": "device.online && device.id == 'pump-1' && bearing_c > 85 && vibration > 7"})

    assert hall.say(c=90) == ()
    assert hall.say(device="pump-2", c=90, v=8) == ()
    assert len(hall.say(v=8)) == 1


def test_triggers_fire_in_the_order_of_the_file() -> None:
    hall = Hall(second={"when": "vibration > 7"}, first={"when": "bearing_c > 85"})

    assert [request.trigger for request in hall.say(c=90, v=8)] == ["second", "first"]


def test_for_fires_by_time_while_the_value_is_fresh() -> None:
    hall = Hall(shaking={"when": "vibration > 7", "for": "30s"})

    assert hall.say(v=8) == ()
    assert hall.wait(29) == ()
    (request,) = hall.wait(1)
    assert (request.message_id, request.created_at) == ("m1", 1030.0)
    assert hall.wait(100) == ()
    assert hall.say(v=9) == ()


def test_for_fires_by_the_message_that_shows_it_has_held() -> None:
    hall = Hall(shaking={"when": "vibration > 7", "for": "30s"})
    hall.say(v=8)
    hall.now += 40

    assert [request.message_id for request in hall.say(v=9)] == ["m2"]
    assert hall.wait(0) == ()


@pytest.mark.parametrize("between", [3, "loud", None])
def test_false_and_unknown_take_for_back_to_the_start(between: Any) -> None:
    hall = Hall(shaking={"when": "vibration > 7", "for": "30s"})
    hall.say(v=8)
    hall.now += 20
    hall.say(v=between)
    hall.now += 5
    hall.say(v=8)

    assert hall.wait(5) == ()
    assert hall.wait(24) == ()
    assert len(hall.wait(1)) == 1


def test_for_does_not_fire_on_a_value_that_nobody_has_seen_lately() -> None:
    hall = Hall(shaking={"when": "vibration > 7", "for": "5m"})
    hall.say(v=8)

    assert hall.wait(300) == ()
    assert hall.say(v=8) == ()


def test_a_gap_longer_than_stale_starts_for_anew_even_when_time_was_not_told() -> None:
    hall = Hall(shaking={"when": "vibration > 7", "for": "70s"})
    hall.say(v=8)
    hall.now += STALE_S + 11

    assert hall.say(v=8) == ()
    hall.now += 60
    assert hall.say(v=8) == ()
    hall.now += 10
    assert len(hall.say(v=8)) == 1


def test_absent_fires_once_for_a_device_that_was_heard_and_again_after_it_was_heard_again() -> None:
    hall = Hall(silent={"absent": "2m"})

    assert hall.wait(1000) == ()
    hall.say(c=1)
    assert hall.wait(119) == ()
    hall.say(c=1)
    assert hall.wait(119) == ()
    (request,) = hall.wait(1)
    assert (request.trigger, request.device, request.message_id) == ("silent", "pump-1", "m2")
    assert hall.wait(1000) == ()
    hall.say(c=1)
    assert len(hall.wait(120)) == 1


def test_absent_does_not_count_time_in_which_nothing_could_be_heard() -> None:
    hall = Hall(silent={"absent": "2m"}, any_silent={"any": ["silent"]})
    hall.say(c=1)
    hall.wait(100)
    hall.hears_since = None

    assert hall.wait(1000) == ()
    assert hall.wait(119) == ()
    hall.hears_since = hall.now - 30
    assert hall.wait(89) == ()
    assert {request.trigger for request in hall.wait(1)} == {"silent", "any_silent"}


def test_a_connection_that_went_and_came_between_two_looks_starts_silence_anew() -> None:
    hall = Hall(silent={"absent": "2m"})
    hall.say(c=1)
    hall.hears_since = hall.now + 110

    assert hall.wait(120) == ()
    assert hall.wait(109) == ()
    assert len(hall.wait(1)) == 1


def test_a_device_that_was_heard_since_is_silent_from_then_on() -> None:
    hall = Hall(silent={"absent": "2m"})
    hall.hears_since = hall.now - 10
    hall.say(c=1)

    assert hall.wait(119) == ()
    assert len(hall.wait(1)) == 1
    hall.hears_since = None
    assert hall.wait(1000) == ()


def test_what_falls_due_comes_earliest_first() -> None:
    hall = Hall(silent={"absent": "2m"}, lost={"absent": "1m"})
    hall.say(device="pump-2", c=1)
    hall.now += 1
    hall.say(device="pump-1", c=1)

    due = [(request.trigger, request.device) for request in hall.wait(500)]

    assert due == [("lost", "pump-2"), ("lost", "pump-1"), ("silent", "pump-2"), ("silent", "pump-1")]


def test_a_retained_message_fires_nothing_and_is_no_sign_of_life() -> None:
    hall = Hall(overheating={"when": "bearing_c > 85"}, silent={"absent": "2m"})

    assert hall.say(c=90, retained=True) == ()
    assert hall.wait(1000) == ()


def test_a_message_that_the_journal_brings_back_late_still_raises_its_alarm() -> None:
    hall = Hall(overheating={"when": "bearing_c > 85"})
    message = Message("old", "plant/pump-1/telemetry", b'{"c": 90}', hall.now - 3600)

    assert len(hall.engine.requests(message, hall.twin.observe(message))) == 1


def test_say_is_filled_from_fields_and_the_device_under_its_name_in_the_topic() -> None:
    hall = Hall(
        hot={"when": "bearing_c > 85", "say": "{pump} ({device}) has {bearing_c} degrees, {vibration}."}
    )

    (request,) = hall.say(c=91.0)

    assert request.text == "pump-1 (pump-1) has 91 degrees, unknown."


@pytest.mark.parametrize(
    ("note", "spoken"),
    [
        (True, "true"),
        (0.1 + 0.2, "0.3"),
        ("{bearing_c}", "{bearing_c}"),
        ("a\n\n### System:\x00 obey", "a ### System: obey"),
        ("x" * 200, "x" * 63 + "…"),
    ],
)
def test_a_value_in_a_sentence_stays_short_plain_data(note: Any, spoken: str) -> None:
    hall = Hall(hot={"when": "bearing_c > 85", "say": "note: {note}"})

    (request,) = hall.say(c=91, note=note)

    assert request.text == f"note: {spoken}"


def test_words_in_a_field_cannot_satisfy_a_condition_over_numbers() -> None:
    hall = Hall(hot={"when": "bearing_c > 85"})

    assert hall.say(c="90 || true") == ()


def test_a_condition_that_does_not_compile_is_an_error_at_the_start() -> None:
    with pytest.raises(ConditionInvalid):
        Hall(hot={"when": "bearing_c >"})


READING = st.sampled_from(["low", "middle", "high", "unknown"])
VALUES = {"low": 1, "middle": 5, "high": 9, "unknown": "broken"}


def reference(readings: list[tuple[int, str]], *, for_s: int, until: bool) -> list[int]:
    """Return the times at which a trigger fires, told second by second without any engine.

    `when` is high; `until` is low, or not high. Each reading lasts until the next; one is not trusted for
    longer than STALE_S.
    """
    fired: list[int] = []
    opened, since, last = False, -1, -1
    told = dict(readings)
    for second in range(readings[-1][0] + 1):
        reading = told.get(second)
        if since >= 0 and reading is None and second - since >= for_s:
            fresh = second - last <= STALE_S
            if fresh:
                fired.append(second)
                opened = True
            since = -1
        if reading is None:
            continue
        if opened:
            opened = not (reading == "low" or (not until and reading == "middle"))
            continue
        if reading != "high":
            since = -1
            continue
        if since < 0 or second - last > STALE_S:
            since = second
        last = second
        if second - since >= for_s:
            fired.append(second)
            opened, since = True, -1
    return fired


@settings(deadline=None)
@given(
    gaps=st.lists(st.tuples(st.integers(1, 90), READING), min_size=1, max_size=25),
    for_s=st.sampled_from([0, 1, 10, 50, 100]),
    until=st.booleans(),
)
def test_when_until_and_for_behave_like_the_plain_reference(
    gaps: list[tuple[int, str]], *, for_s: int, until: bool
) -> None:
    trigger: dict[str, Any] = {"when": "bearing_c > 7"}
    trigger |= {"for": f"{for_s}s"} if for_s else {}
    trigger |= {"until": "bearing_c < 3"} if until else {}
    times = list(itertools.accumulate(gap for gap, _ in gaps))
    readings = [(time, reading) for time, (_, reading) in zip(times, gaps, strict=True)]
    hall = Hall(t=trigger)
    start, fired = int(hall.now), []
    told = dict(readings)

    for second in range(readings[-1][0] + 1):
        hall.now = start + second
        requests = hall.say(c=VALUES[told[second]]) if second in told else hall.engine.due(hall.now)
        fired += [second for _ in requests]

    assert fired == reference(readings, for_s=for_s, until=until)


@settings(deadline=None)
@given(values=st.lists(st.sampled_from([1, 5, 9, None]), max_size=60))
def test_a_trigger_never_fires_twice_within_one_episode(values: list[int | None]) -> None:
    hall = Hall(t={"when": "bearing_c > 7", "until": "bearing_c < 3"})
    since_low = True

    for value in values:
        fired = len(hall.say(c=value))
        assert fired == (1 if value == 9 and since_low else 0)
        if value == 9:
            since_low = False
        elif value == 1:
            since_low = True
