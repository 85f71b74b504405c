"""A second, plain way to say when triggers fire: the whole history is kept, and all is worked out anew.

Slow and without any structure of the engine's, so that the two can be compared. One device, one node.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

STALE_S = 60.0
MISSED_S = 1.0
FIELDS = ("a", "b", "m")
Truth = bool | None


@dataclass(frozen=True)
class Step:
    """One thing that happens: a message, a look at the clock, or a restart.

    Attributes:
        now: Time at which it happens.
        kind: `message`, `tick` or `restart`; a restart begins at `said_at` and ends at `now`.
        said_at: Time that the message bears.
        fields: What the message says.
    """

    now: float
    kind: str
    said_at: float
    fields: dict[str, Any] = field(default_factory=dict)


class Moment:
    """All that is known at one moment, from the history alone."""

    def __init__(
        self, history: list[tuple[float, float, dict[str, Any]]], now: float, said: dict[str, Any]
    ) -> None:
        # Of each message: the time it bears, the time it counts for, and its fields.
        self._history = history
        self._said = said
        self.now = now

    def value(self, name: str, *, looked_at: float) -> Any:
        if self._said.get(name) is not None:
            return self._said[name]
        told = [(at, fields[name]) for at, _, fields in self._history if name in fields]
        if not told or told[-1][1] is None or abs(looked_at - told[-1][0]) > STALE_S:
            return None
        return told[-1][1]

    def window(self, function: str, name: str, seconds: float, *, tumbling: bool = False) -> float | None:
        samples = [
            (at, float(fields[name]))
            for _, at, fields in self._history
            if isinstance(fields.get(name), int | float) and not isinstance(fields[name], bool)
        ]
        return self.over(samples, function, seconds, tumbling=tumbling)

    def over(
        self, samples: list[tuple[float, float]], function: str, seconds: float, *, tumbling: bool = False
    ) -> float | None:
        if not samples or self.now - samples[-1][0] > STALE_S:
            return None
        begun = samples[-1][0]
        for at, _ in reversed(samples):
            if begun - at > STALE_S:
                break
            begun = at
        end = math.floor(self.now / seconds) * seconds if tumbling else self.now
        if begun > end - seconds:
            return None
        if tumbling:
            inside = [(at, value) for at, value in samples if end - seconds <= at < end]
        else:
            inside = [(at, value) for at, value in samples if end - seconds < at <= end]
        try:
            value = aggregate(function, inside)
        except OverflowError:
            return None
        return value if value is not None and math.isfinite(value) else None

    def changed(self, name: str) -> Truth:
        if self._said.get(name) is None:
            return False
        told = [fields[name] for _, _, fields in self._history if fields.get(name) is not None]
        if len(told) < 2:
            return None
        return told[-1] != told[-2] or type(told[-1]) is not type(told[-2])


def aggregate(function: str, inside: list[tuple[float, float]]) -> float | None:
    values = [value for _, value in inside]
    if function in {"count", "sum"}:
        return float(len(values)) if function == "count" else math.fsum(values)
    if not values:
        return None
    if function == "rate":
        (first, start), (last, stop) = inside[0], inside[-1]
        return None if len(inside) < 2 or first == last else (stop - start) / (last - first)
    if function == "stddev":
        mean = math.fsum(values) / len(values)
        return (
            math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)) if len(values) > 1 else None
        )
    ranked = sorted(values)
    if function == "avg":
        return math.fsum(values) / len(values)
    places = {"min": 0, "max": -1, "p95": math.ceil(len(ranked) * 0.95) - 1}
    return ranked[places[function]]


def above(value: Any, limit: float) -> Truth:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value > limit


def both(one: Truth, other: Truth) -> Truth:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def negated(truth: Truth) -> Truth:
    return None if truth is None else not truth


@dataclass(frozen=True)
class Rule:
    """A trigger twice: as the node file has it, and as plain functions of a moment."""

    spec: dict[str, Any]
    reads: tuple[str, ...] = ()
    when: Callable[[Any], Truth] = lambda _: None
    until: Callable[[Any], Truth] | None = None
    sample: Callable[[Any], float | None] | None = None


def _window(function: str, name: str, seconds: int, limit: float, **more: Any) -> Rule:
    written = f"{function}({name}, {seconds}s{', tumbling' if more else ''}) > {limit}"
    return Rule(
        {"when": written}, (name,), lambda known: above(known.window(function, name, seconds, **more), limit)
    )


def _over(
    written: str, reads: str, sample: Callable[[Any], float | None], function: str, seconds: int, limit: float
) -> Rule:
    """Return a rule over samples that are made of each message that tells one of `reads`."""
    return Rule(
        {"when": f"{written} > {limit}"},
        tuple(reads),
        lambda known: above(known.over(function, seconds), limit),
        sample=sample,
    )


def _hot(known: Any) -> float | None:
    hot = above(known["a"], 5)
    return None if hot is None else float(hot)


def _manual_or_hot(known: Any) -> float | None:
    mode, hot = known["m"], above(known["b"], 6)
    if mode == "manual" or hot:
        return 1.0
    return None if mode is None or hot is None else 0.0


def _difference(known: Any) -> float | None:
    one, other = known["a"], known["b"]
    if above(one, 0) is None or above(other, 0) is None or not math.isfinite(one - other):
        return None
    return float(one - other)


def _switched(known: Any) -> float | None:
    changed = known.changed("m")
    return None if changed is None else float(changed)


def _ratio(known: Any) -> Truth:
    one, other = known["a"], known["b"]
    if above(one, 0) is None or above(other, 0) is None or other == 0:
        return None
    return bool(one / other > 2)


def _low(known: Any) -> Truth:
    value = known["a"]
    return None if above(value, 0) is None else value < 3


def _mean_above_four(known: Any) -> Truth:
    return above(known.window("avg", "a", 10), 4)


def _both_high(known: Any) -> Truth:
    return both(above(known["a"], 7), above(known["b"], 7))


RULES: dict[str, Rule] = {
    "high": Rule({"when": "a > 7", "until": "a < 3"}, ("a",), lambda k: above(k["a"], 7), _low),
    "long": Rule({"when": "a > 7", "for": "20s"}, ("a",), lambda k: above(k["a"], 7)),
    "mean": _window("avg", "a", 10, 6),
    "steady_mean": Rule({"when": "avg(a, '10s') > 4", "for": "15s"}, ("a",), _mean_above_four),
    "most": _window("max", "b", 30, 7, tumbling=True),
    "least": _window("min", "a", 20, 2),
    "often": _window("count", "a", 20, 2),
    "total": _window("sum", "b", 40, 12, tumbling=True),
    "steep": _window("rate", "a", 30, 0.2),
    "spread": _window("stddev", "b", 20, 2),
    "nearly_most": _window("p95", "a", 60, 7),
    "hot_often": _over("count(a > 5, 30s)", "a", _hot, "sum", 30, 2),
    "hot_mostly": _over("share(a > 5, 40s)", "a", _hot, "avg", 40, 0.5),
    "either_often": _over("count(m == 'manual' || b > 6, 60s)", "mb", _manual_or_hot, "sum", 60, 2),
    "apart": _over("max(a - b, 30s)", "ab", _difference, "max", 30, 4),
    "flapping": _over("count(changed(m), 60s)", "m", _switched, "sum", 60, 1),
    "mode": Rule({"when": "changed(m)"}, ("m",), lambda k: k.changed("m")),
    "joined": Rule({"when": "a > 7 && b > 7", "for": "10s", "cooldown": "1m"}, ("a", "b"), _both_high),
    "bounce": Rule({"when": "b > 5", "debounce": "10s"}, ("b",), lambda k: above(k["b"], 5)),
    "ratio": Rule({"when": "a / b > 2", "cooldown": "30s"}, ("a", "b"), _ratio),
    "silent": Rule({"absent": "40s"}),
    "together": Rule({"all": ["high", "long"]}),
    "close": Rule({"all": ["high", "joined", "mode"], "within": "30s"}),
    "either": Rule({"any": ["high", "mean"], "cooldown": "20s"}),
}  # fmt: skip


@dataclass
class State:
    """Where one trigger stands."""

    open: bool = False
    since: float | None = None
    last_seen: float = -math.inf
    fired_at: float = -math.inf
    heard_at: float | None = None
    fired: dict[str, float] = field(default_factory=dict)


class Known:
    """What a rule asks of a moment."""

    def __init__(
        self, moment: Moment, looked_at: float, samples: list[tuple[float, float]] | None = None
    ) -> None:
        self._moment = moment
        self._samples = samples or []
        self._looked_at = looked_at
        self.window = moment.window
        self.changed = moment.changed

    def __getitem__(self, name: str) -> Any:
        return self._moment.value(name, looked_at=self._looked_at)

    def over(self, function: str, seconds: float) -> float | None:
        return self._moment.over(self._samples, function, seconds)


class Reference:
    """Triggers, told plainly."""

    def __init__(self, rules: dict[str, Rule]) -> None:
        self._rules = rules
        self._states = {name: State() for name in rules}
        self._history: list[tuple[float, float, dict[str, Any]]] = []
        self._at = -math.inf
        self._known: set[str] = set()
        self._samples: dict[str, list[tuple[float, float]]] = {name: [] for name in rules}

    def step(self, step: Step) -> list[str]:
        if step.kind == "restart":
            self._restart(step)
            return []
        if step.kind == "tick":
            return self._tick(step.now)
        return self._message(step)

    def _message(self, step: Step) -> list[str]:
        self._at = max(self._at, min(step.said_at, step.now))
        self._history.append((step.said_at, self._at, step.fields))
        moment = Moment(self._history, self._at, step.fields)
        known = Known(moment, step.now)
        present = {name for name in FIELDS if known[name] is not None}
        told = {name for name in step.fields if step.fields[name] is not None} | (self._known - present)
        self._known = present
        fired = []
        for name, rule in self._rules.items():
            state = self._states[name]
            if "absent" in rule.spec:
                heard_at = self._at if state.heard_at is None else max(self._at, state.heard_at)
                state.open, state.heard_at = False, heard_at
                continue
            spoken = {field for field in rule.reads if step.fields.get(field) is not None}
            sample = rule.sample(known) if rule.sample and spoken else None
            if sample is not None:
                self._samples[name].append((self._at, sample))
            if set(rule.reads) & told and self._see(rule, state, self._asking(name, moment, step.now)):
                fired.append(name)
        return fired + self._joints(fired, self._at)

    def _asking(self, name: str, moment: Moment, looked_at: float) -> Known:
        return Known(moment, looked_at, self._samples[name])

    def _see(self, rule: Rule, state: State, known: Known) -> bool:
        if not self._asked(rule, state, known):
            state.since = None
            return False
        if state.since is None or self._at - state.last_seen > STALE_S:
            state.since = self._at
        state.last_seen = self._at
        return self._passes(rule, state, self._at)

    def _tick(self, now: float) -> list[str]:
        fired: list[str] = []
        moment = Moment(self._history, now, {})
        for name, rule in self._rules.items():
            state = self._states[name]
            if "absent" in rule.spec:
                if state.heard_at is not None and now - state.heard_at >= _seconds(rule, "absent"):
                    state.open, state.heard_at = True, None
                    fired.append(name)
            elif state.since is not None and now >= self._deadline(rule, state):
                if not self._asked(rule, state, self._asking(name, moment, now)):
                    state.since = None
                elif self._passes(rule, state, now):
                    fired.append(name)
        return fired + self._joints(fired, now)

    def _restart(self, step: Step) -> None:
        for name, rule in self._rules.items():
            state = self._states[name]
            if "absent" in rule.spec:
                if state.heard_at is not None and step.now - step.said_at > MISSED_S:
                    state.heard_at = step.now
            elif state.since is not None:
                # What was observed reaches to the stop, or as far as the last value could be trusted.
                until = min(max(step.said_at, state.last_seen), state.last_seen + STALE_S)
                state.since += step.now - until
                state.last_seen += step.now - until

    def _asked(self, rule: Rule, state: State, known: Known) -> Truth:
        if not state.open:
            return rule.when(known)
        return rule.until(known) if rule.until else negated(rule.when(known))

    def _deadline(self, rule: Rule, state: State) -> float:
        since = state.since if state.since is not None else math.inf
        if state.open:
            return since + _seconds(rule, "debounce")
        held = _seconds(rule, "for") or _seconds(rule, "debounce")
        return max(since + held, state.fired_at + _seconds(rule, "cooldown"))

    def _passes(self, rule: Rule, state: State, at: float) -> bool:
        if at < self._deadline(rule, state):
            return False
        state.since = None
        if state.open:
            state.open = False
            return False
        state.open = not rule.spec["when"].startswith("changed")
        state.fired_at = at
        return True

    def _joints(self, fired: list[str], at: float) -> list[str]:
        joined = []
        for name, rule in self._rules.items():
            names = set(rule.spec.get("all", rule.spec.get("any", ())))
            if not names:
                continue
            state = self._states[name]
            there = {other for other in names if other in fired or self._states[other].open}
            cooled = at >= state.fired_at + _seconds(rule, "cooldown")
            if "within" in rule.spec:
                state.fired |= {other: at for other in fired if other in names}
                longest = _seconds(rule, "within")
                state.fired = {other: time for other, time in state.fired.items() if at - time <= longest}
                holds, was_open = set(state.fired) == names, False
            else:
                holds, was_open = there == names if "all" in rule.spec else bool(there), state.open
                state.open = holds and (was_open or cooled)
            if holds and cooled and not was_open:
                state.fired, state.fired_at = {}, at
                joined.append(name)
        return joined


def _seconds(rule: Rule, key: str) -> float:
    written = rule.spec.get(key, "0s")
    return float(written[:-1]) * {"s": 1, "m": 60}[written[-1]]


def sequence(seed: int, *, downtime: bool) -> list[Step]:
    """Return random messages, looks at the clock and restarts of one device."""
    chance = random.Random(seed)  # noqa: S311 - the same sequence again
    now, steps = 1_000_000.0, []
    for _ in range(chance.randint(5, 60)):
        before = now
        now += chance.choice((0, 1, 1, 2, 2, 5, 5, 9, 10, 11, 20, 31, 59, 61, 90))
        kind = chance.choices(("message", "tick", "restart"), (8, 3, 1))[0]
        if kind == "message":
            late = chance.choices((0, chance.choice((1, 5, 30)), -500), (20, 2, 1))[0]
            steps.append(Step(now, "message", now - late, _fields(chance)))
        elif kind == "tick":
            steps.append(Step(now, "tick", now))
        else:
            # Looked at once more before it stops, and at once when it is back, as the service does.
            steps.append(Step(before, "tick", before))
            now = now if downtime else before
            steps += [Step(now, "restart", before), Step(now, "tick", now)]
    return steps


def _fields(chance: random.Random) -> dict[str, Any]:
    number = (0, 1, 2, 4, 5, 6, 7, 8, 8, 9, 9, 9.5, 12)
    odd = ("hot", None, True, 1e308)
    fields: dict[str, Any] = {}
    for name in ("a", "b"):
        if chance.random() < 0.7:
            fields[name] = chance.choice(odd) if chance.random() < 0.08 else chance.choice(number)
    if chance.random() < 0.4:
        fields["m"] = chance.choice(("auto", "manual", "off"))
    return fields
