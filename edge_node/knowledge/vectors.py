"""Nearest vectors by inner product: the one door to FAISS.

Exact search over unit vectors, so the inner product is the cosine. Knows identifiers and numbers; knows
nothing of chunks, files or nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import faiss
import numpy as np

from edge_node.errors import KnowledgeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


class Vectors:
    """An index of unit vectors that does not change once made, so that threads may share it."""

    def __init__(self, identifiers: Sequence[int], *, vectors: NDArray[np.float32]) -> None:
        """Index `vectors`, one for each of `identifiers`.

        Args:
            identifiers: One number for each vector, none twice.
            vectors: Unit vectors, shape (len(identifiers), dimension), dtype float32, -1 to 1.

        Raises:
            KnowledgeError: The shapes do not fit, or a vector holds a number that is none.
        """
        if vectors.ndim != 2 or len(vectors) != len(identifiers):  # noqa: PLR2004 - a matrix
            raise KnowledgeError(
                f"vectors: expected {len(identifiers)} rows, came an array of shape {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise KnowledgeError("vectors: expected finite numbers, came an infinite one or none at all")
        self._known = frozenset(identifiers)
        self._dimension = vectors.shape[1]
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(self._dimension))
        if len(identifiers):
            self._index.add_with_ids(
                np.ascontiguousarray(vectors, dtype=np.float32), np.asarray(identifiers, dtype=np.int64)
            )

    def __len__(self) -> int:
        """Return how many vectors there are."""
        return len(self._known)

    def nearest(self, query: NDArray[np.float32], *, limit: int) -> tuple[tuple[int, float], ...]:
        """Return identifier and cosine of the vectors nearest to `query`, best first.

        Args:
            query: Unit vector, shape (dimension,), dtype float32, -1 to 1.
            limit: How many at most.

        Raises:
            KnowledgeError: The query has another dimension.
        """
        self._check(query)
        count = min(limit, len(self._known))
        if not count:
            return ()
        scores, identifiers = self._index.search(np.ascontiguousarray(query[np.newaxis]), count)
        return tuple(
            (int(found), float(score)) for found, score in zip(identifiers[0], scores[0], strict=True)
        )

    def similarities(self, query: NDArray[np.float32], *, identifiers: Iterable[int]) -> dict[int, float]:
        """Return identifier to cosine with `query` for those of `identifiers` that are indexed.

        Args:
            query: Unit vector, shape (dimension,), dtype float32, -1 to 1.
            identifiers: The vectors to compare with.

        Raises:
            KnowledgeError: The query has another dimension.
        """
        self._check(query)
        wanted = [identifier for identifier in identifiers if identifier in self._known]
        return {identifier: float(self._index.reconstruct(identifier) @ query) for identifier in wanted}

    def _check(self, query: NDArray[np.float32]) -> None:
        if query.shape != (self._dimension,):
            raise KnowledgeError(
                f"query: expected a vector of {self._dimension} numbers, came shape {query.shape}"
            )
