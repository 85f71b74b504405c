"""Passages cut into spans that can be quoted, and quotations found again in their passage.

Pure functions over text and line numbers; knows nothing of questions, models or files on disk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.messages import Quotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.messages import Passage

_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"\s*(#{1,6}\s|=+\s*$|-{3,}\s*$)")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+\S")
_NUMBERING = re.compile(r"\s*\d{1,3}[.)]")
_ROW = re.compile(r"\s*\|.*\S")
_RULE = re.compile(r"[\s|:+=_*-]*$")
_ITEMS_APART = 2  # items may have an empty line between them
# A sentence ends at a mark that is followed by space and a capital, a digit, a quote or a bracket;
# "e.g. x", "i.e. x" and "v1. x" do not end one.
_SENTENCE_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bNo)(?<!\bFig)(?<!\b[A-Z])[.!?][\"')\]*_`]*(?=\s+[\"'(\[*_`<]*[A-Z0-9])"
)


@dataclass(frozen=True, slots=True)
class Span:
    """The smallest piece that is quoted: a sentence, a list item, a table row or a line of code.

    Attributes:
        passage: Index of its passage.
        text: The words with single spaces between them.
        first_line: First line in the file, from 1.
        last_line: Last line, inclusive.
        heading: Whether it is a heading, which is not quoted alone.
        item: Whether a list item begins here.
        row: Whether it is a row of a table.
    """

    passage: int
    text: str
    first_line: int
    last_line: int
    heading: bool = False
    item: bool = False
    row: bool = False

    def follows(self, other: Span, *, lines: int = 1) -> bool:
        """Return whether it comes at most `lines` lines after `other` in the same passage."""
        gap = self.first_line - other.last_line
        return self.passage == other.passage and 0 <= gap <= lines and not (self.heading or other.heading)


def spans_of(passage: Passage, *, index: int = 0) -> tuple[Span, ...]:
    """Return the spans of a passage in order; empty lines, fences and rules are no part of any."""
    spans: list[Span] = []
    block: list[tuple[int, str]] = []
    in_code = False

    def close() -> None:
        spans.extend(_sentences(block, index))
        block.clear()

    for number, line in enumerate(passage.text.split("\n"), start=passage.first_line):
        if _FENCE.match(line):
            close()
            in_code = not in_code
        elif not line.strip() or (_RULE.match(line) and not in_code):
            close()
        elif in_code or _ROW.match(line) or _HEADING.match(line):
            close()
            heading = not in_code and _HEADING.match(line) is not None
            row = not in_code and _ROW.match(line) is not None
            spans.append(Span(index, " ".join(line.split()), number, number, heading=heading, row=row))
        else:
            if _ITEM.match(line):
                close()
            block.append((number, line))
    close()
    return tuple(spans)


def quote(passage: Passage, *, text: str) -> Quotation | None:
    """Return `text` with the lines where it stands in `passage`, or None where it does not stand there.

    White space may differ, nothing else; the words given back are those of the passage.
    """
    wanted = text.split()
    if not wanted:
        return None
    words = [
        (word, number)
        for number, line in enumerate(passage.text.split("\n"), start=passage.first_line)
        if not _FENCE.match(line)
        for word in line.split()
    ]
    for start in range(len(words) - len(wanted) + 1):
        found = words[start : start + len(wanted)]
        if all(word == want for (word, _), want in zip(found, wanted, strict=True)):
            return Quotation(" ".join(wanted), passage.file, found[0][1], found[-1][1], passage.page)
    return None


def run_text(spans: Sequence[Span]) -> str:
    """Return the words of neighbouring spans as one text."""
    return " ".join(span.text for span in spans)


def lists_of(spans: Sequence[Span]) -> list[tuple[Span, ...]]:
    """Return the lists of at least two items among the spans of a passage, each with all it says."""
    lists: list[list[Span]] = []
    for span in spans:
        goes_on = bool(lists) and span.follows(lists[-1][-1], lines=_ITEMS_APART if span.item else 1)
        if goes_on and not span.row:
            lists[-1].append(span)
        elif span.item:
            lists.append([span])
    return [tuple(found) for found in lists if sum(span.item for span in found) > 1]


def _sentences(block: list[tuple[int, str]], index: int) -> list[Span]:
    """Return the sentences of the lines of one paragraph or list item."""
    text, starts = "", []
    for number, line in block:
        starts.append((len(text), number))
        text += " ".join(line.split()) + " "
    spans, begin = [], 0
    marks = [
        found.end() for found in _SENTENCE_END.finditer(text) if not _NUMBERING.fullmatch(text[: found.end()])
    ]
    for end in [*marks, len(text)]:
        sentence = text[begin:end].strip()
        if sentence:
            first = begin + len(text[begin:end]) - len(text[begin:end].lstrip())
            last = first + len(sentence) - 1
            item = begin == 0 and _ITEM.match(sentence) is not None
            lines = _line_at(starts, first), _line_at(starts, last)
            spans.append(Span(index, sentence, *lines, item=item))
        begin = end
    return spans


def _line_at(starts: list[tuple[int, int]], position: int) -> int:
    return next(number for start, number in reversed(starts) if start <= position)
