"""What the twin does with time: the device's own, the order of arrival, and ages over a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import (
    Command,
    CommandState,
    DeviceReport,
    Expectation,
    FieldReport,
    Message,
    Observation,
    StateRow,
)
from edge_node.twin import DeviceTwin
from edge_node.twin.known import Known, Reported
from edge_node.twin.listening import Source

START = 1_790_000_000.0
SPEC: dict[str, Any] = {
    "edge_node": 1,
    "name": "plant",
    "stale": "60s",
    "listen": [
        {"topic": "plant/{pump}/state", "fields": {"speed": "speed", "mode": "mode"}, "time": "ts"},
        {"topic": "plant/{pump}/meter", "fields": {"litres": "litres"}, "stale": "2h"},
    ],
}


class Plant:
    """A twin on a clock, and a way to say something to it."""

    def __init__(self, *, now: float = START, **limits: int) -> None:
        self.now = now
        nodes = [Node(NodeConfig.model_validate(SPEC), Path())]
        limited = LimitsConfig().model_copy(update=limits)
        self.twin = DeviceTwin(nodes, limits=limited, clock=lambda: self.now)

    def say(
        self, *, device: str = "pump-1", kind: str = "state", retained: bool = False, **body: Any
    ) -> tuple[Observation, ...]:
        return self.twin.observe(self.message(device=device, kind=kind, retained=retained, **body))

    def message(
        self, *, device: str = "pump-1", kind: str = "state", retained: bool = False, **body: Any
    ) -> Message:
        payload = json.dumps(body).encode()
        return Message("m", f"plant/{device}/{kind}", payload, self.now, retained=retained)

    def fields(self, device: str = "pump-1") -> dict[str, Any]:
        state = self.twin.state("plant", device)
        return dict(state.fields) if state else {}

    def report(self, device: str = "pump-1") -> dict[str, FieldReport]:
        report = self.twin.report("plant", device)
        return {each.name: each for each in report.fields} if report else {}

    def online(self, device: str = "pump-1") -> bool:
        state = self.twin.state("plant", device)
        return state is not None and state.online

    def restarted(self, *, after_s: float = 0.0) -> Plant:
        """Return the plant as a new process finds it."""
        again = Plant(now=self.now + after_s)
        again.twin.restore(self.twin.take_changes(urgent=False))
        return again


def order(value: Any, *, state: CommandState = CommandState.SENT, name: str = "c1") -> Command:
    return Command(
        id=name,
        node="plant",
        name="set_speed",
        device="pump-1",
        arguments={},
        state=state,
        created_at=START,
        expires_at=START + 30,
        idempotent=True,
        topic="plant/pump-1/set",
        payload=b"",
        expectation=Expectation("speed", value, 5.0),
    )


@pytest.mark.parametrize(
    "written",
    [
        START - 10,
        int(START - 10),
        (START - 10) * 1000,
        str(START - 10),
        "2026-09-21T14:13:10Z",
        "2026-09-21T14:13:10",
        "2026-09-21T16:13:10+02:00",
    ],
)
def test_a_device_may_write_its_time_in_many_ways(written: Any) -> None:
    plant = Plant()

    (told,) = plant.say(speed=5, ts=written)

    assert told.observed_at == START - 10
    assert plant.report()["speed"].at == START - 10


def test_a_message_without_the_devices_time_counts_from_its_arrival() -> None:
    plant = Plant()

    plant.say(speed=5)
    plant.say(mode="auto", ts=None)

    assert {each.at for each in plant.report().values()} == {START}


def test_what_is_older_than_what_is_known_changes_nothing_and_is_no_news() -> None:
    plant = Plant()
    plant.say(speed=5, ts=START - 2)

    (told,) = plant.say(speed=9, mode="auto", ts=START - 4)

    assert dict(told.fields) == {"mode": "auto"}
    assert plant.fields() == {"speed": 5, "mode": "auto"}


def test_what_a_device_says_of_a_time_long_gone_is_unknown_and_fires_nothing() -> None:
    plant = Plant()

    (told,) = plant.say(speed=5, ts=START - 61)

    assert told.fields == {}
    assert plant.fields() == {}
    assert plant.online()


@pytest.mark.parametrize("written", [START + 61, "soon", [1], True, "1e999"])
def test_a_time_in_the_future_or_none_at_all_is_refused_and_told_once(written: Any) -> None:
    plant = Plant()
    plant.say(speed=5, ts=START - 2)

    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            assert plant.say(speed=9, ts=written) == ()

    assert plant.fields() == {"speed": 5}
    assert plant.twin.refusals.untimely == 5
    assert [line["event"] for line in lines] == ["device time refused"]
    assert "clocks" in lines[0]["hint"]


def test_a_device_a_little_ahead_is_as_old_as_its_message() -> None:
    plant = Plant()
    plant.say(speed=5, ts=START + 30)
    plant.now += 1

    plant.say(speed=4, ts=START + 29)

    assert plant.report()["speed"].at == START
    assert plant.fields() == {"speed": 5}


def test_without_a_time_of_the_device_arrivals_follow_each_other_though_the_clock_is_set_back() -> None:
    plant = Plant()
    plant.say(kind="meter", litres=5)
    plant.now -= 3600

    plant.say(kind="meter", litres=6)

    assert plant.fields() == {"litres": 6}
    assert plant.online()


def test_a_listen_entry_has_its_own_stale_and_keeps_the_device_online() -> None:
    plant = Plant()
    plant.say(speed=5)
    plant.say(kind="meter", litres=7)
    plant.now += 7199

    assert plant.fields() == {"litres": 7}
    assert plant.online()
    plant.now += 2
    assert plant.fields() == {}
    assert not plant.online()


def test_a_retained_message_does_not_make_what_is_known_younger() -> None:
    plant = Plant()
    plant.say(speed=5, mode="auto")
    plant.now += 50

    plant.say(speed=5, mode="manual", retained=True)
    plant.now += 11

    assert plant.fields() == {"mode": "manual"}


def test_a_value_of_another_type_is_taken_and_told_once() -> None:
    plant = Plant()
    plant.say(speed=5)

    with structlog.testing.capture_logs() as lines:
        plant.say(speed="fast")
        plant.say(speed=5.5)
        plant.say(speed=5)

    assert plant.fields() == {"speed": 5}
    assert plant.twin.refusals.unusable == 2
    assert [(line["expected"], line["came"]) for line in lines] == [("a number, as before", "a text")]


def test_a_value_of_no_use_is_told_and_null_is_not() -> None:
    plant = Plant()

    plant.say(speed=None)
    assert plant.twin.refusals.unusable == 0
    plant.say(speed=[1])

    assert plant.twin.refusals.unusable == 1


def test_in_a_full_twin_devices_that_were_silent_for_a_day_give_way_but_for_commanded_ones() -> None:
    plant = Plant(devices=2)
    plant.say(device="silent", speed=1)
    plant.say(speed=1)
    plant.twin.follow([order(3)])
    plant.twin.take_changes(urgent=False)
    plant.now += 86_401

    plant.say(device="new", speed=1)

    assert plant.twin.devices("plant") == ("new", "pump-1")
    rows = {row.key: row.body for row in plant.twin.take_changes(urgent=False)}
    assert rows['["plant", "silent"]'] is None
    assert plant.say(device="another", speed=1) == ()


def test_what_came_after_the_last_save_is_taken_up_again_but_not_over_what_is_newer() -> None:
    plant = Plant()
    plant.say(kind="meter", litres=1)
    missed = [plant.message(kind="meter", litres=0), plant.message(speed=7, ts=START)]
    missed.append(Message("m", "plant/pump-1/state", b"\xff", START))
    plant.now += 5
    plant.say(kind="meter", litres=2)

    again = plant.restarted()
    again.twin.recall(missed)

    assert again.fields() == {"speed": 7, "litres": 2}
    state = again.twin.state("plant", "pump-1")
    assert state is not None
    assert state.seen_at == START + 5


@pytest.mark.parametrize("state", [CommandState.ACKNOWLEDGED, CommandState.UNVERIFIED, CommandState.UNKNOWN])
def test_what_was_ordered_stays_desired_until_it_is_reported(state: CommandState) -> None:
    plant = Plant()
    plant.say(speed=5)
    plant.twin.follow([order(30)])
    plant.twin.follow([order(30, state=state)])
    plant.now += 1
    plant.say(speed=5)
    assert (plant.report()["speed"].value, plant.report()["speed"].desired) == (5, 30)

    plant.say(speed=30.0000001)

    assert plant.report()["speed"].desired is None


@pytest.mark.parametrize(
    "state", [CommandState.EXPIRED, CommandState.CANCELLED, CommandState.VERIFIED, CommandState.DENIED]
)
def test_a_command_that_ended_without_its_device_wants_nothing_more(state: CommandState) -> None:
    plant = Plant()
    plant.say(speed=5)
    plant.twin.follow([order(30)])

    plant.twin.follow([order(20, state=state, name="another")])
    assert plant.report()["speed"].desired == 30
    plant.twin.follow([order(30, state=state)])

    assert plant.report()["speed"].desired is None


def test_only_a_change_of_what_is_desired_is_urgent() -> None:
    plant = Plant()
    plant.say(speed=5)
    assert plant.twin.take_changes(urgent=True) == ()

    plant.twin.follow([order(30)])

    assert len(plant.twin.take_changes(urgent=True)) == 1
    assert plant.twin.take_changes(urgent=False) == ()


@pytest.mark.parametrize(
    "row",
    [
        StateRow("twin", "no json", "{}"),
        StateRow("twin", '["plant", "a"]', "{"),
        StateRow("twin", '["plant", "a"]', '{"values": []}'),
        StateRow("twin", '["plant", "a", "b"]', "{}"),
        StateRow("twin", "7", "{}"),
    ],
)
def test_a_row_that_cannot_be_read_is_left_out_and_told(row: StateRow) -> None:
    plant = Plant()

    with structlog.testing.capture_logs() as lines:
        plant.twin.restore([row])

    assert plant.twin.devices("plant") == ()
    assert [line["event"] for line in lines] == ["device_not_remembered"]


def test_a_field_or_a_node_that_is_listened_to_no_more_is_forgotten() -> None:
    plant = Plant()
    plant.say(speed=5)
    (row,) = plant.twin.take_changes(urgent=False)
    body = (row.body or "").replace('"speed"', '"gone"')

    again = Plant()
    again.twin.restore([StateRow("twin", row.key, body), StateRow("twin", '["other", "pump-1"]', row.body)])

    assert again.fields() == {}
    assert again.twin.devices("other") == ()


VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.text(max_size=4), st.just([1])
)
STEP = st.one_of(
    st.tuples(st.just("wait"), st.floats(-90, 90)),
    st.tuples(
        st.sampled_from(["say", "say", "retained"]),
        st.sampled_from(["p", "q", "\N{SNOWMAN}", 'a"b', "x y"]),
        VALUE,
        st.none() | st.floats(-90, 90),
    ),
    st.tuples(st.just("meter"), st.sampled_from(["p", "q"]), VALUE),
    st.tuples(st.just("order"), st.integers(0, 3), st.sampled_from(list(CommandState))),
)


def play(plant: Plant, step: tuple[Any, ...]) -> None:
    match step:
        case ("wait", float() as seconds):
            plant.now += seconds
        case ("say" | "retained" as how, str() as device, value, ahead_s):
            told = {} if ahead_s is None else {"ts": plant.now + ahead_s}
            plant.say(device=device, speed=value, retained=how == "retained", **told)
        case ("meter", str() as device, value):
            plant.say(device=device, kind="meter", litres=value)
        case ("order", int() as value, CommandState() as state):
            plant.twin.follow([order(value, state=state, name=f"c{value}")])


def whole(plant: Plant) -> tuple[list[DeviceReport], list[Any]]:
    names = plant.twin.devices("plant")
    return list(plant.twin.reports()), [plant.twin.state("plant", name) for name in names]


@settings(max_examples=300)
@given(steps=st.lists(st.tuples(STEP, st.booleans()), max_size=25))
def test_a_twin_restored_from_its_changes_is_equal_now_and_in_all_that_follows(
    steps: list[tuple[tuple[Any, ...], bool]],
) -> None:
    plant, restarting = Plant(), Plant()
    kept: dict[str, StateRow] = {}
    for step, restart in steps:
        play(plant, step)
        play(restarting, step)
        if restart:
            # As the journal keeps it: the last row of each key, urgent ones first.
            for urgent in (True, False):
                kept |= {row.key: row for row in restarting.twin.take_changes(urgent=urgent)}
            again = Plant(now=restarting.now)
            again.twin.restore(kept.values())
            restarting = again

        assert whole(restarting) == whole(plant)


@settings(max_examples=200)
@given(steps=st.lists(STEP, max_size=20))
def test_what_is_told_of_a_device_is_never_stale_and_never_of_no_use(steps: list[tuple[Any, ...]]) -> None:
    plant = Plant()
    for step in steps:
        play(plant, step)
        for report in plant.twin.reports():
            fresh = {each.name: each.value for each in report.fields if each.fresh}
            assert plant.fields(report.device) == fresh
            assert all(isinstance(value, bool | int | float | str) for value in fresh.values())
            ages = [abs(plant.now - (each.at or 0)) for each in report.fields if each.fresh]
            assert all(age <= 7200 for age in ages)


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([1.0, 2.0, None]),
        st.integers(-70, 70),  # when it held, from now
        st.integers(-30, 70),  # how far the clock goes on, or is set back
    ),
    max_size=30,
)


@settings(deadline=None)
@given(steps=STEPS)
def test_what_can_be_relied_on_is_what_each_value_by_itself_says(
    steps: list[tuple[str, float | None, int, int]],
) -> None:
    known, now = Known(), START
    sources = {"a": Source("t", 0, 60.0), "b": Source("t", 1, 5.0), "c": Source("t", 2, 60.0)}
    for name, value, held, forward in steps:
        known.take_up({name: Reported(value, now + held, sources[name])}, retained=False, recalled=False)
        for at in (now, now + forward):
            apart = {key: each.value for key, each in known.values.items() if each.is_fresh(at)}
            assert known.fresh(at) == apart
        now += forward
