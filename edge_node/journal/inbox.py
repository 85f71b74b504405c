"""What came in, in order, and how it ended: SQL over the inbox.

Functions over a cursor, each within somebody's transaction; knows nothing of threads and brokers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_node.messages import Message

if TYPE_CHECKING:
    from edge_node.database import Cursor

COLUMNS = "id, topic, payload, received_at, qos, retained, response_topic, correlation, dropped_bytes"
OPEN = f"SELECT {COLUMNS} FROM inbox WHERE state = 'open' ORDER BY sequence"  # noqa: S608 - names of this module
"""The messages without a recorded end, in the order they came; `message_from` reads a row."""
BELOW = f"SELECT {COLUMNS} FROM inbox WHERE received_at > ? AND substr(topic, 1, ?) = ? ORDER BY sequence"  # noqa: S608 - names of this module
"""The messages received after a time below a length and a prefix of topics, in the order they came."""
_REDELIVERED_ROWS = 4096
"""How far back an unacknowledged delivery is looked for. A broker has fewer open at once, but while the edge
dies again and again each new start adds rows for those that are delivered again."""


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
    fresh = not (
        _delivered_before(cursor, message) or _seen(cursor, message, since=message.received_at - request_s)
    )
    state = "done" if ended else "open"
    cursor.execute(
        "INSERT INTO inbox (id, topic, payload, received_at, qos, retained, response_topic, correlation,"
        " dropped_bytes, packet_id, state, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
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
            state if fresh else "duplicate",
            None if fresh and not ended else now,
        ),
    )
    return fresh


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


def leave(cursor: Cursor, message_id: str, *, now: float) -> None:
    """End an open message as a duplicate: another edge answers it."""
    cursor.execute(
        "UPDATE inbox SET state = 'duplicate', ended_at = ? WHERE id = ? AND state = 'open'",
        (now, message_id),
    )


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
    )
