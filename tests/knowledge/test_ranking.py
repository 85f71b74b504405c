"""Two rankings become one, and no passage says again what another says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_node.knowledge import keywords
from edge_node.knowledge.fusion import fused
from edge_node.knowledge.merging import merged
from edge_node.messages import Passage


def _lines(first: int, last: int, *, file: str = "a.md", score: float = 1.0) -> Passage:
    text = "\n".join(f"{file} line {number}" for number in range(first, last + 1))
    return Passage(file=file, first_line=first, last_line=last, text=text, node="n", score=score)


def test_what_both_searches_find_comes_before_what_one_finds() -> None:
    ranked = fused({1: 8.0, 2: 10.0}, meanings={1: 0.8, 3: 0.9}, words_share=0.5)

    assert [identifier for identifier, _ in ranked] == [1, 2, 3]


def test_the_share_decides_between_words_and_meaning() -> None:
    words, meanings = {1: 5.0}, {2: 0.9}

    assert fused(words, meanings=meanings, words_share=0.9)[0][0] == 1
    assert fused(words, meanings=meanings, words_share=0.1)[0][0] == 2


_SCORES = st.dictionaries(st.integers(0, 30), st.floats(-1, 1), max_size=20)


@given(words=_SCORES, meanings=_SCORES, share=st.floats(0, 1))
def test_scores_lie_between_0_and_1_in_falling_order(
    words: dict[int, float], meanings: dict[int, float], share: float
) -> None:
    scores = [score for _, score in fused(words, meanings=meanings, words_share=share)]

    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 + 1e-9 for score in scores)
    assert len(scores) == len(words.keys() | meanings.keys())


def test_passages_that_share_lines_become_one_that_spans_both() -> None:
    (passage,) = merged([_lines(5, 9, score=0.9), _lines(8, 12, score=0.4)], limit=4)

    assert (passage.first_line, passage.last_line, passage.score) == (5, 12, 0.9)
    assert passage.text == _lines(5, 12).text


def test_neighbours_and_other_files_stay_apart() -> None:
    apart = (_lines(1, 4), _lines(5, 9), _lines(2, 3, file="b.md"))

    assert merged(apart, limit=4) == apart


def test_the_same_words_are_shown_once() -> None:
    twin = Passage(file="copy.md", first_line=1, last_line=1, text="Stop first.", node="other")
    first = Passage(file="a.md", first_line=4, last_line=4, text="Stop first.", node="n")

    assert merged([first, twin], limit=4) == (first,)


def test_the_limit_holds() -> None:
    assert len(merged([_lines(10 * number, 10 * number + 1) for number in range(1, 9)], limit=3)) == 3


def test_a_query_keeps_the_words_that_tell() -> None:
    assert keywords.query("What is the bearing temperature?") == '"bearing" OR "temperature"'
    assert keywords.query("what is it") == '"what" OR "is" OR "it"'
    assert keywords.query('"; DROP TABLE words; --') == '"drop" OR "table" OR "words"'
    assert keywords.query("?! ___ ") == ""


@given(text=st.text(max_size=400))
def test_no_text_gets_an_operator_into_a_query(text: str) -> None:
    query = keywords.query(text)

    assert all(part.startswith('"') and part.endswith('"') for part in query.split(" OR ") if query)
    assert query.count('"') == 2 * len(query.split(" OR ") if query else [])
