"""The last door that a command passes on its way out, and the one that a stop shuts.

Knows identifiers of commands and a lock; knows no bus, no file and no reason. What is sent within
`leaving` has left before a stop, or never leaves: both take the same lock.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Fate(Enum):
    """What becomes of a command that has not ended."""

    GOES_ON = "goes on"
    NEVER_LEFT = "never left"
    MAY_HAVE_LEFT = "may have left"


class Outlet:
    """Open, or shut by an operational stop; safe to use from any thread and never slow.

    A command that was decided before a stop stays forbidden when the outlet is opened again, so that a
    reset replays nothing.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shut = False
        self._times_shut = 0
        self._under_way: set[str] = set()
        self._doubtful: set[str] = set()
        self._forbidden: set[str] = set()

    @property
    def is_shut(self) -> bool:
        """Whether no command may leave."""
        return self._shut

    def shut(self) -> int:
        """Let no command leave from now on; return how many times this was asked."""
        with self._changed:
            self._shut = True
            self._times_shut += 1
            return self._times_shut

    def open(self, *, after: int) -> bool:
        """Let commands leave again, if `shut` was not asked since it returned `after`; return whether."""
        with self._changed:
            if self._times_shut == after:
                self._shut = False
            return not self._shut

    def forbid(self, command_ids: Iterable[str]) -> None:
        """Never let these commands leave, even when the outlet is open."""
        with self._changed:
            self._forbidden.update(command_ids)

    @contextmanager
    def leaving(self, command_id: str) -> Iterator[bool]:
        """Give whether a command may leave; hand it over within the block, and only then.

        What carries no command, and has no identifier here, always may.
        """
        if not command_id:
            yield True
            return
        with self._changed:
            may = not self._shut and command_id not in self._forbidden
            if may:
                self._under_way.add(command_id)
            yield may

    def landed(self, command_id: str, *, answered: bool) -> None:
        """Take note of the end of a command's way to the broker, and whether the broker has answered."""
        with self._changed:
            if command_id in self._under_way and not answered:
                self._doubtful.add(command_id)
            elif answered:
                self._doubtful.discard(command_id)
            self._under_way.discard(command_id)
            self._changed.notify_all()

    def wait_landed(self, *, timeout_s: float) -> int:
        """Return how many commands are still on their way after at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, timeout_s)
            return len(self._under_way)

    def fate(self, command_id: str) -> Fate:
        """Return what becomes of a command; one that must not leave is forbidden from now on."""
        with self._changed:
            if command_id in self._under_way or not (self._shut or command_id in self._forbidden):
                return Fate.GOES_ON
            self._forbidden.add(command_id)
            return Fate.MAY_HAVE_LEFT if command_id in self._doubtful else Fate.NEVER_LEFT
