"""Documents cut into pieces that are found and cited as one.

Pure functions: headings open a piece, paragraphs, lists, tables and code stay whole where they fit, and
long sections overlap a little. Knows nothing of files, embeddings or indexes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_node.knowledge.cleaning import cleaned
from edge_node.knowledge.values import Chunk, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_node.knowledge.values import Block, Document, Page

RECIPE = "1"
"""Changes whenever the same file would be cut or cleaned differently, so that indexes are made anew."""

_SENTENCE_END = re.compile(r"[.!?;:][\"')\]]{0,3}[ \t]{1,3}")
_WORD_END = re.compile(r"[ \t](?![ \t])")


@dataclass(frozen=True, slots=True)
class Size:
    """How long chunks are, in characters; six make a word.

    Attributes:
        target: A chunk is closed before it grows beyond this.
        longest: A block longer than this is cut, at lines, or a single line at its sentences.
        least: A section shorter than this goes on into the next one.
        overlap: Of a long section, at most this much is said again at the start of the next chunk.
    """

    target: int = 900
    longest: int = 1300
    least: int = 200
    overlap: int = 200


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is never cut: neighbouring lines, or a part of one line that is too long.

    Attributes:
        kind: What the lines are.
        first: First line, from 1.
        last: Last line, inclusive.
        size: Characters.
        part: Where in its line a part begins and ends, or None for whole lines.
    """

    kind: Kind
    first: int
    last: int
    size: int
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the outline of a document a chunk stands.

    Attributes:
        stem: Name of the file without folders and suffix.
        titles: Depth and words of each heading above.
    """

    stem: str
    titles: tuple[tuple[int, str], ...] = ()

    def under(self, heading: Block) -> _Place:
        """Return the place below another heading."""
        above = tuple(title for title in self.titles if title[0] < heading.level)
        return replace(self, titles=(*above, (heading.level, heading.title)) if heading.title else above)

    @property
    def heading(self) -> str:
        """The headings above, joined."""
        return " > ".join(title for _, title in self.titles)


def chunks(document: Document, *, size: Size | None = None) -> tuple[Chunk, ...]:
    """Return the chunks of a document in order; every line that is not blank lies in at least one."""
    wanted = size or Size()
    stem = document.file.rpartition("/")[2].rpartition(".")[0]
    place = _Place(stem)
    found: list[Chunk] = []
    for page in document.pages:
        packing = _Packing(page, wanted, place)
        for block in page.blocks:
            packing.add(block)
        found.extend(packing.finished())
        place = packing.place
    return tuple(found)


class _Packing:
    """Fills chunks with the units of one page."""

    def __init__(self, page: Page, size: Size, place: _Place) -> None:
        self.place = place
        self._page = page
        self._size = size
        self._units: list[_Unit] = []
        self._fresh = 0
        self._chunks: list[Chunk] = []
        self._chunk_place = place

    def add(self, block: Block) -> None:
        """Take in the next block."""
        if block.kind is Kind.HEADING:
            self._open_section(block)
        # A long comment stands alone, so that it can be left out of what is searched and shown.
        alone = block.kind is Kind.COMMENT and _length(block, self._page.lines) > self._size.least
        if alone and self._written():
            self._make_room(self._size.target, overlap=False)
        for unit in _units(block, self._page.lines, self._size):
            if self._written():
                self._make_room(self._size.target if unit.part else unit.size, overlap=unit.part is None)
            self._append(unit)
            if unit.part:
                self._close(overlap=False)
        if alone and self._fresh:
            self._close(overlap=False)

    def _make_room(self, size: int, *, overlap: bool) -> None:
        """Close the chunk if `size` more would be too much, and drop the overlap if it still is."""
        if self._fresh and self._length() + size > self._size.target:
            self._close(overlap=overlap)
        if not self._fresh and self._length() + size > self._size.target:
            self._units = []

    def finished(self) -> list[Chunk]:
        """Return the chunks, once all blocks were added."""
        while self._fresh:
            self._close(overlap=False)
        return self._chunks

    def _open_section(self, heading: Block) -> None:
        if not self._fresh:
            self._units = []
        elif self._length() >= self._size.least:
            self._close(overlap=False)
        self.place = self.place.under(heading)

    def _append(self, unit: _Unit) -> None:
        if not self._written():
            self._chunk_place = self.place
        self._units.append(unit)
        self._fresh += 1

    def _length(self) -> int:
        return sum(unit.size for unit in self._units)

    def _written(self) -> bool:
        return any(unit.kind is not Kind.HEADING for unit in self._units)

    def _close(self, *, overlap: bool) -> None:
        """Make a chunk of what is held; headings at its end belong to what follows."""
        units, waiting = self._units, 0
        while self._written() and units[-1 - waiting].kind is Kind.HEADING:
            waiting += 1
        closed = units[: len(units) - waiting]
        self._chunks.append(_chunk(closed, self._page, self._chunk_place))
        kept = units[len(closed) :] or (self._overlap(closed) if overlap else [])
        self._units = list(kept)
        self._fresh = waiting

    def _overlap(self, closed: Sequence[_Unit]) -> Sequence[_Unit]:
        size, first = 0, len(closed)
        while first > 1 and closed[first - 1].kind is not Kind.HEADING:
            size += closed[first - 1].size
            if size > self._size.overlap:
                break
            first -= 1
        return closed[first:]


def _length(block: Block, lines: Sequence[str]) -> int:
    return sum(len(lines[number - 1]) + 1 for number in range(block.first, block.last + 1))


def _units(block: Block, lines: Sequence[str], size: Size) -> Iterator[_Unit]:
    """Give a block whole, or in runs of lines where it is too long."""
    total = _length(block, lines)
    if total <= size.longest:
        yield _Unit(block.kind, block.first, block.last, total)
        return
    piece = size.overlap if block.kind in {Kind.LIST, Kind.TEXT} else size.target // 2
    first, held = block.first, 0
    for number in range(block.first, block.last + 1):
        length = len(lines[number - 1]) + 1
        if held and held + length > piece:
            yield _Unit(block.kind, first, number - 1, held)
            first, held = number, 0
        if length > size.longest:
            yield from _parts(block.kind, number, lines[number - 1], size)
            first = number + 1
        else:
            held += length
    if held:
        yield _Unit(block.kind, first, block.last, held)


def _parts(kind: Kind, number: int, line: str, size: Size) -> Iterator[_Unit]:
    """Cut one line at the ends of sentences, else between words, else anywhere."""
    start = 0
    while start < len(line):
        end = min(len(line), start + size.target)
        if end < len(line):
            sentences = [found.end() for found in _SENTENCE_END.finditer(line, start + size.target // 2, end)]
            words = sentences or [found.end() for found in _WORD_END.finditer(line, start, end)]
            end = words[-1] if words else end
        if line[start:end].strip():
            yield _Unit(kind, number, number, end - start, part=(start, end))
        start = end


def _chunk(units: Sequence[_Unit], page: Page, place: _Place) -> Chunk:
    first, last = units[0].first, units[-1].last
    lines = list(page.lines[first - 1 : last])
    if units[-1].part:
        lines[-1] = lines[-1][slice(*units[-1].part)]
    text = "\n".join(lines)
    meta = units[0].kind is Kind.META or (
        units[0].kind is Kind.HEADING and page.lines[first - 1].rstrip() == "---"
    )
    context = (
        place.heading
        if place.stem in place.heading
        else " > ".join(filter(None, (place.stem, place.heading)))
    )
    return Chunk(
        first_line=first,
        last_line=last,
        text=text,
        heading=place.heading,
        context=context,
        body="" if all(unit.kind is Kind.COMMENT for unit in units) else cleaned(text, meta=meta),
        page=page.number,
    )
