"""`edge-node eval` over tiny data, with an embedder of hashed words and a model that says nothing."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import structlog
from click.testing import CliRunner, Result

from edge_node.cli import edge_node
from edge_node.cli import eval as command
from edge_node.errors import MeasureInvalid
from edge_node.messages import Generation
from edge_node.runtime.wiring import Models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_node.messages import Grammar, Turn

MANUAL = "# Pump\n\nGrease the bearing every 200 hours.\n\n## Seal\n\nThe seal may lose ten drops.\n"


class HashedWords:
    """Bag of hashed words, unit length."""

    name = "hashed-words"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.full((len(texts), 256), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[row, zlib.crc32(word.encode()) % 256] += 1.0
        normed: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return normed


class SilentModel:
    """A language model that writes nothing."""

    context = 2048

    def count(self, turns: Sequence[Turn]) -> int:
        return len(turns)

    def prepare(self, system: Turn) -> None:
        """Nothing has to be read."""

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        check: Callable[[], None] | None = None,
    ) -> Generation:
        del check
        del turns, grammar, max_tokens
        return Generation("", 0, 0, 0, 0, complete=False, log_probability=0.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command, "load_embedder", lambda *_, **__: HashedWords())
    monkeypatch.setattr(command, "load_models", lambda *_, **__: Models(SilentModel(), HashedWords()))
    manual = tmp_path / "manuals" / "pump"
    manual.mkdir(parents=True)
    (manual / "pump.md").write_text(MANUAL, encoding="utf-8")
    start = MANUAL.index("every 200 hours")
    place = {"gold_file": "pump/pump.md", "gold_start": start, "gold_end": start + 15}
    cases = [
        {"question": "how often do I grease the bearing", "answerable": True, **place},
        {"question": "how many drops may the seal lose", "answerable": True, **place},
        {"question": "who won the football match", "answerable": False},
    ]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    (tmp_path / "cases.jsonl").write_text(lines, encoding="utf-8")
    yield tmp_path
    structlog.reset_defaults()


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(edge_node, ["eval", *map(str, arguments)])
    if isinstance(result.exception, MeasureInvalid):
        raise result.exception
    return result


def test_answers_are_counted_by_where_the_quotations_stand(folder: Path) -> None:
    result = run("answers", folder / "cases.jsonl", "--manual", folder / "manuals", "--json")
    figures = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (figures["cases"], figures["answerable"], figures["unanswerable"]) == (3, 2, 1)
    assert (figures["found"], figures["first"]) == (0.5, 0.5)
    assert (figures["declined"], figures["wrongly_declined"]) == (1.0, 0.0)
    assert figures["retrieved"] == 1.0
    assert "answering" in result.stderr


def test_verbose_tells_each_question_with_its_quotations(folder: Path) -> None:
    text = run("answers", folder / "cases.jsonl", "--manual", folder / "manuals", "--verbose").stdout
    assert "1: how often do I grease the bearing" in text
    assert "  + pump/pump.md:3  Grease the bearing every 200 hours." in text
    assert "  - pump/pump.md:7  The seal may lose ten drops." in text
    assert "  declined" in text
    assert "wrongly_declined" in text
    outcomes = json.loads(
        run("answers", folder / "cases.jsonl", "--manual", folder / "manuals", "--verbose", "--json").stdout
    )["outcomes"]
    assert [outcome["line"] for outcome in outcomes] == [1, 2, 3]
    assert outcomes[0]["quotations"][0]["hit"]


def test_what_was_indexed_is_kept_for_the_next_time(folder: Path) -> None:
    run("answers", folder / "cases.jsonl", "--manual", folder / "manuals")
    (kept,) = (folder / "home" / "eval").iterdir()
    assert (kept / "knowledge.db").is_file()


def test_a_line_that_cannot_be_used_and_a_folder_without_manuals_are_named(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "unanswerable.jsonl").write_text('{"question": "why?", "answerable": false}', encoding="utf-8")
    with pytest.raises(MeasureInvalid, match=r"empty: expected manuals"):
        run("answers", folder / "unanswerable.jsonl", "--manual", folder / "empty")
    with pytest.raises(MeasureInvalid, match=r"cases\.jsonl:1: expected gold_file"):
        run("answers", folder / "cases.jsonl", "--manual", folder / "empty")
    assert run("answers", folder / "gone.jsonl", "--manual", folder).exit_code == 2


def test_retrieval_is_measured_over_a_collection(folder: Path) -> None:
    (folder / "corpus.jsonl").write_text(
        '{"_id": "1", "text": "lift of a wing"}\n{"_id": "2", "text": "heat of a slab"}\n', encoding="utf-8"
    )
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "wing lift"}\n', encoding="utf-8")
    (folder / "qrels.tsv").write_text("q\t1\t1\n", encoding="utf-8")
    figures = json.loads(run("retrieval", folder, "--json").stdout)
    assert (figures["documents"], figures["queries"], figures["embedded"]) == (2, 1, 2)
    assert figures["ndcg_at_10"] == pytest.approx(1.0)
    table = run("retrieval", folder).stdout
    assert "ndcg_at_10" in table
    assert "1.000" in table
