"""Lines of JSON read from a file, each with the place where it stands.

Knows JSON Lines and tab-separated values; knows nothing of what the values are measured for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.errors import MeasureInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_KINDS = {str: "text", bool: "true or false", int: "a whole number", list: "a list"}


@dataclass(frozen=True, slots=True)
class Record:
    """One object of a file of JSON Lines.

    Attributes:
        path: The file.
        line: Line, from 1.
        values: Key to value.
    """

    path: Path
    line: int
    values: Mapping[str, Any]

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return the text under a key, or `default` where the key is missing and there is one.

        Raises:
            MeasureInvalid: It is missing without a default, or no text.
        """
        if default is not None and key not in self.values:
            return default
        return str(self._typed(key, str))

    def number(self, key: str) -> int:
        """Return the whole number under a key.

        Raises:
            MeasureInvalid: It is missing or no whole number.
        """
        return int(self._typed(key, int))

    def truth(self, key: str) -> bool:
        """Return whether the value under a key is true.

        Raises:
            MeasureInvalid: It is missing, or neither true nor false.
        """
        return bool(self._typed(key, bool))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the texts of the list under a key; none where the key is missing.

        Raises:
            MeasureInvalid: It is no list of texts.
        """
        if key not in self.values:
            return ()
        found = self._typed(key, list)
        if not all(isinstance(item, str) for item in found):
            raise self.fault(expected=f"{key}: a list of texts", came="another kind of item")
        return tuple(found)

    def fault(self, *, expected: str, came: str) -> MeasureInvalid:
        """Return the error that names this line."""
        return MeasureInvalid(self.path, line=self.line, expected=expected, came=came)

    def _typed(self, key: str, kind: type) -> Any:
        if key not in self.values:
            came = ", ".join(self.values) or "no key"
            raise self.fault(expected=f"a key {key}", came=came)
        value = self.values[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fault(expected=f"{key}: {_KINDS[kind]}", came=json.dumps(value)[:60])
        return value


def records(path: Path) -> Iterator[Record]:
    """Yield the objects of a file of JSON Lines; empty lines are passed over.

    Raises:
        MeasureInvalid: The file cannot be read, or a line is no JSON object.
    """
    for number, line in lines(path):
        try:
            values = json.loads(line)
        except ValueError as problem:
            raise MeasureInvalid(
                path, line=number, expected="one JSON object on each line", came=str(problem)
            ) from problem
        if not isinstance(values, dict):
            raise MeasureInvalid(path, line=number, expected="a JSON object", came=line.strip()[:60])
        yield Record(path, number, values)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is not blank.

    Raises:
        MeasureInvalid: The file cannot be read as UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "bytes that are not UTF-8"
        raise MeasureInvalid(path, expected="a file of UTF-8 text", came=str(reason)) from problem
