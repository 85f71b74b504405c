"""Guessing how a text goes on from what it said before.

Knows token identifiers only; knows nothing of models, grammars or words. A wrong guess costs time and
nothing else: the model confirms each token before it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_MATCH, _SHORTEST_MATCH = 6, 2
_LEAST, _FIRST, _MOST = 2, 4, 16


class PromptLookup:
    """What followed the latest tokens the last time they stood in the text.

    Quotations and repeated names are long runs of such tokens. How many are guessed follows how many of
    the guesses before were right: a token more in a run costs about an eighth of a run. Where the latest
    token alone stood before, one is guessed, whatever the guesses before were.

    Source: Saxena, Prompt Lookup Decoding (2023).
    """

    def __init__(self) -> None:
        self._length = _FIRST

    def guess(self, tokens: Sequence[int], *, most: int) -> list[int]:
        """Return the tokens that may follow, none where the latest ones never stood before.

        Args:
            tokens: The text so far.
            most: Tokens to return at most.
        """
        text = np.asarray(tokens, np.int64)
        ends = np.flatnonzero(text[:-1] == text[-1]) if len(text) else np.empty(0, np.int64)
        matched = 1
        while matched < _LONGEST_MATCH and matched < len(text):
            longer = ends[ends >= matched]
            longer = longer[text[longer - matched] == text[-1 - matched]]
            if not len(longer):
                break
            ends, matched = longer, matched + 1
        if not len(ends):
            return []
        start, length = int(ends[-1]) + 1, self._length if matched >= _SHORTEST_MATCH else 1
        return [int(token) for token in text[start : start + min(length, most)]]

    def learn(self, *, guessed: int, right: int) -> None:
        """Guess more where a whole guess was right, and less where it failed early."""
        if guessed < _LEAST:
            return
        if right == guessed:
            self._length = min(2 * max(self._length, guessed), _MOST)
        elif 2 * right < guessed:
            self._length = max(self._length // 2, _LEAST)
