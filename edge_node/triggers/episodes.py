"""Episodes: when a trigger fires for one device, and when it may fire again.

Pure state over times and truth values; knows no message, no twin and no clock. Times are seconds since
the epoch, and every step is given its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Holding:
    """The episode of a condition: it fires once the condition has held long enough, and then waits.

    A truth value is True, False, or None for unknown. Unknown neither starts an episode nor ends one,
    and takes a condition that was on its way back to the start, because it was not seen to hold.

    Attributes:
        for_s: How long the condition must hold first; 0 fires at once.
        stale_s: Silence after which the condition was not seen to hold any more.
        open: Whether it has fired and not ended yet.
        since: From when the condition was seen to hold, or None.
        last_seen: When it was last seen to hold.
    """

    for_s: float
    stale_s: float
    open: bool = False
    since: float | None = None
    last_seen: float = -math.inf

    @property
    def deadline(self) -> float | None:
        """When it has held long enough, or None where it is not on its way."""
        return None if self.since is None else self.since + self.for_s

    def see(self, at: float, *, holds: bool | None) -> bool:
        """Return whether it fires by what a message shows at `at`; not to be asked while open."""
        if not holds:
            self.since = None
            return False
        if self.since is None or at - self.last_seen > self.stale_s:
            self.since = at
        self.last_seen = at
        return self._fire(at)

    def ripen(self, at: float, *, holds: bool | None) -> bool:
        """Return whether it fires by the time that has passed; `holds` is what is known at `at`."""
        if not holds:
            self.since = None
            return False
        return self._fire(at)

    def end(self) -> None:
        """Close the episode, so that the next message may start another one."""
        self.open = False

    def _fire(self, at: float) -> bool:
        if self.since is None or at < self.since + self.for_s:
            return False
        self.open, self.since = True, None
        return True


@dataclass(slots=True)
class Silence:
    """The episode of an absence: it fires once a device that was heard has been silent long enough.

    Attributes:
        absent_s: Silence after which it fires.
        heard_at: When the device was last heard, or None while the episode is open.
    """

    absent_s: float
    heard_at: float | None = None

    @property
    def deadline(self) -> float | None:
        """When the device has been silent long enough, or None where that was told already."""
        return None if self.heard_at is None else self.heard_at + self.absent_s

    def hear(self, at: float) -> None:
        """Take note that the device was heard, which ends an episode."""
        self.heard_at = at if self.heard_at is None else max(at, self.heard_at)

    def ripen(self, at: float) -> bool:
        """Return whether it fires by the time that has passed."""
        if self.deadline is None or at < self.deadline:
            return False
        self.heard_at = None
        return True
