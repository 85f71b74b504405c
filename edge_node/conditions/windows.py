"""The windows of time that an expression looks through, such as `avg(vibration, 10s)`.

Knows how a window is written and by what name the rest of the expression knows its value; knows nothing of
samples. Pure functions over the tree of an expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.conditions.syntax import Kind, Part
from edge_node.errors import ConditionInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

AGGREGATES = frozenset({"avg", "min", "max", "sum", "count", "p95", "stddev", "rate"})
CHANGED = "changed"
MAX_SECONDS = 7 * 86_400.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|m|h|d)")
_FORM = "{name}(field, 10s), or {name}(field, 10s, tumbling)"


@dataclass(frozen=True, slots=True)
class Window:
    """One aggregate of one field.

    Attributes:
        function: One of `AGGREGATES`, or `changed`, which has no length.
        field: The field it looks at.
        seconds: How long the window is; 0 for `changed`.
        tumbling: Whether windows follow one another without overlap; else each ends at the last message.
        name: The name under which an expression finds its value.
        series: Field, length and whether it tumbles: windows alike in these look at the same samples.
    """

    function: str
    field: str
    seconds: float
    tumbling: bool
    name: str
    series: tuple[str, float, bool]

    @classmethod
    def of(cls, function: str, field: str, *, seconds: float = 0.0, tumbling: bool = False) -> Window:
        """Return a window; the same one always has the same name, which no field can have."""
        kind = "_tumbling" if tumbling else ""
        length = f"{seconds:g}".replace(".", "_").replace("+", "").replace("-", "m")
        name = f"_{function}{kind}_{length}_{field}"
        return cls(function, field, seconds, tumbling, name, (field, seconds, tumbling))


def is_window(part: Part) -> bool:
    """Return whether a part of an expression is written as a window."""
    return part.kind is Kind.CALL and not part.method and part.text in AGGREGATES | {CHANGED}


def windows_of(source: str, tree: Part) -> tuple[tuple[Window, Part], ...]:
    """Return the windows of an expression in the order of the text, each with its place.

    Raises:
        ConditionInvalid: A window is written otherwise than it can be read.
    """
    found = sorted((part for part in tree.walk() if is_window(part)), key=lambda part: part.start)
    return tuple((_window(source, part), part) for part in found)


def without_windows(source: str, found: Sequence[tuple[Window, Part]]) -> str:
    """Return an expression with the name of each window in place of it."""
    pieces, place = [], 0
    for window, part in found:
        pieces += [source[place : part.start], window.name]
        place = part.end
    return "".join([*pieces, source[place:]])


def _window(source: str, part: Part) -> Window:
    if part.text == CHANGED:
        if len(part.parts) != 1 or part.parts[0].kind is not Kind.NAME:
            raise ConditionInvalid(source, reason="changed() takes the name of a field: changed(field)")
        return Window.of(CHANGED, part.parts[0].text)
    form = f"{part.text}() over time is written {_FORM.format(name=part.text)}"
    if not 2 <= len(part.parts) <= 3 or part.parts[0].kind is not Kind.NAME:  # noqa: PLR2004 - two or three arguments
        raise ConditionInvalid(source, reason=form)
    field, length, *kinds = part.parts
    kind = kinds[0].text.strip("'\"") if kinds else "sliding"
    if kind not in {"sliding", "tumbling"}:
        raise ConditionInvalid(source, reason=f"{form}, not {kind!r}")
    return Window.of(part.text, field.text, seconds=_seconds(source, length), tumbling=kind == "tumbling")


def _seconds(source: str, part: Part) -> float:
    written = part.text.strip("'\"") if part.kind in {Kind.DURATION, Kind.TEXT} else ""
    found = _DURATION.fullmatch(written)
    value_s = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if not 0.0 < value_s <= MAX_SECONDS:
        came = source[part.start : part.end][:40]
        reason = f"expected a time such as 500ms, 10s, 5m or 1h, at most 7d, came {came}"
        raise ConditionInvalid(source, reason=reason)
    return value_s
