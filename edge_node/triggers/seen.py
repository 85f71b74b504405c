"""What is remembered about one device: when it was heard, what its fields showed lately, its episodes.

Knows what the triggers of its node read, series and episodes; knows no message, no twin and no request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_node.conditions import Told
from edge_node.conditions.windows import NEW_PATTERN, OF_MOMENT, REPEATS
from edge_node.triggers.patterns import Patterns
from edge_node.triggers.reading import NUMBERS
from edge_node.triggers.series import BOUNDED, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, KeysView, Mapping

    from edge_node.conditions import Window
    from edge_node.triggers.reading import Asked, Concerned, Measure, Reading, SeriesKey
    from edge_node.triggers.series import Budget
    from edge_node.triggers.watches import Watch


@dataclass(slots=True, eq=False)
class Seen:
    """One device, as one node sees it.

    Attributes:
        node: The node.
        device: The device.
        stale_s: Age after which a value of this node counts as unknown.
        at: Time of its last message.
        message_id: Its last message.
        known: Names of the fields that were known then.
        series: What its fields showed lately.
        fed: Field to those of the series that its numbers go to, as far as one came.
        last: Field to its last value, for fields whose changes are asked for.
        patterns: Field to the patterns of its lines.
        watches: Trigger to where it stands; triggers for which nothing is on its way have none.
    """

    node: str
    device: str
    stale_s: float
    at: float = -math.inf
    message_id: str = ""
    known: frozenset[str] = frozenset()
    series: dict[SeriesKey, Series] = field(default_factory=dict)
    fed: dict[str, tuple[Series, ...]] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    patterns: dict[str, Patterns] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)

    def hear(self, at: float) -> float:
        """Return the time that a message of `at` counts for; times never go back.

        A message that is a little late counts as now. One that lies further back than a value may be old
        shows that the clock was moved: all that is remembered moves with it, and no time has passed.
        """
        if at < self.at - self.stale_s:
            self.shift(at - self.at)
        self.at = max(self.at, at)
        return self.at

    def shift(self, seconds: float) -> None:
        """Move all times."""
        self.at += seconds
        for series in self.series.values():
            series.shift(seconds)
        for patterns in self.patterns.values():
            patterns.shift(seconds)
        for watch in self.watches.values():
            watch.episode.shift(seconds)

    def news(self, known: KeysView[str], said: Mapping[str, Any]) -> frozenset[str]:
        """Return the fields that a message tells, and those that became unknown since the last one."""
        names = frozenset(said)
        if self.known != known:
            present = frozenset(known)
            names |= self.known - present
            self.known = present
        return names

    def take_up(self, reading: Reading, said: Mapping[str, Any], *, limit: int, budget: Budget) -> None:
        """Take the numbers of a message up into the windows."""
        for name, value in said.items():
            keys = reading.lengths.get(name)
            if keys is None or type(value) not in NUMBERS or not math.isfinite(value):
                continue
            fed = self.fed.get(name)
            if fed is None:
                fed = self.fed[name] = tuple(self._series(key, limit=limit, budget=budget) for key in keys)
            at, number = self.at, float(value)
            for series in fed:
                series.add(at, number)

    def _series(self, key: SeriesKey, *, limit: int, budget: Budget) -> Series:
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series(key[1], key[2], self.stale_s, limit, budget)
        return series

    def stirred(
        self, concerned: Concerned, values: Mapping[str, Any], at: float, *, moments: Mapping[str, bool]
    ) -> list[Asked]:
        """Return the triggers that may hold, and those that stand somewhere, in the order of their file.

        Most values are as they should be, and one look at each tells that of all triggers that read it.
        """
        found = list(concerned.others)
        for name, below, above, asked, window in concerned.bands:
            if window is None:
                value = values.get(name)
            elif window.aggregate in BOUNDED:
                series = self.series.get(window.series)
                if series is None or series.lies_within(below, above):
                    continue
                value = series.value(window.aggregate, at)
            else:
                value = self.values((window,), at, moments=moments).get(name)
            if value is None or (type(value) in NUMBERS and below < value < above):
                continue
            found += asked
        there = {each.name for each in found}
        standing = concerned.asked.keys() & self.watches.keys()
        found += [concerned.asked[name] for name in standing - there]
        found.sort()
        return found

    def measure(
        self,
        measures: Iterable[Measure],
        values: Mapping[str, Any],
        said: Mapping[str, Any],
        *,
        limit: int,
        budget: Budget,
    ) -> None:
        """Take what expressions come to with a message up into the windows over them.

        Args:
            measures: The expressions.
            values: What is known with the message, and what belongs to it alone, by name.
            said: What the message tells.
            limit: Samples that one window may hold.
            budget: What all windows share.
        """
        told: Told | None = None
        for measure in measures:
            if measure.fields.isdisjoint(said):
                continue
            told = told or Told(values)
            sample = measure.sample(told)
            if sample is not None:
                self._add(measure.keys, sample, limit=limit, budget=budget)

    def _add(self, keys: Iterable[SeriesKey], value: float, *, limit: int, budget: Budget) -> None:
        for key in keys:
            self._series(key, limit=limit, budget=budget).add(self.at, value)

    def learn(self, reading: Reading, said: Mapping[str, Any], *, budget: Budget) -> list[str]:
        """Take the lines of a message up into the patterns; return the fields that told one."""
        told = [name for name in reading.patterned if type(said.get(name)) is str]
        for name in told:
            patterns = self.patterns.get(name)
            if patterns is None:
                patterns = self.patterns[name] = Patterns(self.stale_s, budget, reading.patterned[name])
            patterns.see(said[name], self.at)
        return told

    def moments(self, reading: Reading, said: Mapping[str, Any]) -> dict[str, bool]:
        """Return what belongs to a message alone, by the name of its window; the unknown is left out."""
        changed = self.changes(reading.compared, said) if reading.compared else {}
        found: dict[str, bool] = {}
        for window in reading.moments:
            value = changed.get(window.field)
            if window.function == NEW_PATTERN:
                patterns = self.patterns.get(window.field) if type(said.get(window.field)) is str else None
                value = patterns.is_new(learn_s=window.seconds) if patterns else False
            if value is not None:
                found[window.name] = value
        return found

    def values(self, windows: Iterable[Window], at: float, *, moments: Mapping[str, bool]) -> dict[str, Any]:
        """Return what windows come to at `at`, by their names; those that are unknown are left out."""
        values: dict[str, Any] = {}
        for window in windows:
            value: float | bool | None
            if window.function in OF_MOMENT:
                value = moments.get(window.name)
            elif window.function == REPEATS:
                patterns = self.patterns.get(window.field)
                value = patterns.repeats(window.seconds, at) if patterns else None
            else:
                series = self.series.get(window.series)
                value = series.value(window.aggregate, at) if series else None
            if value is not None:
                values[window.name] = value
        return values

    def changes(self, names: frozenset[str], said: Mapping[str, Any]) -> dict[str, bool]:
        """Return field to whether a message changed it; a field that was never known is left out.

        A field that the message does not tell did not change.
        """
        changed: dict[str, bool] = {}
        for name in names:
            if name not in said:
                changed[name] = False
                continue
            value = said[name]
            if name in self.last:
                before = self.last[name]
                changed[name] = before != value or isinstance(before, bool) != isinstance(value, bool)
            self.last[name] = value
        return changed
