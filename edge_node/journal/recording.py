"""Recordings: messages with their times, one JSON object a line, read and written.

Knows the layout of a line; knows nothing of what a message leads to.

    {"t": "2026-01-01T10:00:00Z", "topic": "plant/pump-1/telemetry", "payload": {"rpm": 80}, "qos": 1}
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_node.errors import RecordingInvalid, TopicInvalid
from edge_node.topics import check_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge_node.messages import Message

_KEYS = frozenset({"t", "topic", "payload", "payload_base64", "qos", "retained", "correlation"})
_EPOCH_FROM_S = 1e8
"""From here on a number is a time since the epoch; below, seconds since the start of the recording."""
_LATEST_S = 4e9
_MOST_QOS = 2
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message of a recording.

    Attributes:
        at: When it came: seconds since the epoch, or since the start where `relative`.
        relative: Whether `at` counts from the start of the recording.
        topic: Topic it was published on.
        payload: Body as it came.
        retained: Whether the broker had kept it from before.
        correlation: MQTT 5 Correlation-Data, or empty.
    """

    at: float
    relative: bool
    topic: str
    payload: bytes
    retained: bool = False
    correlation: bytes = b""


def read_recording(path: Path) -> Iterator[Recorded]:
    """Yield the messages of a recording in the order of its lines; empty lines are passed over.

    Raises:
        RecordingInvalid: It cannot be read, or a line is no message; the line is named.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _Line(path, number).read(line)
    except (OSError, UnicodeDecodeError) as problem:
        raise RecordingInvalid(path, expected="a text file of JSON lines", came=str(problem)) from problem


def recording(messages: Iterable[Message]) -> Iterator[str]:
    """Yield the lines of a recording of messages, without their ends of line."""
    for message in messages:
        stamp = datetime.fromtimestamp(message.received_at, UTC).isoformat(timespec="milliseconds")
        try:
            payload = {"payload": message.payload.decode()}
        except UnicodeDecodeError:
            payload = {"payload_base64": base64.b64encode(message.payload).decode()}
        line: dict[str, Any] = {
            "t": stamp.replace("+00:00", "Z"),
            "topic": message.topic,
            **payload,
            "qos": message.qos,
            "retained": message.retained,
        }
        if message.correlation:
            line["correlation"] = message.correlation.decode("utf-8", "backslashreplace")
        yield json.dumps(line, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Line:
    """One line, and where it stands."""

    path: Path
    number: int

    def read(self, text: str) -> Recorded:
        try:
            body = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise self._wrong("a JSON object", str(problem)) from problem
        if not isinstance(body, dict):
            raise self._wrong("a JSON object", text.strip())
        unknown = sorted(body.keys() - _KEYS)
        if unknown:
            raise self._wrong(f"only {', '.join(sorted(_KEYS))}", unknown[0])
        at, relative = self._time(body.get("t"))
        self._number_of(body.get("qos", 0))
        retained, correlation = body.get("retained", False), body.get("correlation", "")
        if not isinstance(retained, bool) or not isinstance(correlation, str):
            raise self._wrong("retained as true or false and correlation as a text", text.strip())
        return Recorded(
            at, relative, self._topic(body.get("topic")), self._payload(body), retained, correlation.encode()
        )

    def _time(self, value: Any) -> tuple[float, bool]:
        expected = "t as seconds or as a time such as 2026-01-01T10:00:00Z"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value) or not 0 <= value <= _LATEST_S:
                raise self._wrong(expected, str(value))
            return float(value), value < _EPOCH_FROM_S
        try:
            stamp = datetime.fromisoformat(value)
        except (TypeError, ValueError) as problem:
            raise self._wrong(expected, str(value)) from problem
        if stamp.tzinfo is None:
            raise self._wrong(f"{expected}, with its time zone", str(value))
        return stamp.timestamp(), False

    def _number_of(self, qos: Any) -> None:
        if isinstance(qos, bool) or not isinstance(qos, int) or not 0 <= qos <= _MOST_QOS:
            raise self._wrong("qos as 0, 1 or 2", str(qos))

    def _topic(self, topic: Any) -> str:
        if not isinstance(topic, str):
            raise self._wrong("topic as a text", str(topic))
        try:
            return check_topic(topic)
        except TopicInvalid as problem:
            raise self._wrong("a topic that a message may have", str(problem)) from problem

    def _payload(self, body: dict[str, Any]) -> bytes:
        if "payload_base64" not in body:
            payload = body.get("payload", "")
            # What is no text is JSON that somebody wrote by hand without its quotes.
            text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
            return text.encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(body["payload_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error) as problem:
            raise self._wrong("payload_base64 as base64", str(problem)) from problem

    def _wrong(self, expected: str, came: str) -> RecordingInvalid:
        short = came if len(came) <= _SHOWN else came[: _SHOWN - 1] + "…"
        return RecordingInvalid(self.path, expected=expected, came=short, line=self.number)
