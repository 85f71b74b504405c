"""What is to leave, in order, and what is known of each piece: SQL over the outbox.

Functions over a cursor, each within somebody's transaction; knows nothing of threads and brokers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_node.journal.bounds import cut
from edge_node.journal.records import command_from, command_record
from edge_node.messages import CommandState, Outgoing
from edge_node.payloads import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.database import Cursor
    from edge_node.messages import Command

OPEN_STATES = frozenset(
    {CommandState.PROPOSED, CommandState.AWAITING_APPROVAL, CommandState.SENT, CommandState.ACKNOWLEDGED}
)
"""States from which a command still moves on."""
_KEPT_BYTES = 16 * 1024
MAX_DETAIL = 500
"""Characters of what was seen in one step of a command's life that are kept with its time."""
_UNDECIDED = frozenset({CommandState.PROPOSED, CommandState.SENT})
_WITHDRAWABLE = frozenset({*_UNDECIDED, CommandState.AWAITING_APPROVAL})
_WAITING = (
    "SELECT o.sequence, c.record FROM outbox o JOIN commands c ON c.id = o.command_id"
    " WHERE o.state IN ('pending', 'sent')"
    " UNION ALL SELECT NULL, record FROM commands WHERE ended_at IS NULL AND state = 'awaiting_approval'"
)
_DOUBT = (
    "It may or may not have reached the device: the connection or the power went before the broker said so."
)

