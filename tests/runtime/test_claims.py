from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from edge_node.bus.memory import MemoryBroker, MemoryBus
from edge_node.config.models import LimitsConfig
from edge_node.identifiers import new_id
from edge_node.journal.journal import Journal
from edge_node.messages import Message
from edge_node.runtime.claims import Claims
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_node.bus.receipt import Receipt

NOW = 1_000_000.0
DEADLINE_S = 10.0


@dataclass
class Member:
    """One edge of a group, as far as claims go: its journal is real, its bus is in memory."""

    name: str
    broker: MemoryBroker
    path: Path
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    handled: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topics = EdgeTopics(self.name, group="halls")
        self.journal = Journal.open(self.path / f"{self.name}.db", clock=lambda: NOW)
        self.bus = MemoryBus(self.broker, on_message=self._receive)
        self.claims = Claims(
            self.topics,
            inbox=self.journal,
            bus=self.bus,
            limits=self.limits,
            on_mine=self.handled.append,
        )

    def start(self) -> None:
        self.claims.restore()
        self.bus.subscribe({self.topics.claims: 1})
        self.claims.renew()
        self.settle()

    def get(self, message: Message) -> Message:
        """Take in a question as the first hop does, and wait until it is on the disk."""
        message = replace(message, id=new_id())
        self.keep(message)
        self.claims.take(message)
        self.settle()
        return message

    def keep(self, message: Message) -> None:
        """Write a question to the journal, and nothing else."""
        done = threading.Event()
        self.journal.receive(message, on_durable=done.set, on_duplicate=done.set)
        assert done.wait(DEADLINE_S)

    def settle(self) -> None:
        """Return once the journal has written everything it was given."""
        self.journal.remember("settled", "")

    def crash(self) -> None:
        self.bus.stop()
        self.settle()
        self.journal.close()

    def _receive(self, message: Message, receipt: Receipt) -> None:
        done = threading.Event()
        self.journal.receive(message, on_durable=done.set, on_duplicate=done.set, ended=True)
        assert done.wait(DEADLINE_S)
        self.bus.acknowledge(receipt)
        self.claims.hear(message)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(clock=lambda: NOW)


@pytest.fixture
def make_member(tmp_path: Path, broker: MemoryBroker) -> Iterator[Callable[..., Member]]:
    members: list[Member] = []

    def make(name: str, **options: LimitsConfig) -> Member:
        members.append(Member(name, broker, tmp_path, **options))
        return members[-1]

    yield make
    for member in members:
        member.journal.close()


def question(correlation: bytes = b"q-1", text: bytes = b"ring the bell", *, at: float = NOW) -> Message:
    return Message(new_id(), "edge/v1/halls/ask/ada", text, at, qos=1, durable=True, correlation=correlation)


def test_a_question_that_came_to_two_edges_is_handled_by_the_first_that_claims_it(
    make_member: Callable[..., Member],
) -> None:
    north, south = make_member("north"), make_member("south")
    north.start()
    south.start()
    asked = question()
    mine = north.get(asked)
    south.get(asked)
    assert north.handled == [mine]
    assert south.handled == []
    assert (north.journal.unfinished(), south.journal.unfinished()) == ((mine,), ())


def test_an_edge_that_dies_with_a_claimed_question_has_it_after_its_restart(
    make_member: Callable[..., Member],
) -> None:
    north, south = make_member("north"), make_member("south")
    north.start()
    south.start()
    asked = question()
    mine = north.get(asked)
    north.crash()
    south.get(asked)
    again = make_member("north")
    again.start()
    assert [message for message in again.journal.unfinished() if again.claims.mine(message)] == [mine]
    assert south.handled == []


def test_an_edge_that_died_before_it_claimed_leaves_the_question_to_who_claimed_it_meanwhile(
    make_member: Callable[..., Member],
) -> None:
    south = make_member("south")
    south.start()
    asked = question()
    north = make_member("north")
    north.keep(asked)
    # The broker keeps the claim of the other edge for the session of the one that is away.
    north.bus.subscribe({north.topics.claims: 1})
    taken = south.get(asked)
    north.claims.restore()
    north.claims.renew()
    north.settle()
    assert south.handled == [taken]
    assert north.handled == []
    assert north.journal.unfinished() == ()


def test_an_unclaimed_question_of_the_last_run_is_claimed_after_a_restart(
    make_member: Callable[..., Member],
) -> None:
    asked = question()
    north = make_member("north")
    north.keep(asked)
    north.crash()
    again = make_member("north")
    assert not again.claims.mine(asked)
    again.start()
    assert again.handled == [asked]


def test_nothing_is_handled_before_the_claim_was_heard(make_member: Callable[..., Member]) -> None:
    north = make_member("north")
    asked = north.get(question())
    assert north.handled == []
    assert not north.claims.mine(asked)
    north.start()
    assert north.handled == [asked]


def test_other_words_another_caller_or_another_correlation_are_another_question(
    make_member: Callable[..., Member],
) -> None:
    north, south = make_member("north"), make_member("south")
    north.start()
    south.start()
    north.get(question())
    others = [
        question(text=b"ring the bell!"),
        question(correlation=b"q-2"),
        replace(question(), topic="edge/v1/halls/ask/bob"),
    ]
    for other in others:
        south.get(other)
    assert len(south.handled) == len(others)


def test_a_correlation_in_the_json_tells_questions_apart_for_callers_of_mqtt_3(
    make_member: Callable[..., Member],
) -> None:
    north, south = make_member("north"), make_member("south")
    north.start()
    south.start()
    asked = question(b"", b'{"text": "ring the bell", "correlation": "q-1"}')
    north.get(asked)
    south.get(asked)
    assert (len(north.handled), len(south.handled)) == (1, 0)


@pytest.mark.parametrize("text", [b"ring the bell", b'{"text": "ring the bell"}', b"{broken", b"\xff"])
def test_a_question_without_a_correlation_has_no_second_copy(
    make_member: Callable[..., Member], text: bytes
) -> None:
    north, south = make_member("north"), make_member("south")
    north.start()
    south.start()
    asked = question(b"", text)
    north.get(asked)
    south.get(asked)
    assert (len(north.handled), len(south.handled)) == (1, 1)


def test_the_same_words_an_hour_later_are_a_new_question(make_member: Callable[..., Member]) -> None:
    north, south = make_member("north"), make_member("south")
    north.start()
    south.start()
    north.get(question())
    south.get(question(at=NOW + north.journal.request_s - 1))
    assert south.handled == []
    south.broker.clock = lambda: NOW + north.journal.request_s
    south.get(question(at=NOW + north.journal.request_s))
    assert len(south.handled) == 1


def test_telemetry_passes_without_a_claim(make_member: Callable[..., Member]) -> None:
    north = make_member("north")
    reading = replace(question(), topic="plant/pump-1/telemetry")
    assert north.claims.mine(reading)
    assert north.get(reading) in north.handled


def test_more_questions_than_fit_wait_in_the_journal_and_are_claimed_in_their_turn(
    make_member: Callable[..., Member],
) -> None:
    north = make_member("north", limits=LimitsConfig(queue=2))
    asked = [north.get(question(f"q-{number}".encode())) for number in range(5)]
    north.bus.subscribe({north.topics.claims: 1})
    north.claims.renew()
    assert north.handled == asked[:2]
    for _ in asked:
        north.claims.catch_up()
    assert north.handled == asked
