"""A run of nodes without a broker, on a clock that moves only when it is told to.

Messages are fed, time passes, and everything that comes of it is kept in order. The stages are joined by
the same function as those of the service, over a journal in memory; the broker always takes what leaves.
Knows nothing of what anybody expects.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_node.clock import SteadyClock
from edge_node.database import Database
from edge_node.errors import EdgeNodeError, JournalError, PayloadInvalid
from edge_node.identifiers import new_id
from edge_node.journal.journal import Journal
from edge_node.journal.pruning import Retention
from edge_node.journal.schema import MIGRATIONS
from edge_node.messages import Command, CommandState, Decision, Message, Operated, Outgoing
from edge_node.pipeline import Result
from edge_node.runtime.wiring import assemble, take_up
from edge_node.stop import Outlet, StopFile, StopLatch
from edge_node.topics import EdgeTopics, TopicPattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_node.config.loaded import Configuration
    from edge_node.rehearsal.props import LateLibrary, Props
    from edge_node.runtime.wiring import Assembly

TICK_S = 0.2
"""How often the passing of time is looked at, as in the service."""
MOST_TICKS = 3000
"""A longer time passes in this many longer ticks."""
STARTS_AT = 1_767_261_600.0
"""Time at which a rehearsal starts unless it is told otherwise: 1 January 2026, 10:00 UTC."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that could not be handled.

    Attributes:
        message: The message.
        error: Why.
    """

    message: Message
    error: EdgeNodeError


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that came of what was fed.

    Attributes:
        at_s: When, in seconds since the start of the rehearsal.
        what: A decision, a command in its new state, a message that left, an operation, or a refusal.
    """

    at_s: float
    what: Decision | Command | Outgoing | Operated | Refusal


