"""What stages remember over a restart: SQL over the table of their rows, and the rows that wait for the disk.

Knows rows and turns; knows nothing of what the rows mean.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from edge_node.errors import JournalError
from edge_node.messages import StateRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_node.database import Cursor, Database
    from edge_node.errors import EdgeNodeError
    from edge_node.journal.writer import Writer

_log = structlog.get_logger(__name__)

_OF_OWNER = "SELECT owner, key, body, turn FROM memory WHERE owner = ? AND body IS NOT NULL ORDER BY turn"
_LAST_TURN = "SELECT coalesce(max(turn), 0) FROM memory"
_STRAGGLING_TURNS = 10_000


def put(cursor: Cursor, rows: Sequence[StateRow]) -> None:
    """Write rows; one that was taken before what stands there already is left out.

    What is forgotten stays for a while as a row without a body, so that an older row which comes late does
    not bring it back.
    """
    if not rows:
        return
    cursor.executemany(
        "INSERT INTO memory (owner, key, turn, body) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (owner, key) DO UPDATE SET turn = excluded.turn, body = excluded.body"
        " WHERE excluded.turn >= memory.turn",
        [(row.owner, row.key, row.turn, row.body) for row in rows],
    )
    cursor.execute(
        "DELETE FROM memory WHERE body IS NULL AND turn < ?",
        (max(row.turn for row in rows) - _STRAGGLING_TURNS,),
    )


class States:
    """The rows of all stages; every method may be called from any thread.

    What the disk refuses is kept, the latest row of each key, and goes with the next rows of `remember`.

    Args:
        database: Where they are kept.
        writer: The thread that writes.
    """

    def __init__(self, database: Database, *, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._unwritten: dict[tuple[str, str], StateRow] = {}
        self._lock = threading.Lock()

    def remember(self, rows: Sequence[StateRow]) -> None:
        """Write rows, and what the disk refused before, in one transaction.

        Raises:
            JournalError: It is not on the disk.
        """
        with self._lock:
            kept, self._unwritten = self._unwritten, {}
        rows = (*kept.values(), *rows)
        if rows:
            self.write(lambda cursor: put(cursor, rows), rows)

    def postpone(self, rows: Iterable[StateRow]) -> None:
        """Keep rows that go with the next ones of `remember`."""
        with self._lock:
            for row in rows:
                known = self._unwritten.get((row.owner, row.key))
                if known is None or row.turn >= known.turn:
                    self._unwritten[row.owner, row.key] = row

    def remembered(self, owner: str) -> tuple[StateRow, ...]:
        """Return what a stage remembered, in the order in which it was taken."""
        rows = self._writer.write(lambda cursor: cursor.execute(_OF_OWNER, (owner,)).fetchall())
        return tuple(StateRow(*row) for row in rows)

    @property
    def last_turn(self) -> int:
        """The turn of the row that was taken last; 0 where there is none."""
        return int(self._database.execute(_LAST_TURN)[0][0])

    def write(self, write: Callable[[Cursor], None], rows: Sequence[StateRow]) -> None:
        """Do what writes rows and more, and return once it is on the disk.

        Raises:
            JournalError: It is not on the disk.
        """
        try:
            self._writer.write(write)
        except JournalError:
            self.postpone(rows)
            raise

    def submit(self, write: Callable[[Cursor], None], rows: Sequence[StateRow]) -> None:
        """Queue what writes rows and more; the log tells where the disk refuses it.

        Raises:
            JournalError: The journal is closed, or the disk does not keep up.
        """

        def fail(error: EdgeNodeError) -> None:
            self.postpone(rows)
            _log.error("states_not_journaled", rows=len(rows), reason=str(error))

        try:
            self._writer.submit(write, done=lambda _: None, failed=fail)
        except JournalError:
            self.postpone(rows)
            raise
