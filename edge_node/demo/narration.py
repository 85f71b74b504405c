"""What happens on the bus, in words, as it happens.

Knows the wire layout; knows nothing of the runtime or of how the words are shown.
"""

from __future__ import annotations

import json
from textwrap import indent
from typing import TYPE_CHECKING, Any

from edge_node.demo.site import EDGE
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.messages import Message

_TOPICS = EdgeTopics(EDGE)
_MARGIN = "   "
_REPORTS = frozenset({"telemetry", "state"})


class Narrator:
    """Sentences for what is said on the bus of the demo.

    Args:
        say: Called with each sentence, on the network thread.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._notes: dict[str, str] = {}

    def hear(self, message: Message) -> None:
        """Tell what a message means, if it means something to a person."""
        sentence = _sentence(message) or self._note(message)
        if sentence:
            self._say(indent(sentence, _MARGIN))

    def _note(self, message: Message) -> str:
        """Return what a device says in free text, once."""
        levels = message.topic.split("/")
        if levels[-1] not in _REPORTS:
            return ""
        note = str(json.loads(message.payload).get("note") or "")
        new = note != self._notes.get(message.topic, "")
        self._notes[message.topic] = note
        return f"{levels[1]} reports the words: {note}" if note and new else ""


def _sentence(message: Message) -> str:
    asking = _TOPICS.asking_user(message.topic)
    if asking:
        return f"{asking}: {_asked(message.payload)}"
    if not message.topic.startswith(_TOPICS.root):
        return ""
    kind = message.topic.removeprefix(_TOPICS.root).split("/")[1]
    teller = {"event": _event, "cmd": _command, "reply": _reply, "dead": _dead}.get(kind)
    return teller(json.loads(message.payload)["data"]) if teller else ""


def _asked(payload: bytes) -> str:
    try:
        body = json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
    return str(body.get("text", "")) if isinstance(body, dict) else str(body)


def _event(data: dict[str, Any]) -> str:
    told = f"\nwhat the manual says: {data['text']}" if data.get("quotations") else ""
    return f"alarm {data['trigger']}: {data['alarm']}{told}"


def _command(data: dict[str, Any]) -> str:
    return f"command {data['text']}"


def _reply(data: dict[str, Any]) -> str:
    # The life of a command is told once, from its own topic.
    return "" if "command_id" in data else f"edge: {data.get('text', '')}"


def _dead(data: dict[str, Any]) -> str:
    return f"refused on {data['topic']}: {data['text']}"
