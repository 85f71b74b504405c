"""The windows of time that an expression looks through, such as `avg(vibration, 10s)`.

Knows how a window is written and by what name the rest of the expression knows its value; knows nothing of
samples. Pure functions over the tree of an expression.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from typing import TYPE_CHECKING

from edge_node.conditions.expression import Expression
from edge_node.conditions.syntax import Kind, Part
from edge_node.errors import ConditionInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

AGGREGATES = frozenset({"avg", "min", "max", "sum", "count", "p95", "stddev", "rate"})
COUNT, SHARE = "count", "share"
CHANGED, NEW_PATTERN, REPEATS = "changed", "new_pattern", "repeats"
OF_MOMENT = frozenset({CHANGED, NEW_PATTERN})
"""Those whose value belongs to one message, so that windows may look at them."""
OF_TRUTHS = frozenset({COUNT, SHARE})
"""Those that look at whether an expression holds."""
OF_PATTERNS = frozenset({NEW_PATTERN, REPEATS})
ALL_FUNCTIONS = AGGREGATES | {SHARE, CHANGED, NEW_PATTERN, REPEATS}
MAX_SECONDS = 7 * 86_400.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|m|h|d)")
_FORM = "{name}(field, 10s), or {name}(field, 10s, tumbling); an expression may stand for the field"
_OF_TRUTHS_COME_TO = {COUNT: "sum", SHARE: "avg"}


@dataclass(frozen=True, slots=True)
class Window:
    """One aggregate of one field, or of an expression.

    Attributes:
        function: One of `ALL_FUNCTIONS`.
        field: The field it looks at, or the expression as it is written.
        seconds: How long the window is; 0 for `changed`, and how long `new_pattern` only learns.
        tumbling: Whether windows follow one another without overlap; else each ends at the last message.
        name: The name under which an expression finds its value.
        series: What tells the samples, length and whether it tumbles: windows alike in these look at the
            same samples.
        fields: The fields it reads.
        measure: What makes a sample of a message; None where the field's own value is one.
        moments: What `measure` looks at that belongs to one message, such as `changed(mode)`.
        written: How the expression writes it, for people; the same window may be written in several ways.
    """

    function: str
    field: str
    seconds: float
    tumbling: bool
    name: str
    series: tuple[str, float, bool]
    fields: frozenset[str]
    measure: Expression | None = None
    moments: tuple[Window, ...] = ()
    written: str = attribute(default="", compare=False)

    @classmethod
    def of(cls, function: str, field: str, *, seconds: float = 0.0, tumbling: bool = False) -> Window:
        """Return a window over a field; the same one always has the same name, which no field can have."""
        name = _name(function, field, seconds=seconds, tumbling=tumbling)
        series = (field, seconds, tumbling)
        return cls(function, field, seconds, tumbling, name, series, frozenset({field}))

    @property
    def aggregate(self) -> str:
        """What its samples come to; a truth is a sample of 1 or 0."""
        return self.function if self.measure is None else _OF_TRUTHS_COME_TO.get(self.function, self.function)

    @property
    def of_truths(self) -> bool:
        """Whether its samples tell whether something held."""
        return self.measure is not None and self.function in OF_TRUTHS


def is_window(part: Part) -> bool:
    """Return whether a part of an expression is written as a window."""
    return part.kind is Kind.CALL and not part.method and part.text in ALL_FUNCTIONS


def windows_of(source: str, tree: Part) -> tuple[tuple[Window, Part], ...]:
    """Return the windows of an expression in the order of the text, each with its place.

    Raises:
        ConditionInvalid: A window is written otherwise than it can be read.
    """
    found = sorted(_outermost(tree), key=lambda part: part.start)
    return tuple((_written(source, part), part) for part in found)


def without_windows(source: str, found: Sequence[tuple[Window, Part]]) -> str:
    """Return an expression with the name of each window in place of it."""
    return _without(source, found, start=0, end=len(source))


def _outermost(tree: Part) -> Iterator[Part]:
    """Yield the windows of an expression that stand in no other one."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if is_window(part):
            yield part
        else:
            waiting += part.parts


