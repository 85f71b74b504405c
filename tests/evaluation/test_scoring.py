from __future__ import annotations

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.evaluation.scoring import mean, ndcg, percentile, recall, share

GRADES = {"a": 2, "b": 1, "wrong": 0}


def test_the_best_order_scores_one_and_the_lower_grade_first_scores_less() -> None:
    assert ndcg(["a", "b", "c"], relevance=GRADES, depth=10) == pytest.approx(1.0)
    swapped = (1 + 2 / log2(3)) / (2 + 1 / log2(3))
    assert ndcg(["b", "a"], relevance=GRADES, depth=10) == pytest.approx(swapped)


def test_what_lies_beyond_the_depth_or_was_judged_wrong_counts_nothing() -> None:
    assert ndcg(["c", "d", "a"], relevance=GRADES, depth=2) == 0.0
    assert ndcg(["wrong"], relevance=GRADES, depth=10) == 0.0
    assert recall(["wrong", "c", "a"], relevance=GRADES, depth=2) == 0.0
    assert recall(["a", "c"], relevance=GRADES, depth=2) == 0.5


def test_a_document_that_is_found_twice_counts_once_and_takes_one_place() -> None:
    assert ndcg(["a", "a", "b"], relevance=GRADES, depth=2) == pytest.approx(1.0)
    assert recall(["a", "a", "b"], relevance=GRADES, depth=2) == 1.0


def test_without_anything_relevant_all_scores_are_zero() -> None:
    assert ndcg(["a"], relevance={}, depth=10) == 0.0
    assert recall(["a"], relevance={"a": 0}, depth=10) == 0.0
    assert (percentile([], percent=50), mean([]), share([])) == (0.0, 0.0, 0.0)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert percentile(values, percent=50) == 3.0
    assert percentile(values, percent=95) == 5.0
    assert percentile(values, percent=20) == 1.0


@given(
    st.lists(st.sampled_from("abcdefgh"), max_size=12),
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(min_value=0, max_value=4)),
    st.integers(min_value=1, max_value=12),
)
def test_scores_lie_between_zero_and_one(ranked: list[str], grades: dict[str, int], depth: int) -> None:
    assert 0.0 <= ndcg(ranked, relevance=grades, depth=depth) <= 1.0 + 1e-9
    assert 0.0 <= recall(ranked, relevance=grades, depth=depth) <= 1.0
