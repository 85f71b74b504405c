"""How alike sentences are, in meaning and in words, and what is learned from that.

Knows vectors and words; knows nothing of commands or of what a sentence names.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_MEANING = 0.5
_RIDGE = 0.1


class WordLikeness:
    """Cosines of word and word pair counts, each weighed by how few sentences have it.

    Args:
        sentences: The words of each sentence to compare with.
    """

    def __init__(self, sentences: Sequence[Sequence[str]]) -> None:
        self._count = len(sentences)
        bags = [_bag(words) for words in sentences]
        self._seen = Counter(term for bag in bags for term in bag)
        self._columns = {term: column for column, term in enumerate(self._seen)}
        self.vectors = np.zeros((self._count, len(self._columns)), dtype=np.float32)
        for row, bag in enumerate(bags):
            self.vectors[row] = self.vector(bag)

    def of(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of a sentence, shape (terms,); words never seen shorten it below 1."""
        return self.vector(_bag(words))

    def vector(self, bag: Mapping[str, int]) -> NDArray[np.float32]:
        """Return the vector of counted terms, as `of` does."""
        vector = np.zeros(len(self._columns), dtype=np.float32)
        square = 0.0
        for term, count in bag.items():
            weight = (1.0 + math.log(count)) * math.log((1 + self._count) / (0.5 + self._seen.get(term, 0)))
            square += weight * weight
            if term in self._columns:
                vector[self._columns[term]] = weight
        return vector / np.float32(math.sqrt(square) or 1.0)


class Likeness:
    """How alike a sentence is to each of some others.

    Args:
        meanings: Unit vectors of the sentences, shape (sentences, dimension), float32.
        sentences: Their words.
    """

    def __init__(self, meanings: NDArray[np.float32], sentences: Sequence[Sequence[str]]) -> None:
        self._meanings = meanings
        self._words = WordLikeness(sentences)
        self.among = _MEANING * (meanings @ meanings.T) + (1 - _MEANING) * (
            self._words.vectors @ self._words.vectors.T
        )

    def to(self, meaning: NDArray[np.float32], words: Sequence[str]) -> NDArray[np.float32]:
        """Return how alike a sentence is to each, shape (sentences,), float32, 1 for the same."""
        alike: NDArray[np.float32] = _MEANING * (self._meanings @ meaning) + (1 - _MEANING) * (
            self._words.vectors @ self._words.of(words)
        )
        return alike


class Ridge:
    """Classes of sentences by their likeness to others whose class is known: kernel ridge regression.

    Args:
        among: Likeness among the known sentences, shape (sentences, sentences).
        classes: Class of each.

    Source: Saunders, Gammerman and Vovk, ICML 1998, with the leave-one-out residuals in closed form.
    """

    def __init__(self, among: NDArray[np.float32], classes: Sequence[object]) -> None:
        self.classes = tuple(dict.fromkeys(classes))
        wanted = np.array([[one == each for each in self.classes] for one in classes], dtype=np.float64)
        inverse = np.linalg.inv(among.astype(np.float64) + _RIDGE * np.eye(len(among)))
        self._weights = inverse @ wanted
        self.left_out = wanted - self._weights / np.diag(inverse)[:, None]

    def scores(self, alike: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how much each class is spoken for, shape (classes,), about 0 to 1."""
        scores: NDArray[np.float64] = alike.astype(np.float64) @ self._weights
        return scores


def _bag(words: Sequence[str]) -> Counter[str]:
    pairs = [f"{one} {other}" for one, other in zip(["^", *words], [*words, "$"], strict=True)]
    return Counter([*words, *pairs])
