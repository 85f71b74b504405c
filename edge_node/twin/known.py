"""What is known of one device: what it reported, what was ordered, and when it spoke.

Knows values and times; knows no topic filter, no lock and no clock.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_node.twin.listening import Source, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_FLOAT32 = 1e-6
"""Relative difference that a device storing a number in single precision may make, with room to spare."""


class Reported(NamedTuple):
    """The last word of a device about one field.

    Attributes:
        value: The value; None where the device no longer tells a usable one.
        at: When it held, seconds since the epoch.
        source: Where it came from.
        told_at: The device's own time, or None where it told none; what came before it does not follow it.
    """

    value: Any
    at: float
    source: Source
    told_at: float | None = None

    def follows(self, known: Reported, *, recalled: bool) -> bool:
        """Return whether this is not older than what is known."""
        if self.told_at is not None and known.told_at is not None:
            return self.told_at >= known.told_at
        # Arrivals follow each other, whatever a clock that was set back says of them.
        return not recalled or self.at >= known.at

    def is_fresh(self, now: float) -> bool:
        """Return whether it can be relied on: it is young enough, by a clock that was not set back."""
        return self.value is not None and abs(now - self.at) <= self.source.stale_s


class Desired(NamedTuple):
    """What a command wants of a field.

    Attributes:
        value: The value.
        at: When the command was given, seconds since the epoch.
        command_id: The command.
    """

    value: Any
    at: float
    command_id: str


@dataclass(slots=True)
class Known:
    """One device.

    Attributes:
        values: Field to the last report.
        desired: Field to what was ordered and not reported since.
        seen_at: Time of the last message, seconds since the epoch.
        spoke_at: Time of the last message that was not retained; minus infinity where there was none.
        spoke_stale_s: How long that counts as a sign of life.
        commanded: Whether a command was ever sent to it.
        plain: Field to value, of those that can be relied on between the times of `holds`.
        holds: From when until when `plain` is so, both excluded.
    """

    values: dict[str, Reported] = field(default_factory=dict)
    desired: dict[str, Desired] = field(default_factory=dict)
    seen_at: float = 0.0
    spoke_at: float = -math.inf
    spoke_stale_s: float = 0.0
    commanded: bool = False
    plain: dict[str, Any] = field(default_factory=dict)
    holds: tuple[float, float] = (math.inf, -math.inf)

    def is_online(self, now: float) -> bool:
        """Return whether it has spoken lately, by a clock that was not set back."""
        return abs(now - self.spoke_at) <= self.spoke_stale_s

    def fresh(self, now: float) -> dict[str, Any]:
        """Return field to value, of those that can be relied on, as `Reported.is_fresh` tells."""
        if not self.holds[0] < now < self.holds[1]:
            self._look_anew(now)
        return self.plain.copy()

    def hear(self, at: float, *, stale_s: float, live: bool) -> None:
        """Take up that it was heard."""
        self.seen_at = at
        if not live:
            return
        set_back = at < self.spoke_at
        if set_back or at + stale_s >= self.spoke_at + self.spoke_stale_s:
            self.spoke_at, self.spoke_stale_s = at, stale_s

    def take_up(
        self, told: dict[str, Reported], *, retained: bool, recalled: bool, timed: bool = True
    ) -> dict[str, Reported]:
        """Return those of the reports that are news, which are kept.

        What a retained message tells is not news where it is known: it does not get younger by that. Without
        a device's own time, reports follow each other as they come.

        Args:
            told: Field to report.
            retained: Whether they come of a retained message.
            recalled: Whether they came before a restart.
            timed: Whether one of them may carry the device's own time.
        """
        is_plain = not (retained or recalled or timed)
        news = told if is_plain else self._news(told, retained=retained, recalled=recalled)
        self.values.update(news)
        plain, (first, last) = self.plain, self.holds
        for name, (value, at, source, _) in news.items():
            if value is None:
                plain.pop(name, None)
                continue
            plain[name] = value
            # `max` and `min` would take five times as long, for each value of each message.
            first = first if first >= at - source.stale_s else at - source.stale_s  # noqa: FURB136 - see above
            last = last if last <= at + source.stale_s else at + source.stale_s  # noqa: FURB136 - see above
        self.holds = first, last
        return news

    def _news(self, told: dict[str, Reported], *, retained: bool, recalled: bool) -> dict[str, Reported]:
        news = {}
        for name, report in told.items():
            known = self.values.get(name)
            timed = recalled or report.told_at is not None
            if known is not None and (
                (timed and not report.follows(known, recalled=recalled))
                or (retained and is_same(known.value, report.value))
            ):
                continue
            news[name] = report
        return news

    def confirm(self, news: Mapping[str, Reported]) -> bool:
        """Return whether something that was ordered is reported now; it is desired no more."""
        shown = [
            name
            for name, wanted in self.desired.items()
            if name in news and news[name].at >= wanted.at and is_same(wanted.value, news[name].value)
        ]
        for name in shown:
            del self.desired[name]
        return bool(shown)

    def _look_anew(self, now: float) -> None:
        """Find the values that can be relied on, and how long that stays so if nothing comes."""
        first, last = -math.inf, math.inf
        self.plain.clear()
        for name, report in self.values.items():
            if report.value is None:
                continue
            if report.is_fresh(now):
                self.plain[name] = report.value
            for turn in (report.at - report.source.stale_s, report.at + report.source.stale_s):
                # At the very turn a value may count that counts neither before nor after.
                first = max(first, turn) if turn <= now else first
                last = min(last, turn) if turn >= now else last
        self.holds = first, last


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are one, but for the rounding of numbers."""
    kind = kind_of(one)
    if kind != kind_of(other):
        return False
    if kind == "a number":
        return math.isclose(one, other, rel_tol=_FLOAT32, abs_tol=_FLOAT32 * 1e-3)
    return bool(one == other)


def written(known: Known) -> str:
    """Return what is known of a device as JSON."""
    body = {
        "values": {
            name: [each.value, each.at, each.source.topic, each.source.entry, each.told_at]
            for name, each in known.values.items()
        },
        "desired": {name: list(each) for name, each in known.desired.items()},
        "seen_at": known.seen_at,
        "spoke": [known.spoke_at, known.spoke_stale_s] if math.isfinite(known.spoke_at) else None,
        "commanded": known.commanded,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def read(body: str, *, entries: Mapping[str, Mapping[int, float]]) -> Known:
    """Return what was known of a device, as far as its node still listens to it.

    Args:
        body: What `written` gave.
        entries: Field to the places of the `listen` entries that read it, each with its `stale`.

    Raises:
        ValueError: It is not what `written` gives; also KeyError and TypeError.
    """
    kept = json.loads(body)
    known = Known(seen_at=float(kept["seen_at"]), commanded=bool(kept["commanded"]))
    for name, (value, at, topic, entry, told_at) in kept["values"].items():
        if name in entries:
            place = entry if entry in entries[name] else next(iter(entries[name]))
            source = Source(str(topic), place, entries[name][place])
            known.values[name] = Reported(value, float(at), source, told_at)
    for name, (value, at, command_id) in kept["desired"].items():
        if name in entries:
            known.desired[name] = Desired(value, float(at), str(command_id))
    if kept["spoke"] is not None:
        known.spoke_at, known.spoke_stale_s = (float(part) for part in kept["spoke"])
    return known
