from __future__ import annotations

import queue
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from edge_node.errors import BrokerRefused, BrokerUnreachable, BusError, Withheld
from edge_node.identifiers import new_id
from edge_node.journal.journal import Journal
from edge_node.messages import Command, CommandState, Outgoing
from edge_node.runtime.publisher import Publisher
from edge_node.stop import Outlet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_node.journal.outbox import Parcel

GONE = BrokerUnreachable("broker:1883", reason="the connection ended")
COMMAND = Command(
    id="",
    node="pump-guard",
    name="jog",
    device="pump-1",
    arguments={},
    state=CommandState.SENT,
    created_at=1000.0,
    expires_at=1030.0,
    idempotent=False,
    topic="plant/pump-1/jog",
    payload=b"go",
)


@dataclass
class Sending:
    """One message that was handed to the bus, and what the broker may say to it."""

    outgoing: Outgoing
    acknowledge: Callable[[], None]
    fail: Callable[[BusError], None]


@dataclass
class HandBus:
    """A bus on which the test is the broker."""

    connected: bool = True
    raises: BusError | None = None
    loses_once: str = ""
    on_publish: Callable[[Sending], None] = lambda _: None
    sent: queue.Queue[Sending] = field(default_factory=queue.Queue)

    def publish(
        self,
        outgoing: Outgoing,
        *,
        on_acknowledged: Callable[[], None] | None = None,
        on_failed: Callable[[BusError], None] | None = None,
    ) -> None:
        if self.raises is not None:
            raise self.raises
        if outgoing.topic == self.loses_once:
            self.loses_once = ""
            raise GONE
        assert on_acknowledged is not None
        assert on_failed is not None
        sending = Sending(outgoing, on_acknowledged, on_failed)
        self.sent.put(sending)
        self.on_publish(sending)

    def next(self) -> Sending:
        return self.sent.get(timeout=10)

    def topics(self) -> list[str]:
        topics = []
        while not self.sent.empty():
            topics.append(self.sent.get_nowait().outgoing.topic)
        return topics


class ReadOutbox:
    """The journal's outbox, with something that happens whenever it has just been read."""

    def __init__(self, journal: Journal, then: Callable[[], None]) -> None:
        self._journal = journal
        self._then = then

    def pending(self, *, limit: int, commands: bool) -> Sequence[Parcel]:
        parcels = self._journal.pending(limit=limit, commands=commands)
        self._then()
        return parcels

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.open(tmp_path / "journal.db", clock=lambda: 1000.0)
    yield made
    made.close()


@pytest.fixture
def bus() -> HandBus:
    return HandBus()


