"""What has left long ago makes nothing slower."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from edge_node.journal import outbox
from edge_node.journal.journal import Journal
from edge_node.messages import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_node.database import Cursor

NOW = 1_000_000.0


def _take(cursor: Cursor) -> int:
    return len(outbox.take(cursor, now=NOW, after=0, limit=100))


def _settle(cursor: Cursor) -> int:
    return len(outbox.settle_doubtful(cursor, now=NOW))


def _crowd_out(cursor: Cursor) -> int:
    return outbox.crowd_out(cursor, rows=100_000, now=NOW)


def _steps(path: Path, work: Callable[[Cursor], int], *, ended: int) -> int:
    """Return the steps, in tens, that SQLite takes where so many pieces have left."""
    Journal.open(path, clock=lambda: NOW).close()
    connection = sqlite3.connect(path)
    steps = [0]
    with connection:
        cursor = connection.cursor()
        for number in range(ended + 3):
            row_id = outbox.add(cursor, Outgoing(f"plant/pump-{number}/set", b"{}"), now=NOW)
            if number < ended:
                outbox.end(cursor, row_id, state="delivered", now=NOW)

        def count() -> int:
            steps[0] += 1
            return 0

        connection.set_progress_handler(count, 10)
        work(cursor)
    connection.close()
    return steps[0]


@pytest.mark.parametrize("work", [_take, _settle, _crowd_out])
def test_the_work_on_what_is_to_leave_does_not_grow_with_what_has_left(
    tmp_path: Path, work: Callable[[Cursor], int]
) -> None:
    few = _steps(tmp_path / "few.db", work, ended=10)
    assert _steps(tmp_path / "many.db", work, ended=3000) <= few + 1
