"""The text of a PDF, page by page: the one door to pypdf.

Lines are those of the text layer, counted within each page. Knows nothing of scanned pictures: a page
without a text layer has no lines.
"""

from __future__ import annotations

import io
import logging
import struct
import zlib

import pypdf
from pypdf.errors import DependencyError, PyPdfError

from edge_node.errors import DocumentUnreadable
from edge_node.knowledge import outline
from edge_node.knowledge.values import Page

# What pypdf lets through on a damaged file, beyond its own errors.
_BROKEN = (
    PyPdfError,
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def pages(data: bytes, *, file: str) -> tuple[Page, ...]:
    """Return the pages that have text, each with its number.

    Raises:
        DocumentUnreadable: It is damaged, encrypted, or has no text.
    """
    # Every small fault of a file would be a line without a file name; what matters is raised.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        found = _pages(data, file=file)
    except DependencyError as problem:
        raise _encrypted(file) from problem
    except _BROKEN as problem:
        raise DocumentUnreadable(
            file,
            expected="a whole PDF",
            came=f"a damaged one ({type(problem).__name__}: {problem})",
            hint="copy the file again, or print it to a new PDF",
        ) from problem
    if not found:
        raise DocumentUnreadable(
            file,
            expected="a PDF with text",
            came="one without; it may be a scan",
            hint="run it through text recognition first",
        )
    return found


def _pages(data: bytes, *, file: str) -> tuple[Page, ...]:
    reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise _encrypted(file)
    found = []
    for number, leaf in enumerate(reader.pages, start=1):
        # The text layer may hold halves of surrogate pairs, which neither a file nor an index can store.
        text = leaf.extract_text().encode("utf-8", "replace").decode("utf-8")
        lines = tuple(line.rstrip() for line in text.replace("\0", " ").split("\n"))
        if any(lines):
            found.append(Page(lines=lines, blocks=outline.plain(lines), number=number))
    return tuple(found)


def _encrypted(file: str) -> DocumentUnreadable:
    return DocumentUnreadable(
        file,
        expected="a PDF that opens without a password",
        came="an encrypted one",
        hint="save a copy without a password",
    )
