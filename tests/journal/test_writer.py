"""How rows that come together are written, and what happens to each where one of them cannot be."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from edge_node.database import Database
from edge_node.errors import EdgeNodeError, JournalError
from edge_node.journal.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edge_node.database import Cursor
    from edge_node.journal.writer import Row

_DEADLINE_S = 30.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    migrations = (("CREATE TABLE kept (name TEXT NOT NULL UNIQUE)",),)
    made = Database.open(tmp_path / "rows.db", migrations=migrations, error=JournalError)
    yield made
    made.close()


def _write_together(database: Database, names: Sequence[str]) -> tuple[list[str], list[str], list[int]]:
    """Return which rows were told as written and as failed, and how many were written at a time."""
    done: list[str] = []
    failed: list[str] = []
    sizes: list[int] = []
    free, last = threading.Event(), threading.Event()

    def insert(cursor: Cursor, rows: Sequence[Row]) -> None:
        sizes.append(len(rows))
        for row in rows:
            cursor.execute("INSERT INTO kept VALUES (?)", row)

    writer = Writer(database)
    writer.submit(lambda _: free.wait(_DEADLINE_S), done=lambda _: None, failed=lambda _: None)

    def fail(name: str) -> None:
        failed.append(name)

    for name in names:
        writer.add(
            insert,
            (name,),
            done=lambda _, name=name: done.append(name),
            failed=lambda _, name=name: fail(name),
        )
    writer.submit(lambda _: None, done=lambda _: last.set(), failed=lambda _: last.set())
    free.set()
    assert last.wait(_DEADLINE_S)
    writer.close()
    return done, failed, sizes


def test_rows_that_wait_are_written_together_and_told_in_their_order(database: Database) -> None:
    done, failed, sizes = _write_together(database, ["a", "b", "c"])
    assert (done, failed, sum(sizes)) == (["a", "b", "c"], [], 3)
    assert database.execute("SELECT name FROM kept ORDER BY rowid") == [("a",), ("b",), ("c",)]


def test_a_row_that_cannot_be_written_takes_no_other_with_it(database: Database) -> None:
    done, failed, _ = _write_together(database, ["a", "b", "a", "c"])
    assert (done, failed) == (["a", "b", "c"], ["a"])
    assert database.execute("SELECT name FROM kept ORDER BY rowid") == [("a",), ("b",), ("c",)]


def test_a_job_finds_the_rows_that_were_queued_before_it(database: Database) -> None:
    writer = Writer(database)

    def insert(cursor: Cursor, rows: Sequence[Row]) -> None:
        cursor.executemany("INSERT INTO kept VALUES (?)", rows)

    def fail(error: EdgeNodeError) -> None:
        raise error

    for number in range(20):
        writer.add(insert, (str(number),), done=lambda _: None, failed=fail)
    assert writer.write(lambda cursor: cursor.execute("SELECT count(*) FROM kept").fetchone()) == (20,)
    writer.close()