_ONCE_ONLY = "EXISTS (SELECT 1 FROM commands WHERE id = outbox.command_id AND NOT idempotent)"
# SQLite finds what is open by its index only where the condition of that index stands here word for word.
_MAY_LEAVE = f"state IN ('pending', 'sent') AND (state = 'pending' OR NOT {_ONCE_ONLY})"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One piece of the outbox that is to leave.

    Attributes:
        row_id: Its place in the outbox; later pieces have greater ones.
        outgoing: The message, its expiry lowered by the time it has waited.
        idempotent: Whether it may be sent again. If not, `mark_sent` comes before it leaves.
    """

    row_id: int
    outgoing: Outgoing
    idempotent: bool


def add(cursor: Cursor, outgoing: Outgoing, *, now: float) -> int:
    """Return the row that `outgoing` got at the end of the outbox."""
    expires_at = None if outgoing.expiry_s is None else now + outgoing.expiry_s
    cursor.execute(
        "INSERT INTO outbox (topic, payload, qos, retain, expires_at, correlation, content_type, command_id,"
        " created_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')",
        (
            outgoing.topic,
            outgoing.payload,
            outgoing.qos,
            outgoing.retain,
            expires_at,
            outgoing.correlation,
            outgoing.content_type,
            outgoing.command_id,
            now,
        ),
    )
    return cursor.lastrowid or 0


def take(cursor: Cursor, *, now: float, after: int, limit: int, commands: bool = True) -> tuple[Parcel, ...]:
    """Return what may leave, oldest first; what has expired is ended instead.

    A command that must not be sent twice is not among them once it is marked as sent.

    Args:
        cursor: Cursor of the transaction.
        now: Seconds since the epoch.
        after: Only pieces behind this row.
        limit: Most pieces.
        commands: Whether those that carry commands are wanted too.
    """
    cursor.execute(
        f"UPDATE outbox SET state = 'expired', ended_at = ?1 WHERE expires_at <= ?1 AND {_MAY_LEAVE}",  # noqa: S608 - a condition of this module
        (now,),
    )
    cursor.execute(
        "SELECT sequence, topic, payload, qos, retain, expires_at, correlation, content_type, command_id,"  # noqa: S608 - conditions of this module
        f" NOT {_ONCE_ONLY} FROM outbox WHERE {_MAY_LEAVE} AND sequence > ?"
        " AND (? OR command_id = '') ORDER BY sequence LIMIT ?",
        (after, commands, limit),
    )
    return tuple(
        Parcel(
            row_id=row[0],
            outgoing=Outgoing(
                topic=row[1],
                payload=row[2],
                qos=row[3],
                retain=bool(row[4]),
                expiry_s=None if row[5] is None else max(1, math.ceil(row[5] - now)),
                correlation=row[6],
                content_type=row[7],
                command_id=row[8],
            ),
            idempotent=bool(row[9]),
        )
        for row in cursor.fetchall()
    )


def crowd_out(cursor: Cursor, *, rows: int, now: float) -> int:
    """Return how many announcements were given up, oldest first, where more than `rows` came behind them.

    Commands are never among them: they expire.
    """
    cursor.execute(
        "UPDATE outbox SET state = 'expired', reason = 'crowded out', ended_at = ?"
        " WHERE state IN ('pending', 'sent') AND command_id = ''"
        " AND sequence <= (SELECT max(sequence) FROM outbox) - ?",
        (now, rows),
    )
    return cursor.rowcount


def end(cursor: Cursor, row_id: int, *, state: str, now: float, reason: str = "") -> None:
    """Give a piece that was to leave its last state; of a long one, such as a list, no more is kept."""
    cursor.execute(
        "UPDATE outbox SET state = ?, reason = ?, ended_at = ?,"
        " payload = CASE WHEN length(payload) > ? THEN x'' ELSE payload END"
        " WHERE sequence = ? AND state IN ('pending', 'sent')",
        (state, reason, now, _KEPT_BYTES, row_id),
    )


def waiting(execute: Callable[[str], list[tuple[Any, ...]]]) -> bool:
    """Return whether there is a command that `withdraw` would ask about."""
    return bool(execute(f"{_WAITING} LIMIT 1"))


def withdraw(
    cursor: Cursor, *, now: float, ending: Callable[[Command], CommandState | None], detail: str
) -> tuple[Command, ...]:
    """Return the commands that were to leave or awaited approval, and have ended now.

    Args:
        cursor: Cursor of the transaction.
        now: Seconds since the epoch.
        ending: Gives the state in which a command ends, or None where it goes on.
        detail: Why they end, in a sentence.
    """
    cursor.execute(_WAITING)
    changed = []
    for sequence, record in cursor.fetchall():
        command = command_from(record)
        state = ending(command)
        if state is None:
            continue
        if sequence is not None:
            end(cursor, sequence, state="refused", now=now, reason=detail)
        if command.state in _WITHDRAWABLE:
            command = replace(command, state=state, detail=detail)
            put_command(cursor, command, now=now)
        # Told even where it had ended: whoever heard that it was sent must hear that it was not.
        changed.append(command)
    return tuple(changed)


def settle_doubtful(cursor: Cursor, *, now: float, row_id: int | None = None) -> tuple[Command, ...]:
    """End what was sent without an answer and must not be sent twice; return its commands, now unknown.

    A command whose device has meanwhile shown what it did keeps its state.

    Args:
        cursor: Cursor of the transaction.
        now: Seconds since the epoch.
        row_id: Only this piece; all of them where left out.
    """
    cursor.execute(
        "SELECT o.sequence, record FROM outbox o JOIN commands c ON c.id = o.command_id"
        " WHERE o.state IN ('pending', 'sent') AND o.state = 'sent' AND NOT idempotent"
        " AND (?1 IS NULL OR o.sequence = ?1) ORDER BY o.sequence",
        (row_id,),
    )
    changed = []
    for sequence, record in cursor.fetchall():
        end(cursor, sequence, state="doubtful", now=now, reason=_DOUBT)
        command = command_from(record)
        if command.state in _UNDECIDED:
            command = replace(command, state=CommandState.UNKNOWN, detail=_DOUBT)
            put_command(cursor, command, now=now)
            changed.append(command)
    return tuple(changed)


def put_command(cursor: Cursor, command: Command, *, now: float) -> None:
    """Write a command as it is now, and when it came into its state; what has ended stays ended."""
    cursor.execute(
        "INSERT INTO commands (id, node, name, device, state, idempotent, record, ended_at, life)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, json_array(json_object('state', ?5, 'at', ?9, 'detail', ?10)))"
        " ON CONFLICT (id) DO UPDATE SET"
        " state = excluded.state, record = excluded.record, ended_at = excluded.ended_at,"
        " life = CASE WHEN commands.state = excluded.state THEN commands.life"
        " ELSE json_insert(commands.life, '$[#]', json_extract(excluded.life, '$[0]')) END"
        " WHERE commands.ended_at IS NULL",
        (
            command.id,
            plain(command.node),
            plain(command.name),
            plain(command.device),
            command.state.value,
            command.idempotent,
            command_record(command),
            None if command.state in OPEN_STATES else now,
            now,
            plain(cut(command.detail, limit=MAX_DETAIL)),
        ),
    )
