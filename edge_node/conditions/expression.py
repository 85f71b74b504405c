"""Expressions in CEL over named values: what they come to, or that it is unknown.

The only module that imports `cel`. Knows nothing of devices, triggers, rules or windows of time; whoever asks
brings the values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cel

from edge_node.errors import ConditionInvalid

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
_INTEGERS_ONLY = {"_%_": "%", "int": "int()", "size": "size()"}
_EVALUATION_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled CEL expression.

    Numbers are those of JSON, where 3 and 3.0 are one: a device that reports 3 between 2.9 and 3.1 must not
    turn a division into an integer division, nor an addition into a type error. So numbers, those written
    in the expression too, are doubles; only where that does not fit, as in a remainder, are they integers.
    A double divided by zero is infinite, which is no answer to a question about a machine: such a division
    is unknown, and what is divided by must be a number or the name of a value, so that it can be seen.

    Attributes:
        source: The expression as it stands.
        names: Names of the values it refers to, at the top: `device.online` refers to `device`.
    """

    source: str
    names: frozenset[str]
    _as_doubles: cel.Program = field(repr=False, compare=False)
    _as_integers: cel.Program | None = field(repr=False, compare=False)
    _divisors: frozenset[str] = field(repr=False, compare=False)

    @classmethod
    def compile(cls, source: str, *, written: str = "", also: frozenset[str] = frozenset()) -> Expression:
        """Return the expression that `source` writes down.

        Args:
            source: The expression.
            written: What the user wrote, where `source` was made of it.
            also: Functions that stand elsewhere, named where one is called that is not there.

        Raises:
            ConditionInvalid: It is not CEL, too long, calls a function that is not there, loops, or divides
                by something else than a number or the name of a value.
        """
        if len(source) > MAX_CHARACTERS:
            reason = f"expected at most {MAX_CHARACTERS} characters, came {len(source)}"
            raise ConditionInvalid(source[:40] + "…", reason=reason)
        program = _program(source, written=written or source)
        functions = program.functions()
        _refuse_calls(source, functions, also=also)
        divisors = _divisors(source, functions)
        try:
            doubles = cel.compile(_TOKEN.sub(_double, source))
        except ValueError:
            # Only a literal that the token pattern misreads ends here; the expression as written is good.
            doubles = program
        integers = None if "_/_" in functions else program
        return cls(source, frozenset(program.variables()), doubles, integers, divisors)

    def value(self, told: Told) -> Any:
        """Return what it comes to, None for unknown.

        Unknown follows from a value that is missing, None, not finite or of a type CEL does not have, from
        a comparison of types that do not compare, and from a division by zero. `||` is true and `&&` is
        false wherever one side alone settles it.

        Source: CEL language definition, "Logical operators": errors are absorbed by a deciding side.
        """
        numbers = told.numbers
        zeros = [name for name in self._divisors if numbers.get(name) == 0.0]
        if zeros:
            # The integer zero makes the division an error, and compares with doubles all the same.
            answer = _run(self._as_doubles, {**numbers, **dict.fromkeys(zeros, 0)})
        else:
            answer = _run(self._as_doubles, told.as_doubles)
        if answer is None and self._as_integers is not None and self.names <= numbers.keys():
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


def _refuse_calls(source: str, called: list[str], *, also: frozenset[str]) -> None:
    words = [found for found in _TOKEN.finditer(source) if found["word"]]
    for found in words:
        calls = source[found.end() :].lstrip().startswith("(")
        if found["word"] in _LOOPS and calls and source[: found.start()].rstrip().endswith("."):
            raise ConditionInvalid(source, reason=f"{found['word']}() loops, and conditions do not")
    for name in called:
        if name[0].isalpha() and name not in FUNCTIONS:
            known = ", ".join(sorted(FUNCTIONS | also))
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


def _run(program: cel.Program, values: cel.Context | dict[str, Any]) -> Any:
    try:
        return program.execute(values)
    except _EVALUATION_ERRORS:
        return None


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
