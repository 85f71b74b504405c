"""Questions and orders of people, from the message they came in.

Knows the ask topics and the two forms of a payload; does not know what the words mean or who may do what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_node.config.scalars import seconds
from edge_node.errors import EnvelopeInvalid, TopicInvalid
from edge_node.identifiers import new_id
from edge_node.messages import Request, RequestKind
from edge_node.payloads import read_correlation, read_json, read_text
from edge_node.topics import check_topic, is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import LimitsConfig
    from edge_node.messages import Message
    from edge_node.topics import EdgeTopics

_KEYS = ("text", "node", "correlation", "deadline", "stream", "context")
_KINDS: dict[str, tuple[str, type]] = {"stream": ("true or false", bool), "context": ("an object", dict)}
_MOST_LABELS = 8
_LONGEST_LABEL = 64


class Asks:
    """Questions and orders, read strictly.

    A payload that starts with a brace is JSON with `text` and, as it likes, `node`, `correlation`,
    `deadline`, `stream` and `context`; anything else is plain text. White space becomes single spaces, so
    that nothing a person sends can look like the start of another part of a prompt.

    Args:
        nodes: All nodes; those with `ask: true` may be asked.
        topics: Topics of the edge.
        limits: Sizes of payload and text.
        new_id: Gives the identifier of a request.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        topics: EdgeTopics,
        limits: LimitsConfig,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        self._askable = tuple(sorted(node.name for node in nodes if node.spec.ask))
        self._topics = topics
        self._limits = limits
        self._new_id = new_id

    def read(self, message: Message, *, user: str) -> Request:
        """Return the request that `user` makes with a message.

        The answer goes to the Response-Topic where there is one, else to the user's reply topic. The
        correlation is the MQTT 5 Correlation-Data, bytes that are no UTF-8 as surrogates so that they come
        back as they were, else that of the JSON.

        The deadline is that of the JSON or of MQTT 5 Message-Expiry, whichever comes first.

        Raises:
            InputError: It is retained, empty, too long, not readable, for a node that may not be asked,
                from a user whose name may not stand in a topic, or wants its answer at a foreign place.
        """
        if message.retained:
            raise EnvelopeInvalid(
                "retain",
                expected="a message sent now",
                came="a retained one",
                hint="publish without retain: a retained question would fire again after every reconnect",
            )
        if not is_name(user):
            raise TopicInvalid(user, expected="a user of 1 to 64 letters, digits, '.', '_' or '-'")
        body = self._body(message.payload)
        return Request(
            id=self._new_id(),
            kind=RequestKind.ASK,
            message_id=message.id,
            created_at=message.received_at,
            node=self._node(body.get("node", "")),
            text=self._text(body.get("text", "")),
            user=user,
            reply_to=self._reply_to(message, user=user),
            correlation=read_correlation(message.correlation, own=body.get("correlation", "")),
            expires_at=_expiry(message, body.get("deadline", "")),
            stream=body.get("stream", False),
            context=_context(body.get("context", {})),
        )

    def _body(self, payload: bytes) -> dict[str, Any]:
        if not payload.lstrip().startswith(b"{"):
            return {"text": payload}
        body: dict[str, Any] = read_json(
            payload, max_bytes=self._limits.payload, max_depth=self._limits.depth
        )
        for key, value in body.items():
            if key not in _KEYS:
                raise EnvelopeInvalid(key[:40], expected=f"only {', '.join(_KEYS)}", came="another key")
            expected, kind = _KINDS.get(key, ("a text", str))
            if not isinstance(value, kind):
                raise EnvelopeInvalid(key, expected=expected, came=type(value).__name__)
        body["text"] = body.get("text", "").encode()
        return body

    def _text(self, words: bytes) -> str:
        if not words.strip():
            raise EnvelopeInvalid("text", expected="a question or an order", came="nothing")
        text = read_text(words, max_bytes=self._limits.payload, max_characters=self._limits.text)
        return " ".join(text.split())

    def _node(self, name: str) -> str:
        if not self._askable:
            raise EnvelopeInvalid("node", expected="a node with `ask: true`", came="none in this edge")
        if name and name not in self._askable:
            expected = "one of " + ", ".join(self._askable)
            raise EnvelopeInvalid("node", expected=expected, came=repr(name[:80]))
        return name

    def _reply_to(self, message: Message, *, user: str) -> str:
        wanted = message.response_topic
        if not wanted:
            return self._topics.reply(user)
        if not self._topics.may_reply_to(wanted, user=user):
            raise EnvelopeInvalid(
                "response_topic",
                expected=f"{self._topics.reply(user)} or a topic below it",
                came=repr(wanted[:200]),
            )
        return check_topic(wanted)


def _expiry(message: Message, deadline: str) -> float | None:
    """Return when who asks wants no decision any more, or None where neither way of saying so was used."""
    ends = [] if message.expires_at is None else [message.expires_at]
    if deadline:
        try:
            ends.append(message.received_at + seconds(deadline))
        except ValueError as problem:
            raise EnvelopeInvalid("deadline", expected=str(problem), came=deadline[:40]) from problem
    return min(ends, default=None)


def _context(labels: dict[str, Any]) -> dict[str, str]:
    """Return where it was said, by label, such as the area of the device that listened."""
    for label, value in labels.items():
        if not isinstance(value, str) or max(len(label), len(value)) > _LONGEST_LABEL:
            expected = f"texts of up to {_LONGEST_LABEL} characters, such as area: kitchen"
            raise EnvelopeInvalid(f"context.{label[:40]}", expected=expected, came=type(value).__name__)
    if len(labels) > _MOST_LABELS:
        expected = f"up to {_MOST_LABELS} labels"
        raise EnvelopeInvalid("context", expected=expected, came=str(len(labels)))
    return dict(labels)
