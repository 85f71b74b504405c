"""One configuration after the other, between two messages."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.errors import TransitionInvalid
from edge_node.messages import CommandDraft, Message, Origin
from tests.runtime.hall import SPEC, TOPICS, Hall
from tests.runtime.test_dispatcher import DEADLINE_S, QUESTION, Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def spec(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SPEC), **changes}


def slow_pumps() -> dict[str, Any]:
    """Return the pumps with another range, and another topic for orders."""
    made = spec()
    made["commands"]["set_speed"]["args"]["percent"]["maximum"] = 50
    made["commands"]["set_speed"]["publish"]["topic"] = "plant/{pump}/slow"
    return made


@pytest.fixture
def desk(hall: Hall) -> Iterator[Desk]:
    made = Desk(hall)
    made.dispatcher.start()
    yield made
    made.stop()


def orders(hall: Hall) -> list[str]:
    return [outgoing.topic for outgoing in hall.told() if outgoing.topic.startswith("plant/")]


def thinking_of(desk: Desk, percent: int) -> None:
    """Let the model think, and then propose a speed for the pump."""

    def say(*_: Any) -> CommandDraft:
        desk.began.release()
        assert desk.may_end.wait(DEADLINE_S)
        return CommandDraft("pump-guard", "set_speed", {"pump": "pump-1", "percent": percent}, Origin.MODEL)

    desk.hall.drafting.say = say
    desk.backlog.put(desk.hall.ask(QUESTION, correlation=b"before"))
    assert desk.began.acquire(timeout=DEADLINE_S)


def exchange(desk: Desk, folder: Path, nodes: dict[str, Any]) -> Hall:
    later = Hall(folder, spec=nodes, before=desk.hall)
    desk.dispatcher.exchange(lambda: later.take_over(desk.hall))
    return later


def test_what_is_under_way_ends_with_the_configuration_it_began_with(desk: Desk, tmp_path: Path) -> None:
    thinking_of(desk, 90)
    exchange(desk, tmp_path, slow_pumps())
    desk.hall.now += 11
    desk.backlog.put(desk.hall.ask("set pump-1 to 90 percent", correlation=b"after"))
    desk.wait_for(lambda: len(desk.replies()) == 1)
    desk.may_end.set()
    desk.wait_for(lambda: len(desk.replies()) == 2)

    after, before = desk.replies()
    assert (after["corr"], after["data"]["state"]) == ("after", "denied")
    assert (before["corr"], before["data"]["state"]) == ("before", "sent")
    assert orders(desk.hall) == ["plant/pump-1/set"]


def test_what_is_under_way_is_judged_by_what_devices_say_meanwhile(tmp_path: Path) -> None:
    guarded = spec()
    guarded["commands"]["set_speed"]["require"] = ["bearing_c < 85"]
    first = Hall(tmp_path, spec=guarded)
    first.walk(first.telemetry(c=60))
    desk = Desk(first)
    desk.dispatcher.start()
    try:
        thinking_of(desk, 40)
        exchange(desk, tmp_path, slow_pumps())
        desk.backlog.put(first.telemetry(c=99))
        desk.backlog.put(first.ask("jog pump-1", correlation=b"later"))
        desk.wait_for(lambda: len(desk.replies()) == 1)
        desk.may_end.set()
        desk.wait_for(lambda: len(desk.replies()) == 2)
        judged = desk.replies()[1]["data"]
    finally:
        desk.stop()
        first.journal.close()

    assert (judged["state"], judged["rule"]) == ("denied", "require[0]")


def test_limits_count_over_configurations(desk: Desk, tmp_path: Path) -> None:
    desk.backlog.put(desk.hall.ask("set pump-1 to 40 percent"))
    desk.wait_for(desk.replies)
    exchange(desk, tmp_path, slow_pumps())
    desk.hall.now += 5
    desk.backlog.put(desk.hall.ask("set pump-1 to 30 percent"))
    desk.wait_for(lambda: len(desk.replies()) == 2)

    assert desk.replies()[1]["data"]["rule"] == "limit.every"


def test_a_busy_dispatcher_lets_another_configuration_in(desk: Desk, tmp_path: Path) -> None:
    done = threading.Event()

    def feed() -> None:
        while not done.is_set():
            desk.backlog.put(Message("m", "plant/pump-1/telemetry", b'{"rpm": 1}', desk.hall.now))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        for _ in range(20):
            later = exchange(desk, tmp_path, slow_pumps())
    finally:
        done.set()
        feeder.join()
    desk.backlog.put(later.telemetry("pump-2", rpm=77))
    desk.backlog.put(later.ask("jog pump-2"))
    desk.wait_for(desk.replies)

    assert desk.replies()[0]["data"]["state"] == "sent"
    assert later.twin.devices("pump-guard") == ("pump-1", "pump-2")


def test_a_path_that_cannot_be_made_leaves_the_one_before(desk: Desk) -> None:
    def fail() -> Any:
        raise TransitionInvalid("c", expected="one", came="another")

    with pytest.raises(TransitionInvalid):
        desk.dispatcher.exchange(fail)
    desk.backlog.put(desk.hall.ask("set pump-1 to 40 percent"))
    desk.wait_for(desk.replies)

    assert desk.replies()[0]["data"]["state"] == "sent"


def test_devices_and_episodes_go_on_where_they_mean_the_same(hall: Hall, tmp_path: Path) -> None:
    hall.walk(hall.telemetry(rpm=80, c=90))
    assert len(hall.bodies(TOPICS.event("overheating"))) == 1
    changed = spec()
    changed["listen"][0]["fields"] = {"speed": "rpm", "bearing_c": "c", "vibration": "vib"}
    changed["triggers"] = {"overheating": changed["triggers"]["overheating"]}
    later = Hall(tmp_path, spec=changed, before=hall)
    later.take_over(hall)

    state = later.twin.state("pump-guard", "pump-1")
    assert state is not None
    assert (state.fields, state.online) == ({"speed": 80, "bearing_c": 90}, True)
    later.walk(later.telemetry(c=91))
    assert len(hall.bodies(TOPICS.event("overheating"))) == 1

    changed["triggers"]["overheating"]["when"] = "bearing_c > 86"
    again = Hall(tmp_path, spec=changed, before=later)
    again.take_over(later)
    again.now += 11
    again.walk(again.telemetry(c=92))
    assert len(hall.bodies(TOPICS.event("overheating"))) == 2


def test_a_timer_goes_on_and_fires_when_it_would_have(hall: Hall, tmp_path: Path) -> None:
    timed = spec(triggers={"silent": {"absent": "30s"}, "hot": {"when": "bearing_c > 85", "for": "20s"}})
    first = Hall(tmp_path, spec=timed, before=hall)
    first.walk(first.telemetry(c=90))
    first.now += 15
    later = Hall(tmp_path, spec={**timed, "description": "Other words."}, before=first)
    later.take_over(first)

    later.now += 5
    later.walk(None)
    assert len(hall.bodies(TOPICS.event("hot"))) == 1
    later.now += 10
    later.walk(None)
    assert len(hall.bodies(TOPICS.event("silent"))) == 1


def test_devices_of_a_node_that_has_gone_are_forgotten(hall: Hall, tmp_path: Path) -> None:
    other = Hall(tmp_path, spec=spec(name="other"), before=hall)
    other.take_over(hall)

    assert other.twin.devices("other") == ()
