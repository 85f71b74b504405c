"""The operational stop of one edge: what latches it, and what alone releases it.

Knows the outlet and the file; knows no bus, no gate and no command. Memory comes first, so that a stop
blocks even where the disk does not answer.
"""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_node.errors import ResetRefused
from edge_node.identifiers import new_id
from edge_node.stop.record import UNREADABLE, StopRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_node.messages import Request
    from edge_node.stop.outlet import Outlet
    from edge_node.stop.record import StopFile


class StopLatch:
    """Clear, or stopped until a person resets it; what the disk says at the start holds.

    Args:
        file: Where it is latched.
        outlet: What it shuts.
        boot: Identifier of this run of the edge.
        clock: Wall clock, seconds since the epoch.

    Attributes:
        boot: Identifier of this run of the edge.
        on_reset: Called after a reset, on the thread of whoever resets.
    """

    def __init__(self, file: StopFile, *, outlet: Outlet, boot: str, clock: Callable[[], float]) -> None:
        self.boot = boot
        self.on_reset: Callable[[], None] = lambda: None
        self._file = file
        self._outlet = outlet
        self._clock = clock
        self._lock = threading.Lock()
        self._record = file.read()
        self._written: StopRecord | None = self._record if self._record.id != UNREADABLE else None
        self._latched_as = outlet.shut() if self._record.stopped else 0
        # Only resets of this run: the clock may start anew with the machine.
        self._reset_at = -math.inf
        self._from_before: frozenset[str] = frozenset()

    @property
    def record(self) -> StopRecord:
        """What is latched."""
        return self._record

    @property
    def durable(self) -> bool:
        """Whether what is latched is on the disk."""
        return self._written is not None and self._written.state == self._record.state

    @property
    def why(self) -> str:
        """Why no command may be given, in a sentence; empty where none is stopped."""
        record = self._record
        if record.stopped:
            return told(record)
        return "an operational stop is being latched" if self._outlet.is_shut else ""

    def stop(self, *, user: str, reason: str) -> StopRecord:
        """Let nothing leave from now on, and return what is latched, which is on the disk then.

        The same stop again, by the same user for the same reason, is not written again: a button that is
        held down must not wear out the disk.

        Raises:
            LatchError: It is not on the disk; it blocks all the same until the process ends.
        """
        latched_as = self._outlet.shut()
        record = StopRecord("stopped", new_id(), user, reason, self._clock(), self.boot)
        self._record = record
        with self._lock:
            self._record = record
            self._latched_as = latched_as
            written = self._written
            if written is None or (written.state, written.user, written.reason) != ("stopped", user, reason):
                self._write(record)
        return record

    def why_not(self, request: Request) -> str:
        """Return why no command may come of a request, in a sentence; empty where one may.

        What was asked before a reset came while the edge was stopped, or before that: it is not replayed.
        """
        if why := self.why:
            return why
        if request.created_at <= self._reset_at or request.message_id in self._from_before:
            return f"it was asked before the operational stop was reset ({self.status})"
        return ""

    def distrust(self, message_ids: Iterable[str]) -> None:
        """Let no command come of these messages, which an earlier run received before a reset."""
        self._from_before = frozenset(message_ids)

    @property
    def status(self) -> str:
        """What is latched, in a sentence."""
        return told(self._record)

    def reset(self, *, user: str, stop_id: str, asked_at: float, decided: Iterable[str]) -> None:
        """Let new commands leave again; those that were decided before never leave.

        A reset is for one stop: the one it names, or the last one before it was asked for. A stop that
        comes while a reset is on its way is not undone by it.

        Args:
            user: Who resets.
            stop_id: Identifier of the stop; the time tells where empty.
            asked_at: When the reset was asked for, seconds since the epoch.
            decided: Identifiers of the commands that were decided before.

        Raises:
            ResetRefused: Another stop came after the one that is meant.
            LatchError: The disk refused; the stop holds.
        """
        with self._lock:
            record = self._record
            if record.stopped:
                self._check(record, stop_id=stop_id, asked_at=asked_at)
                self._outlet.forbid(decided)
                self._release(record, user=user)
        self.on_reset()

    def swept(self) -> None:
        """Take note that what was open before a reset at rest has been cancelled."""
        with self._lock:
            if self._record.sweep:
                self._record = replace(self._record, sweep=False)
                self._write(self._record)

    @staticmethod
    def _check(record: StopRecord, *, stop_id: str, asked_at: float) -> None:
        if stop_id and stop_id != record.id:
            raise ResetRefused(expected=f"stop_id {record.id}", came=stop_id[:80])
        if not stop_id and asked_at <= record.at:
            raise ResetRefused(expected="a reset asked for after the stop", came="an earlier one")

    def _release(self, record: StopRecord, *, user: str) -> None:
        cleared = replace(record, state="clear", user=user, reason="", at=self._clock(), boot=self.boot)
        self._write(cleared)
        self._reset_at = cleared.at
        if not self._outlet.open(after=self._latched_as):
            # The newer stop waits for the lock and latches itself; what is in memory still says stopped.
            raise ResetRefused(expected="no newer stop", came="one that has just arrived")
        self._record = cleared

    def _write(self, record: StopRecord) -> None:
        self._written = None
        self._file.write(record)
        self._written = record


def told(record: StopRecord) -> str:
    """Return who stopped or reset, when and why, in a sentence."""
    if not record.id:
        return "clear, never stopped"
    what = "operational stop" if record.stopped else "clear, reset"
    why = f": {record.reason}" if record.reason else ""
    return f"{what} by {record.user} at {stamp(record.at)}{why}"


def stamp(at: float) -> str:
    """Return a time in seconds since the epoch as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
