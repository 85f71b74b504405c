"""Problems of one file, collected with their lines.

Knows how a condition and a placeholder are looked at; knows nothing of which keys hold them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edge_node.conditions import Condition, Types
from edge_node.config.source import key_text
from edge_node.config.wording import did_you_mean, shown
from edge_node.errors import ConditionInvalid, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from edge_node.config.source import Document, KeyPath

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Findings:
    """The problems found in one file.

    Args:
        document: The file, for its name and lines.
        types: What is known of the types of its fields, if anything.
    """

    def __init__(self, document: Document, *, types: Types | None = None) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._types = types or Types()

    def add(self, path: KeyPath, *, expected: str, came: str, hint: str = "") -> None:
        """Take up a problem at a key path."""
        line = self._document.line(path)
        self.problems.append(Problem(self._document.file, line, key_text(path), expected, came, hint))

    def unknown(self, path: KeyPath, name: str, *, what: str, known: Collection[str]) -> None:
        """Take up a name that is not one of the known ones; `what` says what it should name."""
        listed = ", ".join(sorted(known)) or "none here"
        self.add(path, expected=f"{what}: {listed}", came=repr(name), hint=did_you_mean(name, known))

    def condition(
        self, path: KeyPath, source: str, *, names: Collection[str], timed: Collection[str] = ()
    ) -> Condition | None:
        """Look at a condition: it must compile, refer to known names only, and compare what is alike.

        Args:
            path: Where it stands.
            source: The condition.
            names: Names of values it may refer to.
            timed: Fields that it may look at over time.

        Returns:
            The condition, or None where it does not compile.
        """
        try:
            condition = Condition.compile(source)
        except ConditionInvalid as error:
            self.add(path, expected="a condition in CEL", came=f"{shown(source)}, {error.reason}")
            return None
        for name in sorted(condition.names - set(names)):
            self.unknown(path, name, what="a condition over known values", known=names)
        for window in condition.windows:
            beside = {"device"} if timed and window.measure else set()
            missed = sorted(window.fields.intersection(names) - {*timed, *beside})
            if not missed:
                continue
            came = f"{window.function}() over {missed[0]!r}"
            if timed:
                self.add(path, expected="windows over fields of `listen`", came=came)
            else:
                hint = "look at it over time in a trigger"
                self.add(path, expected="a condition over values of now", came=came, hint=hint)
        place = f"{key_text(path)} (line {self._document.line(path)})"
        for reason in self._types.check(condition.tree, place=place) if condition.tree else ():
            self.add(path, expected="values that can be compared", came=f"{shown(source)}: {reason}")
        return condition

    def placeholders(self, path: KeyPath, value: Any, *, names: Collection[str]) -> None:
        """Look at every name in braces below `value`; each must be known."""
        for place, name in placeholders(path, value):
            if name not in names:
                self.unknown(place, f"{{{name}}}", what="a known name in braces", known=names)


def names_of(source: str) -> frozenset[str]:
    """Return the names that a condition refers to; none where it does not compile."""
    try:
        return Condition.compile(source).names
    except ConditionInvalid:
        return frozenset()


def placeholders(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yield each name in braces in the strings of a value, with the key path of its string."""
    if isinstance(value, str):
        for name in _PLACEHOLDER.findall(value):
            yield path, name
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from placeholders((*path, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from placeholders((*path, index), item)
