"""Decisions and commands as JSON text, and commands back again.

Pure functions over values; knows nothing of tables and files.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from edge_node.journal.bounds import bounded
from edge_node.messages import (
    Approval,
    Command,
    CommandState,
    Draft,
    Expectation,
    Origin,
    Refusal,
    RuleResult,
)

if TYPE_CHECKING:
    from edge_node.messages import Decision, Message

_ORDER = ("request", "draft", "verdict", "command", "message", "states", "times", "matter", "made_by")
"""What is kept of a decision before all else, where not everything can be kept."""


def decision_record(decision: Decision) -> str:
    """Return a decision as JSON text.

    Each part keeps its field names, and the draft says its type. Bytes stand in base64, and a number
    that JSON has no word for as text: a decision is never lost for an odd value in it. It is bounded, and
    what was cut is marked.
    """
    record = json.loads(_text(decision))
    record["message"] = None if decision.message is None else message_record(decision.message)
    if decision.command:
        record["command"]["payload"] = decision.command.payload.decode("utf-8", "replace")
    first = {key: record[key] for key in _ORDER}
    return json.dumps(bounded({**first, **record}))


def message_record(message: Message) -> dict[str, Any]:
    """Return a message as JSON has it; a payload that is no text stands in base64."""
    try:
        payload, encoding = message.payload.decode(), "utf-8"
    except UnicodeDecodeError:
        payload, encoding = base64.b64encode(message.payload).decode(), "base64"
    return {
        "id": message.id,
        "topic": message.topic,
        "payload": payload,
        "encoding": encoding,
        "bytes": len(message.payload) or message.dropped_bytes,
        "received_at": message.received_at,
        "qos": message.qos,
        "retained": message.retained,
    }


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
    if values.get("approval") is not None:
        rules = tuple(RuleResult(**rule) for rule in values["approval"]["rules"])
        values["approval"] = Approval(**{**values["approval"], "rules": rules})
    values["refusals"] = tuple(Refusal(**each) for each in values.get("refusals", ()))
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
