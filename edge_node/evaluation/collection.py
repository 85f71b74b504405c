"""A collection for measuring retrieval: documents, queries, and which document is right for which.

Reads folders in BEIR's layout: corpus.jsonl, queries.jsonl, and qrels.tsv or qrels/*.tsv. Knows nothing of
how documents are indexed or searched.

Source: Thakur et al., BEIR, NeurIPS 2021 Datasets and Benchmarks; its repository tells the layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.errors import MeasureInvalid
from edge_node.evaluation.records import lines, records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class TextDocument:
    """A document of a collection, as a file of plain text would hold it.

    Attributes:
        id: Its identifier in the collection.
        title: Its title; may be empty.
        text: Its words.
        node: Name that it is indexed under.
    """

    id: str
    title: str
    text: str
    node: str = "collection"

    @property
    def file(self) -> str:
        """The identifier, with the suffix of plain text."""
        return f"{self.id}.txt"

    def read(self) -> bytes:
        """Return title and words in UTF-8, a blank line between them."""
        return "\n\n".join(filter(None, (self.title, self.text))).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Collection:
    """What retrieval is measured by.

    Attributes:
        documents: The documents, each identifier once.
        queries: Identifier to words, only those with a right document.
        relevance: Query to document to grade, 0 for one that was judged wrong.
    """

    documents: tuple[TextDocument, ...]
    queries: Mapping[str, str]
    relevance: Mapping[str, Mapping[str, int]]


def read_collection(folder: Path) -> Collection:
    """Return the collection that lies in a folder.

    Raises:
        MeasureInvalid: A file is missing, or a line of it cannot be used.
    """
    documents: dict[str, TextDocument] = {}
    for record in records(folder / "corpus.jsonl"):
        document = TextDocument(record.text("_id"), record.text("title", default=""), record.text("text"))
        if document.id in documents:
            raise record.fault(expected="each _id once", came=f"{document.id} again")
        documents[document.id] = document
    asked = {record.text("_id"): record.text("text") for record in records(folder / "queries.jsonl")}
    relevance = _relevance(folder)
    queries = {
        query: text
        for query, text in asked.items()
        if any(grade > 0 for grade in relevance.get(query, {}).values())
    }
    if not queries:
        raise MeasureInvalid(folder, expected="at least one query with a right document", came="none")
    return Collection(tuple(documents.values()), queries, relevance)


def _relevance(folder: Path) -> dict[str, dict[str, int]]:
    files = sorted((folder / "qrels").glob("*.tsv")) or [folder / "qrels.tsv"]
    found: dict[str, dict[str, int]] = {}
    for file in files:
        for number, line in lines(file):
            cells = line.split("\t")
            grade = _grade(cells)
            if grade is not None:
                found.setdefault(cells[0], {})[cells[1]] = grade
            elif number > 1:  # the first line may be a heading
                expected = "query, document and a whole number, parted by tabs"
                raise MeasureInvalid(file, line=number, expected=expected, came=line[:60])
    return found


def _grade(cells: list[str]) -> int | None:
    """Return the grade of a line, or None where it holds none."""
    if len(cells) < _COLUMNS:
        return None
    try:
        return int(cells[2])
    except ValueError:
        return None
