"""Types in expressions, as far as they can be known before any message came.

A device's message says nothing of its types beforehand, so the type of a field is what the conditions of
a node take it for: where two of them disagree, one can never hold. Knows the tree of an expression.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_node.conditions.syntax import Kind, Part
from edge_node.conditions.windows import CHANGED, COUNT, OF_MOMENT, OF_PATTERNS, OF_TRUTHS, is_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NUMBER, TEXT, BOOLEAN, LIST = "a number", "a text", "true or false", "a list"
_LITERALS = {Kind.NUMBER: NUMBER, Kind.TEXT: TEXT, Kind.BOOLEAN: BOOLEAN, Kind.LIST: LIST}
_RESULTS = {"size": NUMBER, "int": NUMBER, "double": NUMBER, "string": TEXT}
_RESULTS |= {"contains": BOOLEAN, "startsWith": BOOLEAN, "endsWith": BOOLEAN, "matches": BOOLEAN}
_MEMBERS = {"id": TEXT, "online": BOOLEAN}
_ORDER = frozenset({"<", "<=", ">", ">="})
_EQUALITY = frozenset({"==", "!="})
_ARITHMETIC = frozenset({"-", "*", "/", "%"})
_LOGIC = frozenset({"&&", "||"})


@dataclass(slots=True)
class Types:
    """The types that the conditions of one node take its names for, gathered one condition after another.

    Attributes:
        known: Name to its type.
        places: Name to where its type was learnt.
    """

    known: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, known: Mapping[str, str], *, place: str) -> Types:
        """Return types that are known from the start."""
        return cls(dict(known), dict.fromkeys(known, place))

    def check(self, tree: Part, *, place: str) -> Iterator[str]:
        """Yield, in words, what cannot be in an expression; learn from it what its names are.

        Args:
            tree: The expression.
            place: What to call it where another one disagrees.
        """
        for part in tree.walk():
            yield from self._check_part(part, place)
        kind = self._type(tree)
        if kind not in {None, BOOLEAN}:
            yield f"it gives {kind}, and a condition is true or false"

    def _check_part(self, part: Part, place: str) -> Iterator[str]:
        match part:
            case Part(kind=Kind.BINARY, text=sign, parts=(left, right)) if sign in _ORDER | _EQUALITY:
                yield from self._compare(sign, left, right, place)
            case Part(kind=Kind.BINARY, text=sign, parts=parts) if sign in _ARITHMETIC:
                yield from self._all(parts, NUMBER, f"'{sign}'", place)
            case Part(kind=Kind.BINARY, text=sign, parts=parts) if sign in _LOGIC:
                yield from self._all(parts, BOOLEAN, f"'{sign}'", place)
            case Part(kind=Kind.UNARY, text=sign, parts=parts):
                yield from self._all(parts, BOOLEAN if sign == "!" else NUMBER, f"'{sign}'", place)
            case Part(kind=Kind.CHOICE, parts=(condition, _, _)):
                yield from self._all((condition,), BOOLEAN, "'?'", place)
            case Part(kind=Kind.CALL, text=name, parts=(subject, *_), method=True) if name in _RESULTS:
                yield from self._all((subject,), TEXT, f"{name}()", place)
            case Part(kind=Kind.CALL, text=name, parts=(subject, *_)) if is_window(part) and name != CHANGED:
                yield from self._window(name, subject, place)

    def _window(self, name: str, subject: Part, place: str) -> Iterator[str]:
        if name == COUNT and subject.kind is Kind.NAME:
            return  # it counts the numbers of a field that may be anything else, too
        wanted = BOOLEAN if name in OF_TRUTHS else TEXT if name in OF_PATTERNS else NUMBER
        yield from self._all((subject,), wanted, f"{name}()", place)

    def _compare(self, sign: str, left: Part, right: Part, place: str) -> Iterator[str]:
        kinds = self._type(left), self._type(right)
        if None in kinds:
            known = kinds[0] or kinds[1]
            if known is not None and known != LIST:
                yield from self._all((left, right), known, f"'{sign}'", place)
        elif kinds[0] != kinds[1]:
            named = [why for part in (left, right) if (why := self._why(part))]
            yield f"'{sign}' compares {kinds[0]} with {kinds[1]}" + "".join(named)
        elif sign in _ORDER and kinds[0] not in {NUMBER, TEXT}:
            yield f"'{sign}' has no meaning for {kinds[0]}"

    def _all(self, parts: tuple[Part, ...], wanted: str, what: str, place: str) -> Iterator[str]:
        for part in parts:
            kind = self._type(part)
            if kind is None and part.kind is Kind.NAME:
                self.known[part.text], self.places[part.text] = wanted, place
            elif kind is not None and kind != wanted:
                yield f"{what} wants {wanted}, came {kind}{self._why(part)}"

    def _why(self, part: Part) -> str:
        if part.kind is not Kind.NAME or part.text not in self.places:
            return ""
        return f"; {part.text} is {self.known[part.text]} in {self.places[part.text]}"

    def _type(self, part: Part) -> str | None:
        """Return the type of a part, or None where it cannot be known."""
        kind = _LITERALS.get(part.kind)
        match part:
            case Part(kind=Kind.NAME, text=name):
                kind = self.known.get(name)
            case Part(kind=Kind.MEMBER, text=name, parts=(Part(kind=Kind.NAME, text="device"),)):
                kind = _MEMBERS.get(name)
            case Part(kind=Kind.CALL, text=name) if is_window(part):
                kind = BOOLEAN if name in OF_MOMENT else NUMBER
            case Part(kind=Kind.CALL, text=name):
                kind = _RESULTS.get(name)
            case Part(kind=Kind.UNARY, text=sign):
                kind = BOOLEAN if sign == "!" else NUMBER
            case Part(kind=Kind.BINARY, text="+", parts=(left, right)):
                kind = self._type(left) or self._type(right)
            case Part(kind=Kind.BINARY, text=sign):
                kind = NUMBER if sign in _ARITHMETIC else BOOLEAN
        return kind
