"""The visible text of an HTML file, line by line as it stands in the source.

Line n of what comes out is what a browser shows of line n of the source, so a citation points at the line
an editor opens. The one module that knows HTML; it rests on the standard library's parser because that one
tells the line of every piece of text.
"""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser

from edge_node.errors import DocumentUnreadable
from edge_node.knowledge.values import Block, Kind, Page

_HIDDEN = frozenset({"script", "style", "template", "svg"})
_HEADINGS = {"title": 0, "h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_BREAKS = frozenset(
    {"article", "aside", "blockquote", "dd", "div", "dl", "dt", "figure", "footer", "form", "header", "li"}
    | {"main", "nav", "ol", "p", "pre", "section", "table", "tr", "ul"}
)
_KINDS = {"li": Kind.LIST, "tr": Kind.TABLE, "pre": Kind.CODE}


def page(source: str, *, file: str) -> Page:
    """Return the visible text of HTML with its headings, paragraphs, lists, tables and code.

    Raises:
        DocumentUnreadable: The parser gives the file up.
    """
    parser = _Text(source.count("\n") + 1)
    try:
        parser.feed(source)
        parser.close()
    except AssertionError as problem:
        # The standard library's way to say that a declaration cannot be parsed.
        raise DocumentUnreadable(
            file, expected="HTML", came=f"a declaration that is none ({problem})"
        ) from problem
    return Page(lines=parser.lines(), blocks=parser.blocks())


class _Text(HTMLParser):
    def __init__(self, line_count: int) -> None:
        super().__init__(convert_charrefs=False)
        self._pieces: list[list[str]] = [[] for _ in range(line_count)]
        self._breaks: dict[int, Kind] = {}
        self._headings: list[tuple[int, int, int, str]] = []
        self._open: tuple[str, int, list[str]] | None = None
        self._hidden = 0
        self._pre = 0
        self._spaced: set[int] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        line = self.getpos()[0]
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _HEADINGS:
            self._breaks[line] = Kind.TEXT
            self._open = (tag, line, [])
        elif tag in _BREAKS:
            self._breaks[line] = _KINDS.get(tag, Kind.TEXT)
            self._pre += tag == "pre"
        if tag == "li":
            self._write(line, "- ")
        elif tag in {"td", "th"}:
            self._write(line, " | ")
        elif tag in _BREAKS or tag == "br":
            self._write(line, " ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # A browser ignores the slash except on elements that have no content anyway.
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        line = self.getpos()[0]
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "pre":
            self._pre = max(0, self._pre - 1)
        elif self._open and tag == self._open[0]:
            words = " ".join("".join(self._open[2]).split())
            if words:
                self._headings.append((self._open[1], line, _HEADINGS[tag], words))
            self._open = None
            self._breaks.setdefault(line + 1, Kind.TEXT)
            self._write(line, " ")

    def handle_data(self, data: str) -> None:
        first = self.getpos()[0]
        for offset, piece in enumerate(data.split("\n")):
            self._write(first + offset, piece)
        if self._open and not self._hidden:
            self._open[2].append(data)

    def handle_entityref(self, name: str) -> None:
        self._character(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._character(f"&#{name};")

    def _character(self, reference: str) -> None:
        text = " ".join(unescape(reference).split()) or " "
        self._write(self.getpos()[0], text)
        if self._open and not self._hidden:
            self._open[2].append(text)

    def _write(self, line: int, text: str) -> None:
        if not self._hidden and text:
            self._pieces[line - 1].append(text)
            if self._pre:
                self._spaced.add(line)

    def lines(self) -> tuple[str, ...]:
        """Return what is seen of each line of the source; only preformatted ones keep their spaces."""
        texts = ("".join(pieces).rstrip() for pieces in self._pieces)
        return tuple(
            text if line in self._spaced else " ".join(text.split())
            for line, text in enumerate(texts, start=1)
        )

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks in order of lines; one begins where an element that breaks the line does."""
        lines = self.lines()
        titled = {first: (last, level, words) for first, last, level, words in self._headings}
        blocks: list[Block] = []
        start, index = 0, 1
        kind = Kind.TEXT
        while index <= len(lines):
            ends = not lines[index - 1].strip() or index in self._breaks or index in titled
            if ends and start:
                blocks.append(Block(kind, start, index - 1))
                start = 0
            kind = self._breaks.get(index, kind)
            if index in titled:
                last, level, words = titled[index]
                blocks.append(Block(Kind.HEADING, index, last, level=level, title=words))
                index = last
            elif lines[index - 1].strip() and not start:
                start = index
            index += 1
        if start:
            blocks.append(Block(kind, start, len(lines)))
        return tuple(blocks)
