"""What waits for the model, and what is being made of it now.

Knows how urgent a request is, how long it is wanted and who takes it back; knows no model, no broker and
nothing of how a request is decided. An operational stop, an approval and a cancellation wait for no model,
so they never stand here.
"""

from __future__ import annotations

import bisect
import threading
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from edge_node.errors import Busy, DeadlinePassed, Interrupted, Superseded, Withdrawn
from edge_node.messages import RequestKind
from edge_node.payloads import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.errors import EdgeNodeError
    from edge_node.messages import Quotation, Wanted
    from edge_node.runtime.streams import Streams

Work = TypeVar("Work")


class Rank(IntEnum):
    """How urgent a request is; the smaller goes first."""

    ALARM = 0
    ORDER = 1
    QUESTION = 2


@dataclass(eq=False, slots=True)
class Place(Generic[Work]):
    """A request that waits for the model or has it: the attention that the model is asked with.

    Attributes:
        work: What goes on with the model, or is told why it cannot.
        wanted: The request, and how long it is wanted.
        rank: How urgent it is.
        number: Its turn among those that are as urgent.
        since: When it began to wait, seconds since the epoch.
        queue: Where it waits.
        waited_s: Seconds it waited.
        refusal: Why nothing is to be made of it any more, or None.
        settled: Whether what was made of it counts, so that it cannot be taken back.
        told: How many pieces of its answer who asked was told.
    """

    work: Work
    wanted: Wanted
    rank: Rank
    number: int
    since: float
    queue: ModelQueue[Work]
    waited_s: float = 0.0
    refusal: EdgeNodeError | None = None
    settled: bool = False
    told: int = 0

    @property
    def turn(self) -> tuple[int, int]:
        """What the queue is ordered by."""
        return self.rank, self.number

    def check(self) -> None:
        """Return if the request is still wanted.

        Raises:
            DeadlinePassed: Its deadline has passed.
            Withdrawn: It was taken back.
            Interrupted: The service ends.
        """
        self.queue.check(self)

    def settle(self) -> None:
        """Return if what was made of it may count; from then on it cannot be taken back.

        Raises:
            DeadlinePassed: Its deadline has passed.
            Withdrawn: It was taken back.
        """
        self.queue.settle(self)

    def tell(self, quotation: Quotation) -> None:
        """Let who asked hear a quotation that the answer will hold, where that is wanted."""
        if self.queue.streams is not None:
            self.queue.streams.tell(self.wanted.request, quotation, number=self.told)
            self.told += 1


