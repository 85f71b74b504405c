from __future__ import annotations

import threading

from structlog.testing import capture_logs

from edge_node.messages import Message
from edge_node.runtime.backlog import Backlog


def reading(number: int) -> Message:
    return Message(f"r-{number}", "plant/p/telemetry", b"1", 1.0)


def journaled(number: int) -> Message:
    return Message(f"j-{number}", "ask", b"?", 1.0, qos=1, durable=True)


def taken(backlog: Backlog) -> list[str]:
    """Return the identifiers of all that can be taken without waiting."""
    identifiers = []
    while (message := backlog.take(timeout_s=0)) is not None:
        identifiers.append(message.id)
    return identifiers


def test_readings_come_out_in_the_order_they_came_in() -> None:
    backlog = Backlog(10)
    for number in range(3):
        backlog.put(reading(number))

    assert taken(backlog) == ["r-0", "r-1", "r-2"]


def test_the_oldest_readings_go_first_and_are_counted() -> None:
    backlog = Backlog(3)
    for number in range(8):
        backlog.put(reading(number))

    assert backlog.dropped == 5
    assert taken(backlog) == ["r-5", "r-6", "r-7"]


def test_an_episode_of_dropped_readings_is_warned_of_once() -> None:
    backlog = Backlog(2)
    with capture_logs() as first:
        for number in range(6):
            backlog.put(reading(number))
        backlog.take(timeout_s=0)
        for number in range(6):
            backlog.put(reading(number))
    taken(backlog)
    with capture_logs() as second:
        for number in range(6):
            backlog.put(reading(number))

    assert [line["event"] for line in first] == ["readings_dropped"]
    assert [line["log_level"] for line in second] == ["warning"]


def test_an_episode_of_dropped_readings_goes_on_where_the_queue_is_emptied_in_between() -> None:
    backlog = Backlog(2)
    with capture_logs() as lines:
        for number in range(6):
            backlog.put(reading(number))
            if number == 4:
                assert [backlog.take(timeout_s=0), backlog.take(timeout_s=0)] == [reading(3), reading(4)]
        for number in range(3):
            backlog.put(reading(number))

    assert [line["event"] for line in lines] == ["readings_dropped"]


def test_an_episode_of_dropped_readings_ends_with_many_that_are_not() -> None:
    backlog = Backlog(2)
    with capture_logs() as lines:
        for number in range(3):
            backlog.put(reading(number))
        for number in range(30):
            backlog.take(timeout_s=0)
            backlog.put(reading(number))
        for number in range(3):
            backlog.put(reading(number))

    assert [line["event"] for line in lines] == ["readings_dropped", "readings_dropped"]


def test_journaled_messages_come_before_readings() -> None:
    backlog = Backlog(10)
    backlog.put(reading(0))
    backlog.put(journaled(0))

    assert taken(backlog) == ["j-0", "r-0"]


def test_readings_never_take_the_room_of_journaled_messages() -> None:
    backlog = Backlog(2)
    for number in range(4):
        backlog.put(reading(number))
        backlog.put(journaled(number))

    backlog.refill([journaled(2), journaled(3)])

    assert taken(backlog)[:2] == ["j-0", "j-1"]


def test_journaled_messages_beyond_the_limit_come_back_from_the_journal_in_order() -> None:
    backlog = Backlog(2)
    journal = [journaled(number) for number in range(5)]
    for message in journal:
        backlog.put(message)
    handled = []

    while len(handled) < 5:
        handled += taken(backlog)
        assert backlog.wants_refill == (len(handled) < 5)
        backlog.refill(message for message in journal if message.id not in handled)

    assert handled == ["j-0", "j-1", "j-2", "j-3", "j-4"]
    assert (backlog.wants_refill, backlog.dropped) == (False, 0)


def test_readings_wait_for_journaled_messages_that_found_no_room() -> None:
    backlog = Backlog(1)
    backlog.put(journaled(0))
    backlog.put(journaled(1))
    backlog.put(reading(0))

    assert taken(backlog) == ["j-0"]
    backlog.refill([journaled(1)])
    assert taken(backlog) == ["j-1", "r-0"]


