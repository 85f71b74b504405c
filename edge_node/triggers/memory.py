"""What of the triggers outlives the process, as rows.

Knows what is remembered of each device and how it reads; knows no file and no message. A row is about one
trigger and device, one device, one schedule, or the time at which all of it was taken.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from edge_node.messages import StateRow
from edge_node.triggers.episodes import Holding, Joint, Silence
from edge_node.triggers.patterns import Patterns
from edge_node.triggers.seen import Seen
from edge_node.triggers.series import Series
from edge_node.triggers.watches import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_node.triggers.reading import Reading
    from edge_node.triggers.schedule import Schedule
    from edge_node.triggers.series import Budget
    from edge_node.triggers.watches import Trigger

log = structlog.get_logger(__name__)

OWNER = "triggers"
Key = tuple[str | float | bool, ...]
_CLOCK: Key = ("clock",)
_CLOCK_S = 1.0
"""How old the time at which all was taken may get while nothing else changes."""
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


class Left(NamedTuple):
    """An alert whose trigger is gone.

    Attributes:
        node: The node.
        trigger: The name that its trigger had.
        device: The device.
        since: When its episode began, seconds since the epoch.
    """

    node: str
    trigger: str
    device: str
    since: float


class Memory:
    """All that is remembered, and which of it changed since it was last taken.

    Args:
        readings: Node to its triggers by the fields they read.
        stale_s: Node to the age after which its values count as unknown.
        window_samples: Samples that one window may hold.
        budget: What all windows share.
        patterns: What the patterns of all lines share.
        schedules: Node and name of each trigger that times of the clock fire, to it and its times.

    Attributes:
        seen: Node and device to what is remembered of it.
        left: Alerts that nothing can end any more, to be told as over.
    """

    def __init__(
        self,
        readings: Mapping[str, Reading],
        *,
        stale_s: Mapping[str, float],
        window_samples: int,
        budget: Budget,
        patterns: Budget,
        schedules: Mapping[tuple[str, str], tuple[Trigger, Schedule]],
    ) -> None:
        self._readings = readings
        self._stale_s = stale_s
        self._window_samples = window_samples
        self._budget = budget
        self._patterns = patterns
        self._schedules = schedules
        self.seen: dict[tuple[str, str], Seen] = {}
        self._urgent: dict[Key, None] = {}
        self._later: dict[Key, None] = {}
        self._told_at = -math.inf
        self.left: list[Left] = []

    def device(self, node: str, device: str) -> Seen:
        """Return what is remembered of a device; of a new one, nothing."""
        seen = self.seen.get((node, device))
        if seen is None:
            seen = self.seen[node, device] = Seen(node, device, self._stale_s[node])
        return seen

    def note_watch(self, seen: Seen, name: str, *, urgent: bool) -> None:
        """Take note that the episode of a trigger changed."""
        (self._urgent if urgent else self._later)["watch", seen.node, name, seen.device] = None

    def note_device(self, seen: Seen) -> None:
        """Take note that what is known of a device changed."""
        self._later["device", seen.node, seen.device] = None

    def note_patterns(self, seen: Seen, name: str) -> None:
        """Take note that a line was taken up; a new pattern is urgent, for it is told only once."""
        patterns = seen.patterns[name]
        begins = patterns.started == patterns.at
        changed = self._urgent if patterns.fresh or begins else self._later
        for number in patterns.touched:
            changed["pattern", seen.node, seen.device, name, number] = None
        patterns.touched.clear()
        (self._urgent if begins else self._later)["patterns", seen.node, seen.device, name] = None

    def note_schedule(self, trigger: Trigger) -> None:
        """Take note that a time of a schedule was kept."""
        self._urgent["schedule", trigger.node, trigger.name] = None

    @property
    def is_urgent(self) -> bool:
        """Whether something of what changed must not wait."""
        return bool(self._urgent)

    def take(self, *, urgent: bool, now: float) -> list[StateRow]:
        """Return what changed since it was last taken; the urgent part of it, or all."""
        keys = [*self._urgent]
        self._urgent.clear()
        if not urgent:
            keys += [key for key in self._later if key not in set(keys)] if keys else [*self._later]
            self._later.clear()
        rows = [_row(key, self._body(key)) for key in keys]
        if urgent or (not rows and abs(now - self._told_at) < _CLOCK_S):
            return rows
        self._told_at = now
        return [*rows, _row(_CLOCK, {"at": now})]

    def restore(self, rows: Iterable[StateRow], *, now: float) -> None:
        """Take up rows; one that cannot be read, or that is about what is no more, is left out."""
        taken_at = -math.inf
        for row in rows:
            try:
                key, body = tuple(json.loads(row.key)), json.loads(row.body or "null")
                if key == _CLOCK:
                    taken_at = float(body["at"])
                elif not self._take_up(key, body):
                    self._urgent[key] = None  # forgotten on the disk too, since it is no more
                    self._leave(key, body)
            except _UNREADABLE as error:
                log.warning("trigger_state_left_out", key=row.key[:200], reason=type(error).__name__)
        for seen in self.seen.values():
            stood = {name: watch.episode.stands for name, watch in seen.watches.items()}
            _resume(seen, taken_at=taken_at, now=now)
            for name, watch in seen.watches.items():
                # What was moved must not be moved by the same time again after the next restart.
                if watch.episode.stands != stood[name] or isinstance(watch.episode, Silence):
                    self.note_watch(seen, name, urgent=True)

    def _leave(self, key: Key, body: Mapping[str, Any] | None) -> None:
        """Take note of an alert that goes on and whose trigger is no more, or fires otherwise now."""
        match key:
            case ("watch", str(node), str(name), str(device)) if body and body.get("alert") is not None:
                self.left.append(Left(node, name, device, float(body["alert"])))

    def _body(self, key: Key) -> Mapping[str, Any] | None:
        match key:
            case ("watch", str(node), str(name), str(device)):
                seen = self.seen.get((node, device))
                watch = seen.watches.get(name) if seen else None
                if watch is None:
                    return None
                return {
                    "of": watch.trigger.digest,
                    "message": watch.message_id,
                    "alert": watch.alert_since,
                    **watch.episode.as_dict(),
                }
            case ("device", str(node), str(device)):
                seen = self.seen.get((node, device))
                return _device(seen) if seen else None
            case ("pattern" | "patterns", str(node), str(device), str(name), *number):
                return self._patterns_body(node, device, name, number)
            case ("schedule", str(node), str(name)) if (node, name) in self._schedules:
                trigger, schedule = self._schedules[node, name]
                return {"of": trigger.digest, "last": schedule.last}
        return None

    def _patterns_body(
        self, node: str, device: str, name: str, number: Sequence[str | float]
    ) -> Mapping[str, Any] | None:
        seen = self.seen.get((node, device))
        patterns = seen.patterns.get(name) if seen else None
        if patterns is None:
            return None
        return patterns.pattern_as_dict(int(number[0])) if number else patterns.as_dict()

    def _take_up(self, key: Key, body: Mapping[str, Any]) -> bool:
        """Return whether a row is about something that still is."""
        match key:
            case ("watch", str(node), str(name), str(device)):
                return self._take_up_watch(node, name, device, body)
            case ("device", str(node), str(device)) if node in self._readings:
                self._take_up_device(self.device(node, device), body)
            case ("pattern" | "patterns", str(node), str(device), str(name), *number):
                return self._take_up_patterns(node, device, name, number, body)
            case ("schedule", str(node), str(name)):
                trigger, schedule = self._schedules.get((node, name), (None, None))
                if trigger is None or schedule is None or body["of"] != trigger.digest:
                    return False
                schedule.last = float(body["last"])
            case _:
                return False
        return True

    def _take_up_device(self, seen: Seen, body: Mapping[str, Any]) -> None:
        wanted = self._readings[seen.node].series
        seen.known, seen.last = frozenset(map(str, body["known"])), dict(body["last"])
        seen.at = -math.inf if body["at"] is None else float(body["at"])
        for name, seconds, tumbling, samples in body["series"]:
            key = (str(name), float(seconds), tumbling is True)
            if key in wanted:
                series = Series(key[1], key[2], seen.stale_s, self._window_samples, self._budget)
                series.take_up(samples)
                seen.series[key] = series

    def _take_up_patterns(
        self, node: str, device: str, name: str, number: Sequence[str | float], body: Mapping[str, Any]
    ) -> bool:
        reading = self._readings.get(node)
        if reading is None or name not in reading.patterned:
            return False
        seen = self.device(node, device)
        patterns = seen.patterns.get(name)
        if patterns is None:
            patterns = Patterns(seen.stale_s, self._patterns, reading.patterned[name])
            seen.patterns[name] = patterns
        if number:
            return patterns.take_up_pattern(int(number[0]), body)
        patterns.take_up(body)
        return True

    def _take_up_watch(self, node: str, name: str, device: str, body: Mapping[str, Any]) -> bool:
        reading = self._readings.get(node)
        trigger = reading.triggers.get(name) if reading else None
        if trigger is None or trigger.scheduled or body["of"] != trigger.digest:
            return False
        watch = Watch(trigger, device, trigger.episode(), str(body["message"]))
        watch.alert_since = None if body.get("alert") is None else float(body["alert"])
        if isinstance(watch.episode, Silence):
            watch.episode.heard_at = None if body["open"] is True else float(body.get("heard_at") or 0.0)
        else:
            watch.episode.take_up(body)
        self.device(node, device).watches[name] = watch
        return True


def _device(seen: Seen) -> dict[str, Any]:
    series = [[*key, series.as_dict()] for key, series in seen.series.items()]
    at = seen.at if math.isfinite(seen.at) else None
    return {"at": at, "known": sorted(seen.known), "last": seen.last, "series": series}


def _row(key: Key, body: Mapping[str, Any] | None) -> StateRow:
    return StateRow(OWNER, json.dumps(key), None if body is None else json.dumps(body))


def _resume(seen: Seen, *, taken_at: float, now: float) -> None:
    """Go on with a device as if no time had passed for what must be observed to count.

    How long a condition was seen to hold, and how long lines were learnt from, goes on from there. Silence
    starts anew, unless the pause was too short for a word to be missed, as when a configuration is
    exchanged. The samples of windows keep their times, so that a pause longer than `stale` is a gap in them.
    Where the clock reads less than before, everything moves back with it.
    """
    back_s = min(0.0, now - taken_at) if taken_at > -math.inf else 0.0
    missed_nothing = 0.0 <= now - taken_at <= _CLOCK_S
    seen.at += back_s
    for series in seen.series.values():
        series.shift(back_s)
    for patterns in seen.patterns.values():
        patterns.shift(back_s)
        unseen_s = max(0.0, now - taken_at) if taken_at > -math.inf and not missed_nothing else 0.0
        patterns.settle(observed_again_s=unseen_s)
    for watch in seen.watches.values():
        match watch.episode:
            case Silence() as silence:
                if silence.heard_at is not None:
                    silence.heard_at = max(silence.heard_at, seen.at) if missed_nothing else now
            case Joint() as joint:
                joint.shift(back_s)
                joint.fired_at = None if joint.fired_at is None else min(joint.fired_at, now)
            case Holding() as holding:
                if holding.since is not None:
                    trusted = holding.last_seen + holding.terms.stale_s
                    holding.shift(now - min(max(taken_at, holding.last_seen), trusted))
                holding.fired_at = None if holding.fired_at is None else min(holding.fired_at, now)
