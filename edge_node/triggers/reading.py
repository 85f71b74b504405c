"""What the triggers of one node read, so that a message reaches those that it concerns.

Knows triggers, their conditions and windows; knows no device and nothing of what was seen.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from edge_node.conditions.windows import AGGREGATES, CHANGED, OF_MOMENT, OF_PATTERNS, REPEATS
from edge_node.triggers.series import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_node.conditions import Expression, Told, Window
    from edge_node.triggers.watches import Trigger

SeriesKey = tuple[str, float, bool]
"""Field or expression, length in seconds, and whether windows of it tumble."""
_MESSAGE_KINDS = 1024
NUMBERS = (float, int)
"""Types of numbers; a truth value is an int to Python, and no number here."""


class Asked(NamedTuple):
    """A trigger that is to be asked.

    Attributes:
        place: Its place among those that are asked with it.
        name: Its name.
        trigger: The trigger.
        ask: Asks `when`.
    """

    place: int
    name: str
    trigger: Trigger
    ask: Callable[[Told], bool | None]


class Band(NamedTuple):
    """Triggers none of which holds while a value lies in between.

    Attributes:
        name: Name of the value.
        below: What it lies above.
        above: What it lies below.
        asked: The triggers.
        window: The window that comes to the value; None where a field tells it.
    """

    name: str
    below: float
    above: float
    asked: tuple[Asked, ...]
    window: Window | None = None

    def narrowed(self, below: float, above: float, asked: Asked) -> Band:
        """Return the band with another trigger."""
        return self._replace(
            below=max(below, self.below), above=min(above, self.above), asked=(*self.asked, asked)
        )


class Concerned(NamedTuple):
    """Triggers that are to be asked together.

    Attributes:
        asked: The triggers by their names, in the order of their file.
        names: All names that their conditions want.
        windows: All windows of time that they look through.
        bands: Those that a single value keeps from holding, by that value.
        others: Those of which nothing of the kind is known.
    """

    asked: Mapping[str, Asked]
    names: frozenset[str]
    windows: tuple[Window, ...]
    bands: tuple[Band, ...]
    others: tuple[Asked, ...]

    @classmethod
    def of(cls, triggers: Iterable[Trigger]) -> Concerned:
        """Return triggers with all that they want to know."""
        conditions = [(trigger, trigger.when) for trigger in triggers if trigger.when]
        asked = [
            Asked(place, trigger.name, trigger, when.ask) for place, (trigger, when) in enumerate(conditions)
        ]
        windows = frozenset(window for each in asked for window in each.trigger.windows)
        names = frozenset(name for each in asked for name in each.trigger.names)
        by_name = {window.name: window for window in windows}
        bands: dict[str, Band] = {}
        others: list[Asked] = []
        for each, (_, when) in zip(asked, conditions, strict=True):
            if when.quiet is None:
                others.append(each)
                continue
            name, below, above = when.quiet
            known = bands.get(name) or Band(name, -math.inf, math.inf, (), by_name.get(name))
            if known.window:
                below, above = inside(below, above)
            bands[name] = known.narrowed(below, above, each)
        return cls(
            {each.name: each for each in asked},
            names,
            tuple(sorted(windows, key=lambda window: window.name)),
            tuple(bands.values()),
            tuple(others),
        )


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
        return float(value) if type(value) in NUMBERS and math.isfinite(value) else None


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
