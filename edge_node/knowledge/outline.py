"""Where headings, paragraphs, lists, tables and code lie in the lines of a text.

Pure functions for Markdown, reStructuredText and plain text; knows nothing of files or chunks. Nothing is
rejected: what is not recognised is a paragraph, and every line that is not blank lies in a block.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_node.knowledge.cleaning import cleaned
from edge_node.knowledge.values import Block, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*")
_LIST = re.compile(r"[ \t]*(?:[-*+]|\d{1,4}[.)]|#\.)[ \t]+\S")
_TABLE = re.compile(r"[ \t]*[|+]|[^|]*[^|\s][ \t]*\|[ \t]*[^|\s]")
_META_TITLE = re.compile(r"title:[ \t]*(\S.*)")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}[ \t]*")
_NUMBERED = re.compile(r"(\d+(?:\.\d+){0,5})\.?[ \t]+[A-Z\u00c0-\u00de]")
_LONGEST_META = 2000
_LONGEST_HEADING = 80
_LONGEST_ATX = 500


def markdown(lines: Sequence[str]) -> tuple[Block, ...]:
    """Return the blocks of Markdown, front matter and comments among them."""
    blocks, start = _front_matter(lines)
    index = start
    while index < len(lines):
        line = lines[index]
        heading = _atx(line)
        if heading:
            blocks.append(_heading(index, index, level=len(heading[1]), title=heading[2]))
            index += 1
        elif _FENCE.match(line):
            end = _fence_end(lines, index)
            blocks.append(Block(Kind.CODE, index + 1, end + 1))
            index = end + 1
        elif line.lstrip().startswith("<!--"):
            end = _first(lines, index, lambda text: "-->" in text)
            blocks.append(Block(Kind.COMMENT, index + 1, end + 1))
            index = end + 1
        else:
            index = _markdown_paragraph(lines, index, blocks)
    return tuple(blocks)


def restructured(lines: Sequence[str]) -> tuple[Block, ...]:
    """Return the blocks of reStructuredText; levels follow the order in which underlines appear."""
    blocks: list[Block] = []
    levels: list[tuple[str, bool]] = []
    index = 0
    while index < len(lines):
        heading = _underlined(lines, index)
        if heading:
            style, first_text, last = heading
            if style not in levels:
                levels.append(style)
            level = levels.index(style) + 1
            blocks.append(_heading(index, last, level=level, title=lines[first_text]))
            index = last + 1
        elif blocks and _opens_literal(lines, blocks[-1]) and lines[index].startswith((" ", "\t")):
            end = _first(lines, index, lambda text: bool(text) and not text[0].isspace(), before=True)
            blocks.append(Block(Kind.CODE, index + 1, _last_written(lines, index, end) + 1))
            index = end + 1
        else:
            index = _paragraph(lines, index, blocks, stop=lambda at: _underlined(lines, at) is not None)
    return tuple(blocks)


def plain(lines: Sequence[str]) -> tuple[Block, ...]:
    """Return the blocks of plain text: paragraphs, and lines that stand alone and look like headings."""
    blocks: list[Block] = []
    index = 0
    while index < len(lines):
        heading = _underlined(lines, index)
        if heading:
            blocks.append(_heading(index, heading[2], level=1, title=lines[heading[1]]))
            index = heading[2] + 1
            continue
        level = _plain_level(lines, index)
        if level:
            blocks.append(_heading(index, index, level=level, title=lines[index]))
            index += 1
        else:
            index = _paragraph(lines, index, blocks, stop=lambda at: _underlined(lines, at) is not None)
    return tuple(blocks)


def log(lines: Sequence[str]) -> tuple[Block, ...]:
    """Return the blocks of a log: each line stands for itself."""
    return tuple(
        Block(Kind.LIST, number, number) for number, line in enumerate(lines, start=1) if line.strip()
    )


def _atx(line: str) -> re.Match[str] | None:
    # Nobody writes a heading that long, and the pattern takes quadratic time over long runs of spaces.
    return _ATX.fullmatch(line) if len(line) <= _LONGEST_ATX else None


def _heading(first: int, last: int, *, level: int, title: str) -> Block:
    return Block(Kind.HEADING, first + 1, last + 1, level=level, title=cleaned(title))


def _front_matter(lines: Sequence[str]) -> tuple[list[Block], int]:
    if not lines or lines[0].rstrip() != "---":
        return [], 0
    end = next(
        (i for i in range(1, min(len(lines), _LONGEST_META)) if lines[i].rstrip() in {"---", "..."}), 0
    )
    if not end:
        return [], 0
    blocks: list[Block] = []
    title = next((found[1] for line in lines[1:end] if (found := _META_TITLE.fullmatch(line.rstrip()))), "")
    first = 0
    for index in range(1, end + 1):
        following = lines[index + 1] if index < end else ""
        if index == end or (following[:1].strip() and following[0] not in "-#" and not lines[index].strip()):
            # The title counts for the whole document, so its part of the front matter is a heading.
            opening = (
                Block(Kind.HEADING, 1, index + 1, title=cleaned(title.strip("\"'")))
                if first == 0 and title
                else None
            )
            blocks.append(opening or Block(Kind.META, first + 1, index + 1))
            first = index + 1
    return blocks, end + 1


def _fence_end(lines: Sequence[str], index: int) -> int:
    found = _FENCE.match(lines[index])
    mark = found[1] if found else "```"
    closing = re.compile(rf"[ \t]*{re.escape(mark[0])}{{{len(mark)},}}[ \t]*")
    return _first(lines, index + 1, lambda text: closing.fullmatch(text) is not None)


def _first(lines: Sequence[str], start: int, matches: Callable[[str], bool], *, before: bool = False) -> int:
    """Return the first index from `start` that matches, or the one before it; the last line without one."""
    for index in range(start, len(lines)):
        if matches(lines[index]):
            return index - 1 if before else index
    return len(lines) - 1


def _last_written(lines: Sequence[str], first: int, last: int) -> int:
    return max((index for index in range(first, last + 1) if lines[index].strip()), default=first)


def _markdown_paragraph(lines: Sequence[str], index: int, blocks: list[Block]) -> int:
    underline = (
        _SETEXT.fullmatch(lines[index + 1]) if index + 1 < len(lines) and lines[index].strip() else None
    )
    # A rule below a list item, a row of a table or a long paragraph underlines nothing.
    if (
        underline
        and len(lines[index]) <= _LONGEST_ATX
        and not _LIST.match(lines[index])
        and "|" not in lines[index]
    ):
        level = 1 if underline[1][0] == "=" else 2
        blocks.append(_heading(index, index + 1, level=level, title=lines[index]))
        return index + 2
    return _paragraph(lines, index, blocks, stop=lambda at: _interrupts(lines[at]))


def _interrupts(line: str) -> bool:
    return bool(_atx(line) or _FENCE.match(line) or line.lstrip().startswith("<!--"))


def _paragraph(lines: Sequence[str], index: int, blocks: list[Block], *, stop: Callable[[int], bool]) -> int:
    """Append the block of neighbouring written lines at `index` and return the index after it."""
    if not lines[index].strip():
        return index + 1
    end = index
    while end + 1 < len(lines) and lines[end + 1].strip() and not stop(end + 1):
        end += 1
    blocks.append(Block(_kind(lines[index : end + 1]), index + 1, end + 1))
    return end + 1


def _kind(lines: Sequence[str]) -> Kind:
    if len(lines) > 1 and all(_TABLE.match(line) for line in lines[:2]):
        return Kind.TABLE
    if any(_LIST.match(line) for line in lines):
        return Kind.LIST
    return Kind.CODE if all(line.startswith(("    ", "\t")) for line in lines) else Kind.TEXT


def _underlined(lines: Sequence[str], index: int) -> tuple[tuple[str, bool], int, int] | None:
    """Return (mark, overlined), index of the title and last index of a heading at `index`, or None."""
    rule = _UNDERLINE.fullmatch(lines[index])
    text = index + 1 if rule else index
    if text + 1 >= len(lines) or not lines[text].strip() or len(lines[text]) > 2 * _LONGEST_HEADING:
        return None
    below = _UNDERLINE.fullmatch(lines[text + 1])
    if not below or _UNDERLINE.fullmatch(lines[text]):
        return None
    if rule and rule[1] != below[1]:
        return None
    # A rule much shorter than the line above it separates; it does not underline.
    if len(lines[text + 1].rstrip()) < len(lines[text].strip()) - 2:
        return None
    return (below[1], rule is not None), text, text + 1


def _opens_literal(lines: Sequence[str], block: Block) -> bool:
    last = lines[block.last - 1].strip()
    return last.endswith("::") or last.startswith((".. code", ".. literal", ".. sourcecode", ":caption:"))


def _plain_level(lines: Sequence[str], index: int) -> int:
    """Return the depth of a line that stands alone and is numbered or in capitals; 0 for any other."""
    line = lines[index].strip()
    alone = (index == 0 or not lines[index - 1].strip()) and (
        index + 1 == len(lines) or not lines[index + 1].strip()
    )
    if not alone or not line or len(line) > _LONGEST_HEADING or line[-1] in ".,;:?!":
        return 0
    numbered = _NUMBERED.match(line)
    if numbered:
        return numbered[1].count(".") + 1
    return 1 if line.isupper() and sum(character.isalpha() for character in line) > 3 else 0  # noqa: PLR2004
