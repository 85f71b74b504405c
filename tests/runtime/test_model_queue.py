from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.errors import Busy, DeadlinePassed, EdgeNodeError, Interrupted, Superseded, Withdrawn
from edge_node.messages import Request, RequestKind, Wanted
from edge_node.runtime.model_queue import ModelQueue, Place

KINDS = ("alarm", "order", "question")


@dataclass
class Turned:
    """A clock that a test turns."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def queue(clock: Turned) -> ModelQueue[str]:
    return ModelQueue(3, clock=clock)


def wanted(
    kind: str = "question", *, name: str = "c-1", deadline_s: float = 30.0, at: float = 1000.0
) -> Wanted:
    if kind == "alarm":
        request = Request(name, RequestKind.ALARM, "m", at, node="n", trigger=f"t-{name}", device="pump-1")
    else:
        request = Request(name, RequestKind.ASK, "m", at, user="ada", correlation=name)
    return Wanted(request, question=kind == "question", expires_at=at + deadline_s)


def taken(queue: ModelQueue[str]) -> Place[str]:
    place = queue.take()
    assert place is not None
    return place


def refused(queue: ModelQueue[str]) -> list[tuple[str, EdgeNodeError]]:
    found = []
    while (each := queue.refused()) is not None:
        found.append(each)
    return found


@given(st.lists(st.sampled_from(KINDS), max_size=20))
def test_alarms_go_before_orders_before_questions_and_each_in_the_order_they_came(kinds: list[str]) -> None:
    queue = ModelQueue[int](20, clock=Turned())
    for number, kind in enumerate(kinds):
        queue.put(number, wanted(kind, name=str(number)))

    came = [place.work for _ in kinds if (place := queue.take())]

    assert came == sorted(range(len(kinds)), key=lambda number: (KINDS.index(kinds[number]), number))


def test_a_full_queue_refuses_what_is_not_more_urgent_than_all_that_waits(queue: ModelQueue[str]) -> None:
    for name in "abc":
        queue.put(name, wanted("order", name=name))

    for kind in ("order", "question"):
        with pytest.raises(Busy):
            queue.put("late", wanted(kind, name="late"))

    assert refused(queue) == []


def test_in_a_full_queue_the_last_of_the_least_urgent_gives_way_to_an_alarm(queue: ModelQueue[str]) -> None:
    for name, kind in (("a", "question"), ("b", "question"), ("c", "order")):
        queue.put(name, wanted(kind, name=name))

    queue.put("alarm", wanted("alarm", name="alarm"))

    ((work, reason),) = refused(queue)
    assert (work, reason.code) == ("b", "busy")
    assert [taken(queue).work for _ in range(3)] == ["alarm", "c", "a"]


def test_what_is_past_its_deadline_is_never_given_out(queue: ModelQueue[str], clock: Turned) -> None:
    queue.put("late", wanted(name="late", deadline_s=30.0))
    queue.put("later", wanted(name="later", deadline_s=60.0))
    clock.now += 30.5

    assert taken(queue).work == "later"

    ((work, reason),) = refused(queue)
    assert work == "late"
    assert isinstance(reason, DeadlinePassed)
    assert "0.5 s after it" in str(reason)


def test_what_waits_too_long_is_told_while_the_model_is_busy(queue: ModelQueue[str], clock: Turned) -> None:
    queue.put("late", wanted(name="late"))
    clock.now += 30.5

    queue.drop_overdue()

    assert [work for work, _ in refused(queue)] == ["late"]


def test_the_model_hears_between_tokens_that_the_deadline_has_passed(
    queue: ModelQueue[str], clock: Turned
) -> None:
    queue.put("slow", wanted(name="slow"))
    place = taken(queue)
    place.check()
    clock.now += 30.5

    with pytest.raises(DeadlinePassed):
        place.check()
    with pytest.raises(DeadlinePassed):
        place.settle()


def test_how_long_a_request_waited_is_known(queue: ModelQueue[str], clock: Turned) -> None:
    queue.put("a", wanted(name="a"))
    clock.now += 2.5

    assert taken(queue).waited_s == 2.5


def test_an_alarm_that_fires_again_takes_the_place_of_the_one_that_waits(queue: ModelQueue[str]) -> None:
    first, again = wanted("alarm", name="x"), wanted("alarm", name="x")
    again = replace(again, request=replace(again.request, id="again"))
    queue.put("first", first)
    queue.put("between", wanted("alarm", name="y"))

    queue.put("again", again)

    ((work, reason),) = refused(queue)
    assert work == "first"
    assert isinstance(reason, Superseded)
    assert reason.by == "again"
    assert [taken(queue).work for _ in range(2)] == ["again", "between"]


def test_an_alarm_of_another_device_or_one_the_model_has_already_stays(queue: ModelQueue[str]) -> None:
    alarm = wanted("alarm", name="x")
    queue.put("running", alarm)
    taken(queue)
    queue.put("waiting", alarm)
    queue.put("other", replace(alarm, request=replace(alarm.request, device="pump-2")))

    assert refused(queue) == []
    assert [taken(queue).work for _ in range(2)] == ["waiting", "other"]


def test_a_full_queue_has_room_for_an_alarm_that_fires_again(queue: ModelQueue[str]) -> None:
    for name in "abc":
        queue.put(name, wanted("alarm", name=name))

    queue.put("again", wanted("alarm", name="b"))

    assert [work for work, _ in refused(queue)] == ["b"]


def test_who_asked_can_take_a_request_back_while_it_waits(queue: ModelQueue[str]) -> None:
    queue.put("mine", wanted(name="c-1"))

    assert not queue.cancel("ada", "c-2")
    assert not queue.cancel("eve", "c-1")
    assert queue.cancel("ada", "c-1")

    ((work, reason),) = refused(queue)
    assert work == "mine"
    assert isinstance(reason, Withdrawn)
    assert not queue.cancel("ada", "c-1")


def test_who_asked_can_take_a_request_back_until_it_is_settled(queue: ModelQueue[str]) -> None:
    queue.put("a", wanted(name="a"))
    queue.put("b", wanted(name="b"))
    early, late = taken(queue), taken(queue)
    late.settle()

    assert queue.cancel("ada", "a")
    assert not queue.cancel("ada", "b")

    with pytest.raises(Withdrawn):
        early.check()
    with pytest.raises(Withdrawn):
        early.settle()
    assert refused(queue) == []


def test_a_correlation_of_bytes_is_known_as_the_replies_write_it(queue: ModelQueue[str]) -> None:
    request = Request(
        "r",
        RequestKind.ASK,
        "m",
        1000.0,
        user="ada",
        correlation=b"\xff\x01".decode("utf-8", "surrogateescape"),
    )
    queue.put("raw", Wanted(request, question=True, expires_at=1030.0))

    assert queue.cancel("ada", "ff01")


def test_at_the_end_the_model_stops_between_tokens_but_what_is_made_counts(queue: ModelQueue[str]) -> None:
    queue.put("a", wanted(name="a"))
    place = taken(queue)

    queue.close()
    place.check()
    queue.interrupt()

    with pytest.raises(Interrupted):
        place.check()
    place.settle()
    assert queue.take() is None
