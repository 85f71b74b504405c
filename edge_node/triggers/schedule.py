"""Times of the clock at which a trigger fires: each so many seconds, or at times of the day.

Knows the local time zone of the machine; knows no message and no device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_node.config.models import TriggerConfig

LATEST_S = 60.0
"""How late a time may still be kept; a later one is left out, because its occasion is gone."""
_DAYS_LOOKED_AT = 3


@dataclass(slots=True)
class Schedule:
    """The times of one trigger.

    `every` counts from the epoch, so that a restart does not move it: `every: 1h` is each full hour. A
    time of the day that a change to summer time leaves out falls together with the next there is; one that
    comes twice counts once.

    Attributes:
        every_s: Seconds from one time to the next, or None.
        times: Times of the day as hour and minute.
        last: The last time that was kept, or from when times count; None before that is known.
    """

    every_s: float | None
    times: tuple[tuple[int, int], ...]
    last: float | None = None

    @classmethod
    def of(cls, spec: TriggerConfig) -> Schedule:
        """Return the times that a node file names."""
        written = [spec.at] if isinstance(spec.at, str) else spec.at or []
        times = [time.split(":") for time in written]
        return cls(spec.every, tuple((int(hour), int(minute)) for hour, minute in times))

    def due(self, now: float) -> float | None:
        """Return the time that is to be kept now, or None."""
        if self.last is None or self._stepped_back(now):
            self.last = now
        coming = self._next(self.last)
        if now < coming:
            return None
        if now - coming > LATEST_S:
            # The clock was moved, or nobody looked for long: only the latest occasion may still count.
            coming = self._next(now - LATEST_S)
            if coming > now:
                self.last = now
                return None
        self.last = coming
        return coming

    def _stepped_back(self, now: float) -> bool:
        longest_s = self.every_s if self.every_s is not None else 86_400.0
        return self.last is not None and self.last - now > longest_s

    def _next(self, after: float) -> float:
        if self.every_s is not None:
            return (math.floor(after / self.every_s) + 1) * self.every_s
        return min(time for time in self._times_around(after) if time > after)

    def _times_around(self, at: float) -> Iterator[float]:
        today = datetime.fromtimestamp(at).astimezone()
        for days in range(_DAYS_LOOKED_AT):
            day = (today + timedelta(days=days)).date()
            for hour, minute in self.times:
                # Without a zone, so that the zone's rules of that day hold and not those of today.
                local = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001
                yield local.timestamp()
