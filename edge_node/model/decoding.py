"""Greedy decoding under a grammar.

Knows logits and matchers; knows nothing of text, prompts or how a model is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_node.model.grammar import Matcher


class Reader(Protocol):
    """A model that reads tokens from a position on."""

    def run(self, tokens: NDArray[np.int64], *, position: int, last: int = 1) -> NDArray[np.float32]:
        """Return logits of shape (last, vocabulary), float32, for what follows each of the last tokens."""


class Guesser(Protocol):
    """What foresees how a text goes on."""

    def guess(self, tokens: Sequence[int], *, most: int) -> list[int]:
        """Return tokens that may follow, `most` at most."""

    def learn(self, *, guessed: int, right: int) -> None:
        """Hear how many of the tokens that were guessed came."""


class NoGuess:
    """Foresees nothing: one run for each token that is chosen."""

    def guess(self, tokens: Sequence[int], *, most: int) -> list[int]:  # noqa: ARG002 - as a Guesser
        """Return no token."""
        return []

    def learn(self, *, guessed: int, right: int) -> None:
        """Hear nothing."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came of decoding.

    Attributes:
        tokens: Tokens written, without the one that ends.
        read: Tokens that the model has read, prompt included; what a cache holds afterwards.
        forced: How many of the written tokens the grammar left no choice for.
        guessed: How many of the written tokens were read before they were chosen.
        runs: How often the model ran.
        complete: Whether they are a sentence of the grammar.
        log_probability: Mean natural logarithm of the probability that the model gave the chosen
            tokens, the end included, among its whole vocabulary and before the grammar ruled any out;
            0 where none was chosen.
    """

    tokens: tuple[int, ...]
    read: tuple[int, ...]
    forced: int
    guessed: int
    runs: int
    complete: bool
    log_probability: float


def decode(
    reader: Reader,
    prompt: Sequence[int],
    *,
    cached: int,
    matcher: Matcher,
    eos: Sequence[int],
    max_tokens: int,
    guesser: Guesser,
    check: Callable[[], None] | None = None,
) -> Decoded:
    """Return the likeliest sentence of a grammar, taken token by token.

    What the grammar forces is not asked for: it is read together with the token before it. What is
    guessed is read ahead, and counts only where it is what would have been chosen anyway.

    Args:
        reader: The model.
        prompt: Tokens to go on from, at least one more than `cached`.
        cached: How many of them the model has read already.
        matcher: At the start of the grammar.
        eos: Tokens that end a sentence.
        max_tokens: Tokens to write at most.
        guesser: What foresees the next tokens.
        check: Called before each run; what it raises ends the work there.

    Raises:
        GrammarInvalid: The grammar cannot be followed.
        ModelError: The model cannot be run.
    """
    text = _Text(prompt, matcher=matcher, eos=eos, limit=len(prompt) + max_tokens)
    text.append_forced()
    read, guessed, runs = cached, 0, 0
    while not text.ended:
        if check is not None:
            check()
        guess = text.fitting(guesser.guess(text.tokens, most=text.room - 1))
        start = len(text.tokens)
        unread = np.array(text.tokens[read:] + guess, np.int64)
        logits = reader.run(unread, position=read, last=len(guess) + 1)
        right = _take(text, logits, guess=guess)
        guesser.learn(guessed=len(guess), right=right)
        read, guessed, runs = start + right, guessed + right, runs + 1
    return Decoded(
        tokens=tuple(text.tokens[len(prompt) :]),
        read=tuple(text.tokens[:read]),
        forced=text.forced,
        guessed=guessed,
        runs=runs,
        complete=matcher.accepting,
        log_probability=float(np.mean(text.chosen)) if text.chosen else 0.0,
    )


def _take(text: _Text, logits: NDArray[np.float32], *, guess: Sequence[int]) -> int:
    """Choose for as long as the guess foresaw what was chosen; return how many tokens it foresaw."""
    start, right = len(text.tokens), 0
    while not text.ended:
        text.choose(logits[len(text.tokens) - start])
        came = text.tokens[start:]
        right = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(guess, came, strict=False)))
        if right < len(came):
            break
    return right


class _Text:
    """A sentence of a grammar as it is written."""

    def __init__(self, prompt: Sequence[int], *, matcher: Matcher, eos: Sequence[int], limit: int) -> None:
        self.tokens = list(prompt)
        self.chosen: list[float] = []
        self.forced = 0
        self.ended = False
        self._matcher = matcher
        self._eos = eos
        self._limit = limit

    @property
    def room(self) -> int:
        """Tokens that may still be written."""
        return self._limit - len(self.tokens)

    def fitting(self, guess: Sequence[int]) -> list[int]:
        """Return as much of a guess as the grammar lets follow, without what would end the text."""
        plain = list(takewhile(lambda token: token not in self._eos, guess))
        return plain[: self._matcher.fitting(plain)] if plain else []

    def append_forced(self) -> None:
        """Write what the grammar leaves no choice for."""
        # A prefix of what is forced is as forced as the whole, so that the limit may cut it.
        run = self._matcher.forced()[: self.room]
        self._matcher.consume(run)
        self.tokens += run
        self.forced += len(run)
        self.ended = self._matcher.stopped or self.room == 0

    def choose(self, logits: NDArray[np.float32]) -> None:
        """Write the likeliest token that may follow, and what it forces."""
        token = int(logits.argmax())
        # Mostly the likeliest of all may follow, and asking for it alone spares the mask of all.
        if not (self._matcher.accepting if token in self._eos else self._matcher.fitting([token])):
            token = int(np.where(self._matcher.allowed(len(logits)), logits, -np.inf).argmax())
        self.chosen.append(_log_probability(logits, token))
        if token in self._eos:
            self.ended = True
            return
        self._matcher.consume([token])
        self.tokens.append(token)
        self.append_forced()


def _log_probability(logits: NDArray[np.float32], token: int) -> float:
    highest = logits.max()
    return float(logits[token] - highest) - float(np.log(np.exp(logits - highest).sum()))
