"""Conditions: CEL expressions that are true, false or unknown.

Knows nothing of devices, triggers or rules; whoever asks brings the values. Unknown is an answer of its own,
because a missing value must neither fire an alarm nor open a gate.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_node.conditions.expression import MAX_CHARACTERS, Expression, Told
from edge_node.conditions.syntax import Kind, Part, parse
from edge_node.conditions.windows import ALL_FUNCTIONS, Window, windows_of, without_windows
from edge_node.errors import ConditionInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_Threshold = tuple[str, "Callable[[float, float], bool]", float]
_COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_PLAIN = re.compile(r"\d{1,15}(?:\.\d{1,15})?")


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled CEL expression over named values and over windows of time.

    Attributes:
        source: The expression as the user wrote it.
        names: Names of the values it refers to, at the top: `device.online` refers to `device`, and
            `avg(speed, 10s)` to `speed`.
        windows: The windows of time it looks through; whoever asks brings their values by their names.
        tree: The expression in parts, or None where it is too deep to be looked at.
    """

    source: str
    names: frozenset[str]
    windows: tuple[Window, ...]
    tree: Part | None = field(repr=False, compare=False)
    _expression: Expression = field(repr=False, compare=False)
    _thresholds: tuple[_Threshold, ...] = field(repr=False, compare=False)

    @classmethod
    def compile(cls, source: str) -> Condition:
        """Return the condition that `source` writes down.

        Raises:
            ConditionInvalid: It is not CEL, too long, calls a function that is not there, loops, divides
                by something else than a number or the name of a value, or looks through a window that is
                written otherwise than it can be read.
        """
        if len(source) > MAX_CHARACTERS:
            reason = f"expected at most {MAX_CHARACTERS} characters, came {len(source)}"
            raise ConditionInvalid(source[:40] + "…", reason=reason)
        tree = parse(source)
        found = windows_of(source, tree) if tree else ()
        expression = Expression.compile(without_windows(source, found), written=source, also=ALL_FUNCTIONS)
        windows = tuple(dict.fromkeys(window for window, _ in found))
        own = expression.names - {window.name for window in windows}
        names = own.union(*(window.fields for window in windows))
        return cls(source, names, windows, tree, expression, _thresholds(tree, found) if tree else ())

    @property
    def quiet(self) -> tuple[str, float, float] | None:
        """A name and two limits: with its value between them, or unknown, the condition does not hold.

        None where nothing of the kind is to be said.
        """
        if not self._thresholds:
            return None
        name, compares, limit = self._thresholds[0]
        rises = compares in {operator.gt, operator.ge}
        return (name, -math.inf, limit) if rises else (name, limit, math.inf)

    def evaluate(self, values: Mapping[str, Any]) -> bool | None:
        """Return true, false, or None for unknown.

        Unknown is what the expression does not come to, and a result that is not a boolean; see
        `Expression.value`.
        """
        wanted = self._expression.names
        return self.ask(Told({name: values[name] for name in wanted if name in values}))

    def ask(self, told: Told) -> bool | None:
        """Return the same as `evaluate`, over values that many conditions are asked about."""
        numbers, unknown = told.numbers, False
        for name, compares, limit in self._thresholds:
            value = numbers.get(name)
            if type(value) is float:
                if not compares(value, limit):
                    return False
            elif value is None:
                unknown = True
            else:
                break
        else:
            if self._thresholds:
                return None if unknown else True
        answer = self._expression.value(told)
        return answer if isinstance(answer, bool) else None


def _thresholds(tree: Part, found: Sequence[tuple[Window, Part]]) -> tuple[_Threshold, ...]:
    """Return the comparisons with numbers of a condition that is nothing else, joined by `&&`.

    Most conditions are so. To compare two doubles is the same everywhere, and here it costs a tenth.
    """
    match tree:
        case Part(kind=Kind.BINARY, text="&&", parts=(left, right)):
            both = _thresholds(left, found), _thresholds(right, found)
            return both[0] + both[1] if all(both) else ()
        case Part(kind=Kind.BINARY, text=sign, parts=(subject, Part(kind=Kind.NUMBER, text=written))):
            windows = {part: window.name for window, part in found}
            name = subject.text if subject.kind is Kind.NAME else windows.get(subject)
            if name and sign in _COMPARISONS and _PLAIN.fullmatch(written):
                return ((name, _COMPARISONS[sign], float(written)),)
    return ()