class ModelQueue(Generic[Work]):
    """A bounded queue: alarms before orders before questions, and who came first among them.

    Whoever leaves it without the model stands among the `refused`, with the reason, so that somebody can
    write the end of it; nothing gets lost in between. Where it is full, the last of the least urgent gives
    way to one that is more urgent. An alarm that fires again while it waits takes the place of the earlier
    one.

    Args:
        limit: Most requests that wait.
        clock: Seconds since the epoch, by the clock of the deadlines.
        streams: The way of pieces to who asked; None where nobody can hear them.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float], streams: Streams | None = None) -> None:
        self.limit = limit
        self.streams = streams
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: list[Place[Work]] = []
        self._running: list[Place[Work]] = []
        self._refused: deque[tuple[Work, EdgeNodeError]] = deque()
        self._numbers = 0
        self._closed = False
        self._interrupted = False

    def put(self, work: Work, wanted: Wanted) -> None:
        """Let a request wait for its turn.

        Raises:
            Busy: There is no room, and nothing that is less urgent.
        """
        with self._changed:
            place = self._place(work, wanted)
            self._take_the_place_of_an_earlier(place)
            if len(self._waiting) >= self.limit:
                if self._waiting[-1].rank <= place.rank:
                    raise Busy(waiting=self.limit)
                self._refuse(self._waiting[-1], Busy(waiting=self.limit))
            bisect.insort(self._waiting, place, key=lambda each: each.turn)
            self._changed.notify()

    def take(self) -> Place[Work] | None:
        """Return the next request once there is one that is still wanted; None once the queue is closed."""
        with self._changed:
            while True:
                self._drop_overdue()
                if self._closed:
                    return None
                if self._waiting:
                    return self._run(self._waiting.pop(0))
                self._changed.wait()

    def go_on(self, before: Place[Work], wanted: Wanted) -> Place[Work]:
        """Return the next request of a work that has the model."""
        with self._changed:
            self._running.remove(before)
            return self._run(self._place(before.work, wanted))

    def done(self, place: Place[Work]) -> None:
        """Take up that a request needs the model no more."""
        with self._changed:
            self._running.remove(place)

    def refused(self) -> tuple[Work, EdgeNodeError] | None:
        """Return the next work that lost its place, and why; None where there is none."""
        # Asked for each message: most of the time there is none, and a lock takes its time.
        return self._refused.popleft() if self._refused else None

    def drop_overdue(self) -> None:
        """Let those whose deadline has passed stand among the refused; to be called now and then."""
        with self._changed:
            self._drop_overdue()

    def cancel(self, user: str, correlation: str) -> bool:
        """Take back the requests of a user with a correlation; return whether there was any.

        One that has the model already ends with the next token.
        """
        with self._changed:
            found = [
                place
                for place in (*self._waiting, *self._running)
                if _is_of(place.wanted, user, correlation) and not (place.settled or place.refusal)
            ]
            for place in found:
                self._refuse(place, Withdrawn(user=user))
            return bool(found)

    def close(self) -> None:
        """Give out no more; who has the model may finish."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Let who has the model end with the next token."""
        with self._changed:
            self._interrupted = True

    def check(self, place: Place[Work]) -> None:
        """Return if a request that has the model is still wanted; raises as `Place.check` does."""
        with self._changed:
            self._check_wanted(place)
            if self._interrupted:
                raise Interrupted

    def settle(self, place: Place[Work]) -> None:
        """Let what was made of a request count; raises as `Place.settle` does."""
        with self._changed:
            self._check_wanted(place)
            place.settled = True

    # The rest is called with the lock.

    def _check_wanted(self, place: Place[Work]) -> None:
        refusal = place.refusal or self._lateness(place)
        if refusal is not None:
            raise refusal

    def _place(self, work: Work, wanted: Wanted) -> Place[Work]:
        self._numbers += 1
        return Place(work, wanted, _rank(wanted), self._numbers, self._clock(), self)

    def _take_the_place_of_an_earlier(self, place: Place[Work]) -> None:
        again = place.wanted.request
        if again.kind is not RequestKind.ALARM:
            return
        for earlier in self._waiting:
            request = earlier.wanted.request
            if (request.node, request.trigger, request.device) == (again.node, again.trigger, again.device):
                place.number = earlier.number
                self._refuse(earlier, Superseded(trigger=again.trigger, device=again.device, by=again.id))
                return

    def _run(self, place: Place[Work]) -> Place[Work]:
        place.waited_s = self._clock() - place.since
        self._running.append(place)
        return place

    def _drop_overdue(self) -> None:
        for place in tuple(self._waiting):
            late = self._lateness(place)
            if late is not None:
                self._refuse(place, late)

    def _lateness(self, place: Place[Work]) -> DeadlinePassed | None:
        late_s = self._clock() - place.wanted.expires_at
        if late_s <= 0:
            return None
        return DeadlinePassed(late_s=late_s)

    def _refuse(self, place: Place[Work], error: EdgeNodeError) -> None:
        place.refusal = error
        # What has the model hears of it there.
        if place in self._waiting:
            self._waiting.remove(place)
            self._refused.append((place.work, error))


def _rank(wanted: Wanted) -> Rank:
    if wanted.request.kind is RequestKind.ALARM:
        return Rank.ALARM
    return Rank.QUESTION if wanted.question else Rank.ORDER


def _is_of(wanted: Wanted, user: str, correlation: str) -> bool:
    request = wanted.request
    if request.kind is not RequestKind.ASK or request.user != user or not request.correlation:
        return False
    raw = request.correlation.encode("utf-8", "surrogateescape")
    return correlation in (request.correlation, readable(raw))
