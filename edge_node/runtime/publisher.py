"""What leaves: rows of the outbox, in order, each at most once in flight.

The row is the truth, not the MQTT client's memory. Knows the outbox and the bus; knows nothing of what is
said.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from edge_node.errors import BusError, JournalError, Withheld
from edge_node.messages import CommandState
from edge_node.stop.outlet import Fate, Outlet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_node.messages import Command, Outgoing
    from edge_node.protocols import Bus

log = structlog.get_logger(__name__)

_IDLE_S = 1.0
_IN_FLIGHT = 32
_ENDINGS = {
    Fate.GOES_ON: None,
    Fate.NEVER_LEFT: CommandState.CANCELLED,
    Fate.MAY_HAVE_LEFT: CommandState.UNKNOWN,
}


class Parcel(Protocol):
    """One piece of the outbox."""

    @property
    def row_id(self) -> int:
        """Its place; later pieces have greater ones."""

    @property
    def outgoing(self) -> Outgoing:
        """The message."""

    @property
    def idempotent(self) -> bool:
        """Whether it may be sent again."""


class Outbox(Protocol):
    """The part of the journal that holds what is to leave."""

    def pending(self, *, limit: int, commands: bool) -> Sequence[Parcel]:
        """Return what is to leave, oldest first; with or without what carries commands."""

    def mark_sent(self, row_id: int) -> None:
        """Write down, before it leaves, that a piece is about to leave."""

    def mark_unsent(self, row_id: int) -> None:
        """Take back `mark_sent`, where a piece is known not to have left."""

    def mark_delivered(self, row_id: int) -> None:
        """Write down that the broker has a piece."""

    def mark_refused(self, row_id: int, *, reason: str) -> None:
        """Write down that the broker will not take a piece."""

    def mark_doubtful(self, row_id: int) -> tuple[Command, ...]:
        """Return the commands that became unknown because the connection went before the broker answered."""

    def withdraw(self, end: Callable[[Command], CommandState | None], *, detail: str) -> tuple[Command, ...]:
        """Return the commands that were to leave or awaited approval and that `end` gave their last state."""


class StopLine(Protocol):
    """Where an operational stop comes in."""

    @property
    def listening(self) -> bool:
        """Whether a stop would be heard now."""

    @property
    def why(self) -> str:
        """What is latched, in a sentence."""


class Publisher:
    """A thread that hands the outbox to the broker.

    Args:
        outbox: What is to leave.
        bus: Where it goes.
        on_delivered: Told the identifier of a command that the broker has.
        on_unknown: Told the commands of which nobody knows whether the broker has them.
        outlet: What a stop shuts; the bus asks it as a command leaves, and here its way is followed.
        stop_line: While nobody would hear a stop, commands wait.
        on_withdrawn: Told the commands that ended because of a stop.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        bus: Bus,
        on_delivered: Callable[[str], None],
        on_unknown: Callable[[Sequence[Command]], None],
        outlet: Outlet,
        stop_line: StopLine,
        on_withdrawn: Callable[[Sequence[Command]], None],
    ) -> None:
        self._outbox = outbox
        self._bus = bus
        self._on_delivered = on_delivered
        self._on_unknown = on_unknown
        self._outlet = outlet
        self._stop_line = stop_line
        self._on_withdrawn = on_withdrawn
        self._withheld = False
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._in_flight: set[int] = set()
        self._delivered: deque[str] = deque()
        self._doubtful: deque[int] = deque()
        self._thread = threading.Thread(target=self._run, name="publisher")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the outbox now: something was written, or the broker is back."""
        self._wanted.set()

    def stop(self, *, timeout_s: float) -> None:
        """Send what can be sent at once and end the thread."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait(_IDLE_S)
            self._wanted.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        try:
            while self._delivered:
                self._on_delivered(self._delivered.popleft())
            while self._doubtful:
                self._on_unknown(self._outbox.mark_doubtful(self._doubtful.popleft()))
            if self._outlet.is_shut or self._withheld:
                self._withdraw()
            if not self._bus.connected:
                return
            commands = self._stop_line.listening
            # Taken before the outbox is read: a piece that lands in between still stands in what was read.
            with self._lock:
                known = frozenset(self._in_flight)
            for parcel in self._outbox.pending(limit=_IN_FLIGHT, commands=commands):
                if parcel.row_id not in known:
                    self._send(parcel)
        except BusError as error:
            log.debug("publishing_waits", reason=str(error))
        except JournalError:
            log.exception("outbox_failed")

    def _withdraw(self) -> None:
        """End the commands that a stop has kept from leaving."""
        self._withheld = False
        ended = self._outbox.withdraw(self._ending, detail=self._stop_line.why)
        if ended:
            log.warning("commands_withdrawn", commands=[command.id for command in ended])
            self._on_withdrawn(ended)

    def _ending(self, command: Command) -> CommandState | None:
        return _ENDINGS[self._outlet.fate(command.id)]

    def _send(self, parcel: Parcel) -> None:
        if not parcel.idempotent:
            self._outbox.mark_sent(parcel.row_id)
        with self._lock:
            self._in_flight.add(parcel.row_id)
        try:
            self._bus.publish(
                parcel.outgoing,
                on_acknowledged=partial(self._arrived, parcel),
                on_failed=partial(self._failed, parcel),
            )
        except BusError:
            with self._lock:
                self._in_flight.discard(parcel.row_id)
            if not parcel.idempotent:
                self._outbox.mark_unsent(parcel.row_id)
            raise

    # The next two run on the network thread: nothing here may wait for the disk.

    def _arrived(self, parcel: Parcel) -> None:
        self._outbox.mark_delivered(parcel.row_id)
        if parcel.outgoing.command_id:
            self._delivered.append(parcel.outgoing.command_id)
        self._landed(parcel, answered=True)

    def _failed(self, parcel: Parcel, error: BusError) -> None:
        if isinstance(error, Withheld):
            self._withheld = True
        elif not error.retryable:
            log.error("publication_refused", topic=parcel.outgoing.topic, reason=str(error))
            self._outbox.mark_refused(parcel.row_id, reason=str(error))
        elif not parcel.idempotent:
            self._doubtful.append(parcel.row_id)
        self._landed(parcel, answered=not error.retryable)

    def _landed(self, parcel: Parcel, *, answered: bool) -> None:
        if parcel.outgoing.command_id:
            self._outlet.landed(parcel.outgoing.command_id, answered=answered)
        with self._lock:
            self._in_flight.discard(parcel.row_id)
        self._wanted.set()
