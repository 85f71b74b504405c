"""What is remembered about one device: when it was heard, what its fields showed lately, its episodes.

Knows triggers, series and episodes; knows no message, no twin and no request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_node.conditions import Told
from edge_node.conditions.windows import AGGREGATES, CHANGED, NEW_PATTERN, OF_MOMENT, OF_PATTERNS, REPEATS
from edge_node.triggers.patterns import Patterns
from edge_node.triggers.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, KeysView, Mapping, Sequence

    from edge_node.conditions import Expression, Window
    from edge_node.triggers.series import Budget
    from edge_node.triggers.watches import Trigger, Watch

SeriesKey = tuple[str, float, bool]
"""Field or expression, length in seconds, and whether windows of it tumble."""
_MESSAGE_KINDS = 1024
_NUMBERS = (float, int)  # a truth value is an int to Python, and no number here


class Concerned(NamedTuple):
    """Triggers that are to be asked together.

    Attributes:
        asked: The triggers, in the order of their file, each behind its name and before what asks `when`.
        names: All names that their conditions want.
        windows: All windows of time that they look through.
    """

    asked: tuple[tuple[str, Trigger, Callable[[Told], bool | None]], ...]
    names: frozenset[str]
    windows: tuple[Window, ...]

    @classmethod
    def of(cls, triggers: Iterable[Trigger]) -> Concerned:
        """Return triggers with all that they want to know."""
        asked = tuple((trigger.name, trigger, trigger.when.ask) for trigger in triggers if trigger.when)
        windows = frozenset(window for _, trigger, _ in asked for window in trigger.windows)
        names = frozenset(name for _, trigger, _ in asked for name in trigger.names)
        return cls(asked, names, tuple(sorted(windows, key=lambda window: window.name)))


class Measure(NamedTuple):
    """What makes samples of messages.

    Attributes:
        expression: What it comes to.
        fields: The fields it reads; a message that tells one of them makes a sample.
        of_truths: Whether a sample tells whether it holds, 1 or 0; else it is a number.
        keys: The series that the samples go to.
    """

    expression: Expression
    fields: frozenset[str]
    of_truths: bool
    keys: tuple[SeriesKey, ...]

    def sample(self, told: Told) -> float | None:
        """Return the sample that a message makes; None where it is unknown or of another kind."""
        value = self.expression.value(told)
        if self.of_truths:
            return float(value) if isinstance(value, bool) else None
        return float(value) if type(value) in _NUMBERS and math.isfinite(value) else None


class Reading:
    """The triggers of one node by the fields that they read.

    Args:
        triggers: All triggers of the node, in the order of its file.

    Attributes:
        triggers: All of them by name.
        silences: Those that fire by silence.
        joints: Those that fire by other triggers.
        lengths: Field to the series that windows over it need.
        measures: What makes the samples of windows over expressions.
        series: All series that windows need.
        compared: Fields whose changes are asked for.
        moments: What belongs to one message alone, such as whether it changed a field.
        patterned: Fields whose lines make patterns, to the times over which those are counted.
        alone: Name to a trigger with a condition, to be asked without others.
        concerned: Fields that are told, to the triggers that are to be asked then.
    """

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self.triggers = {trigger.name: trigger for trigger in triggers}
        self.silences = tuple(trigger for trigger in triggers if trigger.spec.absent is not None)
        self.joints = tuple(trigger for trigger in triggers if trigger.joint)
        self._asked = tuple(trigger for trigger in triggers if trigger.when and not trigger.scheduled)
        self.lengths = _lengths(triggers)
        self.measures = _measures(triggers)
        self.series = frozenset(
            key
            for keys in (*self.lengths.values(), *(measure.keys for measure in self.measures))
            for key in keys
        )
        windows = sorted(
            {window for trigger in triggers for window in trigger.windows}, key=lambda window: window.name
        )
        self.compared = frozenset(window.field for window in windows if window.function == CHANGED)
        self.moments = tuple(window for window in windows if window.function in OF_MOMENT)
        self.patterned = {
            window.field: tuple(
                each.seconds for each in windows if each.function == REPEATS and each.field == window.field
            )
            for window in windows
            if window.function in OF_PATTERNS
        }
        self.alone = {trigger.name: Concerned.of([trigger]) for trigger in triggers if trigger.when}
        self.concerned = lru_cache(maxsize=_MESSAGE_KINDS)(self._concerned)

    def _concerned(self, names: frozenset[str]) -> Concerned:
        """Return the triggers that read one of some fields; the device itself is told by each message."""
        told = names | {"device"}
        return Concerned.of(trigger for trigger in self._asked if trigger.names & told)


def _lengths(triggers: Sequence[Trigger]) -> dict[str, tuple[SeriesKey, ...]]:
    lengths: dict[str, set[SeriesKey]] = {}
    for window in (window for trigger in triggers for window in trigger.windows):
        if window.function in AGGREGATES and window.measure is None:
            lengths.setdefault(window.field, set()).add(window.series)
    return {name: tuple(sorted(keys)) for name, keys in lengths.items()}


def _measures(triggers: Sequence[Trigger]) -> tuple[Measure, ...]:
    found: dict[str, Measure] = {}
    for window in sorted(
        {window for trigger in triggers for window in trigger.windows}, key=lambda window: window.name
    ):
        if window.measure is None:
            continue
        known = found.get(window.series[0])
        keys = {window.series, *(known.keys if known else ())}
        found[window.series[0]] = Measure(
            window.measure, window.fields, window.of_truths, tuple(sorted(keys))
        )
    return tuple(found.values())


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
            if keys is None or type(value) not in _NUMBERS or not math.isfinite(value):
                continue
            self._add(keys, float(value), limit=limit, budget=budget)

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
            series = self.series.get(key)
            if series is None:
                series = Series(key[1], key[2], self.stale_s, limit, budget)
                self.series[key] = series
            series.add(self.at, value)

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
