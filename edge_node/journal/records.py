"""Decisions and commands as JSON text, and commands back again.

Pure functions over values; knows nothing of tables and files.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from edge_node.messages import Command, CommandState, Draft, Expectation, Origin

if TYPE_CHECKING:
    from edge_node.database import Cursor
    from edge_node.messages import Decision


def decision_record(decision: Decision) -> str:
    """Return a decision as JSON text.

    Each part keeps its field names, and the draft says its type. Bytes stand in base64, and a number
    that JSON has no word for as text: a decision is never lost for an odd value in it.
    """
    return _text(decision)


def command_record(command: Command) -> str:
    """Return a command as JSON text from which `command_from` makes the same command."""
    return _text(command)


def command_from(record: str) -> Command:
    """Return the command that `command_record` wrote."""
    values = json.loads(record)
    values["state"] = CommandState(values["state"])
    values["payload"] = base64.b64decode(values["payload"])
    values["origin"] = Origin(values.get("origin", Origin.MODEL))
    if values["expectation"] is not None:
        values["expectation"] = Expectation(**values["expectation"])
    return Command(**values)


def _text(value: Any) -> str:
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except ValueError:
        # Only NaN and the infinities get here; they are read back as their names.
        return json.dumps(json.loads(json.dumps(value, default=_plain), parse_constant=str))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        plain = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"type": type(value).__name__, **plain} if isinstance(value, Draft) else plain
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, (set, frozenset)) else str(value)


def put_decision(cursor: Cursor, decision: Decision, *, record: str, now: float) -> None:
    """Write a decision, or write it anew."""
    request = decision.request
    cursor.execute(
        "INSERT INTO decisions (id, message_id, node, kind, record, ended_at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET record = excluded.record, ended_at = excluded.ended_at",
        (
            request.id,
            request.message_id,
            decision.draft.node or request.node,
            request.kind.value,
            record,
            now,
        ),
    )
