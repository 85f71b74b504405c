"""Episodes: when a trigger fires for one device, and when it may fire again.

Pure state over times and truth values; knows no message, no twin and no clock. Times are seconds since
the epoch, and every step is given its own.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Terms:
    """What a node file says of the times of a trigger.

    Attributes:
        for_s: How long its condition must hold first; 0 fires at once.
        end_s: How long what ends an episode must hold; 0 ends it at once.
        cooldown_s: Least time between two firings.
        stale_s: Silence after which nothing was seen to hold any more.
        pulse: Whether an episode ends as soon as it has fired.
    """

    for_s: float
    end_s: float
    cooldown_s: float
    stale_s: float
    pulse: bool = False


@dataclass(slots=True)
class Holding:
    """The episode of a condition: it fires once the condition has held long enough, and then waits.

    A truth value is True, False, or None for unknown. Unknown neither starts an episode nor ends one,
    and takes a condition that was on its way back to the start, because it was not seen to hold.

    Attributes:
        terms: The times of the trigger.
        open: Whether it has fired and not ended yet.
        since: From when the condition, or while open its end, was seen to hold; None where it was not.
        last_seen: When that was last seen to hold.
        fired_at: When it last fired; None where that does not matter any more.
    """

    terms: Terms
    open: bool = False
    since: float | None = None
    last_seen: float = -math.inf
    fired_at: float | None = None

    @property
    def deadline(self) -> float | None:
        """When what holds has held long enough, or None where nothing is on its way."""
        if self.since is None:
            return None
        if self.open:
            return self.since + self.terms.end_s
        cooled = -math.inf if self.fired_at is None else self.fired_at + self.terms.cooldown_s
        return max(self.since + self.terms.for_s, cooled)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.open and self.since is None and self.fired_at is None

    @property
    def stands(self) -> tuple[object, ...]:
        """Where it stands; the rest is how long for."""
        return self.open, self.since, self.fired_at

    def see(self, at: float, *, holds: bool | None) -> bool:
        """Return whether it fires by what a message shows at `at`.

        Args:
            at: Time of the message.
            holds: Whether the condition holds; while open, whether what ends the episode does.
        """
        self._cool(at)
        if not holds:
            self.since = None
            return False
        if self.since is None or at - self.last_seen > self.terms.stale_s:
            self.since = at
        self.last_seen = at
        return self._step(at)

    def ripen(self, at: float, *, holds: bool | None) -> bool:
        """Return whether it fires by the time that has passed; `holds` is what is known at `at`."""
        if not holds:
            self.since = None
            return False
        return self._step(at)

    def shift(self, seconds: float) -> None:
        """Move all times, because the clock was moved or time passed that does not count."""
        self.last_seen += seconds
        if self.since is not None:
            self.since += seconds

    def as_dict(self) -> dict[str, Any]:
        """Return what is to be remembered, as JSON has it."""
        last_seen = self.last_seen if math.isfinite(self.last_seen) else None
        return {"open": self.open, "since": self.since, "seen": last_seen, "fired": self.fired_at}

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Take up what `as_dict` gave; raises KeyError or TypeError where it is something else."""
        self.open = kept["open"] is True
        self.since = _time(kept["since"])
        last_seen = _time(kept["seen"])
        self.last_seen = -math.inf if last_seen is None else last_seen
        self.fired_at = _time(kept["fired"])

    def _cool(self, at: float) -> None:
        """Forget the last firing once it does not matter any more."""
        if self.fired_at is not None and at >= self.fired_at + self.terms.cooldown_s:
            self.fired_at = None

    def _step(self, at: float) -> bool:
        if self.deadline is None or at < self.deadline:
            return False
        self.since = None
        if self.open:
            self.open = False
            return False
        self.open = not self.terms.pulse
        self.fired_at = at if self.terms.cooldown_s else None
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

    @property
    def open(self) -> bool:
        """Whether it has fired and the device was not heard again."""
        return self.heard_at is None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember: never, for a device may always fall silent."""
        return False

    @property
    def stands(self) -> tuple[object, ...]:
        """Where it stands; the rest is how long for."""
        return (self.open,)

    def hear(self, at: float) -> None:
        """Take note that the device was heard, which ends an episode."""
        self.heard_at = at if self.heard_at is None else max(at, self.heard_at)

    def listen(self, since: float | None, *, now: float) -> None:
        """Count silence from when somebody listened: since `since`, or not even now where that is None."""
        if self.heard_at is not None:
            self.heard_at = max(self.heard_at, now if since is None else min(since, now))

    def ripen(self, at: float) -> bool:
        """Return whether it fires by the time that has passed."""
        if self.deadline is None or at < self.deadline:
            return False
        self.heard_at = None
        return True

    def shift(self, seconds: float) -> None:
        """Move the time, because the clock was moved."""
        if self.heard_at is not None:
            self.heard_at += seconds

    def as_dict(self) -> dict[str, Any]:
        """Return what is to be remembered; what was heard since stands with the device."""
        return {"open": self.open, "heard_at": self.heard_at}


@dataclass(slots=True)
class Joint:
    """The episode of several triggers together.

    Attributes:
        needs_all: Whether all of them are needed, or any.
        names: Their names.
        within_s: How far apart they may fire; None where their episodes are looked at.
        cooldown_s: Least time between two firings.
        open: Whether it has fired and not ended yet.
        fired: Name to the time of its last firing, where `within_s` is given.
        fired_at: When it fired itself, or None.
        waiting: Whether it would fire, were it not too soon after the last time.
    """

    needs_all: bool
    names: tuple[str, ...]
    within_s: float | None
    cooldown_s: float
    open: bool = False
    fired: dict[str, float] = field(default_factory=dict)
    fired_at: float | None = None
    waiting: bool = False

    @property
    def deadline(self) -> float | None:
        """When it may fire again, or None where it does not wait for that."""
        return self.fired_at + self.cooldown_s if self.waiting and self.fired_at is not None else None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.open and not self.fired and self.fired_at is None

    @property
    def stands(self) -> tuple[object, ...]:
        """Where it stands."""
        return self.open, self.fired_at, self.waiting, tuple(self.fired.items())

    def see(self, at: float, *, fired: set[str], going_on: set[str]) -> bool:
        """Return whether it fires.

        Args:
            at: Time of the step.
            fired: Triggers that fire in this step.
            going_on: Triggers whose episode is open after it.
        """
        if self.within_s is not None:
            holds, was_open = self._close_together(at, fired), False
        else:
            wanted, there = set(self.names), fired | going_on
            holds, was_open = wanted <= there if self.needs_all else bool(wanted & there), self.open
        cooled = self.fired_at is None or at >= self.fired_at + self.cooldown_s
        self.open = self.within_s is None and holds and (was_open or cooled)
        self.waiting = holds and not was_open and not cooled
        if not holds or was_open or self.waiting:
            return False
        self.fired_at = at if self.cooldown_s else None
        self.fired.clear()
        return True

    def shift(self, seconds: float) -> None:
        """Move all times, because the clock was moved."""
        self.fired = {name: time + seconds for name, time in self.fired.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return what is to be remembered, as JSON has it."""
        kept = asdict(self)
        return {
            "open": self.open,
            "times": kept["fired"],
            "fired": self.fired_at,
            "waiting": self.waiting,
        }

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Take up what `as_dict` gave; raises KeyError, TypeError or AttributeError for something else."""
        self.open, self.waiting = kept["open"] is True, kept["waiting"] is True
        times = {name: _time(time) for name, time in kept["times"].items() if name in self.names}
        self.fired = {name: time for name, time in times.items() if time is not None}
        self.fired_at = _time(kept["fired"])

    def _close_together(self, at: float, fired: set[str]) -> bool:
        for name in fired & set(self.names):
            self.fired[name] = at
        longest_s = math.inf if self.within_s is None else self.within_s
        self.fired = {name: time for name, time in self.fired.items() if at - time <= longest_s}
        return len(self.fired) == len(set(self.names))


def _time(value: Any) -> float | None:
    """Return a time that was kept.

    Raises:
        TypeError: It is none.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("no time")
    return float(value)
