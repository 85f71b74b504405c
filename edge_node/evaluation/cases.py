"""Questions with the places that answer them, and whether a quotation stands in such a place.

Reads JSON Lines whose gold places are character offsets into the manuals' files. Knows nothing of how an
answer is found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.errors import MeasureInvalid
from edge_node.evaluation.records import Record, records

if TYPE_CHECKING:
    from pathlib import Path

_WORD = re.compile(r"\w+")
_SAME = 0.5


@dataclass(frozen=True, slots=True)
class Gold:
    """The place that answers a question.

    Attributes:
        file: Path relative to the folder of the manuals.
        start: First character.
        end: The character after the last one.
        text: What stands between them.
        also_in: Other files that say the same, somewhere and in their own words.
    """

    file: str
    start: int
    end: int
    text: str
    also_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One question.

    Attributes:
        line: Line of its file, from 1.
        question: What is asked.
        gold: The place that answers it; None where the manuals do not tell.
    """

    line: int
    question: str
    gold: Gold | None


class Manuals:
    """The files of the manuals as text, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts: dict[str, str] = {}

    def text(self, file: str) -> str:
        """Return what stands in a file, as character offsets count it.

        Raises:
            OSError: It cannot be read.
            UnicodeDecodeError: It is not UTF-8.
        """
        if file not in self._texts:
            # Offsets count a carriage return as a character, which a text mode would take away.
            self._texts[file] = (self._folder / file).read_bytes().decode("utf-8")
        return self._texts[file]

    def tells(self, gold: Gold, *, file: str, first_line: int, last_line: int, text: str) -> bool:
        """Return whether words cited from lines of a file stand in the place that answers.

        In the gold file they must share at least one character with it; in a file that says the same
        they must hold half of its words.
        """
        if file in gold.also_in:
            wanted = _WORD.findall(gold.text.casefold())
            held = set(_WORD.findall(text.casefold()))
            return sum(word in held for word in wanted) >= _SAME * len(wanted)
        if file != gold.file:
            return False
        start, end = self._place(file, first_line, last_line, text)
        return start < gold.end and gold.start < end

    def _place(self, file: str, first_line: int, last_line: int, text: str) -> tuple[int, int]:
        """Return where the words stand: exactly where they are found, else the whole of their lines."""
        whole = self.text(file)
        lines = whole.split("\n")
        begin = sum(len(line) + 1 for line in lines[: first_line - 1])
        end = begin + sum(len(line) + 1 for line in lines[first_line - 1 : last_line])
        pattern = r"\s+".join(re.escape(word) for word in text.split())
        found = re.compile(pattern).search(whole, begin, end) if pattern else None
        return found.span() if found else (begin, end)


def read_cases(path: Path, *, manuals: Manuals) -> tuple[Case, ...]:
    """Return the questions of a file of JSON Lines.

    Raises:
        MeasureInvalid: A line cannot be used, or names a place that is not in the manuals.
    """
    cases = tuple(_case(record, manuals) for record in records(path))
    if not cases:
        raise MeasureInvalid(path, expected="at least one question", came="none")
    return cases


def _case(record: Record, manuals: Manuals) -> Case:
    question = record.text("question")
    if not question.strip():
        raise record.fault(expected="question: some words", came="none")
    if not record.truth("answerable"):
        return Case(record.line, question, None)
    file, start, end = record.text("gold_file"), record.number("gold_start"), record.number("gold_end")
    try:
        text = manuals.text(file)
    except (OSError, UnicodeDecodeError) as problem:
        raise record.fault(
            expected="gold_file: a file of UTF-8 text in the folder of the manuals", came=file
        ) from problem
    if not 0 <= start < end <= len(text):
        expected = f"gold_start below gold_end, both within the {len(text)} characters of {file}"
        raise record.fault(expected=expected, came=f"{start} and {end}")
    return Case(record.line, question, Gold(file, start, end, text[start:end], record.texts("also_in")))
