"""Messages between the network thread and the dispatcher.

Bounded: sensor readings that are not in the journal lose the oldest first and are counted; what is in
the journal is never dropped, it is read from there again once there is room. A person whose question finds
no room is told so at once. Nothing overtakes what is journaled: an approval is judged after the reports that
came before it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_node.messages import Message

log = structlog.get_logger(__name__)

_SPARED = 10


class Backlog:
    """A bounded queue with two lanes: journaled messages first, then readings.

    Args:
        limit: Most messages of each lane.
        from_person: Tells whether a journaled message is a person's, who would rather be told than wait.

    Attributes:
        dropped: How many readings were dropped.
    """

    def __init__(self, limit: int, *, from_person: Callable[[Message], bool] = lambda _: False) -> None:
        self._limit = limit
        self._from_person = from_person
        self._turned_away: deque[Message] = deque()
        self._durable: deque[Message] = deque()
        self._readings: deque[Message] = deque()
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._sleeping = 0
        # By name, because the journal is read while others arrive: what was read may not have been put
        # yet, and what is put may not have been read.
        self._waiting: set[str] = set()
        # An episode of loss ends with a pause, or once many readings in a row were spared: whoever is just
        # fast enough empties the queue again and again.
        self._shedding = False
        self._spared = 0
        self.dropped = 0

    def put(self, message: Message) -> None:
        """Queue a message; called on the network or the journal's thread, never blocks."""
        with self._lock:
            full = bool(self._waiting) or len(self._durable) >= self._limit
            if not message.durable:
                self._put_reading(message)
            elif full and len(self._turned_away) < self._limit and self._from_person(message):
                self._turned_away.append(message)
            elif full:
                self._waiting.add(message.id)
            else:
                self._durable.append(message)
            if self._sleeping:
                self._ready.notify()

    def take(self, *, timeout_s: float) -> Message | None:
        """Return the next message, or None where none came in time or journaled ones must be refilled."""
        with self._lock:
            if not (self._turned_away or self._durable or self._readings or self._waiting):
                self._sleeping += 1
                if not self._ready.wait(timeout_s):
                    self._shedding = False
                self._sleeping -= 1
            if self._durable:
                return self._durable.popleft()
            return self._next_reading()

    def next(self) -> Message | None:
        """Return the next message at once, None where none waits or somebody else wants to be seen to."""
        with self._lock:
            if self._turned_away:
                return None
            if self._durable:
                return self._durable.popleft()
            return self._next_reading()

    def turned_away(self) -> Message | None:
        """Return the next message of a person that found no room, or None."""
        with self._lock:
            return self._turned_away.popleft() if self._turned_away else None

    @property
    def wants_refill(self) -> bool:
        """Whether messages wait in the journal that found no room here."""
        with self._lock:
            return bool(self._waiting) and not self._durable

    def refill(self, messages: Iterable[Message]) -> None:
        """Queue those that found no room, from what the journal holds, in order, as far as there is room."""
        with self._lock:
            for message in messages:
                if len(self._durable) >= self._limit:
                    break
                if message.id in self._waiting:
                    self._waiting.remove(message.id)
                    self._durable.append(message)

    def wake(self) -> None:
        """Let a waiting `take` return."""
        with self._lock:
            self._ready.notify_all()

    def _next_reading(self) -> Message | None:
        if not self._readings or self._waiting:
            return None
        if self._shedding:
            self._spared += 1
            self._shedding = self._spared < _SPARED * self._limit
        return self._readings.popleft()

    def _put_reading(self, message: Message) -> None:
        if len(self._readings) >= self._limit:
            self._readings.popleft()
            self.dropped += 1
            self._spared = 0
            if not self._shedding:
                self._shedding = True
                log.warning("readings_dropped", reason="they come faster than they are read, the oldest go")
        self._readings.append(message)
