"""Greedy decoding under a grammar.

Knows logits and matchers; knows nothing of text, prompts or how a model is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_node.model.grammar import Matcher


class Reader(Protocol):
    """A model that reads tokens from a position on."""

    def run(self, tokens: NDArray[np.int64], *, position: int) -> NDArray[np.float32]:
        """Return logits of shape (vocabulary,), float32, for what follows the last token."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came of decoding.

    Attributes:
        tokens: Tokens written, without the one that ends.
        read: Tokens that the model has read, prompt included; what a cache holds afterwards.
        forced: How many of the written tokens the grammar left no choice for.
        complete: Whether they are a sentence of the grammar.
        log_probability: Mean natural logarithm of the probability that the model gave the chosen
            tokens, the end included, among its whole vocabulary and before the grammar ruled any out;
            0 where none was chosen.
    """

    tokens: tuple[int, ...]
    read: tuple[int, ...]
    forced: int
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
) -> Decoded:
    """Return the likeliest sentence of a grammar, taken token by token.

    What the grammar forces is not asked for: it is read together with the token before it.

    Args:
        reader: The model.
        prompt: Tokens to go on from, at least one more than `cached`.
        cached: How many of them the model has read already.
        matcher: At the start of the grammar.
        eos: Tokens that end a sentence.
        max_tokens: Tokens to write at most.

    Raises:
        GrammarInvalid: The grammar cannot be followed.
        ModelError: The model cannot be run.
    """
    tokens = list(prompt)
    limit = len(tokens) + max_tokens
    read, forced = cached, 0
    chosen: list[float] = []
    while True:
        # A prefix of what is forced is as forced as the whole, so that the limit may cut it.
        run = matcher.forced()[: limit - len(tokens)]
        matcher.consume(run)
        tokens += run
        forced += len(run)
        if matcher.stopped or len(tokens) == limit:
            break
        logits = reader.run(np.array(tokens[read:], np.int64), position=read)
        read = len(tokens)
        token = int(np.where(matcher.allowed(len(logits)), logits, -np.inf).argmax())
        chosen.append(_log_probability(logits, token))
        if token in eos:
            break
        matcher.consume([token])
        tokens.append(token)
    return Decoded(
        tokens=tuple(tokens[len(prompt) :]),
        read=tuple(tokens[:read]),
        forced=forced,
        complete=matcher.accepting,
        log_probability=float(np.mean(chosen)) if chosen else 0.0,
    )


def _log_probability(logits: NDArray[np.float32], token: int) -> float:
    shifted = logits.astype(np.float64) - logits.max()
    return float(shifted[token] - np.log(np.exp(shifted).sum()))
