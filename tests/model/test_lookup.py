"""Guessing how a text goes on from what it said before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_node.model.lookup import PromptLookup


def test_what_followed_the_last_time_is_guessed() -> None:
    text = [1, 2, 3, 4, 5, 6, 7, 9, 2, 3]
    assert PromptLookup().guess(text, most=9) == [4, 5, 6, 7]


def test_the_place_that_matches_longest_counts_before_the_latest() -> None:
    text = [7, 1, 2, 3, 50, 8, 2, 3, 60, 7, 1, 2, 3]
    assert PromptLookup().guess(text, most=1) == [50]


def test_among_equal_places_the_latest_counts() -> None:
    assert PromptLookup().guess([2, 3, 50, 4, 2, 3, 60, 5, 2, 3], most=1) == [60]


def test_one_token_alone_foretells_one() -> None:
    assert PromptLookup().guess([3, 4, 5, 3], most=5) == [4]


def test_a_token_that_never_stood_before_foretells_nothing() -> None:
    assert PromptLookup().guess([3, 4, 5], most=5) == []
    assert PromptLookup().guess([], most=5) == []


def test_guesses_grow_with_success_and_shrink_with_failure() -> None:
    text = [*range(40), 0, 1]
    lookup = PromptLookup()
    lengths = []
    for right in (True, True, True, False, False, False, False, False):
        guess = lookup.guess(text, most=40)
        lengths.append(len(guess))
        lookup.learn(guessed=len(guess), right=len(guess) if right else 0)
    assert lengths == [4, 8, 16, 16, 8, 4, 2, 2]


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 9))
def test_a_guess_is_a_piece_of_the_text_and_never_longer_than_asked(text: list[int], most: int) -> None:
    guess = PromptLookup().guess(text, most=most)
    assert len(guess) <= most
    assert any(text[start : start + len(guess)] == guess for start in range(len(text) + 1))