class Rehearsal:
    """One virtual edge; used by one thread, and to be closed at the end.

    Args:
        configuration: The runtime's settings and the nodes.
        props: Models and manuals, which may be shared with other rehearsals.
        starts_at: Time at which it starts, seconds since the epoch.

    Attributes:
        now: The time, seconds since the epoch.
        happenings: What came of everything so far, in order.
        topics: Topics of the edge.
    """

    def __init__(self, configuration: Configuration, *, props: Props, starts_at: float = STARTS_AT) -> None:
        self.now = self._starts_at = starts_at
        self._clock = SteadyClock(wall=lambda: self.now, elapsed=lambda: self.now)
        self.happenings: list[Happening] = []
        runtime = configuration.runtime.model_copy(update={"group": None})
        self._configuration = replace(configuration, runtime=runtime)
        self.topics = EdgeTopics(runtime.edge)
        self._props = props
        self._heard = tuple(
            (TopicPattern.parse(entry.topic), entry.qos)
            for node in configuration.nodes
            for entry in node.spec.listen
        )
        # Its wall clock is never set, so both are one.
        self._clock = SteadyClock(wall=lambda: self.now, elapsed=lambda: self.now)
        database = Database.in_memory(migrations=MIGRATIONS, error=JournalError)
        self._journal = Journal(database, clock=self._clock, retention=Retention())
        self._stop_file = StopFile(props.folder)
        self._begin()

    def _begin(self) -> None:
        """Join the stages, and take up what the journal holds."""
        self._outlet = Outlet()
        self._latch = StopLatch(self._stop_file, outlet=self._outlet, boot=new_id(), clock=self._clock)
        self._assembly: Assembly[LateLibrary] = assemble(
            self._configuration,
            models=self._props.models,
            library=self._props.manuals,
            journal=self._journal,
            stop=self._latch,
            clock=self._clock,
        )
        self._tell(take_up(self._assembly, journal=self._journal, stop=self._latch, now=self.now))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self.now - self._starts_at

    def hears(self, topic: str) -> bool:
        """Return whether a message on a topic would reach this edge at all."""
        return self._qos(topic) is not None

    def feed(
        self,
        topic: str,
        payload: bytes,
        *,
        retained: bool = False,
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> None:
        """Let a message arrive now; nothing happens where the edge does not listen to its topic."""
        qos = self._qos(topic)
        if qos is None:
            return
        limit = self._configuration.runtime.limits.payload
        kept = payload if len(payload) <= limit else b""
        message = Message(
            id=new_id(),
            topic=topic,
            payload=kept,
            received_at=self.now,
            qos=qos,
            retained=retained,
            durable=qos > 0,
            response_topic=response_topic,
            correlation=correlation,
            dropped_bytes=len(payload) - len(kept),
        )
        if self._taken_in(message):
            self._walk(message)

    def ask(self, user: str, text: str) -> None:
        """Let a person ask or order something now."""
        self.feed(self.topics.ask(user), text.encode())

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with everything that falls due on the way."""
        until = self.now + seconds
        tick_s = max(TICK_S, seconds / MOST_TICKS)
        while self.now < until:
            self.now = min(until, self.now + tick_s)
            self._walk(None)

    def stop(self, *, user: str, reason: str = "") -> None:
        """Let a person stop the edge: no command leaves it any more."""
        self._outlet.shut()
        self._latch.stop(user=user, reason=reason)
        ended = self._journal.withdraw(lambda _: CommandState.CANCELLED, detail=self._latch.why)
        self._tell(self._assembly.lifecycle.withdraw(ended))

    def restart(self) -> None:
        """End the process as a power cut does and start it again; the journal and the stop are kept."""
        self._begin()

    def close(self) -> None:
        """End the journal, and forget a stop."""
        self._journal.close()
        self._stop_file.path.unlink(missing_ok=True)

    def _qos(self, topic: str) -> int | None:
        """Return with which quality of service a topic is subscribed to, or None where it is not."""
        if self.topics.operating(topic) or self.topics.asking_user(topic) is not None:
            return 1
        return max((qos for pattern, qos in self._heard if pattern.match(topic) is not None), default=None)

    def _taken_in(self, message: Message) -> bool:
        """Return whether a message is to be handled: not one that came twice."""
        settled = threading.Event()
        fresh: list[bool] = []

        def settle(*, is_fresh: bool) -> None:
            fresh.append(is_fresh)
            settled.set()

        self._journal.receive(
            message,
            on_durable=lambda: settle(is_fresh=True),
            on_duplicate=lambda: settle(is_fresh=False),
        )
        settled.wait()
        return fresh[0]

    def _walk(self, message: Message | None) -> None:
        """Take a message, or the passing of time, down the whole path."""
        try:
            if message is not None and message.dropped_bytes:
                raise PayloadInvalid(
                    expected="a payload within limits.payload", came=f"{message.dropped_bytes} bytes"
                )
            steps = self._assembly.pipeline.path(message, now=self.now)
            results = [step for step in steps if isinstance(step, Result)]
        except EdgeNodeError as error:
            if message is not None:
                self._add([Refusal(message, error)])
                self._assembly.pipeline.bury(message, error)
                self._deliver()
            return
        for result in results:
            self._take_up(result)

    def _take_up(self, result: Result) -> None:
        if not (result.decisions or result.moved or result.operated):
            return
        self._add(result.moved)
        self._add(result.decisions)
        self._add(decision.command for decision in result.decisions if decision.command)
        if result.operated:
            self._add([result.operated, *result.operated.commands])
        self._deliver()

    def _deliver(self) -> None:
        """Let everything leave that is to leave, as a broker would that is always there."""
        while parcels := self._journal.pending():
            delivered: list[str] = []
            for parcel in parcels:
                self._journal.mark_sent(parcel.row_id)
                self._add([parcel.outgoing])
                self._journal.mark_delivered(parcel.row_id)
                delivered += filter(None, [parcel.outgoing.command_id])
            self._tell(filter(None, map(self._assembly.lifecycle.acknowledged, delivered)), leaves=False)

    def _tell(self, commands: Iterable[Command], *, leaves: bool = True) -> None:
        """Write down commands whose state changed outside the path of a message."""
        changed: Sequence[Command] = tuple(commands)
        if not changed:
            return
        self._add(changed)
        told = self._assembly.announcing.outgoing((), changed)
        self._journal.conclude(None, commands=changed, outgoing=told)
        if leaves:
            self._deliver()

    def _add(self, came: Iterable[Decision | Command | Outgoing | Operated | Refusal]) -> None:
        self.happenings += [Happening(self.elapsed_s, what) for what in came]
