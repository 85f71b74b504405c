"""The patterns of the lines of a log: which lines differ in their values only, and which are new.

Pure state over times and texts; knows no message, no device and no clock. Times are seconds since the epoch
and never go back; who feeds it sees to that.

Source: P. He, J. Zhu, Z. Zheng, M. R. Lyu, "Drain: An Online Log Parsing Approach with Fixed Depth Tree",
ICWS 2017, for the steps: as many words, the same beginning, then the greatest share of equal words.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_node.triggers.series import Budget

MAX_WORDS = 64
"""Words of a line that are looked at."""
MAX_PATTERNS = 1000
"""Patterns of one field of one device; beyond them the one that was longest not seen is forgotten."""
_ANY = "*"
_LEAST_ALIKE = 0.7
_STEPS = 60
"""Into how many steps the time is divided over which lines of one pattern are counted."""


@dataclass(slots=True, eq=False)
class Pattern:
    """Lines that differ in their values only.

    Attributes:
        id: Counted up within its field.
        words: The words; `*` stands for one that differs.
        at: When a line of it came last.
        counts: Length of time to when each step of it begins, to the lines that came in that step.
    """

    id: int
    words: tuple[str, ...]
    at: float
    counts: dict[float, dict[float, int]] = field(default_factory=dict)

    def alike(self, words: tuple[str, ...]) -> float:
        """Return the share of words that are those of this pattern, 0 to 1."""
        same = sum(own == word for own, word in zip(self.words, words, strict=True))
        return same / len(words)

    def take_in(self, words: tuple[str, ...]) -> None:
        """Make place for words that differ."""
        if words != self.words:
            pairs = zip(self.words, words, strict=True)
            self.words = tuple(own if own == word else _ANY for own, word in pairs)

    def count(self, at: float, lengths: Iterable[float]) -> None:
        """Take note of a line."""
        self.at = at
        for seconds in lengths:
            steps, step_s = self.counts.setdefault(seconds, {}), seconds / _STEPS
            begins = math.floor(at / step_s) * step_s
            steps[begins] = steps.get(begins, 0) + 1
            for old in [begin for begin in steps if begin + step_s <= at - seconds]:
                del steps[old]

    def repeats(self, seconds: float, at: float) -> int:
        """Return how many lines of it came in the last `seconds`."""
        step_s = seconds / _STEPS
        return sum(
            count for begins, count in self.counts.get(seconds, {}).items() if begins + step_s > at - seconds
        )

    def shift(self, seconds: float) -> None:
        """Move all times, because the clock was moved."""
        self.at += seconds
        self.counts = {
            length: {begins + seconds: count for begins, count in steps.items()}
            for length, steps in self.counts.items()
        }


@dataclass(slots=True)
class Patterns:
    """The patterns of one field of one device.

    Attributes:
        stale_s: Silence after which the time before it does not count as observed.
        budget: The patterns of all fields and devices together.
        lengths: Times over which lines of one pattern are counted.
        started: When the first line came; None where none did.
        since: From when lines came without a gap.
        at: When the last line came.
        known: The patterns by their id, the one that was longest not seen first.
        last: The pattern of the last line; None where there was no room for it.
        fresh: Whether the last line had a pattern that was not seen before.
        touched: Patterns that changed since rows were last taken, those that are gone too.
    """

    stale_s: float
    budget: Budget
    lengths: tuple[float, ...] = ()
    started: float | None = None
    since: float = math.inf
    at: float = -math.inf
    known: dict[int, Pattern] = field(default_factory=dict)
    last: Pattern | None = None
    fresh: bool = False
    touched: dict[int, None] = field(default_factory=dict)
    _alike: defaultdict[tuple[int, str], list[Pattern]] = field(default_factory=lambda: defaultdict(list))
    _next_id: int = 1
    _last_id: int = 0

    def see(self, line: str, at: float) -> None:
        """Take up a line."""
        if self.started is None:
            self.started = at
        if at - self.at > self.stale_s:
            self.since = at
        self.at = at
        words = words_of(line)
        pattern = self._nearest(words)
        self.fresh = pattern is None
        if pattern is None:
            pattern = self._new(words, at)
        else:
            pattern.take_in(words)
            self.known[pattern.id] = self.known.pop(pattern.id)
        self.last = pattern
        if pattern is not None:
            pattern.count(at, self.lengths)
            self.touched[pattern.id] = None

    def is_new(self, *, learn_s: float) -> bool | None:
        """Return whether the last line has a new pattern, False while lines are only learnt from."""
        if self.started is None or self.last is None:
            return None
        return self.fresh and self.at - self.started >= learn_s

    def repeats(self, seconds: float, at: float) -> float | None:
        """Return how many lines of the pattern of the last line came in the last `seconds`; None for unknown.

        It is known once lines were seen for that long without a gap, as in a window of time.
        """
        if self.last is None or self.since > at - seconds or at - self.at > self.stale_s:
            return None
        return float(self.last.repeats(seconds, at))

    def shift(self, seconds: float) -> None:
        """Move all times, because the clock was moved."""
        self.started = None if self.started is None else self.started + seconds
        self.since, self.at = self.since + seconds, self.at + seconds
        for pattern in self.known.values():
            pattern.shift(seconds)

    def as_dict(self) -> dict[str, Any]:
        """Return what is to be remembered of the field, without its patterns, as JSON has it."""
        last = None if self.last is None else self.last.id
        return {
            "started": self.started,
            "since": self.since,
            "at": self.at,
            "last": last,
            "next": self._next_id,
        }

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Take up what `as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        started, since, at = (float(kept[key]) for key in ("started", "since", "at"))
        if not all(map(math.isfinite, (started, since, at))):
            raise ValueError("times that are not finite")
        self.started, self.since, self.at = started, since, at
        self._last_id = int(kept["last"] or 0)
        self._next_id = max(self._next_id, int(kept["next"]))

    def pattern_as_dict(self, number: int) -> dict[str, Any] | None:
        """Return what is to be remembered of one pattern; None where it is gone."""
        pattern = self.known.get(number)
        if pattern is None:
            return None
        counts = [[seconds, list(steps.items())] for seconds, steps in pattern.counts.items()]
        return {"words": pattern.words, "at": pattern.at, "counts": counts}

    def take_up_pattern(self, number: int, kept: Mapping[str, Any]) -> bool:
        """Take up what `pattern_as_dict` gave; return whether there is room.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        words, at = tuple(map(str, kept["words"])), float(kept["at"])
        counts = {
            float(seconds): {float(begins): int(count) for begins, count in steps}
            for seconds, steps in kept["counts"]
            if float(seconds) in self.lengths
        }
        if not words or not math.isfinite(at):
            raise ValueError("a pattern without words or without a time")
        if self.budget.held >= self.budget.limit:
            return False
        self._keep(Pattern(number, words, at, counts))
        return True

    def settle(self, *, observed_again_s: float) -> None:
        """Go on where rows were taken up, `observed_again_s` after the last line could have come."""
        if self.started is not None:
            self.started += observed_again_s
        self.known = dict(sorted(self.known.items(), key=lambda item: (item[1].at, item[0])))
        self.last = self.known.get(self._last_id)

    def _nearest(self, words: tuple[str, ...]) -> Pattern | None:
        best, best_alike = None, 0.0
        for pattern in self._alike[_place(words)]:
            alike = pattern.alike(words)
            if alike > best_alike:
                best, best_alike = pattern, alike
        return best if best_alike >= _LEAST_ALIKE else None

    def _new(self, words: tuple[str, ...], at: float) -> Pattern | None:
        full = self.budget.held >= self.budget.limit
        if self.known and (full or len(self.known) >= MAX_PATTERNS):
            self._forget(next(iter(self.known)))
        elif full:
            self.budget.refused += 1
            return None
        pattern = Pattern(self._next_id, words, at)
        self._keep(pattern)
        return pattern

    def _keep(self, pattern: Pattern) -> None:
        self.known[pattern.id] = pattern
        self._alike[_place(pattern.words)].append(pattern)
        self._next_id = max(self._next_id, pattern.id + 1)
        self.budget.held += 1

    def _forget(self, number: int) -> None:
        pattern = self.known.pop(number)
        place = _place(pattern.words)
        self._alike[place].remove(pattern)
        if not self._alike[place]:
            del self._alike[place]
        self.budget.held -= 1
        self.touched[number] = None


def words_of(line: str) -> tuple[str, ...]:
    """Return the words by which a line is compared; one with a digit in it counts as a value.

    A line of one word stays as it is: it is a code or a state, and the values of those are what differs.
    """
    words = line.split()[:MAX_WORDS] or [""]
    if len(words) == 1:
        return (words[0],)
    return tuple(_ANY if any(sign.isdigit() for sign in word) else word for word in words)


def _place(words: tuple[str, ...]) -> tuple[int, str]:
    """Return among which patterns that of a line is looked for."""
    return len(words), words[0]
