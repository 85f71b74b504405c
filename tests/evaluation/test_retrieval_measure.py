from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_node.errors import MeasureInvalid
from edge_node.evaluation.collection import read_collection
from edge_node.evaluation.retrieval import measure_retrieval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class HashedWords:
    """Bag of hashed words, unit length."""

    name = "hashed-words"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.full((len(texts), 64), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[row, zlib.crc32(word.encode()) % 64] += 1.0
        normed: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return normed


class Told:
    """Progress that remembers which work began."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def start(self, label: str, total: int) -> None:
        del total
        self.begun.append(label)

    def advance(self, done: int) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...


def write(folder: Path, **files: Sequence[Any] | str) -> Path:
    for name, content in files.items():
        lines = content if isinstance(content, str) else "".join(json.dumps(line) + "\n" for line in content)
        (folder / name.replace("__", ".")).write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = [
        {"_id": "wing/1", "title": "wings", "text": "the lift of a thin wing in a slipstream"},
        {"_id": "heat#2", "title": "", "text": "conduction of heat through a composite slab"},
        {"_id": "3", "text": "flutter of a panel at supersonic speed"},
    ]
    queries = [
        {"_id": "q1", "text": "heat conduction in slabs"},
        {"_id": "q2", "text": "lift of wings"},
        {"_id": "q3", "text": "nobody judged this"},
    ]
    qrels = "query-id\tcorpus-id\tscore\nq1\theat#2\t2\nq1\t3\t0\nq2\twing/1\t1\tmore\nq2\t3\t1\n"
    return write(tmp_path, corpus__jsonl=documents, queries__jsonl=queries, qrels__tsv=qrels)


def test_documents_are_found_as_the_service_finds_passages(folder: Path, tmp_path: Path) -> None:
    progress = Told()
    figures = measure_retrieval(
        read_collection(folder), folder=tmp_path / "index", embedder=HashedWords(), progress=progress
    )
    assert (figures.documents, figures.queries, figures.embedded) == (3, 2, 3)
    assert figures.ndcg_at_10 > 0.9
    assert (figures.recall_at_10, figures.recall_at_100) == (1.0, 1.0)
    assert 0 < figures.ms_p50 <= figures.ms_p95
    assert progress.begun[-1] == "searching"


def test_a_second_run_embeds_nothing_and_a_changed_document_alone(folder: Path, tmp_path: Path) -> None:
    def run() -> int:
        return measure_retrieval(
            read_collection(folder), folder=tmp_path / "index", embedder=HashedWords(), progress=Told()
        ).embedded

    assert (run(), run()) == (3, 0)
    corpus = folder / "corpus.jsonl"
    corpus.write_text(corpus.read_text(encoding="utf-8").replace("thin", "thick"), encoding="utf-8")
    assert run() == 1


def test_right_answers_may_lie_in_a_folder_of_their_own(folder: Path) -> None:
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "test.tsv")
    collection = read_collection(folder)
    assert list(collection.queries) == ["q1", "q2"]
    assert collection.relevance["q1"] == {"heat#2": 2, "3": 0}


@pytest.mark.parametrize(
    ("file", "line", "reason"),
    [
        (
            "corpus.jsonl",
            '{"_id": "3", "text": "again"}',
            "corpus.jsonl:4: expected each _id once, came 3 again",
        ),
        ("corpus.jsonl", '{"_id": 7, "text": "x"}', "corpus.jsonl:4: expected _id: text, came 7"),
        ("queries.jsonl", '{"_id": "q4"}', "queries.jsonl:4: expected a key text, came _id"),
        ("qrels.tsv", "q1 3 1", "qrels.tsv:6: expected query, document and a whole number"),
        ("qrels.tsv", "q1\t3\thigh", "qrels.tsv:6: expected query, document and a whole number"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(folder: Path, file: str, line: str, reason: str) -> None:
    with (folder / file).open("a", encoding="utf-8") as written:
        written.write(line + "\n")
    with pytest.raises(MeasureInvalid) as caught:
        read_collection(folder)
    assert reason in str(caught.value)


def test_a_missing_file_and_a_collection_without_right_answers_are_named(folder: Path) -> None:
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n", encoding="utf-8")
    with pytest.raises(MeasureInvalid, match="at least one query"):
        read_collection(folder)
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(MeasureInvalid, match=r"corpus\.jsonl: expected a file"):
        read_collection(folder)
