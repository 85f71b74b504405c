"""How well each span of the passages speaks to a question.

Knows an embedding model and spans; knows nothing of the language model or of what is done with the ranking.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.understand.quotation import Span, spans_of
from edge_node.understand.words import content_stems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.messages import Passage
    from edge_node.protocols import Embedder

# Embedding takes the time: this many spans, those that share most words with the question, are embedded.
_SPANS_EMBEDDED = 32
_FEWEST_WORDS = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """One span, and how it speaks to the question.

    Attributes:
        span: The span.
        similarity: Cosine similarity of its meaning to the question, -1 to 1.
        overlap: Share of the question's words that it holds, rare ones counting more, 0 to 1.
    """

    span: Span
    similarity: float
    overlap: float

    @property
    def strength(self) -> float:
        """Similarity and overlap in equal parts, greater is better."""
        return (self.similarity + self.overlap) / 2


def rank(question: str, passages: Sequence[Passage], *, embedder: Embedder) -> list[Evidence]:
    """Return the spans of `passages` that may answer `question`, strongest first.

    The measure is cosine similarity plus overlap weighted by rarity. On questions over printer manuals it
    put the right span first more often than either part alone or than spans embedded with their heading.
    """
    spans = [
        span
        for index, passage in enumerate(passages)
        for span in spans_of(passage, index=index)
        if not span.heading and len(span.text.split()) >= _FEWEST_WORDS
    ]
    spans = list(
        {(passages[span.passage].file, span.first_line, span.text): span for span in reversed(spans)}.values()
    )
    if not spans:
        return []
    overlaps = _overlaps(question, spans, passages)
    kept = sorted(range(len(spans)), key=lambda index: (-overlaps[index], spans[index].passage))[
        :_SPANS_EMBEDDED
    ]
    vectors = embedder.embed([question, *(spans[index].text for index in kept)])
    similarities = vectors[1:] @ vectors[0]
    found = [
        Evidence(spans[index], float(similarity), overlaps[index])
        for index, similarity in zip(kept, similarities, strict=True)
    ]
    return sorted(found, key=lambda evidence: -evidence.strength)


def _overlaps(question: str, spans: Sequence[Span], passages: Sequence[Passage]) -> list[float]:
    """Return for each span the share of the question's words in it or in the heading above it."""
    asked = content_stems(question)
    stems = [content_stems(f"{passages[span.passage].heading} {span.text}") for span in spans]
    spread = Counter(stem for found in stems for stem in found)
    weights = {stem: math.log(1 + len(spans) / (1 + spread[stem])) for stem in asked}
    total = sum(weights.values()) or 1.0
    return [sum(weights[stem] for stem in asked & found) / total for found in stems]
