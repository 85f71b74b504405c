"""Conditions: CEL expressions that are true, false or unknown.

The only module that imports `cel`. Knows nothing of devices, triggers or rules; whoever asks brings the
values. Unknown is an answer of its own, because a missing value must neither fire an alarm nor open a gate.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cel

from edge_node.conditions.syntax import Kind, Part, parse
from edge_node.conditions.windows import AGGREGATES, CHANGED, Window, windows_of, without_windows
from edge_node.errors import ConditionInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CHARACTERS = 2000
FUNCTIONS = frozenset({"size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string"})
_LOOPS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_GREATEST_INTEGER = 2**63 - 1
_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*)
      | (?P<text>[rR]?(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
      | (?P<word>[A-Za-z_]\w*)
      | (?P<other>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?|0[xX][0-9a-fA-F]+|\d+[uU])
      | (?P<index>\[\s*\d+\s*\])
      | (?P<integer>\d+)
      | (?P<division>/\s*)""",
    re.VERBOSE,
)
_DIVISOR = re.compile(r"(?P<name>[A-Za-z_]\w*)(?!\s*[.(\[]|\w)|-?(?P<number>\d+(?:\.\d+)?)(?![\w.])")
_Threshold = tuple[str, Callable[[float, float], bool], float]
_COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_PLAIN = re.compile(r"\d{1,15}(?:\.\d{1,15})?")
_INTEGERS_ONLY = {"_%_": "%", "int": "int()", "size": "size()"}
_EVALUATION_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled CEL expression over named values.

    Numbers are those of JSON, where 3 and 3.0 are one: a device that reports 3 between 2.9 and 3.1 must not
    turn a division into an integer division, nor an addition into a type error. So numbers, those written
    in the expression too, are doubles; only where that does not fit, as in a remainder, are they integers.
    A double divided by zero is infinite, which is no answer to a question about a machine: such a division
    is unknown, and what is divided by must be a number or the name of a value, so that it can be seen.

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
    _wanted: frozenset[str] = field(repr=False, compare=False)
    _as_doubles: cel.Program = field(repr=False, compare=False)
    _as_integers: cel.Program | None = field(repr=False, compare=False)
    _divisors: frozenset[str] = field(repr=False, compare=False)
    _thresholds: tuple[_Threshold, ...] = field(repr=False, compare=False)

    @classmethod
    def compile(cls, source: str) -> Condition:
        """Return the condition that `source` writes down.

        Raises:
            ConditionInvalid: It is not CEL, too long, calls a function that is not there, loops, or divides
                by something else than a number or the name of a value.
        """
        if len(source) > MAX_CHARACTERS:
            reason = f"expected at most {MAX_CHARACTERS} characters, came {len(source)}"
            raise ConditionInvalid(source[:40] + "…", reason=reason)
        tree = parse(source)
        found = windows_of(source, tree) if tree else ()
        plain = without_windows(source, found)
        program = _program(plain, written=source)
        functions = program.functions()
        _refuse_calls(plain, functions)
        divisors = _divisors(plain, functions)
        try:
            doubles = cel.compile(_TOKEN.sub(_double, plain))
        except ValueError:
            # Only a literal that the token pattern misreads ends here; the expression as written is good.
            doubles = program
        integers = None if "_/_" in functions else program
        wanted = frozenset(program.variables())
        windows = tuple(dict.fromkeys(window for window, _ in found))
        names = wanted - {window.name for window in windows} | {window.field for window in windows}
        thresholds = _thresholds(tree, found) if tree else ()
        return cls(source, names, windows, tree, wanted, doubles, integers, divisors, thresholds)

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

        Unknown follows from a value that is missing, None, not finite or of a type CEL does not have, from
        a comparison of types that do not compare, from a division by zero, and from a result that is not
        a boolean. `||` is true and `&&` is false wherever one side alone settles it.

        Source: CEL language definition, "Logical operators": errors are absorbed by a deciding side.
        """
        return self.ask(Told({name: values[name] for name in self._wanted if name in values}))

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
        zeros = [name for name in self._divisors if numbers.get(name) == 0.0]
        if zeros:
            # The integer zero makes the division an error, and compares with doubles all the same.
            answer = _run(self._as_doubles, {**numbers, **dict.fromkeys(zeros, 0)})
        else:
            answer = _run(self._as_doubles, told.as_doubles)
        if answer is None and self._as_integers is not None and self._wanted <= numbers.keys():
            answer = _run(self._as_integers, told.as_integers)
        return answer


class Told:
    """Values as conditions want them, made once for all conditions that are asked.

    Args:
        values: Name to value; those that CEL does not have are left out.
    """

    __slots__ = ("_doubles", "_integers", "_values", "numbers")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._doubles: cel.Context | None = None
        self._integers: cel.Context | None = None
        self.numbers = _told(values, doubles=True)

    @property
    def as_doubles(self) -> cel.Context:
        """The values with all numbers as doubles."""
        if self._doubles is None:
            self._doubles = cel.Context(self.numbers)
        return self._doubles

    @property
    def as_integers(self) -> cel.Context:
        """The values with whole numbers as integers."""
        if self._integers is None:
            self._integers = cel.Context(_told(self._values, doubles=False))
        return self._integers


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


def _program(source: str, *, written: str) -> cel.Program:
    try:
        return cel.compile(source)
    except ValueError as error:
        raise ConditionInvalid(written, reason=_one_line(str(error))) from error


def _one_line(report: str) -> str:
    """Return the first complaint of the parser's report, without its drawing and its list of tokens."""
    found = re.search(r"ERROR: <input>:\d+:(\d+): (?:Syntax error: )?([^\n]*)", report)
    if not found:
        return "not a CEL expression"
    complaint = (
        found[2].split(" expecting ")[0].replace("mismatched input '<EOF>'", "the expression ends too early")
    )
    return f"at character {found[1]}: {complaint}"


