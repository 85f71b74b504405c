"""A recording played through the stages of the service on a virtual clock, and what each message led to.

Knows a rehearsal and a recording; sends nothing to anybody. The same recording with the same configuration
and models gives the same result: identifiers, which are new in every run, are numbered in order.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from edge_node.journal.records import decision_record
from edge_node.messages import Command, Decision, Operated, Outgoing
from edge_node.rehearsal.rehearsal import STARTS_AT, Refusal, Rehearsal
from edge_node.topics import VERSION, TopicPattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_node.config.loaded import Configuration
    from edge_node.journal.recording import Recorded
    from edge_node.rehearsal.props import Props
    from edge_node.rehearsal.rehearsal import Happening

_IDENTIFIER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
AFTER_S = 60.0
"""Time that passes after the last message, so that what waits for it comes to its end."""


class Replay:
    """One recording, played once; `played` yields what happens, in order.

    Args:
        configuration: The runtime's settings and the nodes.
        props: Models and manuals.

    Attributes:
        played: Messages that an edge would have heard.
        unheard: Messages on topics that this configuration does not listen to.
    """

    def __init__(self, configuration: Configuration, *, props: Props) -> None:
        self.played = 0
        self.unheard = 0
        self._configuration = configuration
        self._props = props
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def run(self, messages: Iterable[Recorded]) -> Iterator[dict[str, Any]]:
        """Yield one plain object for everything that comes of the messages: decisions, commands, what leaves.

        Raises:
            RecordingInvalid: A line is no message.
            ModelError: A model is needed and is not on this machine.
        """
        rehearsal: Rehearsal | None = None
        try:
            for message in messages:
                if rehearsal is None:
                    starts_at = STARTS_AT if message.relative else message.at
                    rehearsal = Rehearsal(self._configuration, props=self._props, starts_at=starts_at)
                at = message.at + STARTS_AT if message.relative else message.at
                rehearsal.pass_time(max(0.0, at - rehearsal.now))
                yield from self._told(rehearsal)
                self._feed(rehearsal, message)
                yield from self._told(rehearsal)
            if rehearsal is not None:
                rehearsal.pass_time(AFTER_S)
                yield from self._told(rehearsal)
        finally:
            if rehearsal is not None:
                rehearsal.close()

    def _feed(self, rehearsal: Rehearsal, message: Recorded) -> None:
        topic = self._own(message.topic)
        stopper = TopicPattern.parse(f"{rehearsal.topics.root}/stop/{{user}}").match(topic)
        if stopper is not None and topic != rehearsal.topics.stop_state:
            rehearsal.stop(user=stopper["user"])
        elif rehearsal.hears(topic):
            rehearsal.feed(topic, message.payload, retained=message.retained, correlation=message.correlation)
        else:
            self.unheard += 1
            return
        self.played += 1

    def _own(self, topic: str) -> str:
        """Return a topic of the group as one of the edge, which answers alone here."""
        runtime = self._configuration.runtime
        prefix = f"{VERSION}/{runtime.group}/"
        if not runtime.group or not topic.startswith(prefix):
            return topic
        return f"{VERSION}/{runtime.edge}/{topic.removeprefix(prefix)}"

    def _told(self, rehearsal: Rehearsal) -> Iterator[dict[str, Any]]:
        """Yield what has happened since the last look."""
        if self._props.missing is not None:
            raise self._props.missing
        came = tuple(rehearsal.happenings)
        rehearsal.happenings.clear()
        for happening in came:
            self._name(happening)
            yield self._numbered({"at_s": round(happening.at_s, 3), **_plain(happening)})

    def _name(self, happening: Happening) -> None:
        """Number the identifiers that are new with a happening."""
        match happening.what:
            case Decision(request=request, message=message, command=command):
                named = {request.message_id: "message", request.id: "decision"}
                named |= {message.id: "message"} if message else {}
                named |= {command.id: "command"} if command else {}
            case Command(id=name):
                named = {name: "command"}
            case Refusal(message=message):
                named = {message.id: "message"}
            case _:
                return
        for name, kind in named.items():
            if name and name not in self._names:
                self._counts[kind] += 1
                self._names[name] = f"{kind}-{self._counts[kind]}"

    def _numbered(self, value: Any) -> Any:
        if isinstance(value, str):
            return _IDENTIFIER.sub(lambda found: self._names.get(found[0], found[0]), value)
        if isinstance(value, dict):
            return {key: self._numbered(item) for key, item in value.items()}
        return [self._numbered(item) for item in value] if isinstance(value, list) else value


def _plain(happening: Happening) -> dict[str, Any]:
    match happening.what:
        case Decision() as decision:
            record = json.loads(decision_record(decision))
            del record["stages_ms"]  # no two runs take the same time
            return {"happening": "decision", **record}
        case Command() as command:
            return {
                "happening": "command",
                "id": command.id,
                "name": command.name,
                "arguments": dict(command.arguments),
                "state": command.state.value,
                "detail": command.detail,
            }
        case Outgoing() as outgoing:
            return {"happening": "leaves", "topic": outgoing.topic, **_said(outgoing)}
        case Operated() as operated:
            return {"happening": "operation", "operation": operated.operation, "text": operated.text}
        case Refusal(message, error):
            return {"happening": "refused", "topic": message.topic, "error": error.as_dict()}


def _said(outgoing: Outgoing) -> dict[str, Any]:
    """Return what a message says: to a device all of it, of an envelope what lies in it."""
    text = outgoing.payload.decode("utf-8", "replace")
    if outgoing.command_id:
        return {"payload": text, "to_device": True}
    body = json.loads(text)
    return {"type": body["type"], "data": body["data"], "to_device": False}
