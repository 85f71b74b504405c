"""What the journal forgets: rows that ended long ago, or that too many others follow.

Functions over a cursor, each within somebody's transaction; knows nothing of what the rows mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edge_node.journal.schema import KEPT_TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.database import Cursor

_STEP_ROWS = 200
_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the journal remembers what has ended.

    Attributes:
        age_s: Longest time.
        rows: Most rows of each table but the decisions'.
        decisions: Most decisions.
        request_s: Time within which the same request from the same caller counts as sent twice.
    """

    age_s: float = 30 * 86_400.0
    rows: int = 50_000
    decisions: int = 10_000
    request_s: float = 3600.0


def prune(cursor: Cursor, *, before: float, rows: int, fewer: Mapping[str, int] = _NONE) -> None:
    """Forget a few of the rows that ended before a time, or that are followed by too many.

    Args:
        cursor: Cursor of the transaction.
        before: Seconds since the epoch.
        rows: Most rows of a table.
        fewer: Table to most rows where it is a smaller number.
    """
    for table, ended in KEPT_TABLES.items():
        old = f"{ended} AND ended_at < ?"
        crowded = f"{ended} AND sequence <= (SELECT max(sequence) FROM {table}) - ?"  # noqa: S608 - names of this package
        for condition, limit in ((old, before), (crowded, min(rows, fewer.get(table, rows)))):
            cursor.execute(
                f"DELETE FROM {table} WHERE sequence IN"  # noqa: S608 - names of this package
                f" (SELECT sequence FROM {table} WHERE {condition} LIMIT {_STEP_ROWS})",
                (limit,),
            )