def _refuse_calls(source: str, called: list[str]) -> None:
    words = [found for found in _TOKEN.finditer(source) if found["word"]]
    for found in words:
        calls = source[found.end() :].lstrip().startswith("(")
        if found["word"] in _LOOPS and calls and source[: found.start()].rstrip().endswith("."):
            raise ConditionInvalid(source, reason=f"{found['word']}() loops, and conditions do not")
    for name in called:
        if name[0].isalpha() and name not in FUNCTIONS:
            known = ", ".join(sorted(FUNCTIONS | AGGREGATES | {CHANGED}))
            raise ConditionInvalid(source, reason=f"no function {name}(); there are {known}")


def _divisors(source: str, functions: list[str]) -> frozenset[str]:
    """Return the names that are divided by."""
    names = set()
    for found in _TOKEN.finditer(source):
        if not found["division"]:
            continue
        divisor = _DIVISOR.match(source, found.end())
        if divisor is None or (divisor["number"] and float(divisor["number"]) == 0.0):
            reason = "expected a number other than 0 or the name of a value after '/'"
            raise ConditionInvalid(source, reason=reason)
        if divisor["name"]:
            names.add(divisor["name"])
        for name in _INTEGERS_ONLY.keys() & functions:
            reason = f"'/' and {_INTEGERS_ONLY[name]} do not go together; write a product instead of the '/'"
            raise ConditionInvalid(source, reason=reason)
    return frozenset(names)


def _double(found: re.Match[str]) -> str:
    return f"{found['integer']}.0" if found["integer"] and _exact(int(found["integer"])) else found[0]


def _exact(value: int) -> bool:
    """Return whether a double tells this integer from its neighbours."""
    return abs(value) < 2**53


def _run(program: cel.Program, values: cel.Context | dict[str, Any]) -> bool | None:
    try:
        answer = program.execute(values)
    except _EVALUATION_ERRORS:
        return None
    return answer if isinstance(answer, bool) else None


def _told(values: Mapping[Any, Any], *, doubles: bool) -> dict[str, Any]:
    """Return the values that CEL can be told; the others are left out, so that they count as missing."""
    told = {}
    for name, value in values.items():
        if doubles and type(value) is float and math.isfinite(value):
            told[name] = value
            continue
        known = _value(value, doubles=doubles)
        if known is not None:
            told[str(name)] = known
    return told


def _value(value: Any, *, doubles: bool) -> Any:
    known: Any = None
    match value:
        case bool():
            known = value
        case int() if abs(value) <= _GREATEST_INTEGER:
            known = float(value) if doubles and _exact(value) else value
        case float() if value.is_integer() and not doubles and _exact(int(value)):
            known = int(value)
        case float():
            known = value if math.isfinite(value) else None
        case str():
            known = value if _encodes(value) else None
        case Mapping():
            known = _told(value, doubles=doubles)
        case list() | tuple():
            items = [_value(item, doubles=doubles) for item in value]
            known = None if None in items else items
    return known


def _encodes(value: str) -> bool:
    """Return whether a string is free of lone surrogates, which JSON can write and UTF-8 cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
