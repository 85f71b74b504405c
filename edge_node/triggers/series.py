"""What a field showed lately: samples in a window of time, and what they come to.

Pure state over times and numbers; knows no message, no device and no clock. Times are seconds since the
epoch and never go back; who feeds a series sees to that.
"""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BOUNDED = frozenset({"avg", "min", "max", "p95"})
"""Functions that come to nothing beyond the least and the greatest sample."""
_ROUNDED, _LEAST = 1e-9, 1e-300
_FEWEST_FOR_SPREAD = 2


@dataclass(slots=True)
class Budget:
    """How many samples all windows together may hold.

    Attributes:
        limit: The most.
        held: How many there are.
        refused: Samples that found no room.
    """

    limit: int
    held: int = 0
    refused: int = 0


@dataclass(slots=True)
class Series:
    """The samples of one field of one device over one length of time.

    Samples are kept as they came until there are `limit` of them. Then neighbours are merged two by two,
    and a merged pair leaves the window when its younger half does: count, sum, avg, min and max stay exact
    but for the edge of the window, while p95 and stddev take each pair for twice its mean.

    A window is known once the field was seen for its whole length without a gap longer than `stale_s`.

    Attributes:
        seconds: Length of the window.
        tumbling: Whether the last whole window is looked at; they begin at multiples of their length
            since the epoch. Else the window that ends now.
        stale_s: Silence of the field after which the time before it does not count as observed.
        limit: The most samples.
        budget: What all series share.
        since: From when the field was seen without a gap; None where it never was.
        times: Time of each sample, rising.
        means: Its value, or the mean of those that were merged.
        merged: Count, least and greatest value of each sample, or None while nothing was merged.
        low: What no sample lies below; it may lag behind those that have gone.
        high: What no sample lies above.
    """

    seconds: float
    tumbling: bool
    stale_s: float
    limit: int
    budget: Budget
    since: float | None = None
    times: array[float] = field(default_factory=lambda: array("d"))
    means: array[float] = field(default_factory=lambda: array("d"))
    merged: tuple[array[float], array[float], array[float]] | None = None
    low: float = math.inf
    high: float = -math.inf

    def add(self, at: float, value: float) -> None:
        """Take up a sample."""
        times, budget = self.times, self.budget
        if not times or at - times[-1] > self.stale_s:
            self._forget(len(times))
            self.since = at
        elif times[0] <= at - self.seconds:
            # What a window needs no more goes, but for the last sample, which tells gaps.
            horizon = self._horizon(at) if self.tumbling else at - self.seconds
            if self.merged is None and len(times) > 1 and times[0] <= horizon < times[1]:
                # What most messages lead to, at a third of the price.
                budget.held -= 1
                times.pop(0)
                self.means.pop(0)
            else:
                self._forget(min(bisect_right(times, horizon), len(times) - 1))
        if len(times) >= self.limit or budget.held >= budget.limit:
            self._merge()
            if budget.held >= budget.limit:
                budget.refused += 1
                self._forget(len(self.times))
                self.since = None
                return
        budget.held += 1
        self.times.append(at)  # not `times`: merging made a new column
        self.means.append(value)
        if not self.low <= value <= self.high:
            self.low, self.high = min(self.low, value), max(self.high, value)
        if self.merged:
            for column, first in zip(self.merged, (1.0, value, value), strict=True):
                column.append(first)

    def lies_within(self, below: float, above: float) -> bool:
        """Return whether all samples lie between two values, and with them each window of `BOUNDED`.

        Args:
            below: What they lie above, as `inside` gives it.
            above: What they lie below.
        """
        if (below < self.low and self.high < above) or not self.means:
            return True
        _, lows, highs = self.merged or (None, self.means, self.means)
        self.low, self.high = min(lows), max(highs)
        return below < self.low and self.high < above

    def value(self, function: str, at: float) -> float | None:
        """Return what the window comes to at `at`, None for unknown."""
        times, since = self.times, self.since
        first, end = self._bounds(at) if self.tumbling else (at - self.seconds, at)
        if since is None or since > first or not times or at - times[-1] > self.stale_s:
            return None
        low, high = 0, len(times)
        # A sliding window is open at its old end, a tumbling one at its young end.
        if times[0] <= first or times[-1] > end or (self.tumbling and times[-1] == end):
            side = bisect_left if self.tumbling else bisect_right
            low, high = side(times, first), side(times, end)
        try:
            value = self._aggregate(function, low, high)
        except OverflowError:
            return None
        return value if value is not None and math.isfinite(value) else None

    def shift(self, seconds: float) -> None:
        """Move all times, because the clock was moved."""
        self.times = array("d", (time + seconds for time in self.times))
        if self.since is not None:
            self.since += seconds

    def drop(self) -> None:
        """Give back the room of all samples."""
        self._forget(len(self.times))

    def as_dict(self) -> dict[str, Any]:
        """Return what is to be remembered, as JSON has it."""
        columns = [list(column) for column in self.merged] if self.merged else None
        return {"since": self.since, "t": list(self.times), "v": list(self.means), "m": columns}

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Take up what `as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        times, means = array("d", kept["t"]), array("d", kept["v"])
        columns = [array("d", column) for column in kept["m"] or ()]
        lengths = {len(column) for column in (times, means, *columns)}
        since = kept["since"]
        if len(lengths) != 1 or len(columns) not in {0, 3} or list(times) != sorted(times):
            raise ValueError("columns that do not fit")
        if not all(map(math.isfinite, (*times, *means, *(value for column in columns for value in column)))):
            raise ValueError("numbers that are not finite")
        if len(times) > self.limit or self.budget.held + len(times) > self.budget.limit:
            return
        self.since = None if since is None else float(since)
        self.times, self.means = times, means
        self.merged = (columns[0], columns[1], columns[2]) if columns else None
        self.budget.held += len(times)
        if means:
            _, lows, highs = self.merged or (None, means, means)
            self.low, self.high = min(lows), max(highs)

    def _bounds(self, at: float) -> tuple[float, float]:
        """Return beginning and end of the last whole window of those that follow one another."""
        end = math.floor(at / self.seconds) * self.seconds
        return end - self.seconds, end

    def _horizon(self, at: float) -> float:
        """Return the time up to which windows that follow one another need no samples any more."""
        # Such a window takes in its own beginning.
        return math.nextafter(self._bounds(at)[0], -math.inf)

    def _aggregate(self, function: str, low: int, high: int) -> float | None:
        if function == "rate":
            return self._rate(low, high)
        means = self.means
        if low or high < len(means):
            means = means[low:high]
        if self.merged is None and function in _PLAIN:
            return _PLAIN[function](means) if means or function in _OF_NONE else None
        counts: Sequence[float] | None = None
        lows = highs = means
        if self.merged is not None:
            counts, lows, highs = (column[low:high] for column in self.merged)
        if function in _OF_NONE:
            return math.fsum(counts or ()) if function == "count" else _total(means, counts)
        if not means:
            return None
        if function in {"min", "max"}:
            return min(lows) if function == "min" else max(highs)
        size = len(means) if counts is None else math.fsum(counts)
        return _total(means, counts) / size if function == "avg" else _SPREADS[function](means, counts)

    def _rate(self, low: int, high: int) -> float | None:
        if high - low < _FEWEST_FOR_SPREAD or self.times[high - 1] == self.times[low]:
            return None
        return (self.means[high - 1] - self.means[low]) / (self.times[high - 1] - self.times[low])

    def _forget(self, count: int) -> None:
        if count <= 0:
            return
        self.budget.held -= count
        del self.times[:count]
        del self.means[:count]
        for column in self.merged or ():
            del column[:count]
        if not self.times:
            self.merged = None

    def _merge(self) -> None:
        """Make one sample out of each two neighbours."""
        size = len(self.times)
        if size < _FEWEST_FOR_SPREAD:
            return
        counts, lows, highs = self.merged or (array("d", [1.0]) * size, self.means[:], self.means[:])
        even = size - size % 2  # the last of an odd number stays as it is
        older, younger = slice(0, even, 2), slice(1, even, 2)
        totals = _pairwise(float.__add__, counts, older, younger)
        shares = (count / total for count, total in zip(counts[younger], totals, strict=True))
        means = [
            old + (young - old) * share
            for old, young, share in zip(self.means[older], self.means[younger], shares, strict=True)
        ]
        self.means = array("d", means) + self.means[even:]
        self.times = self.times[younger] + self.times[even:]
        self.merged = (
            totals + counts[even:],
            _pairwise(min, lows, older, younger) + lows[even:],
            _pairwise(max, highs, older, younger) + highs[even:],
        )
        self.budget.held -= even // 2


def inside(below: float, above: float) -> tuple[float, float]:
    """Return two values a little closer to each other, by what arithmetic over samples may round."""
    below += max(_ROUNDED * abs(below), _LEAST) if below > -math.inf else 0.0
    above -= max(_ROUNDED * abs(above), _LEAST) if above < math.inf else 0.0
    return below, above


def _pairwise(
    of_two: Callable[[float, float], float], column: array[float], older: slice, younger: slice
) -> array[float]:
    return array("d", map(of_two, column[older], column[younger]))


def _total(means: Sequence[float], counts: Sequence[float] | None) -> float:
    if counts is None:
        return math.fsum(means)
    return math.fsum(mean * count for mean, count in zip(means, counts, strict=True))


def _p95(means: Sequence[float], counts: Sequence[float] | None) -> float:
    """Return the 95th percentile by nearest rank."""
    if counts is None:
        return sorted(means)[math.ceil(0.95 * len(means)) - 1]
    ranked = sorted(zip(means, counts, strict=True))
    rank = math.ceil(0.95 * math.fsum(counts))
    reached = itertools.accumulate(count for _, count in ranked)
    return next(mean for (mean, _), place in zip(ranked, reached, strict=True) if place >= rank)


def _stddev(means: Sequence[float], counts: Sequence[float] | None) -> float | None:
    """Return the standard deviation of the values themselves, not of what they may be a sample of."""
    if len(means) < _FEWEST_FOR_SPREAD:
        return None
    size = len(means) if counts is None else math.fsum(counts)
    middle = _total(means, counts) / size
    return math.sqrt(_total([(mean - middle) ** 2 for mean in means], counts) / size)


_OF_NONE = frozenset({"count", "sum"})
"""Functions that have a value where there is no sample."""
_PLAIN: dict[str, Callable[[Sequence[float]], float]] = {
    "count": lambda means: float(len(means)),
    "sum": math.fsum,
    "avg": lambda means: math.fsum(means) / len(means),
    "min": min,
    "max": max,
}
"""What samples come to that were not merged."""
_SPREADS: dict[str, Callable[[Sequence[float], Sequence[float] | None], float | None]] = {
    "p95": _p95,
    "stddev": _stddev,
}
