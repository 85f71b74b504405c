"""What the index of manuals costs: to build, to bring up to a change, and to search.

Knows the library, and makes manuals of its own; knows no broker, no model of language and no answer. Right
or wrong passages are not looked at, which `edge-node eval retrieval` does.
"""

from __future__ import annotations

import random
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_node.bench.machine import machine, peak_rss_mb
from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.knowledge.library import Library
from edge_node.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_node.protocols import Embedder, Progress

_SEED = 7
_SECTIONS = 10
"""Sections of one manual, each of about one passage."""
_SENTENCES = 8
_TOPIC = "bench/press-1/log"
_PARTS = (
    "bearing",
    "belt",
    "chain",
    "clutch",
    "filter",
    "gasket",
    "gearbox",
    "hose",
    "impeller",
    "nozzle",
    "piston",
    "relay",
    "rotor",
    "seal",
    "shaft",
    "valve",
)
_MACHINES = (
    "boiler",
    "compressor",
    "conveyor",
    "crane",
    "dryer",
    "fan",
    "furnace",
    "lathe",
    "mixer",
    "press",
    "pump",
    "robot",
    "saw",
    "winch",
)
_DEEDS = ("adjusted", "checked", "cleaned", "exchanged", "greased", "measured", "tightened", "vented")
_SENTENCE = "The {part} of the {machine} is {deed} every {number} hours, at most at {limit} degrees."
_QUESTION = "how often is the {part} of the {machine} {deed}"


class KnowledgeBench:
    """An index over made-up manuals, built, changed and searched.

    Args:
        folder: Where manuals and index lie meanwhile; its disk is measured too.
        embedder: What makes vectors.
        manuals: How many files there are, of ten passages or so each.
        queries: How many searches are measured.
        progress: Told how far it is.
    """

    def __init__(
        self, folder: Path, *, embedder: Embedder, manuals: int, queries: int, progress: Progress
    ) -> None:
        self._folder = folder
        self._embedder = embedder
        self._manuals, self._queries = manuals, queries
        self._progress = progress
        self._chance = random.Random(_SEED)  # noqa: S311 - the same manuals each time, no secret

    def run(self) -> dict[str, Any]:
        """Return the figures, by the names that `edge-node bench knowledge` explains."""
        knowledge = ["manuals/*.md", {"log": _TOPIC}]
        spec = NodeConfig.model_validate({"edge_node": 1, "name": "bench", "knowledge": knowledge})
        node = Node(spec, self._folder)
        (self._folder / "manuals").mkdir()
        for number in range(self._manuals):
            self._write(number)
        library = Library.open(self._folder, [node], embedder=self._embedder)
        try:
            figures = self._measure(library)
        finally:
            library.close()
        open_s = _spent_s(lambda: Library.open(self._folder, [node], embedder=self._embedder).close())
        kept = sum(file.stat().st_size for file in self._folder.glob("*.db*"))
        return {
            **figures,
            "open_ms": round(open_s * 1000, 1),
            "index_mb": round(kept / 1e6, 1),
            "peak_rss_mb": round(peak_rss_mb(), 1),
            "embedding": self._embedder.name,
            **machine(self._folder),
        }

    def _measure(self, library: Library) -> dict[str, Any]:
        build_s = _spent_s(lambda: library.build(progress=self._progress))
        passages = library.size
        unchanged_s = _spent_s(lambda: library.build(progress=self._progress))
        self._write(0)
        changed_s = _spent_s(lambda: library.build(progress=self._progress))
        line = self._filled(_SENTENCE).encode()
        library.hear(Message("line", _TOPIC, line, time.time()))
        line_s = _spent_s(library.refresh)
        searches = [self._filled(_QUESTION) for _ in range(self._queries)]
        library.passages(searches[0])
        spent_ms = [_spent_s(partial(library.passages, text)) * 1000 for text in searches]
        p95 = statistics.quantiles(spent_ms, n=20, method="inclusive")[-1]
        return {
            "files": self._manuals,
            "passages": passages,
            "build_s": round(build_s, 2),
            "passages_per_s": round(passages / build_s, 1),
            "unchanged_ms": round(unchanged_s * 1000, 1),
            "changed_ms": round(changed_s * 1000, 1),
            "line_ms": round(line_s * 1000, 1),
            "search_ms": {"p50": round(statistics.median(spent_ms), 2), "p95": round(p95, 2)},
        }

    def _write(self, number: int) -> None:
        """Write a manual; the next time it says something else."""
        lines = [f"# Manual {number}"]
        for section in range(_SECTIONS):
            lines += ["", f"## Part {section}", ""]
            lines += [self._filled(_SENTENCE) for _ in range(_SENTENCES)]
        file = self._folder / "manuals" / f"manual-{number}.md"
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")

    def _filled(self, sentence: str) -> str:
        chance = self._chance
        return sentence.format(
            part=chance.choice(_PARTS),
            machine=f"{chance.choice(_MACHINES)} {chance.randrange(1, 100)}",
            deed=chance.choice(_DEEDS),
            number=chance.randrange(10, 9000),
            limit=chance.randrange(30, 300),
        )


def _spent_s(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s
