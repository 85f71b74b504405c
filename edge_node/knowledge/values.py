"""What knowledge is made of: documents, their pages and blocks, and the chunks that are searched.

Frozen dataclasses; knows nothing of file formats, embeddings or where an index is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a block of lines is."""

    HEADING = "heading"
    TEXT = "text"
    LIST = "list"
    TABLE = "table"
    CODE = "code"
    META = "meta"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring lines that belong together.

    Attributes:
        kind: What they are.
        first: First line of the page, from 1.
        last: Last line, inclusive.
        level: Depth of a heading, from 1; 0 for the title of the document and for all other kinds.
        title: The words of a heading, without its marks; empty for all other kinds.
    """

    kind: Kind
    first: int
    last: int
    level: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Lines as a person sees them on opening the file.

    Attributes:
        lines: The lines without their ends; line n is `lines[n - 1]`.
        blocks: Every line that is not blank lies in at least one, in order of lines.
        number: Page of a PDF, from 1; None where the file has no pages.
    """

    lines: tuple[str, ...]
    blocks: tuple[Block, ...]
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One file of a manual, read.

    Attributes:
        file: Path relative to the node's folder, with forward slashes.
        pages: One for a file of text, one for each page of a PDF.
        note: What a person should know of how it was read; may be empty.
    """

    file: str
    pages: tuple[Page, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document that is found and cited as one.

    Attributes:
        first_line: First line, from 1.
        last_line: Last line, inclusive.
        text: Exactly these lines, joined by line feeds; of a line too long for one chunk, an exact part.
        heading: Headings above it, joined by " > "; may be empty.
        context: File name and headings, as they are searched.
        body: The text as it is searched: without marks, link targets and comments; may be empty.
        page: Page of a PDF, from 1, or None.
    """

    first_line: int
    last_line: int
    text: str
    heading: str
    context: str
    body: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as it lies in the index.

    Attributes:
        id: Its number, never given twice.
        node: Node whose manual it belongs to.
        file: Path relative to the node's folder.
        page: Page of a PDF, from 1, or None.
        first_line: First line, from 1.
        last_line: Last line, inclusive.
        heading: Headings above it.
        text: The exact text.
    """

    id: int
    node: str
    file: str
    page: int | None
    first_line: int
    last_line: int
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is to go into the index.

    Attributes:
        node: Name of the node.
        file: Path relative to the node's folder.
        digest: What tells whether it must be read again.
        note: What a person should know of how it was read.
        chunks: Its chunks.
    """

    node: str
    file: str
    digest: str
    note: str
    chunks: tuple[Chunk, ...]
