from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_node.errors import JournalError
from edge_node.journal.journal import Journal
from edge_node.messages import Message, StateRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGE = Message("m1", "plant/p1/telemetry", b"{}", 1_000_000.0, qos=1, durable=True)


def now() -> float:
    return 1_000_000.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "journal.db", clock=now)
    yield opened
    opened.close()


def row(key: str, body: str | None, turn: int, *, owner: str = "twin") -> StateRow:
    return StateRow(owner, key, body, turn)


def bodies(journal: Journal, owner: str = "twin") -> dict[str, str | None]:
    return {each.key: each.body for each in journal.states.remembered(owner)}


def receive(journal: Journal, message: Message) -> None:
    journal.receive(message, on_durable=lambda: None, on_duplicate=lambda: None)


def test_rows_are_kept_by_owner_and_key(journal: Journal) -> None:
    journal.states.remember([row("a", "1", 1), row("b", "2", 2), row("a", "x", 3, owner="triggers")])
    journal.states.remember([row("a", "3", 4)])

    assert bodies(journal) == {"a": "3", "b": "2"}
    assert bodies(journal, "triggers") == {"a": "x"}
    assert journal.states.last_turn == 4


def test_a_row_that_comes_late_replaces_nothing_newer_and_brings_nothing_back(journal: Journal) -> None:
    journal.states.remember([row("a", "new", 5), row("b", None, 6)])

    journal.states.remember([row("a", "old", 3), row("b", "old", 4)])

    assert bodies(journal) == {"a": "new"}


def test_forgotten_rows_leave_the_file_in_time(journal: Journal) -> None:
    journal.states.remember([row("a", None, 1)])

    journal.states.remember([row("b", "1", 20_000)])

    assert journal._database.execute("SELECT key FROM memory") == [("b",)]


def test_rows_go_with_the_end_of_a_message_that_led_to_nothing(journal: Journal) -> None:
    receive(journal, MESSAGE)

    journal.conclude(MESSAGE, states=[row("a", "1", 1)])

    assert bodies(journal) == {"a": "1"}
    assert journal.unfinished() == ()


def test_rows_without_a_message_are_written_too(journal: Journal) -> None:
    journal.conclude(None, states=[row("a", "1", 1)])

    assert bodies(journal) == {"a": "1"}


def test_the_end_of_a_message_and_its_rows_are_written_both_or_neither(journal: Journal) -> None:
    with pytest.raises(JournalError, match="expected it to be open"):
        journal.conclude(MESSAGE, dead="payload_invalid", states=[row("a", "1", 1)])
    assert bodies(journal) == {}

    journal.conclude(MESSAGE, states=[row("b", "2", 2)])
    assert bodies(journal) == {}


def test_rows_that_the_disk_refused_go_with_the_next_ones(journal: Journal) -> None:
    journal.conclude(MESSAGE, states=[row("a", "refused", 1), row("b", "refused", 2)])
    assert bodies(journal) == {}

    journal.states.remember([row("a", "later", 3)])

    assert bodies(journal) == {"a": "later", "b": "refused"}


def test_a_closed_journal_keeps_no_rows_and_says_so(tmp_path: Path) -> None:
    closed = Journal.open(tmp_path / "other.db", clock=now)
    closed.close()

    with pytest.raises(JournalError, match="closed"):
        closed.states.remember([row("a", "1", 1)])
