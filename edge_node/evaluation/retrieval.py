"""Retrieval measured over a collection, through the same index and the same search as the service's.

Knows the library of manuals and scores; knows nothing of the command line or of where models lie.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.evaluation.scoring import mean, ndcg, percentile, recall
from edge_node.knowledge.building import take_up
from edge_node.knowledge.library import Library, Ranking
from edge_node.knowledge.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.evaluation.collection import Collection
    from edge_node.protocols import Embedder, Progress

_DEPTH = 10
_DEEP = 100


@dataclass(frozen=True, slots=True)
class RetrievalFigures:
    """How well and how fast documents are found.

    Attributes:
        documents: Documents in the index.
        queries: Queries asked.
        ndcg_at_10: Mean normalised discounted cumulative gain of the first ten documents.
        recall_at_10: Mean share of the right documents among the first ten.
        recall_at_100: Mean share of the right documents among the first hundred.
        ms_p50: Median time of a search in milliseconds.
        ms_p95: Time that 95 of 100 searches stay within, in milliseconds.
        index_s: Seconds it took to bring the index up to the documents.
        embedded: Passages that were embedded for it; 0 where the index was kept from before.
    """

    documents: int
    queries: int
    ndcg_at_10: float
    recall_at_10: float
    recall_at_100: float
    ms_p50: float
    ms_p95: float
    index_s: float
    embedded: int


def measure_retrieval(
    collection: Collection, *, folder: Path, embedder: Embedder, progress: Progress
) -> RetrievalFigures:
    """Return how well the documents of a collection are found.

    A document's rank is that of its best passage, as a search that wants a hundred passages gives them.

    Args:
        collection: Documents, queries and right answers.
        folder: Where the index is kept for the next time.
        embedder: What makes vectors.
        progress: Who is told how far it is.

    Raises:
        KnowledgeError: The index cannot be written or read.
        ModelError: The embedder failed.
    """
    store = Store.open(folder)
    try:
        report = take_up(store, collection.documents, embedder=embedder, progress=progress)
        library = Library(store, (), embedder=embedder, ranking=Ranking())
        names = {document.file: document.id for document in collection.documents}
        shallow, narrow, wide, spent_ms = [], [], [], []
        progress.start("searching", len(collection.queries))
        for done, (query, text) in enumerate(collection.queries.items(), start=1):
            began = time.perf_counter()
            passages = library.passages(text, limit=_DEEP)
            spent_ms.append((time.perf_counter() - began) * 1000)
            ranked = [names[passage.file] for passage in passages]
            relevance = collection.relevance[query]
            shallow.append(ndcg(ranked, relevance=relevance, depth=_DEPTH))
            narrow.append(recall(ranked, relevance=relevance, depth=_DEPTH))
            wide.append(recall(ranked, relevance=relevance, depth=_DEEP))
            progress.advance(done)
        progress.finish()
    finally:
        store.close()
    return RetrievalFigures(
        documents=len(collection.documents),
        queries=len(collection.queries),
        ndcg_at_10=mean(shallow),
        recall_at_10=mean(narrow),
        recall_at_100=mean(wide),
        ms_p50=percentile(spent_ms, percent=50),
        ms_p95=percentile(spent_ms, percent=95),
        index_s=report.elapsed_s,
        embedded=report.embedded,
    )
