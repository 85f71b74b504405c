from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_node.errors import InternalFault, JournalError
from edge_node.messages import CommandDraft, CommandState, Origin, Wanted
from tests.runtime.hall import Hall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_node.messages import DeviceReport, FieldReport, Message

SLOWER = CommandDraft("pump-guard", "set_speed", {"pump": "pump-1", "percent": 20}, Origin.MODEL)
CALM: dict[str, Any] = {"rpm": 80, "c": 60, "vib": 1.0}


@pytest.fixture
def enter(tmp_path: Path) -> Iterator[Callable[..., Hall]]:
    """Enter the same hall again and again; without a farewell in between it is as after a crash."""
    halls: list[Hall] = []

    def enter_it(*, clock: float = 1000.0) -> Hall:
        halls.append(Hall(tmp_path, clock=clock))
        halls[-1].drafting.say = lambda *_: SLOWER
        halls[-1].pipeline.restore()
        return halls[-1]

    yield enter_it
    for hall in halls:
        hall.journal.close()


def pump(hall: Hall) -> DeviceReport:
    report = hall.twin.report("pump-guard", "pump-1")
    assert report is not None
    return report


def speed(hall: Hall) -> FieldReport:
    return next(each for each in pump(hall).fields if each.name == "speed")


def wait_for_model(hall: Hall, message: Message) -> None:
    """Walk a message to where it needs the model, and no further."""
    assert isinstance(next(hall.pipeline.path(message, now=hall.now)), Wanted)


def test_what_was_saved_is_known_after_a_restart_with_its_real_age(enter: Callable[..., Hall]) -> None:
    hall = enter()
    hall.walk(hall.telemetry(**CALM))
    assert hall.pipeline.save()

    soon, late = enter(clock=1059.0), enter(clock=1061.0)

    state = soon.twin.state("pump-guard", "pump-1")
    assert state is not None
    assert (state.online, state.seen_at, dict(state.fields)) == (
        True,
        1000.0,
        {"speed": 80, "bearing_c": 60, "vib": 1.0},
    )
    state = late.twin.state("pump-guard", "pump-1")
    assert state is not None
    assert (state.online, dict(state.fields)) == (False, {})
    assert late.twin.devices("pump-guard") == ("pump-1",)


def test_only_what_changed_is_written_again(enter: Callable[..., Hall]) -> None:
    hall = enter()
    hall.walk(hall.telemetry(**CALM))

    assert (hall.pipeline.save(), hall.pipeline.save()) == (True, False)


def test_readings_that_change_nothing_urgent_write_no_rows(enter: Callable[..., Hall]) -> None:
    hall = enter()
    for _ in range(3):
        hall.walk(hall.telemetry(**CALM))

    assert hall.journal.states.remembered("twin") == ()


def test_what_a_command_wants_is_on_the_disk_with_the_command(enter: Callable[..., Hall]) -> None:
    hall = enter()
    hall.walk(hall.telemetry(rpm=80, c=90, vib=1.0))

    again = enter()

    assert (speed(again).value, speed(again).desired) == (80, 30)
    (command,) = again.journal.open_commands()
    assert speed(again).command_id == command.id


def test_what_a_command_wanted_is_desired_no_more_once_it_is_reported(enter: Callable[..., Hall]) -> None:
    hall = enter()
    hall.walk(hall.telemetry(rpm=80, c=90, vib=1.0))
    hall.now += 1

    hall.walk(hall.telemetry(rpm=30))
    hall.journal.states.remembered("twin")

    assert speed(hall).desired is None
    assert speed(enter()).desired is None


def test_a_command_that_never_left_wants_nothing(enter: Callable[..., Hall]) -> None:
    hall = enter()
    hall.walk(hall.telemetry(rpm=80, c=90, vib=1.0))
    hall.now += 31  # longer than it may wait for the broker

    _, result = hall.walk(None)

    assert [command.state for command in result.moved] == [CommandState.EXPIRED]
    assert speed(hall).desired is None


def test_an_alarm_that_waited_for_the_model_is_decided_after_a_crash_and_fires_once(
    enter: Callable[..., Hall],
) -> None:
    hall = enter()
    hall.walk(hall.telemetry(**CALM))
    shaken = hall.telemetry(vib=8)
    wait_for_model(hall, shaken)
    hall.walk(hall.telemetry(rpm=79))  # others go on meanwhile

    again = enter()
    assert again.pipeline.interrupted(but=again.journal.unfinished()) == []
    (open_still,) = again.journal.unfinished()
    hops, result = again.walk(open_still)

    assert (hops, [each.request.trigger for each in result.decisions]) == (1, ["shaking"])
    assert again.journal.unfinished() == ()
    assert again.journal.states.remembered("begun") == ()


def test_an_alarm_of_a_reading_that_is_not_journaled_is_decided_after_a_crash_too(
    enter: Callable[..., Hall],
) -> None:
    hall = enter()
    hall.walk(hall.telemetry(**CALM))
    reading = hall.telemetry(vib=8)
    hall.journal.conclude(reading)
    fleeting = type(reading)("reading", reading.topic, reading.payload, hall.now)
    wait_for_model(hall, fleeting)

    again = enter()
    (path,) = again.pipeline.interrupted(but=again.journal.unfinished())
    *_, result = path

    assert result is not None
    assert [each.request.trigger for each in result.decisions] == ["shaking"]
    assert again.journal.states.remembered("begun") == ()
    assert enter().pipeline.interrupted(but=()) == []


def test_a_message_that_failed_leaves_nothing_to_be_done_again(enter: Callable[..., Hall]) -> None:
    hall = enter()
    hall.walk(hall.telemetry(**CALM))
    shaken = hall.telemetry(vib=8)
    wait_for_model(hall, shaken)

    hall.pipeline.bury(shaken, InternalFault("ValueError"))

    assert hall.journal.states.remembered("begun") == ()


def test_what_fired_stays_to_be_decided_where_its_end_finds_no_room_on_the_disk(
    enter: Callable[..., Hall],
) -> None:
    hall = enter()
    hall.walk(hall.telemetry(**CALM))
    unknown = hall.telemetry(c=90)
    hall.journal.conclude(unknown)  # so that its end is refused, as a full disk would

    with pytest.raises(JournalError):
        hall.walk(unknown)
    assert hall.journal.states.remembered("begun") == ()
    hall.pipeline.save()

    (kept,) = hall.journal.states.remembered("begun")
    assert kept.key == unknown.id


def test_requests_that_cannot_be_read_are_left_out(enter: Callable[..., Hall]) -> None:
    hall = enter()
    hall.walk(hall.telemetry(**CALM))
    wait_for_model(hall, hall.telemetry(vib=8))
    hall.journal._database.execute("UPDATE memory SET body = '[{\"id\": 1}]' WHERE owner = 'begun'")

    again = enter()

    assert again.pipeline.interrupted(but=()) == []