def _without(source: str, found: Sequence[tuple[Window, Part]], *, start: int, end: int) -> str:
    pieces, place = [], start
    for window, part in found:
        pieces += [source[place : part.start], window.name]
        place = part.end
    return "".join([*pieces, source[place:end]])


def _written(source: str, part: Part) -> Window:
    return replace(_window(source, part), written=" ".join(source[part.start : part.end].split()))


def _window(source: str, part: Part) -> Window:
    if part.text == CHANGED:
        if len(part.parts) != 1 or part.parts[0].kind is not Kind.NAME:
            raise ConditionInvalid(source, reason="changed() takes the name of a field: changed(field)")
        return Window.of(CHANGED, part.parts[0].text)
    if part.text in OF_PATTERNS:
        if len(part.parts) != 2 or part.parts[0].kind is not Kind.NAME:  # noqa: PLR2004 - a field and a time
            reason = f"{part.text}() is written {part.text}(field, 10m)"
            raise ConditionInvalid(source, reason=reason)
        return Window.of(part.text, part.parts[0].text, seconds=_seconds(source, part.parts[1]))
    form = f"{part.text}() over time is written {_FORM.format(name=part.text)}"
    if not 2 <= len(part.parts) <= 3:  # noqa: PLR2004 - two or three arguments
        raise ConditionInvalid(source, reason=form)
    looked_at, length, *kinds = part.parts
    kind = kinds[0].text.strip("'\"") if kinds else "sliding"
    if kind not in {"sliding", "tumbling"}:
        raise ConditionInvalid(source, reason=f"{form}, not {kind!r}")
    seconds, tumbling = _seconds(source, length), kind == "tumbling"
    if looked_at.kind is Kind.NAME and part.text != SHARE:
        return Window.of(part.text, looked_at.text, seconds=seconds, tumbling=tumbling)
    return _over_expression(source, part.text, looked_at, seconds=seconds, tumbling=tumbling)


def _over_expression(source: str, function: str, part: Part, *, seconds: float, tumbling: bool) -> Window:
    """Return a window over what an expression comes to with each message."""
    inner = windows_of(source, part)
    moments = tuple(window for window, _ in inner)
    for moment in moments:
        if moment.function not in OF_MOMENT:
            reason = f"{function}() looks through {moment.function}(), a window too"
            raise ConditionInvalid(source, reason=reason)
    text = source[part.start : part.end]
    plain = _without(source, inner, start=part.start, end=part.end)
    measure = Expression.compile(plain, written=text, also=ALL_FUNCTIONS)
    fields = measure.names.difference(moment.name for moment in moments)
    fields = fields.union(*(moment.fields for moment in moments))
    if not fields - {"device"}:
        raise ConditionInvalid(source, reason=f"{function}() looks at {text}, in which no field stands")
    key = f"{'?' if function in OF_TRUTHS else '='} {text}"
    name = _name(function, hashlib.sha256(key.encode()).hexdigest()[:16], seconds=seconds, tumbling=tumbling)
    return Window(function, text, seconds, tumbling, name, (key, seconds, tumbling), fields, measure, moments)


def _name(function: str, looked_at: str, *, seconds: float, tumbling: bool) -> str:
    kind = "_tumbling" if tumbling else ""
    length = f"{seconds:g}".replace(".", "_").replace("+", "").replace("-", "m")
    return f"_{function}{kind}_{length}_{looked_at}"


def _seconds(source: str, part: Part) -> float:
    written = part.text.strip("'\"") if part.kind in {Kind.DURATION, Kind.TEXT} else ""
    found = _DURATION.fullmatch(written)
    value_s = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if not 0.0 < value_s <= MAX_SECONDS:
        came = source[part.start : part.end][:40]
        reason = f"expected a time such as 500ms, 10s, 5m or 1h, at most 7d, came {came}"
        raise ConditionInvalid(source, reason=reason)
    return value_s
