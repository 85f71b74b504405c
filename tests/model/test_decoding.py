"""Greedy decoding over logits that are written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_node.messages import Grammar
from edge_node.model.decoding import NoGuess, decode
from edge_node.model.grammar import Grammars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_node.model.tokens import Tokenizer

EOS = 2
PROMPT = [1, 10, 11]


class FavouriteLetter:
    """Likes one token, then the end of the text; keeps what it was given to read."""

    def __init__(self, favourite: int, *, vocabulary: int, ends_after: int = 1000) -> None:
        self.runs: list[tuple[int, list[int]]] = []
        self._favourite = favourite
        self._ends_after = ends_after
        self._vocabulary = vocabulary

    def run(self, tokens: NDArray[np.int64], *, position: int, last: int = 1) -> NDArray[np.float32]:
        self.runs.append((position, tokens.tolist()))
        logits = np.zeros((last, self._vocabulary), np.float32)
        logits[:, self._favourite if len(self.runs) <= self._ends_after else EOS] = 5.0
        return logits


class Prophet:
    """Foresees what it was told to, once, and keeps what it learns."""

    def __init__(self, guess: list[int]) -> None:
        self.learnt: list[tuple[int, int]] = []
        self._guess = guess

    def guess(self, tokens: Sequence[int], *, most: int) -> list[int]:  # noqa: ARG002 - as a Guesser
        guess, self._guess = self._guess[:most], []
        return guess

    def learn(self, *, guessed: int, right: int) -> None:
        self.learnt.append((guessed, right))


@pytest.fixture(scope="module")
def grammars(tiny_tokenizer: Tokenizer) -> Grammars:
    return Grammars(tiny_tokenizer)


def letters(tokenizer: Tokenizer, text: str) -> list[int]:
    return [tokenizer.encode(letter)[0] for letter in text]


def test_the_likeliest_token_that_may_follow_is_taken(tiny_tokenizer: Tokenizer, grammars: Grammars) -> None:
    reader = FavouriteLetter(letters(tiny_tokenizer, "z")[0], vocabulary=tiny_tokenizer.size)
    matcher = grammars.matcher(Grammar("start: /[a-y]z/", kind="lark"))
    done = decode(reader, PROMPT, cached=0, matcher=matcher, eos=[EOS], max_tokens=5, guesser=NoGuess())
    assert tiny_tokenizer.decode(done.tokens)[1] == "z"
    assert done.complete


def test_forced_tokens_are_read_in_one_run_with_what_stands_before(
    tiny_tokenizer: Tokenizer, grammars: Grammars
) -> None:
    a = letters(tiny_tokenizer, "a")[0]
    reader = FavouriteLetter(a, vocabulary=tiny_tokenizer.size)
    matcher = grammars.matcher(Grammar('start: "((((" /[ab]/ "))))" /[ab]/ "]]"', kind="lark"))
    done = decode(reader, PROMPT, cached=1, matcher=matcher, eos=[EOS], max_tokens=20, guesser=NoGuess())
    opened, closed = letters(tiny_tokenizer, "(((("), letters(tiny_tokenizer, "))))")
    assert reader.runs == [(1, [10, 11, *opened]), (7, [a, *closed])]
    assert tiny_tokenizer.decode(done.tokens) == "((((a))))a]]"
    assert done.forced == 10
    assert done.read == (*PROMPT, *opened, a, *closed)
    assert done.complete


def test_a_sentence_without_choice_needs_no_model(tiny_tokenizer: Tokenizer, grammars: Grammars) -> None:
    reader = FavouriteLetter(5, vocabulary=tiny_tokenizer.size)
    matcher = grammars.matcher(Grammar('{"const": 42}'))
    done = decode(reader, PROMPT, cached=2, matcher=matcher, eos=[EOS], max_tokens=20, guesser=NoGuess())
    assert reader.runs == []
    assert (tiny_tokenizer.decode(done.tokens), done.complete, done.log_probability) == ("42", True, 0.0)
    assert done.read == tuple(PROMPT[:2])


def test_the_limit_cuts_a_sentence_and_says_so(tiny_tokenizer: Tokenizer, grammars: Grammars) -> None:
    reader = FavouriteLetter(letters(tiny_tokenizer, "a")[0], vocabulary=tiny_tokenizer.size)
    matcher = grammars.matcher(Grammar('start: "((((" /a+/ "."', kind="lark"))
    done = decode(reader, PROMPT, cached=0, matcher=matcher, eos=[EOS], max_tokens=6, guesser=NoGuess())
    assert tiny_tokenizer.decode(done.tokens) == "((((aa"
    assert not done.complete


def test_the_limit_cuts_forced_tokens_too(tiny_tokenizer: Tokenizer, grammars: Grammars) -> None:
    reader = FavouriteLetter(5, vocabulary=tiny_tokenizer.size)
    matcher = grammars.matcher(Grammar('start: "(((((((("', kind="lark"))
    done = decode(reader, PROMPT, cached=0, matcher=matcher, eos=[EOS], max_tokens=3, guesser=NoGuess())
    assert (tiny_tokenizer.decode(done.tokens), done.complete) == ("(((", False)


def test_the_end_of_text_ends_a_sentence_that_could_go_on(
    tiny_tokenizer: Tokenizer, grammars: Grammars
) -> None:
    reader = FavouriteLetter(letters(tiny_tokenizer, "a")[0], vocabulary=tiny_tokenizer.size, ends_after=3)
    matcher = grammars.matcher(Grammar("start: /a*/", kind="lark"))
    done = decode(reader, PROMPT, cached=0, matcher=matcher, eos=[EOS], max_tokens=20, guesser=NoGuess())
    assert (tiny_tokenizer.decode(done.tokens), done.complete) == ("aaa", True)


def test_log_probability_is_that_of_the_whole_vocabulary(
    tiny_tokenizer: Tokenizer, grammars: Grammars
) -> None:
    size = tiny_tokenizer.size
    reader = FavouriteLetter(letters(tiny_tokenizer, "z")[0], vocabulary=size)
    matcher = grammars.matcher(Grammar("start: /[ab]/", kind="lark"))
    done = decode(reader, PROMPT, cached=0, matcher=matcher, eos=[EOS], max_tokens=20, guesser=NoGuess())
    assert done.log_probability == pytest.approx(-np.log(size - 1 + np.exp(5.0)))


def test_what_was_foreseen_rightly_costs_no_run(tiny_tokenizer: Tokenizer, grammars: Grammars) -> None:
    a = letters(tiny_tokenizer, "a")[0]
    reader = FavouriteLetter(a, vocabulary=tiny_tokenizer.size)
    prophet = Prophet([a, a, a])
    matcher = grammars.matcher(Grammar("start: /[ab]{5}/", kind="lark"))
    done = decode(reader, PROMPT, cached=2, matcher=matcher, eos=[EOS], max_tokens=9, guesser=prophet)
    assert reader.runs == [(2, [11, a, a, a]), (6, [a])]
    assert (tiny_tokenizer.decode(done.tokens), done.guessed, done.runs) == ("aaaaa", 3, 2)
    assert prophet.learnt == [(3, 3), (0, 0)]
    assert done.read == (*PROMPT, a, a, a, a)


def test_what_was_foreseen_wrongly_changes_no_token(tiny_tokenizer: Tokenizer, grammars: Grammars) -> None:
    a, b = letters(tiny_tokenizer, "ab")
    reader = FavouriteLetter(a, vocabulary=tiny_tokenizer.size)
    prophet = Prophet([a, b, a])
    matcher = grammars.matcher(Grammar("start: /[ab]{4}/", kind="lark"))
    done = decode(reader, PROMPT, cached=2, matcher=matcher, eos=[EOS], max_tokens=9, guesser=prophet)
    assert tiny_tokenizer.decode(done.tokens) == "aaaa"
    # What was read beyond the mistake is read over.
    assert reader.runs == [(2, [11, a, b, a]), (4, [a]), (5, [a])]
    assert (done.guessed, prophet.learnt[0]) == (1, (3, 1))


def test_what_the_grammar_forbids_is_not_read_ahead(tiny_tokenizer: Tokenizer, grammars: Grammars) -> None:
    a, z = letters(tiny_tokenizer, "az")
    reader = FavouriteLetter(a, vocabulary=tiny_tokenizer.size)
    matcher = grammars.matcher(Grammar("start: /[ab]{4}/", kind="lark"))
    decode(reader, PROMPT, cached=2, matcher=matcher, eos=[EOS], max_tokens=9, guesser=Prophet([a, z, a]))
    assert reader.runs[0] == (2, [11, a])


def test_foreseen_tokens_that_the_grammar_forces_are_counted_as_read(
    tiny_tokenizer: Tokenizer, grammars: Grammars
) -> None:
    a = letters(tiny_tokenizer, "a")[0]
    closed = letters(tiny_tokenizer, "))")
    reader = FavouriteLetter(a, vocabulary=tiny_tokenizer.size)
    matcher = grammars.matcher(Grammar('start: /[ab]/ "))" /[ab]/ "!"', kind="lark"))
    prophet = Prophet([a, *closed])
    done = decode(reader, PROMPT, cached=2, matcher=matcher, eos=[EOS], max_tokens=9, guesser=prophet)
    assert reader.runs == [(2, [11, a, *closed])]
    assert tiny_tokenizer.decode(done.tokens) == "a))a!"
    assert done.read == (*PROMPT, a, *closed)
