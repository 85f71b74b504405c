"""What stages remember over a restart: SQL over the table of their rows, and the rows that wait for the disk.

Functions over a cursor, each within somebody's transaction; knows nothing of what the rows mean.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_node.database import Cursor
    from edge_node.messages import StateRow

ALL = "SELECT owner, key, body, turn FROM memory WHERE owner = ? AND body IS NOT NULL ORDER BY turn"
"""The rows of an owner, in the order in which they were taken."""
LAST_TURN = "SELECT coalesce(max(turn), 0) FROM memory"
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


class Unwritten:
    """The rows that the disk refused, the latest of each key; they go with the next ones."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], StateRow] = {}
        self._lock = threading.Lock()

    def keep(self, rows: Iterable[StateRow]) -> None:
        """Keep rows for another attempt."""
        with self._lock:
            for row in rows:
                known = self._rows.get((row.owner, row.key))
                if known is None or row.turn >= known.turn:
                    self._rows[row.owner, row.key] = row

    def take(self) -> tuple[StateRow, ...]:
        """Return what waits, and let go of it."""
        with self._lock:
            rows, self._rows = tuple(self._rows.values()), {}
            return rows
