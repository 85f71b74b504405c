"""The two threads that walk messages down the path: the dispatcher, and the worker where the model runs.

The one place that catches whatever goes wrong with a message. Knows the pipeline and the backlog; knows
no broker and no concrete stage.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog

from edge_node.errors import (
    Busy,
    EdgeNodeError,
    InternalFault,
    Interrupted,
    JournalError,
    PayloadInvalid,
)
from edge_node.messages import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.messages import Message
    from edge_node.pipeline import Pipeline, Result, Steps
    from edge_node.protocols import Attention
    from edge_node.runtime.backlog import Backlog
    from edge_node.runtime.model_queue import ModelQueue

log = structlog.get_logger(__name__)

TICK_S = 0.2
_TURNED_AWAY_AT_ONCE = 20
_TURN_S = 0.002
_FINISHING = 0.5  # share of the time to stop in which the model may finish; then it ends with a token


_Given = TypeVar("_Given")
_Got = TypeVar("_Got")


class Walk(NamedTuple):
    """A message, or the passing of time, and how far it has come."""

    message: Message | None
    path: Steps
    pipeline: Pipeline


class Dispatcher:
    """Messages taken in order down the path; what needs the model goes on in a thread of its own."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        backlog: Backlog,
        unfinished: Callable[[], tuple[Message, ...]],
        on_concluded: Callable[[], None],
        clock: Callable[[], float],
        model_queue: ModelQueue[Walk],
        save_s: float = 60.0,
        on_message: Callable[[Message], None] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._earlier: tuple[Pipeline, ...] = ()
        self._wanting_model: Counter[Pipeline] = Counter()
        self._between_messages = threading.Lock()
        self._may_begin = threading.Event()
        self._may_begin.set()
        self._backlog = backlog
        self._unfinished = unfinished
        self._on_concluded = on_concluded
        self._clock = clock
        self._save_s = save_s
        self._on_message = on_message
        self._resumed: list[Walk] = []
        self._model_queue = model_queue
        self._stopping = threading.Event()
        self._threads = (
            threading.Thread(target=self._dispatch, name="dispatcher"),
            threading.Thread(target=self._infer, name="inference"),
        )
        # Asked once: most messages lead to nothing, and a line that is not written still takes its time.
        self._tells_all = log.bind().is_enabled_for(logging.DEBUG)
        self._counting = threading.Lock()
        self.handled = 0
        self.progress_at = time.monotonic()
        self.refused = 0

    def start(self) -> None:
        """Start both threads; what the journal holds unfinished comes first."""
        unfinished = self._unfinished()
        for message in unfinished:
            self._backlog.put(message)
        left = self._pipeline.interrupted(but=unfinished)
        self._resumed = [Walk(None, path, self._pipeline) for path in left]
        for thread in self._threads:
            thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """Finish what was begun and end both threads; what is left stays in the journal."""
        self._stopping.set()
        self._model_queue.close()
        self._backlog.wake()
        now_s = time.monotonic()
        self._join(now_s + timeout_s * _FINISHING)
        self._model_queue.interrupt()
        self._join(now_s + timeout_s)

    def _join(self, deadline_s: float) -> None:
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline_s - time.monotonic()))

    def exchange(self, make: Callable[[], Pipeline]) -> None:
        """Let each message from the next one on take another path; those under way finish on theirs.

        Args:
            make: Returns the path; called between two messages, so it must be short.
        """
        # Without the event a busy dispatcher would take the lock again before anybody else wakes up.
        self._may_begin.clear()
        try:
            with self._between_messages:
                pipeline = make()
                self._earlier = (*self._earlier, self._pipeline)
                self._pipeline = pipeline
        finally:
            self._may_begin.set()

    @property
    def alive(self) -> bool:
        """Whether both threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def _dispatch(self) -> None:
        next_tick = time.monotonic()
        next_save = next_tick + self._save_s
        for walk in self._resumed:
            self._go(walk)
        while not self._stopping.is_set():
            message = self._backlog.take(timeout_s=TICK_S)
            self.progress_at = time.monotonic()
            self._may_begin.wait()
            with self._between_messages:
                self._turn_away()
                self._refuse_waiting()
                if message is not None:
                    self._begin_with_others(message)
                elif self._backlog.wants_refill:
                    self._refill()
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK_S
                    self._model_queue.drop_overdue()
                    self._begin(None)
                if time.monotonic() >= next_save:
                    next_save = time.monotonic() + self._save_s
                    self._save()
        # Who took a request back was told so: it must not come again.
        self._refuse_waiting()

    def _save(self) -> None:
        try:
            self._pipeline.save()
        except JournalError as error:
            log.warning("memory_not_saved", reason=str(error), consequence="it is tried again")

    def _turn_away(self) -> None:
        """Tell people whose questions found no room, before they have waited long."""
        for _ in range(_TURNED_AWAY_AT_ONCE):
            message = self._backlog.turned_away()
            if message is None:
                return
            self.refused += 1
            self._end(message, Busy(waiting=self._model_queue.limit))

    def _refuse_waiting(self) -> None:
        """Write the end of what lost its place before the model: too late, taken back, or crowded out."""
        while (refused := self._model_queue.refused()) is not None:
            walk, error = refused
            self._count_wanting(walk, -1)
            self.refused += isinstance(error, Busy)
            self._go(walk, refusal=error)

    def _refill(self) -> None:
        try:
            self._backlog.refill(self._unfinished())
        except JournalError:
            log.exception("journal_unreadable")
            self._stopping.wait(TICK_S)

    def _begin_with_others(self, first: Message) -> None:
        """Begin a message and those behind it, for a moment: all else is seen to in between."""
        until_s = time.monotonic() + _TURN_S
        message: Message | None = first
        while message is not None:
            self._begin(message)
            message = self._backlog.next() if time.monotonic() < until_s else None

    def _begin(self, message: Message | None) -> None:
        if self._earlier and message is not None:
            self._keep_up(message)
        path = self._guarded(message, self._path, message)
        if path is not None:
            self._go(Walk(message, path, self._pipeline))

    def _path(self, message: Message | None) -> Steps | None:
        """Return the rest of the path of a message, None where it has its end by now."""
        if message is not None and message.dropped_bytes:
            self._refuse_size(message)
        elif message is not None and self._on_message is not None:
            self._on_message(message)
        if self._tells_all:
            return self._pipeline.path(message, now=self._clock())
        path = self._pipeline.begin(message, now=self._clock())
        if path is None:
            self._count_handled(message)
        return path

    def _go(self, walk: Walk, *, refusal: EdgeNodeError | None = None) -> None:
        wanted = self._advance(walk, refusal=refusal)
        while wanted is not None:
            try:
                self._count_wanting(walk, 1)
                self._model_queue.put(walk, wanted)
            except Busy as busy:
                self._count_wanting(walk, -1)
                self.refused += 1
                # Only the request that needs the model is refused; what else came of the message stands.
                wanted = self._advance(walk, refusal=busy)
            else:
                return

    def _keep_up(self, message: Message) -> None:
        """Let what waits for the model with an earlier configuration be judged by what is known now."""
        with self._counting:
            self._earlier = tuple(each for each in self._earlier if self._wanting_model[each])
        for pipeline in self._earlier:
            pipeline.keep_up(message)

    def _count_wanting(self, walk: Walk, more: int) -> None:
        with self._counting:
            self._wanting_model[walk.pipeline] += more
            if not self._wanting_model[walk.pipeline]:
                del self._wanting_model[walk.pipeline]

    def _infer(self) -> None:
        while (place := self._model_queue.take()) is not None:
            walk = place.work
            while (wanted := self._advance(walk, attention=place)) is not None:
                place = self._model_queue.go_on(place, wanted)
            self._model_queue.done(place)
            self._count_wanting(walk, -1)

    def _advance(
        self, walk: Walk, *, refusal: EdgeNodeError | None = None, attention: Attention | None = None
    ) -> Wanted | None:
        """Return what needs the model next, or None where the walk is at its end.

        Args:
            walk: The walk.
            refusal: Why the model cannot be had where it was needed last, or None.
            attention: With what the model can be had where it was needed last; None at the beginning.
        """
        message = walk.message
        if refusal:
            step = self._guarded(message, walk.path.throw, refusal)
        else:
            step = self._guarded(message, walk.path.send, attention)
        if isinstance(step, Wanted):
            self._on_concluded()  # an alert does not wait for the model
            return step
        if step is not None:
            self._conclude(message, step)
        return None

    def _guarded(self, message: Message | None, step: Callable[[_Given], _Got], given: _Given) -> _Got | None:
        """Return what a step of a message returns, None where that ended it."""
        try:
            return step(given)
        except Interrupted as error:
            log.info("message_put_off", topic=_topic(message), reason=str(error))
        except EdgeNodeError as error:
            self._end(message, error)
        except Exception as error:
            # The one place that catches everything: a fault in one message must not end the service.
            log.exception("message_failed", topic=_topic(message))
            self._end(message, InternalFault(type(error).__name__))
        return None

    def _conclude(self, message: Message | None, result: Result) -> None:
        self._count_handled(message)
        if result.decisions or result.operated or self._tells_all:
            _record(message, result)
        if result.decisions or result.moved or result.operated:
            self._on_concluded()

    @staticmethod
    def _refuse_size(message: Message) -> None:
        raise PayloadInvalid(
            expected="a payload within limits.payload",
            came=f"{message.dropped_bytes} bytes",
            hint="send less, or raise limits.payload",
        )

    def _end(self, message: Message | None, error: EdgeNodeError) -> None:
        """Give a message that cannot be handled its recorded end, and tell its sender."""
        log.warning("message_refused", topic=_topic(message), code=error.code, reason=str(error))
        if message is None:
            return
        self._count_handled(message)
        try:
            self._pipeline.bury(message, error)
        except JournalError:
            log.exception("message_left_unfinished", id=message.id, topic=message.topic)
        self._on_concluded()

    def _count_handled(self, message: Message | None) -> None:
        if message is not None:
            with self._counting:
                self.handled += 1


def _topic(message: Message | None) -> str:
    return message.topic if message else "timer"


def _record(message: Message | None, result: Result) -> None:
    """Write the one line that tells what became of a message."""
    if message is None and not result.decisions:
        return
    if result.operated:
        done = result.operated
        log.info("operation", name=done.operation, user=done.user, came=done.text)
    tell = log.info if result.decisions else log.debug
    tell(
        "message",
        id=message.id if message else "",
        topic=_topic(message),
        decisions=[decision.request.id for decision in result.decisions],
        drafts=[type(decision.draft).__name__ for decision in result.decisions],
        verdicts=[decision.verdict.outcome.value for decision in result.decisions if decision.verdict],
        rules=[decision.verdict.rule for decision in result.decisions if decision.verdict],
        commands=[decision.command.id for decision in result.decisions if decision.command],
        stages_ms={stage: round(spent_ms, 2) for stage, spent_ms in result.stages_ms.items()},
    )
