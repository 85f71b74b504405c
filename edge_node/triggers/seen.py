"""What is remembered about one device: when it was heard, what its fields showed lately, its episodes.

Knows triggers, series and episodes; knows no message, no twin and no request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_node.conditions.windows import CHANGED
from edge_node.triggers.series import BOUNDED, Series, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, KeysView, Mapping, Sequence

    from edge_node.conditions import Told, Window
    from edge_node.triggers.series import Budget
    from edge_node.triggers.watches import Trigger, Watch

SeriesKey = tuple[str, float, bool]
"""Field, length in seconds, and whether windows of it tumble."""
_MESSAGE_KINDS = 1024
_NUMBERS = (float, int)  # a truth value is an int to Python, and no number here


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


class Reading:
    """The triggers of one node by the fields that they read.

    Args:
        triggers: All triggers of the node, in the order of its file.

    Attributes:
        triggers: All of them by name.
        silences: Those that fire by silence.
        joints: Those that fire by other triggers.
        lengths: Field to the series that windows over it need.
        compared: Fields whose changes are asked for.
        alone: Name to a trigger with a condition, to be asked without others.
        concerned: Fields that are told, to the triggers that are to be asked then.
    """

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self.triggers = {trigger.name: trigger for trigger in triggers}
        self.silences = tuple(trigger for trigger in triggers if trigger.spec.absent is not None)
        self.joints = tuple(trigger for trigger in triggers if trigger.joint)
        self._asked = tuple(trigger for trigger in triggers if trigger.when and not trigger.scheduled)
        self.lengths = _lengths(triggers)
        self.compared = frozenset(
            window.field for trigger in triggers for window in trigger.windows if window.function == CHANGED
        )
        self.alone = {trigger.name: Concerned.of([trigger]) for trigger in triggers if trigger.when}
        self.concerned = lru_cache(maxsize=_MESSAGE_KINDS)(self._concerned)

    def _concerned(self, names: frozenset[str]) -> Concerned:
        """Return the triggers that read one of some fields; the device itself is told by each message."""
        told = names | {"device"}
        return Concerned.of(trigger for trigger in self._asked if trigger.names & told)


def _lengths(triggers: Sequence[Trigger]) -> dict[str, tuple[SeriesKey, ...]]:
    lengths: dict[str, set[SeriesKey]] = {}
    for window in (window for trigger in triggers for window in trigger.windows):
        if window.function != CHANGED:
            lengths.setdefault(window.field, set()).add(window.series)
    return {name: tuple(sorted(keys)) for name, keys in lengths.items()}


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
        self, concerned: Concerned, values: Mapping[str, Any], at: float, *, changed: Mapping[str, bool]
    ) -> list[Asked]:
        """Return the triggers that may hold, and those that stand somewhere, in the order of their file.

        Most values are as they should be, and one look at each tells that of all triggers that read it.
        """
        found = list(concerned.others)
        for name, below, above, asked, window in concerned.bands:
            if window is None:
                value = values.get(name)
            elif window.function in BOUNDED:
                series = self.series.get(window.series)
                if series is None or series.lies_within(below, above):
                    continue
                value = series.value(window.function, at)
            else:
                value = self.values((window,), at, changed=changed).get(name)
            if value is None or (type(value) in _NUMBERS and below < value < above):
                continue
            found += asked
        there = {each.name for each in found}
        standing = concerned.asked.keys() & self.watches.keys()
        found += [concerned.asked[name] for name in standing - there]
        found.sort()
        return found

    def values(self, windows: Iterable[Window], at: float, *, changed: Mapping[str, bool]) -> dict[str, Any]:
        """Return what windows come to at `at`, by their names; those that are unknown are left out."""
        values: dict[str, Any] = {}
        for window in windows:
            value: float | bool | None
            if window.function == CHANGED:
                value = changed.get(window.field)
            else:
                series = self.series.get(window.series)
                value = series.value(window.function, at) if series else None
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
