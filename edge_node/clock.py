"""The time by which a running edge lives: it begins with the wall clock and is never set.

Knows the clocks of the operating system; knows nothing of what is timed.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP_S = 1.0
"""A smaller difference tells nobody anything; what NTP slews, both clocks follow."""

log = structlog.get_logger(__name__)


elapsed_s: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Returns seconds by a clock that nobody sets, and that counts while the machine sleeps where it can."""


class SteadyClock:
    """Seconds since the epoch as the wall clock had them at the start, counted on without a jump.

    Two readings of it differ by what has passed in between, whatever is done to the wall clock: started in
    1970, it stays there until the next start. What people read of the time of day comes from `wall`.

    Args:
        wall: The wall clock, seconds since the epoch.
        elapsed: Seconds by a clock that nobody sets.
    """

    def __init__(
        self, *, wall: Callable[[], float] | None = None, elapsed: Callable[[], float] = elapsed_s
    ) -> None:
        self.wall = wall or time.time
        self._elapsed = elapsed
        self._offset_s = self.wall() - elapsed()
        self._told_s = 0.0

    def __call__(self) -> float:
        """Return the time now."""
        return self._elapsed() + self._offset_s

    def look(self) -> float:
        """Return by how many seconds the wall clock was set since the last look, and tell it; mostly 0."""
        ahead_s = self.wall() - self()
        stepped_s = ahead_s - self._told_s
        if abs(stepped_s) < _STEP_S:
            return 0.0
        self._told_s = ahead_s
        log.warning(
            "clock_set",
            by_s=round(stepped_s, 1),
            ahead_s=round(ahead_s, 1),
            consequence="what is under way goes on by elapsed time; a restart takes up the new time",
        )
        return stepped_s
