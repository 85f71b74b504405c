"""What came in, in order, and how it ended: SQL over the inbox.

Functions over a cursor, each within somebody's transaction; knows nothing of threads and brokers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from edge_node.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_node.database import Cursor

COLUMNS = (
    "id, topic, payload, received_at, qos, retained, response_topic, correlation, dropped_bytes, expires_at"
)
OPEN = f"SELECT {COLUMNS} FROM inbox WHERE state = 'open' ORDER BY sequence"  # noqa: S608 - names of this module
"""The messages without a recorded end, in the order they came; `message_from` reads a row."""
BELOW = f"SELECT {COLUMNS} FROM inbox WHERE received_at > ? AND substr(topic, 1, ?) = ? ORDER BY sequence"  # noqa: S608 - names of this module
"""The messages received after a time below a length and a prefix of topics, in the order they came."""
_RECENT = (
    f"SELECT {COLUMNS}, sequence FROM inbox WHERE received_at > ? AND sequence > max(?,"  # noqa: S608 - names of this module
    " (SELECT coalesce(max(sequence), 0) FROM inbox) - ?) ORDER BY sequence LIMIT 200"
)
_REDELIVERED_ROWS = 4096
"""How far back an unacknowledged delivery is looked for; a broker has fewer open at once."""

_AT_ONCE = (32, 8, 1)
_T = TypeVar("_T")


def add(cursor: Cursor, message: Message, *, now: float, request_s: float, ended: bool = False) -> bool:
    """Return True where a message is new, False where it came before and has ended here.

    It came before where it is a request sent twice, or where the broker delivers again what stands here,
    because the acknowledgement was lost with the connection or the process.

    Args:
        cursor: Cursor of the transaction.
        message: What came.
        now: Seconds since the epoch.
        request_s: Time within which the same request counts as sent twice.
        ended: Whether a new one has its end with this: it is kept, and nothing is to be done about it.
    """
    if _delivered_before(cursor, message):
        # Without a row of its own: an edge that dies at each start would push the first one out of sight.
        return False
    fresh = not _seen(cursor, message, since=message.received_at - request_s)
    state = "done" if ended else "open"
    state = state if fresh else "duplicate"
    insert(cursor, [row_of(message, state=state, ended_at=None if state == "open" else now)])
    return fresh


def is_plain(message: Message) -> bool:
    """Return whether a message cannot have come before, so that nothing has to be looked up."""
    return not (message.redelivered or message.correlation)


def row_of(message: Message, *, state: str = "open", ended_at: float | None = None) -> tuple[Any, ...]:
    """Return the row of a message, for `insert`."""
    return (
        message.id,
        message.topic,
        message.payload,
        message.received_at,
        message.qos,
        message.retained,
        message.response_topic,
        message.correlation,
        message.dropped_bytes,
        message.packet_id,
        state,
        ended_at,
        message.expires_at,
    )


def insert(cursor: Cursor, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows in order, many with one statement."""
    for part in _portions(rows):
        places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(part))
        cursor.execute(
            "INSERT INTO inbox (id, topic, payload, received_at, qos, retained, response_topic, correlation,"  # noqa: S608 - question marks
            f" dropped_bytes, packet_id, state, ended_at, expires_at) VALUES {places}",
            [value for row in part for value in row],
        )


def _portions(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield rows in portions of few different sizes, so that few statements are ever compiled."""
    at = 0
    for size in _AT_ONCE:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def _delivered_before(cursor: Cursor, message: Message) -> bool:
    """Return whether the last row with the packet's identifier is this very delivery.

    Source: MQTT 5.0, section 4.4: what was not acknowledged is sent again under its original packet
    identifier.
    """
    if not message.redelivered:
        return False
    cursor.execute(
        "SELECT topic, payload FROM inbox WHERE packet_id = ?"
        " AND sequence > (SELECT max(sequence) FROM inbox) - ? ORDER BY sequence DESC LIMIT 1",
        (message.packet_id, _REDELIVERED_ROWS),
    )
    return bool(cursor.fetchone() == (message.topic, message.payload))


def _seen(cursor: Cursor, message: Message, *, since: float) -> bool:
    if not message.correlation:
        return False
    # The payload counts too: some callers use one correlation for everything they ever ask. The length
    # is there because the index covers only rows that have a correlation.
    cursor.execute(
        "SELECT 1 FROM inbox WHERE topic = ? AND correlation = ? AND length(correlation) > 0"
        " AND payload = ? AND received_at > ? LIMIT 1",
        (message.topic, message.correlation, message.payload, since),
    )
    return cursor.fetchone() is not None


def end(cursor: Cursor, message_id: str, *, dead: str, now: float) -> bool:
    """Return whether the message was open and has ended now."""
    cursor.execute(
        "UPDATE inbox SET state = ?, reason = ?, ended_at = ? WHERE id = ? AND state = 'open'",
        ("dead" if dead else "done", dead, now, message_id),
    )
    return cursor.rowcount == 1


def end_all(cursor: Cursor, message_ids: Sequence[str], *, now: float) -> bool:
    """Return whether all messages were open and have ended now, with nothing to tell of them."""
    ended = 0
    for part in _portions(message_ids):
        places = ", ".join("?" * len(part))
        cursor.execute(
            "UPDATE inbox SET state = 'done', reason = '', ended_at = ?"  # noqa: S608 - question marks
            f" WHERE state = 'open' AND id IN ({places})",
            (now, *part),
        )
        ended += cursor.rowcount
    return ended == len(message_ids)


def leave(cursor: Cursor, message_id: str, *, now: float) -> None:
    """End an open message as a duplicate: another edge answers it."""
    cursor.execute(
        "UPDATE inbox SET state = 'duplicate', ended_at = ? WHERE id = ? AND state = 'open'",
        (now, message_id),
    )


def recent(execute: Callable[..., list[tuple[Any, ...]]], *, since: float, last: int) -> Iterator[Message]:
    """Yield those of the last messages that were received after a time, ended or not, as they came."""
    place = 0
    while rows := execute(_RECENT, (since, place, last)):
        place = rows[-1][-1]
        yield from map(message_from, rows)


def message_from(row: tuple[Any, ...]) -> Message:
    """Return the message in a row of `OPEN`."""
    return Message(
        id=row[0],
        topic=row[1],
        payload=row[2],
        received_at=row[3],
        qos=row[4],
        retained=bool(row[5]),
        durable=True,
        response_topic=row[6],
        correlation=row[7],
        dropped_bytes=row[8],
        expires_at=row[9],
    )
