"""How well each span of the passages speaks to a question.

Knows an embedding model and spans; knows nothing of the language model or of what is done with the ranking.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.understand.quotation import Span, spans_of
from edge_node.understand.words import content_stems, telling_stems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.messages import Passage
    from edge_node.protocols import Embedder

# Embedding takes the time: this many spans, those that share most words with the question, are embedded.
_SPANS_EMBEDDED = 32
_FEWEST_WORDS = 3
_NUMBERING = re.compile(r"[\d.]+\s+")
# A word in more than this share of the spans tells nothing apart: 'pump' in the manual of a pump.
_EVERYWHERE = 0.2
_FEWEST_SPANS = 9


@dataclass(frozen=True, slots=True)
class Evidence:
    """One span, and how it speaks to the question.

    Attributes:
        span: The span.
        similarity: Cosine similarity of its meaning to the question, -1 to 1.
        focus: The same to the question without the words that stand everywhere in the passages.
        overlap: Share of the question's words that it or its headings hold, rare ones counting more, 0 to 1.
        surroundings: How well its heading and its passage fit, about 0 to 1.
    """

    span: Span
    similarity: float
    focus: float
    overlap: float
    surroundings: float

    @property
    def strength(self) -> float:
        """What spans of one search are ranked by, greater is better."""
        return 0.3 * (self.similarity + self.focus) + 0.6 * self.overlap + self.surroundings

    @property
    def telling(self) -> float:
        """What tells over all searches whether a question is answered, greater is better."""
        return self.similarity + self.overlap / 3


@dataclass(frozen=True, slots=True)
class Findings:
    """What the passages hold for a question.

    Attributes:
        spans: Their spans, strongest first.
        titles: Passage to similarity of the heading right above it to the question, -1 to 1.
    """

    spans: tuple[Evidence, ...]
    titles: Mapping[int, float]


def rank(question: str, passages: Sequence[Passage], *, embedder: Embedder) -> Findings:
    """Return what in `passages` may answer `question`."""
    spans = _candidates(passages)
    if not spans:
        return Findings((), {})
    overlaps = _overlaps(question, spans, passages)
    order = sorted(range(len(spans)), key=lambda index: (-overlaps[index], spans[index].passage))
    kept = order[:_SPANS_EMBEDDED]
    titles = [_title(passage) for passage in passages]
    texts = list(dict.fromkeys(filter(None, titles)))
    vectors = embedder.embed(
        [question, _focus(question, spans), *texts, *(spans[index].text for index in kept)]
    )
    asked, focus, rest = vectors[0], vectors[1], vectors[2:]
    fitting = {text: float(vector @ asked) for text, vector in zip(texts, rest, strict=False)}
    by_passage = {index: fitting.get(title, 0.0) for index, title in enumerate(titles)}
    found = [
        Evidence(
            spans[index],
            similarity=float(vector @ asked),
            focus=float(vector @ focus),
            overlap=overlaps[index],
            surroundings=_surroundings(passages[spans[index].passage], by_passage[spans[index].passage]),
        )
        for index, vector in zip(kept, rest[len(texts) :], strict=True)
    ]
    return Findings(tuple(sorted(found, key=lambda evidence: -evidence.strength)), by_passage)


def _candidates(passages: Sequence[Passage]) -> list[Span]:
    """Return what may be quoted, each place once, from the first passage that holds it."""
    spans = [
        span
        for index, passage in enumerate(passages)
        for span in spans_of(passage, index=index)
        if not span.heading and len(span.text.split()) >= _FEWEST_WORDS
    ]
    places = {(passages[span.passage].file, span.first_line, span.text): span for span in reversed(spans)}
    return list(places.values())


def _surroundings(passage: Passage, title: float) -> float:
    return 0.2 * title + 0.2 * passage.similarity + 0.5 * passage.score


def _title(passage: Passage) -> str:
    """Return the words of the heading right above a passage, without their number."""
    last = passage.heading.rpartition(" > ")[2]
    return _NUMBERING.sub("", last, count=1) if _NUMBERING.match(last) else last


def _focus(question: str, spans: Sequence[Span]) -> str:
    """Return the question without the words that stand in very many spans; whole where nothing is left."""
    if len(spans) < _FEWEST_SPANS:
        return question
    spread = Counter(stem for span in spans for stem in content_stems(span.text))
    common = {stem for stem, count in spread.items() if count > _EVERYWHERE * len(spans)}
    left = [word for word in question.split() if not content_stems(word) & common]
    return " ".join(left) if any(content_stems(word) for word in left) else question


def _overlaps(question: str, spans: Sequence[Span], passages: Sequence[Passage]) -> list[float]:
    """Return for each span the share of the question's words in it or in the headings above it."""
    asked = telling_stems(question)
    stems = [telling_stems(f"{passages[span.passage].heading} {span.text}") for span in spans]
    spread = Counter(stem for found in stems for stem in found)
    weights = {stem: math.log(1 + len(spans) / (1 + spread[stem])) for stem in asked}
    total = sum(weights.values()) or 1.0
    return [sum(weights[stem] for stem in asked & found) / total for found in stems]
