"""Which edge of a group answers a question that came to more than one of them.

A broker gives a question to another edge where the first one did not acknowledge it in time, and people
ask again. So an edge claims a question before it decides it: it publishes the claim, and what the broker
delivers first to everyone, also to the claimant itself, counts. Each edge keeps all claims in its journal.

Knows the journal, the bus and the group's topics; knows nothing of what is asked.

Sound where the broker gives the messages of one topic in one order to all who listen, and where each edge
has kept its session: then at most one edge finds its own claim first, and that edge has the question on
its disk.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from edge_node.errors import BrokerUnreachable, PayloadInvalid
from edge_node.messages import Outgoing
from edge_node.payloads import read_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.config.models import LimitsConfig
    from edge_node.errors import BusError
    from edge_node.messages import Message
    from edge_node.protocols import Bus
    from edge_node.topics import EdgeTopics

log = structlog.get_logger(__name__)

_KEY_CHARACTERS = 32
_REMEMBERED = 50_000


class Inbox(Protocol):
    """The part of the journal that holds what came in."""

    @property
    def request_s(self) -> float:
        """Seconds within which the same request counts as sent twice."""

    def unfinished(self) -> tuple[Message, ...]:
        """Return what has no recorded end, in the order it came."""

    def kept(self, prefix: str, *, since: float) -> tuple[Message, ...]:
        """Return what came on topics that begin with `prefix`, in the order it came."""

    def leave(self, message: Message) -> None:
        """End a message that another edge answers."""


class _Claim(NamedTuple):
    """Who claimed a question first, and when that was heard."""

    edge: str
    heard_at: float


class Claims:
    """The questions of a group: each is handed on once it is this edge's, or ended as another's.

    A question without a correlation has no identity, so nobody can tell its second copy from a new
    question; it is handed on at once.

    Args:
        topics: Topics of the edge and its group; without a group every message is handed on at once.
        inbox: Where questions and claims are kept.
        bus: Where claims are published.
        limits: Bounds of payloads and of questions that wait.
        on_mine: Told each message that this edge is to handle; must be short and must not raise.
    """

    def __init__(
        self,
        topics: EdgeTopics,
        *,
        inbox: Inbox,
        bus: Bus,
        limits: LimitsConfig,
        on_mine: Callable[[Message], None],
    ) -> None:
        self._topics = topics
        self._inbox = inbox
        self._bus = bus
        self._limits = limits
        self._on_mine = on_mine
        self._lock = threading.Lock()
        self._first: dict[str, _Claim] = {}
        self._waiting: dict[str, list[Message]] = {}
        self._left_in_the_journal = False

    def restore(self) -> None:
        """Take up what the journal knows: claims that were heard, and questions whose owner is open."""
        if not self._topics.group:
            return
        unfinished = self._inbox.unfinished()
        if not unfinished:
            return
        since = min(message.received_at for message in unfinished) - self._inbox.request_s
        for claim in self._inbox.kept(self._topics.claim(""), since=since):
            self._note(claim)
        self._look_at(unfinished)

    def mine(self, message: Message) -> bool:
        """Return whether this edge is to handle a message; False also while nobody knows yet."""
        key = self._key(message)
        if key is None:
            return True
        with self._lock:
            return self._owner(key, message) == self._topics.edge

    def take(self, message: Message) -> None:
        """Take in a message that is safe in the journal."""
        key = self._key(message)
        if key is None:
            self._on_mine(message)
            return
        with self._lock:
            owner = self._owner(key, message)
            if owner is None:
                self._wait(key, message)
        if owner is None:
            self._publish(key)
        else:
            self._settle(message, owner=owner)

    def hear(self, claim: Message) -> None:
        """Take in a claim of any edge of the group, also of this one, that is safe in the journal."""
        key = self._note(claim)
        with self._lock:
            waiting = self._waiting.pop(key, ())
            owner = self._first[key].edge
        for message in waiting:
            self._settle(message, owner=owner)

    def renew(self) -> None:
        """Publish again the claims that were not heard yet; does not wait for the disk."""
        with self._lock:
            keys = tuple(self._waiting)
        for key in keys:
            self._publish(key)

    def catch_up(self) -> None:
        """Look after what still waits; to be called now and then."""
        with self._lock:
            refill = self._left_in_the_journal and not self._waiting
            self._left_in_the_journal = self._left_in_the_journal and not refill
        if refill:
            self._look_at(self._inbox.unfinished())
        self.renew()

    def _look_at(self, unfinished: tuple[Message, ...]) -> None:
        """Sort out questions whose owner is open; those of this edge are found through `mine`."""
        for message in unfinished:
            key = self._key(message)
            if key is None:
                continue
            with self._lock:
                owner = self._owner(key, message)
                if owner is None:
                    self._wait(key, message)
            if owner is not None and owner != self._topics.edge:
                self._inbox.leave(message)

    def _note(self, claim: Message) -> str:
        """Return the key of a claim, once it is remembered; the first one within the time counts."""
        key = self._topics.claimed(claim.topic) or ""
        edge = claim.payload.decode("utf-8", "replace")
        with self._lock:
            first = self._first.get(key)
            if first is None or claim.received_at - first.heard_at >= self._inbox.request_s:
                self._first.pop(key, None)
                self._first[key] = _Claim(edge, claim.received_at)
            if len(self._first) > _REMEMBERED:
                del self._first[next(iter(self._first))]
        return key

    def _owner(self, key: str, message: Message) -> str | None:
        claim = self._first.get(key)
        if claim is None or message.received_at - claim.heard_at >= self._inbox.request_s:
            return None
        return claim.edge

    def _wait(self, key: str, message: Message) -> None:
        if len(self._waiting) >= self._limits.queue and key not in self._waiting:
            self._left_in_the_journal = True
            return
        same = self._waiting.setdefault(key, [])
        if all(other.id != message.id for other in same):
            same.append(message)

    def _settle(self, message: Message, *, owner: str) -> None:
        if owner == self._topics.edge:
            self._on_mine(message)
            return
        log.info("question_left", id=message.id, topic=message.topic, owner=owner)
        self._inbox.leave(message)

    def _publish(self, key: str) -> None:
        claim = Outgoing(self._topics.claim(key), self._topics.edge.encode(), content_type="text/plain")
        try:
            self._bus.publish(claim, on_failed=_say_refused)
        except BrokerUnreachable as error:
            log.debug("claim_waits", reason=str(error))

    def _key(self, message: Message) -> str | None:
        """Return what tells a question from all others, or None where nothing does or nobody needs to."""
        if not self._topics.group or not message.durable or message.retained:
            return None
        if self._topics.asking_user(message.topic) is None or not self._has_correlation(message):
            return None
        # Lengths first: no two different questions may give the same bytes.
        parts = (message.topic.encode(), message.correlation, message.payload)
        sizes = ",".join(str(len(part)) for part in parts).encode()
        return hashlib.sha256(sizes + b":" + b"".join(parts)).hexdigest()[:_KEY_CHARACTERS]

    def _has_correlation(self, message: Message) -> bool:
        if message.correlation:
            return True
        if not message.payload.lstrip().startswith(b"{"):
            return False
        try:
            body = read_json(message.payload, max_bytes=self._limits.payload, max_depth=self._limits.depth)
        except PayloadInvalid:
            return False
        return isinstance(body, dict) and bool(body.get("correlation"))


def _say_refused(error: BusError) -> None:
    if not error.retryable:
        log.error(
            "claim_refused",
            reason=str(error),
            hint="no question of the group is answered here; the access list must allow claim/+",
        )
