"""The manuals of all nodes, searched by words and by meaning.

Implements `edge_node.protocols.Retrieval`. Knows how two searches become one answer and how a rebuild,
also by another process, is taken up; knows nothing of file formats, tables or models.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_node.errors import KnowledgeIndexError
from edge_node.knowledge import building, keywords
from edge_node.knowledge.chronicle import PREFIX, Chronicle, Lines
from edge_node.knowledge.fusion import fused
from edge_node.knowledge.merging import merged
from edge_node.knowledge.store import Store
from edge_node.knowledge.vectors import Vectors
from edge_node.messages import Passage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_node.config.loaded import Node
    from edge_node.knowledge.building import BuildReport
    from edge_node.messages import Message
    from edge_node.protocols import Embedder, Progress

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How two searches become one.

    Attributes:
        words_share: Weight of the words against the meaning, 0 to 1.
        context_weight: How much a word in the headings counts, against 1 in the text.
        depth: How many each search contributes.
    """

    words_share: float = 0.7
    context_weight: float = 3.0
    depth: int = 50


class _Unseen:
    """Progress that nobody looks at: a refresh takes moments, and comes again and again."""

    def start(self, label: str, total: int) -> None:
        """Say nothing."""

    def advance(self, done: int) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Vectors as they were at one generation of the index.

    Attributes:
        generation: The generation.
        by_node: Node to its vectors.
    """

    generation: int
    by_node: Mapping[str, Vectors]


class Library:
    """The manuals of all nodes; several threads may search while one builds."""

    def __init__(
        self,
        store: Store,
        nodes: Sequence[Node],
        *,
        chronicle: Chronicle | None = None,
        embedder: Embedder,
        ranking: Ranking,
    ) -> None:
        self._store = store
        self._chronicle = chronicle
        self._nodes = tuple(nodes)
        self._embedder = embedder
        self._ranking = ranking
        self._building = threading.Lock()
        self._loading = threading.Lock()
        self._snapshot = self._load()

    @classmethod
    def open(
        cls, state_folder: Path, nodes: Sequence[Node], *, embedder: Embedder, ranking: Ranking | None = None
    ) -> Library:
        """Return the library as it was last built; an index that is missing or corrupt is empty.

        Args:
            state_folder: Folder that holds the index.
            nodes: The nodes whose manuals are built.
            embedder: What makes vectors; where it is another than that of the last build, only words
                are searched until the next one.
            ranking: How the two searches become one; measured values where left out.

        Raises:
            KnowledgeIndexError: The index can be neither opened nor set aside.
        """
        return cls(
            Store.open(state_folder),
            nodes,
            chronicle=Chronicle.open(state_folder, nodes),
            embedder=embedder,
            ranking=ranking or Ranking(),
        )

    def close(self) -> None:
        """Close the index; the library must not be used any more.

        Raises:
            KnowledgeIndexError: The last lines cannot be written.
        """
        if self._chronicle:
            self._chronicle.close()
        self._store.close()

    @property
    def size(self) -> int:
        """How many chunks can be found."""
        return self._store.count()

    def use(self, nodes: Sequence[Node]) -> None:
        """Let the next build read the manuals of these nodes; until then the old ones are searched."""
        with self._building:
            self._nodes = tuple(nodes)
            if self._chronicle:
                self._chronicle.use(nodes)

    def hear(self, message: Message) -> None:
        """Keep the line of a message, where a node wants it; `refresh` makes it searchable."""
        if self._chronicle:
            try:
                self._chronicle.hear(message)
            except KnowledgeIndexError as error:
                # The message may fire an alarm all the same.
                _log.error("line_not_kept", topic=message.topic, reason=str(error))

    def refresh(self) -> bool:
        """Make lines searchable that came since the last time; return whether there were any.

        Raises:
            KnowledgeIndexError: The index cannot be written; the old one stays.
            ModelError: The embedder failed; the old one stays.
        """
        with self._building:
            if not self._chronicle or not self._chronicle.write():
                return False
            lines = self._chronicle.documents(now=time.time())
            beside = [place for place in self._store.digests() if not place[1].startswith(PREFIX)]
            building.take_up(self._store, lines, embedder=self._embedder, progress=_Unseen(), beside=beside)
            self._current()
        return True

    def build(self, *, progress: Progress) -> BuildReport:
        """Bring the index up to the manuals and return what was done; searches go on meanwhile.

        Raises:
            KnowledgeIndexError: The index cannot be written; the old one stays.
            ModelError: The embedder failed; the old one stays.
        """
        with self._building:
            lines = self._lines()
            report = building.build(
                self._store,
                self._nodes,
                embedder=self._embedder,
                progress=progress,
                lines=lines,
            )
            self._current()
        _log.info(
            "knowledge_built",
            files=report.files,
            chunks=report.chunks,
            embedded=report.embedded,
            reused=report.reused,
            unreadable=len(report.unreadable),
            elapsed_s=round(report.elapsed_s, 3),
        )
        return report

    def _lines(self) -> list[Lines]:
        if self._chronicle is None:
            return []
        self._chronicle.write()
        return self._chronicle.documents(now=time.time())

    def passages(self, text: str, *, node: str = "", limit: int = 4) -> tuple[Passage, ...]:
        """Return the passages nearest to `text`, best first; of all nodes where `node` is empty.

        Raises:
            KnowledgeIndexError: The index cannot be read.
            ModelError: The embedder failed.
        """
        if limit < 1 or not text.strip():
            return ()
        # JSON can carry halves of surrogate pairs, which no tokenizer takes.
        text = text.encode("utf-8", "replace").decode("utf-8")
        snapshot = self._current()
        searched = [vectors for name, vectors in snapshot.by_node.items() if node in {"", name}]
        query = keywords.query(text)
        depth = max(self._ranking.depth, 2 * limit)
        words = self._find_words(query, node=node, depth=depth)
        meanings: dict[int, float] = {}
        if searched:
            vector = self._embedder.embed([text])[0]
            for vectors in searched:
                meanings.update(vectors.nearest(vector, limit=depth))
                meanings.update(vectors.similarities(vector, identifiers=words))
        ranked = fused(words, meanings=meanings, words_share=self._ranking.words_share)
        return merged(self._passages(ranked[: 4 * limit], meanings), limit=limit)

    def _find_words(self, query: str, *, node: str, depth: int) -> dict[int, float]:
        if not query:
            return {}
        return self._store.find_words(
            query, node=node, limit=depth, context_weight=self._ranking.context_weight
        )

    def _passages(self, ranked: Sequence[tuple[int, float]], meanings: Mapping[int, float]) -> list[Passage]:
        chunks = self._store.chunks([number for number, _ in ranked])
        return [
            Passage(
                file=chunk.file,
                first_line=chunk.first_line,
                last_line=chunk.last_line,
                text=chunk.text,
                heading=chunk.heading,
                node=chunk.node,
                score=score,
                similarity=meanings.get(number, 0.0),
                page=chunk.page,
            )
            for number, score in ranked
            if (chunk := chunks.get(number)) is not None
        ]

    def _current(self) -> _Snapshot:
        """Return the vectors of the newest build, loaded once for all threads."""
        if self._store.generation() == self._snapshot.generation:
            return self._snapshot
        with self._loading:
            if self._store.generation() != self._snapshot.generation:
                self._snapshot = self._load()
            return self._snapshot

    def _load(self) -> _Snapshot:
        generation = self._store.generation()
        stored = self._store.vectors(self._embedder.name)
        by_node = {node: Vectors(numbers, vectors=vectors) for node, (numbers, vectors) in stored.items()}
        if not by_node and self._store.count():
            _log.warning(
                "knowledge_without_vectors", embedder=self._embedder.name, way_out="edge-node knowledge build"
            )
        return _Snapshot(generation, by_node)
