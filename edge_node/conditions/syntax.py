"""The tree of an expression, with the place of each part in the text.

The library that runs expressions shows no tree, and both windows and types need one. Knows how CEL is
written and that a duration may stand as an argument; knows nothing of what names and functions mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 40
"""Levels of nesting that are read; deeper ones are left to the library."""
MAX_CHAIN = 250
"""Operators in a row that are read, as in `a || b || c`."""
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|//[^\n]*)+)
      | (?P<text>[rR]?(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<duration>\d+(?:\.\d+)?(?:ms|[smhd])(?!\w))
      | (?P<number>0[xX][0-9a-fA-F]+[uU]?|\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?
                  |\d+[uU]?)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE,
)
_STRENGTH = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3}
_STRENGTH |= {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5}


class Kind(StrEnum):
    """What a part of an expression is."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    NULL = "null"
    DURATION = "duration"
    NAME = "name"
    MEMBER = "member"
    CALL = "call"
    INDEX = "index"
    LIST = "list"
    MAP = "map"
    UNARY = "unary"
    BINARY = "binary"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an expression.

    Attributes:
        kind: What it is.
        text: The literal as written, the name, the operator, or the name of the function or member.
        start: Where it begins in the source.
        end: Where it ends, exclusive.
        parts: What it is made of; a method's object comes first.
        method: Whether a call is written behind a dot.
    """

    kind: Kind
    text: str
    start: int
    end: int
    parts: tuple[Part, ...] = ()
    method: bool = False

    def walk(self) -> Iterator[Part]:
        """Yield this part and all parts below it."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting += reversed(part.parts)


class _Unreadable(Exception):
    """The text is not an expression, or too deep."""


def parse(source: str) -> Part | None:
    """Return the tree of an expression, or None where this is none; the library then says what is wrong."""
    try:
        reader = _Reader(source)
        tree = reader.expression()
    except _Unreadable:
        return None
    return tree if reader.done else None


class _Reader:
    """A reader by operator precedence.

    Source: CEL language definition, "Syntax".
    """

    def __init__(self, source: str) -> None:
        self._tokens = list(_tokens(source))
        self._place = 0
        self._depth = 0

    @property
    def done(self) -> bool:
        return self._place == len(self._tokens)

    def expression(self) -> Part:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Unreadable
        condition = self._binary(1)
        if self._accept("?"):
            then = self.expression()
            self._expect(":")
            other = self.expression()
            parts = (condition, then, other)
            condition = Part(Kind.CHOICE, "?:", condition.start, other.end, parts)
        self._depth -= 1
        return condition

    def _binary(self, least: int) -> Part:
        left = self._unary()
        length = 0
        while (sign := self._peek()) and _STRENGTH.get(sign, 0) >= least:
            length += 1
            if length > MAX_CHAIN:
                raise _Unreadable
            self._place += 1
            right = self._binary(_STRENGTH[sign] + 1)
            left = Part(Kind.BINARY, sign, left.start, right.end, (left, right))
        return left

    def _unary(self) -> Part:
        signs = []
        while self._peek() in {"!", "-"}:
            signs.append(self._take())
        part = self._postfix(self._primary())
        for found in reversed(signs):
            part = Part(Kind.UNARY, found[0], found.start(), part.end, (part,))
        return part

    def _primary(self) -> Part:
        found = self._take()
        kind, text, start, end = found.lastgroup or "", found[0], found.start(), found.end()
        if kind in {"number", "text", "duration"}:
            return Part(Kind(kind), text, start, end)
        if kind == "word":
            return self._word(found)
        if text == "(":
            inner = self.expression()
            closed = self._expect(")")
            return Part(inner.kind, inner.text, start, closed.end(), inner.parts, inner.method)
        if text == "[":
            items = self._items("]")
            return Part(Kind.LIST, "", start, self._end, items)
        if text == "{":
            return Part(Kind.MAP, "", start, self._end, self._entries())
        raise _Unreadable

    def _word(self, found: re.Match[str]) -> Part:
        text, start = found[0], found.start()
        if text in {"true", "false"}:
            return Part(Kind.BOOLEAN, text, start, found.end())
        if text == "null":
            return Part(Kind.NULL, text, start, found.end())
        if self._accept("("):
            arguments = self._items(")")
            return Part(Kind.CALL, text, start, self._end, arguments)
        return Part(Kind.NAME, text, start, found.end())

    def _postfix(self, part: Part) -> Part:
        while True:
            if self._accept("."):
                name = self._take()
                if name.lastgroup != "word":
                    raise _Unreadable
                if self._accept("("):
                    parts = (part, *self._items(")"))
                    part = Part(Kind.CALL, name[0], part.start, self._end, parts, method=True)
                else:
                    part = Part(Kind.MEMBER, name[0], part.start, name.end(), (part,))
            elif self._accept("["):
                index = self.expression()
                part = Part(Kind.INDEX, "", part.start, self._expect("]").end(), (part, index))
            else:
                return part

    def _items(self, closing: str) -> tuple[Part, ...]:
        items: list[Part] = []
        while not self._accept(closing):
            if items:
                self._expect(",")
            items.append(self.expression())
        return tuple(items)

    def _entries(self) -> tuple[Part, ...]:
        entries: list[Part] = []
        while not self._accept("}"):
            if entries:
                self._expect(",")
            entries.append(self.expression())
            self._expect(":")
            entries.append(self.expression())
        return tuple(entries)

    def _peek(self) -> str:
        return "" if self.done else self._tokens[self._place][0]

    def _take(self) -> re.Match[str]:
        if self.done:
            raise _Unreadable
        self._place += 1
        return self._tokens[self._place - 1]

    def _accept(self, text: str) -> bool:
        if self._peek() != text:
            return False
        self._place += 1
        return True

    def _expect(self, text: str) -> re.Match[str]:
        found = self._take()
        if found[0] != text:
            raise _Unreadable
        return found

    @property
    def _end(self) -> int:
        """Where the last token ends."""
        return self._tokens[self._place - 1].end()


def _tokens(source: str) -> Iterator[re.Match[str]]:
    place = 0
    while place < len(source):
        found = _TOKEN.match(source, place)
        if found is None:
            raise _Unreadable
        place = found.end()
        if found.lastgroup != "space":
            yield found
