"""FAISS finds what brute force finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.errors import KnowledgeError
from edge_node.knowledge.vectors import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _unit(count: int, *, dimension: int, seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 300), seed=st.integers(0, 1000), limit=st.integers(1, 20))
def test_the_nearest_are_those_of_plain_numpy(count: int, seed: int, limit: int) -> None:
    vectors, query = _unit(count, dimension=32, seed=seed), _unit(1, dimension=32, seed=seed + 1)[0]
    identifiers = [7 * number + 3 for number in range(count)]

    found = Vectors(identifiers, vectors=vectors).nearest(query, limit=limit)

    cosines = vectors @ query
    best = np.argsort(-cosines)[:limit]
    assert [identifier for identifier, _ in found] == [identifiers[row] for row in best]
    np.testing.assert_allclose([score for _, score in found], cosines[best], atol=1e-6)


def test_similarities_are_cosines_and_leave_out_what_is_not_there() -> None:
    vectors, query = _unit(5, dimension=16, seed=1), _unit(1, dimension=16, seed=2)[0]

    found = Vectors([1, 2, 3, 4, 5], vectors=vectors).similarities(query, identifiers=[5, 2, 99])

    assert found == pytest.approx({2: float(vectors[1] @ query), 5: float(vectors[4] @ query)}, abs=1e-6)


def test_nothing_is_near_in_an_empty_index() -> None:
    empty = Vectors([], vectors=np.empty((0, 8), dtype=np.float32))

    assert len(empty) == 0
    assert empty.nearest(np.ones(8, dtype=np.float32), limit=3) == ()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(KnowledgeError, match="expected 2 rows"):
        Vectors([1, 2], vectors=_unit(3, dimension=8, seed=1))
    with pytest.raises(KnowledgeError, match="finite"):
        Vectors([1], vectors=np.full((1, 8), np.nan, dtype=np.float32))
    with pytest.raises(KnowledgeError, match="vector of 8 numbers"):
        Vectors([1], vectors=_unit(1, dimension=8, seed=1)).nearest(np.ones(9, dtype=np.float32), limit=1)
