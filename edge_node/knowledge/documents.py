"""Files of a manual, read into lines and blocks.

Knows which reader a file needs, how large one may be and how its bytes become text; knows nothing of
chunks or of how files are found.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from edge_node.errors import DocumentUnreadable
from edge_node.knowledge import html, outline, pdf
from edge_node.knowledge.values import Document, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_node.knowledge.values import Block

LIMIT_BYTES = 32 * 1024 * 1024
_OUTLINES: dict[str, Callable[[Sequence[str]], tuple[Block, ...]]] = {
    ".md": outline.markdown,
    ".markdown": outline.markdown,
    ".rst": outline.restructured,
    ".txt": outline.plain,
    ".log": outline.log,
}
LOG_SUFFIX = ".log"
_HTML = frozenset({".html", ".htm"})
SUFFIXES = frozenset({*_OUTLINES, *_HTML, ".pdf"})
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def document(data: bytes, *, file: str) -> Document:
    """Return what the bytes of `file` say, read as its suffix tells.

    Raises:
        DocumentUnreadable: It is empty, too large, binary, damaged, or of a kind that is not read.
    """
    suffix = file[file.rfind(".") :].lower() if "." in file else ""
    if suffix not in SUFFIXES:
        kinds = ", ".join(sorted(kind[1:] for kind in SUFFIXES))
        raise DocumentUnreadable(file, expected=f"one of {kinds}", came=f"{suffix or 'no suffix'}")
    if len(data) > LIMIT_BYTES:
        raise too_large(file, size_bytes=len(data))
    if suffix == ".pdf":
        return Document(file, pdf.pages(data, file=file))
    text, note = _text(data, file=file)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if suffix in _HTML:
        page = html.page(text, file=file)
    else:
        lines = tuple(text.removesuffix("\n").split("\n"))
        page = Page(lines=lines, blocks=_OUTLINES[suffix](lines))
    if not any(line.strip() for line in page.lines):
        raise DocumentUnreadable(file, expected="text", came="an empty file")
    return Document(file, (page,), note)


def too_large(file: str, *, size_bytes: int) -> DocumentUnreadable:
    """Return the error for a file over the limit."""
    return DocumentUnreadable(
        file,
        expected=f"at most {LIMIT_BYTES // 1024**2} MiB",
        came=f"{size_bytes / 1024**2:.1f} MiB",
        hint="split the manual",
    )


def _text(data: bytes, *, file: str) -> tuple[str, str]:
    """Return text and a note on its encoding: UTF-8, UTF-16 with its mark, or else cp1252."""
    if data.startswith(_UTF16):
        try:
            return data.decode("utf-16"), ""
        except UnicodeDecodeError as problem:
            raise DocumentUnreadable(file, expected="text in UTF-16", came=problem.reason) from problem
    if b"\0" in data:
        raise DocumentUnreadable(file, expected="text", came="a binary file")
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as problem:
        place = f"byte {data[problem.start]:#04x} at offset {problem.start}"
    try:
        return data.decode("cp1252"), f"not UTF-8 ({place}); read as Windows-1252"
    except UnicodeDecodeError as problem:
        raise DocumentUnreadable(
            file, expected="text in UTF-8", came=place, hint="save it again as UTF-8"
        ) from problem