def test_a_message_that_arrives_while_the_journal_is_read_is_not_forgotten() -> None:
    backlog = Backlog(1)
    backlog.put(journaled(0))
    backlog.put(journaled(1))
    assert taken(backlog) == ["j-0"]
    as_read = [journaled(1)]

    backlog.put(journaled(2))
    backlog.refill(as_read)

    assert taken(backlog) == ["j-1"]
    assert backlog.wants_refill
    backlog.refill([journaled(2)])
    assert taken(backlog) == ["j-2"]


def test_a_message_that_was_read_from_the_journal_before_it_was_put_comes_once() -> None:
    backlog = Backlog(2)
    for number in range(3):
        backlog.put(journaled(number))
    assert taken(backlog) == ["j-0", "j-1"]

    backlog.refill([journaled(2), journaled(3)])
    backlog.put(journaled(3))

    handled = taken(backlog)
    if backlog.wants_refill:
        backlog.refill([journaled(3)])
        handled += taken(backlog)
    assert handled == ["j-2", "j-3"]


def test_what_the_journal_held_at_the_start_is_queued_up_to_the_limit() -> None:
    backlog = Backlog(2)
    journal = [journaled(number) for number in range(3)]

    for message in journal:
        backlog.put(message)

    assert taken(backlog) == ["j-0", "j-1"]
    assert backlog.wants_refill


def test_take_returns_at_once_when_woken() -> None:
    backlog = Backlog(1)
    outcome: list[Message | None] = []
    thread = threading.Thread(target=lambda: outcome.append(backlog.take(timeout_s=60)))
    thread.start()

    while thread.is_alive():
        backlog.wake()
        thread.join(0.01)

    assert outcome == [None]


def test_take_waits_for_a_message() -> None:
    backlog = Backlog(1)
    outcome: list[Message | None] = []
    thread = threading.Thread(target=lambda: outcome.append(backlog.take(timeout_s=60)))
    thread.start()

    backlog.put(reading(7))
    thread.join(10)

    assert outcome == [reading(7)]


def by_person(message: Message) -> bool:
    return message.id.startswith("p")


def said(name: str) -> Message:
    return Message(name, "topic", b"", 1.0, qos=1, durable=True)


def test_a_person_who_finds_no_room_is_turned_away_and_a_device_waits_in_the_journal() -> None:
    backlog = Backlog(2, from_person=by_person)
    for name in ("p-1", "j-2", "p-3", "j-4", "p-5", "p-6"):
        backlog.put(said(name))

    away = [backlog.turned_away() for _ in range(3)]

    assert [message.id for message in away if message] == ["p-3", "p-5"]
    assert taken(backlog) == ["p-1", "j-2"]
    backlog.refill([said(name) for name in ("p-1", "j-2", "p-3", "j-4", "p-5", "p-6")])
    assert taken(backlog) == ["j-4", "p-6"]


def test_who_is_turned_away_does_not_wait_for_the_next_message() -> None:
    backlog = Backlog(1, from_person=by_person)
    for name in ("p-1", "p-2"):
        backlog.put(said(name))
    backlog.take(timeout_s=0)

    assert backlog.take(timeout_s=3600) is None
    assert backlog.turned_away() is not None


def test_what_waits_behind_a_message_comes_in_the_same_order_without_waiting() -> None:
    backlog = Backlog(10)
    for message in (reading(0), journaled(0), reading(1), journaled(1)):
        backlog.put(message)

    assert [message.id for message in iter(backlog.next, None)] == ["j-0", "j-1", "r-0", "r-1"]


def test_nobody_is_served_before_those_who_are_turned_away() -> None:
    backlog = Backlog(1, from_person=by_person)
    for message in (said("p-1"), said("p-2"), reading(0)):
        backlog.put(message)

    assert backlog.next() is None
    assert backlog.turned_away() is not None
    assert [message.id for message in iter(backlog.next, None)] == ["p-1", "r-0"]


def test_readings_that_follow_wait_for_journaled_messages_that_found_no_room_too() -> None:
    backlog = Backlog(1)
    for message in (reading(0), journaled(0), journaled(1)):
        backlog.put(message)

    assert [message.id for message in iter(backlog.next, None)] == ["j-0"]