@dataclass
class Told:
    """What the publisher told."""

    delivered: queue.Queue[str] = field(default_factory=queue.Queue)
    unknown: queue.Queue[Command] = field(default_factory=queue.Queue)
    withdrawn: queue.Queue[Command] = field(default_factory=queue.Queue)

    def withdraw(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self.withdrawn.put(command)

    def doubt(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self.unknown.put(command)


@pytest.fixture
def told() -> Told:
    return Told()


@dataclass
class OpenLine:
    """Where a stop would be heard, or not, as the test says."""

    listening: bool = True
    why: str = "operational stop by ada"


def publisher_of(
    outbox: Any,
    *,
    bus: HandBus,
    told: Told,
    outlet: Outlet | None = None,
    line: OpenLine | None = None,
) -> Publisher:
    return Publisher(
        outbox,
        bus=bus,
        on_delivered=told.delivered.put,
        on_unknown=told.doubt,
        outlet=outlet or Outlet(),
        stop_line=line or OpenLine(),
        on_withdrawn=told.withdraw,
    )


@pytest.fixture
def publisher(journal: Journal, bus: HandBus, told: Told) -> Iterator[Publisher]:
    made = publisher_of(journal, bus=bus, told=told)
    yield made
    made.stop(timeout_s=10)


def write(journal: Journal, *topics: str) -> None:
    journal.conclude(None, outgoing=[Outgoing(topic, b"{}") for topic in topics])


def order(journal: Journal, *, idempotent: bool) -> Command:
    command = replace(COMMAND, id=new_id(), idempotent=idempotent)
    leaving = Outgoing(command.topic, command.payload, command_id=command.id)
    journal.conclude(None, commands=[command], outgoing=[leaving])
    return command


def run_once(publisher: Publisher) -> None:
    """Let the publisher send what it can, and end."""
    publisher.start()
    publisher.stop(timeout_s=10)
    assert not publisher.alive


def test_rows_leave_in_order_and_are_gone_once_acknowledged(
    journal: Journal, bus: HandBus, publisher: Publisher
) -> None:
    write(journal, "a", "b", "c")
    bus.on_publish = lambda sending: sending.acknowledge()

    run_once(publisher)

    assert bus.topics() == ["a", "b", "c"]
    assert journal.pending() == ()


def test_a_row_in_flight_does_not_leave_again(journal: Journal, bus: HandBus, publisher: Publisher) -> None:
    write(journal, "a")
    publisher.start()
    publisher.wake()
    bus.next()

    write(journal, "b")
    publisher.wake()

    assert bus.next().outgoing.topic == "b"
    publisher.stop(timeout_s=10)
    assert bus.topics() == []


def test_each_row_leaves_once_although_answers_arrive_while_the_rest_is_sent(
    journal: Journal, bus: HandBus, publisher: Publisher
) -> None:
    write(journal, *(f"row/{number}" for number in range(20)))
    open_: list[Sending] = []

    def answer_the_one_before(sending: Sending) -> None:
        for before in open_:
            before.acknowledge()
        open_[:] = [sending]

    bus.on_publish = answer_the_one_before
    publisher.start()
    for _ in range(20):
        publisher.wake()
    publisher.stop(timeout_s=10)

    assert bus.topics() == [f"row/{number}" for number in range(20)]


def test_an_answer_between_reading_and_sending_does_not_send_its_row_again(
    journal: Journal, bus: HandBus, told: Told
) -> None:
    in_flight: list[Sending] = []

    def answer() -> None:
        while in_flight:
            in_flight.pop().acknowledge()

    outbox = ReadOutbox(journal, answer)
    publisher = publisher_of(outbox, bus=bus, told=told)
    bus.on_publish = in_flight.append
    write(journal, "a")

    run_once(publisher)

    assert bus.topics() == ["a"]


def test_no_more_than_a_window_is_in_flight_and_the_rest_follows(
    journal: Journal, bus: HandBus, publisher: Publisher
) -> None:
    write(journal, *(f"row/{number}" for number in range(40)))
    publisher.start()
    publisher.wake()
    window = [bus.next() for _ in range(32)]
    publisher.wake()
    assert bus.sent.empty()

    for sending in window:
        sending.acknowledge()

    assert [bus.next().outgoing.topic for _ in range(8)] == [f"row/{number}" for number in range(32, 40)]


def test_nothing_is_sent_while_there_is_no_connection(
    journal: Journal, bus: HandBus, publisher: Publisher
) -> None:
    bus.connected = False
    write(journal, "a")

    run_once(publisher)

    assert bus.topics() == []
    assert len(journal.pending()) == 1


def test_the_broker_taking_a_command_is_told(
    journal: Journal, bus: HandBus, publisher: Publisher, told: Told
) -> None:
    command = order(journal, idempotent=True)
    write(journal, "said")
    bus.on_publish = lambda sending: sending.acknowledge()

    run_once(publisher)

    assert told.delivered.get(timeout=10) == command.id
    assert told.delivered.empty()


def test_what_must_not_be_sent_twice_is_marked_before_it_leaves(
    journal: Journal, bus: HandBus, publisher: Publisher
) -> None:
    order(journal, idempotent=False)
    still_to_leave: queue.Queue[int] = queue.Queue()
    bus.on_publish = lambda _: still_to_leave.put(len(journal.pending()))

    run_once(publisher)

    assert still_to_leave.get_nowait() == 0


def test_what_did_not_leave_may_leave_later_even_where_it_must_not_be_sent_twice(
    journal: Journal, bus: HandBus, publisher: Publisher, told: Told
) -> None:
    command = order(journal, idempotent=False)
    bus.raises = GONE
    run_once(publisher)

    (parcel,) = journal.pending()
    assert parcel.outgoing.command_id == command.id
    assert told.unknown.empty()

    bus.raises = None
    run_once(publisher_of(journal, bus=bus, told=told))
    assert bus.topics() == [command.topic]


def test_a_command_whose_answer_never_came_is_unknown_and_not_sent_again(
    journal: Journal, bus: HandBus, publisher: Publisher, told: Told
) -> None:
    command = order(journal, idempotent=False)
    publisher.start()
    publisher.wake()

    bus.next().fail(GONE)

    unknown = told.unknown.get(timeout=10)
    assert (unknown.id, unknown.state) == (command.id, CommandState.UNKNOWN)
    publisher.wake()
    publisher.stop(timeout_s=10)
    assert bus.topics() == []
    assert journal.pending() == ()


def test_what_may_be_sent_twice_is_sent_again_when_its_answer_never_came(
    journal: Journal, bus: HandBus, publisher: Publisher, told: Told
) -> None:
    command = order(journal, idempotent=True)
    publisher.start()
    publisher.wake()

    bus.next().fail(GONE)

    assert bus.next().outgoing.command_id == command.id
    assert told.unknown.empty()


def test_a_row_that_the_broker_refuses_ends_and_holds_up_no_other(
    journal: Journal, bus: HandBus, publisher: Publisher
) -> None:
    write(journal, "forbidden", "allowed")
    refusal = BrokerRefused("broker:1883", reason="not authorised")
    bus.on_publish = lambda sending: (
        sending.fail(refusal) if sending.outgoing.topic == "forbidden" else sending.acknowledge()
    )

    with capture_logs() as lines:
        run_once(publisher)

    assert bus.topics() == ["forbidden", "allowed"]
    assert journal.pending() == ()
    assert [(line["event"], line["topic"]) for line in lines] == [("publication_refused", "forbidden")]


def test_nothing_overtakes_a_row_that_could_not_leave(
    journal: Journal, bus: HandBus, publisher: Publisher
) -> None:
    write(journal, "a", "b", "c")
    bus.loses_once = "b"
    bus.on_publish = lambda sending: sending.acknowledge()
    publisher.start()
    publisher.wake()

    assert [bus.next().outgoing.topic for _ in range(3)] == ["a", "b", "c"]


def test_commands_wait_while_nobody_would_hear_a_stop_and_all_else_goes_on(
    journal: Journal, bus: HandBus, told: Told
) -> None:
    line = OpenLine(listening=False)
    for _ in range(40):
        order(journal, idempotent=True)
    write(journal, "said")

    run_once(publisher_of(journal, bus=bus, told=told, line=line))
    assert bus.topics() == ["said"]

    line.listening = True
    run_once(publisher_of(journal, bus=bus, told=told, line=line))
    assert bus.topics()[0] == COMMAND.topic


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_stop_ends_what_was_to_leave_and_what_awaits_a_person(
    journal: Journal, bus: HandBus, told: Told, *, idempotent: bool
) -> None:
    outlet = Outlet()
    command = order(journal, idempotent=idempotent)
    waiting = replace(COMMAND, id=new_id(), state=CommandState.AWAITING_APPROVAL)
    journal.conclude(None, commands=[waiting])
    write(journal, "said")
    outlet.shut()

    run_once(publisher_of(journal, bus=bus, told=told, outlet=outlet))

    assert bus.topics() == ["said"]
    ended = [told.withdrawn.get_nowait() for _ in range(2)]
    assert {each.id for each in ended} == {command.id, waiting.id}
    assert {each.state for each in ended} == {CommandState.CANCELLED}
    assert {each.detail for each in ended} == {"operational stop by ada"}
    assert journal.open_commands() == ()
    assert [parcel.outgoing.topic for parcel in journal.pending()] == ["said"]


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_command_that_the_bus_withheld_is_cancelled_even_after_the_reset(
    journal: Journal, bus: HandBus, told: Told, *, idempotent: bool
) -> None:
    outlet = Outlet()
    command = order(journal, idempotent=idempotent)
    latched = outlet.shut()
    outlet.forbid([command.id])
    outlet.open(after=latched)
    bus.on_publish = lambda sending: sending.fail(Withheld(command.id))

    publisher = publisher_of(journal, bus=bus, told=told, outlet=outlet)
    publisher.start()
    publisher.wake()

    assert told.withdrawn.get(timeout=10).state is CommandState.CANCELLED
    publisher.stop(timeout_s=10)
    assert told.unknown.empty()
    assert journal.pending() == ()


def test_a_command_that_left_before_a_stop_is_not_called_cancelled(
    journal: Journal, bus: HandBus, told: Told
) -> None:
    outlet = Outlet()
    answered, lost = order(journal, idempotent=True), order(journal, idempotent=True)

    def leave(sending: Sending) -> None:
        with outlet.leaving(sending.outgoing.command_id):
            pass

    bus.on_publish = leave
    publisher = publisher_of(journal, bus=bus, told=told, outlet=outlet)
    publisher.start()
    publisher.wake()
    ways = {sending.outgoing.command_id: sending for sending in (bus.next(), bus.next())}
    outlet.shut()
    ways[answered.id].acknowledge()
    ways[lost.id].fail(GONE)

    assert told.delivered.get(timeout=10) == answered.id
    ended = told.withdrawn.get(timeout=10)
    publisher.stop(timeout_s=10)
    assert (ended.id, ended.state) == (lost.id, CommandState.UNKNOWN)
    assert told.withdrawn.empty()
