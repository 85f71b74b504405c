"""What was decided, as it is kept: looked up by identifiers, listed, and told with what came of it.

Knows the journal's tables and who may be looked for by what; knows nothing of why something was decided.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any, Self

from edge_node.database import Database
from edge_node.errors import DecisionUnknown, JournalError
from edge_node.journal.bounds import MAX_TEXT, cut
from edge_node.journal.inbox import COLUMNS, message_from
from edge_node.journal.records import message_record
from edge_node.journal.schema import MIGRATIONS
from edge_node.messages import Message
from edge_node.payloads import plain, readable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_node.database import Cursor
    from edge_node.messages import Decision

MAX_HISTORY = 200
"""Decisions that are listed at once."""
_MAX_EXPLAINED = 16
_MAX_NAMED = 4
_MAX_SAID = 200
_NAMES = ("id", "command_id", "message_id", "correlation", "task")
_LAST = "\U0010ffff"
_SELECT = (
    "SELECT d.id, d.record, d.ended_at, c.record, c.state, c.life FROM decisions d"
    " LEFT JOIN commands c ON c.id = d.command_id AND d.command_id > ''"
)


def put_decision(cursor: Cursor, decision: Decision, *, record: str, now: float) -> None:
    """Write a decision and the identifiers by which it is found."""
    request = decision.request
    cursor.execute(
        "INSERT INTO decisions"
        " (id, message_id, node, kind, record, ended_at, command_id, correlation, device, task)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET record = excluded.record, ended_at = excluded.ended_at",
        (
            request.id,
            request.message_id,
            plain(decision.draft.node or request.node),
            request.kind.value,
            record,
            now,
            decision.command.id if decision.command else "",
            # As it is told on the bus, for bytes that are no text.
            readable(request.correlation.encode("utf-8", "surrogateescape")),
            plain(decision.command.device if decision.command else request.device),
            request.task,
        ),
    )


class Archive:
    """The decisions in one journal.

    Args:
        database: The journal's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the archive in a file, which is read only; an edge may go on writing to it.

        Raises:
            JournalError: It is not there, cannot be read, or was written by another version.
        """
        return cls(Database.open(path, migrations=MIGRATIONS, read_only=True, error=JournalError))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def explain(self, key: str) -> tuple[dict[str, Any], ...]:
        """Return all that is kept of the decisions that an identifier, or the beginning of one, names.

        Each has `decision`, the record; `decided_at`; `command`, as it is now, with its `life`; and
        `message`, as it stands in the inbox, with its end. One without a decision says that a message led
        to none. What follows from one message belongs together, and is returned together.

        Raises:
            DecisionUnknown: Nothing is kept under it, or more than one thing begins with it.
        """
        for exact in (True, False):
            named = self._named(key, exact=exact)
            if named:
                rows = self._database.execute(
                    f"{_SELECT} WHERE d.id IN ({', '.join('?' * len(named))}) ORDER BY d.sequence", named
                )
                return tuple(self._document(row) for row in rows)
            entry = self._undecided(key, exact=exact)
            if entry:
                return ({"decision": None, "message": entry},)
        raise DecisionUnknown(key, came="nothing that begins so" if key else "none")

    def history(
        self, *, since: float = 0.0, node: str = "", device: str = "", limit: int = 20
    ) -> tuple[dict[str, Any], ...]:
        """Return the last decisions in short, newest first; at most `MAX_HISTORY` of them.

        Args:
            since: Only those decided after this time, seconds since the epoch.
            node: Only those of this node.
            device: Only those about this device.
            limit: Most decisions.
        """
        rows = self._database.execute(
            f"{_SELECT} WHERE d.ended_at >= ?1 AND (?2 = '' OR d.node = ?2) AND (?3 = '' OR d.device = ?3)"
            " ORDER BY d.sequence DESC LIMIT ?4",
            (since, node, device, min(limit, MAX_HISTORY)),
        )
        return tuple(summary(json.loads(row[1]), at=row[2], state=row[4] or "") for row in rows)

    def record(self, request_id: str) -> dict[str, Any] | None:
        """Return the record of one decision as it was written, or None where it is not known."""
        rows = self._database.execute("SELECT record FROM decisions WHERE id = ?", (request_id,))
        return json.loads(rows[0][0]) if rows else None

    def records(self, *, limit: int = 20) -> tuple[dict[str, Any], ...]:
        """Return the records of the last decisions as they were written, newest first."""
        rows = self._database.execute("SELECT record FROM decisions ORDER BY sequence DESC LIMIT ?", (limit,))
        return tuple(json.loads(row[0]) for row in rows)

    def received(self, *, since: float, until: float = math.inf) -> tuple[Message, ...]:
        """Return the journaled messages of a time, in the order they came; those that came twice once."""
        rows = self._database.execute(
            f"SELECT {COLUMNS} FROM inbox WHERE received_at BETWEEN ? AND ?"  # noqa: S608 - names of a module
            " AND state <> 'duplicate' ORDER BY sequence",
            (since, until),
        )
        return tuple(message_from(row) for row in rows)

    def incident(self, key: str, *, before_s: float) -> tuple[Message, ...]:
        """Return the messages from a time before a decision to the last step of its command, by time.

        The decision's own message is among them also where it was not journaled.

        Raises:
            DecisionUnknown: As `explain` does.
        """
        messages: dict[str, Message] = {}
        for document in self.explain(key):
            began, ended = _span(document)
            messages |= {each.id: each for each in self.received(since=began - before_s, until=ended)}
            own = _own_message(document)
            if own is not None:
                messages.setdefault(own.id, own)
        return tuple(sorted(messages.values(), key=lambda each: each.received_at))

    def _named(self, key: str, *, exact: bool) -> list[str]:
        """Return the decisions that have an identifier, or one that begins so."""
        found: set[tuple[str, str]] = set()
        for column in _NAMES:
            found |= set(self._having("decisions", column, key, exact=exact))
        decisions, names = sorted({each for each, _ in found}), {name for _, name in found}
        if len(decisions) > 1 and len(names) > 1:
            listed = ", ".join(decisions[:_MAX_NAMED]) + (", …" if len(decisions) > _MAX_NAMED else "")
            raise DecisionUnknown(key, came=f"more than one: {listed}")
        return decisions[:_MAX_EXPLAINED]

    def _undecided(self, key: str, *, exact: bool) -> dict[str, Any] | None:
        """Return the message with an identifier that led to no decision, or None."""
        found = sorted(self._having("inbox", "id", key, exact=exact))
        if len(found) > 1:
            raise DecisionUnknown(key, came="more than one message")
        return self._inbox_entry(found[0][0]) if found else None

    def _having(self, table: str, column: str, key: str, *, exact: bool) -> list[tuple[Any, ...]]:
        condition = f"{column} = ?1" if exact else f"{column} >= ?1 AND {column} < ?1 || '{_LAST}'"
        return self._database.execute(
            f"SELECT id, {column} FROM {table} WHERE {column} > '' AND {condition} LIMIT {_MAX_EXPLAINED}",  # noqa: S608 - names of this module
            (key,),
        )

    def _document(self, row: tuple[Any, ...]) -> dict[str, Any]:
        decision = json.loads(row[1])
        message_id = decision["request"].get("message_id", "")
        return {
            "decision": decision,
            "decided_at": row[2],
            "command": _as_it_is(json.loads(row[3]), life=json.loads(row[5])) if row[3] else None,
            "message": self._inbox_entry(message_id),
        }

    def _inbox_entry(self, message_id: str) -> dict[str, Any] | None:
        rows = self._database.execute(
            f"SELECT {COLUMNS}, state, reason FROM inbox WHERE id = ?",  # noqa: S608 - names of a module
            (message_id,),
        )
        if not rows:
            return None
        kept = message_record(message_from(rows[0]))
        return {**kept, "payload": cut(kept["payload"]), "state": rows[0][-2], "reason": rows[0][-1]}


def _span(document: Mapping[str, Any]) -> tuple[float, float]:
    """Return when what led to a decision came, and when the last came of it."""
    decision, command = document["decision"], document.get("command")
    if decision is None:
        return (document["message"]["received_at"],) * 2
    began = decision["request"]["created_at"]
    steps = [step["at"] for step in command["life"]] if command else []
    return began, max(document["decided_at"], *steps, began)


def _own_message(document: Mapping[str, Any]) -> Message | None:
    """Return the message that a decision keeps, where all of it is kept."""
    kept = (document["decision"] or {}).get("message")
    if not kept:
        return None
    payload = kept["payload"]
    if len(payload) > MAX_TEXT:
        return None
    body = base64.b64decode(payload) if kept["encoding"] == "base64" else payload.encode()
    return Message(
        kept["id"], kept["topic"], body, kept["received_at"], qos=kept["qos"], retained=kept["retained"]
    )


def _as_it_is(command: Mapping[str, Any], *, life: list[Mapping[str, Any]]) -> dict[str, Any]:
    payload = base64.b64decode(command["payload"]).decode("utf-8", "replace")
    return {**command, "payload": cut(payload), "life": life}


def summary(record: Mapping[str, Any], *, at: float, state: str) -> dict[str, Any]:
    """Return a decision in short.

    Args:
        record: What is kept of it.
        at: When it was decided, seconds since the epoch.
        state: State of its command now; the first one where left empty.
    """
    request, draft, command = record["request"], record["draft"], record["command"] or {}
    verdict = record["verdict"] or {}
    rules = [rule for rule in verdict.get("rules", ()) if isinstance(rule, dict)]
    return {
        "id": request["id"],
        "at": at,
        "kind": request["kind"],
        "node": draft.get("node") or request["node"],
        "device": command.get("device") or request["device"],
        "user": request["user"],
        "trigger": request["trigger"],
        "said": cut(request["text"], limit=_MAX_SAID),
        "draft": draft["type"],
        "code": draft.get("code", ""),
        "found": len(draft.get("quotations", ())),
        "command": command.get("name", ""),
        "command_id": command.get("id", ""),
        "arguments": command.get("arguments", {}),
        "state": state or command.get("state", ""),
        "outcome": verdict.get("outcome", ""),
        "rule": rules[-1]["rule"] if rules else "",
    }
