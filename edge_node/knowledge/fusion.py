"""Several rankings made into one.

Pure functions over identifiers and scores; knows nothing of where a ranking comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def fused(
    words: Mapping[int, float], *, meanings: Mapping[int, float], words_share: float
) -> tuple[tuple[int, float], ...]:
    """Return identifier and score, 0 to 1, best first: a weighted mean of two scores.

    Each score is divided by the best of its kind, so that 1 means "the best of this search"; what one
    search did not find counts 0 there, as does a negative score.

    Args:
        words: Identifier to relevance of its words, greater is better.
        meanings: Identifier to cosine, -1 to 1.
        words_share: Weight of the words, 0 to 1.
    """
    best_words = max(words.values(), default=0.0)
    best_meaning = max(meanings.values(), default=0.0)
    scores = {
        identifier: words_share * _share(words.get(identifier, 0.0), best_words)
        + (1.0 - words_share) * _share(meanings.get(identifier, 0.0), best_meaning)
        for identifier in {**words, **meanings}
    }
    return tuple(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


def _share(score: float, best: float) -> float:
    return max(0.0, score) / best if best > 0.0 else 0.0
