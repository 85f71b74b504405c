"""Answers made of quotations.

Knows passages, an embedding model and the language model; knows nothing of commands. The evidence decides
whether the manuals tell at all and what stands first; the model may add what it would quote.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_node.messages import AnswerDraft, Grammar
from edge_node.understand.evidence import rank
from edge_node.understand.prompts import question_turns
from edge_node.understand.quotation import quote, run_text, spans_of
from edge_node.understand.record import record_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.messages import Generation, Open, Passage, Quotation, Request, Turn
    from edge_node.protocols import Embedder, LanguageModel
    from edge_node.understand.evidence import Evidence
    from edge_node.understand.quotation import Span

_log = structlog.get_logger(__name__)

# The best span of a question that the manuals answer is rarely less similar than this, that of one they
# do not answer rarely more: on 52 questions over two printer manuals it parts 39 of 42 from 8 of 10.
_TELLING = 0.5
_CANDIDATES = 5
_MOST_QUOTATIONS = 3
_MOST_TOKENS = 256
_QUOTED = re.compile(r"\[(\d+)\] (.+)")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Neighbouring spans that are shown to the model and may be quoted from.

    Attributes:
        passage: The passage they stand in.
        spans: The spans, in order.
    """

    passage: Passage
    spans: tuple[Span, ...]


class Answering:
    """Quotations from the passages found.

    Args:
        embedder: Sentences to vectors, for the evidence.
        model: The language model, for the choice.
    """

    def __init__(self, *, embedder: Embedder, model: LanguageModel) -> None:
        self._embedder = embedder
        self._model = model

    def draft(
        self, request: Request, matter: Open, passages: Sequence[Passage]
    ) -> tuple[AnswerDraft, Mapping[str, object]]:
        """Return quotations that answer a question, or none where the manuals do not tell, and the record."""
        found = rank(request.text, passages, embedder=self._embedder)
        node = matter.node or (passages[0].node if passages else "")
        telling = max((evidence.similarity for evidence in found), default=0.0)
        if telling < _TELLING:
            return AnswerDraft(node), {"evidence": _evidence_record(found), "chosen": "nothing tells it"}
        node = matter.node or passages[found[0].span.passage].node
        excerpts, turns = self._prompt(request.text, _excerpts(found[:_CANDIDATES], passages))
        generation = self._model.generate(turns, grammar=grammar_for(excerpts), max_tokens=_MOST_TOKENS)
        chosen = _chosen_by_model(generation, excerpts)
        strongest = quote(passages[found[0].span.passage], text=found[0].span.text)
        quotations = _merged([strongest, *chosen])[:_MOST_QUOTATIONS]
        record = record_of(turns, generation)
        return AnswerDraft(node, tuple(quotations)), {**record, "evidence": _evidence_record(found)}

    def _prompt(self, question: str, excerpts: list[Excerpt]) -> tuple[list[Excerpt], list[Turn]]:
        """Return as many of the excerpts, strongest first, as fit the model's context, and the prompt."""
        for kept in range(len(excerpts), 0, -1):
            turns = question_turns(question, [run_text(excerpt.spans) for excerpt in excerpts[:kept]])
            if kept == 1 or self._model.count(turns) + _MOST_TOKENS <= self._model.context:
                break
        return excerpts[:kept], turns


def grammar_for(excerpts: Sequence[Excerpt]) -> Grammar:
    """Return the grammar of NONE, or one to three quotations: each a run of whole spans of one excerpt."""
    numbers = range(1, len(excerpts) + 1)
    rules = [
        'start: "NONE" | quote ("\\n" quote){0,' + str(_MOST_QUOTATIONS - 1) + "}",
        "quote: " + " | ".join(f'"[{number}] " Q{number}' for number in numbers),
    ]
    rules += [
        f"Q{number}: " + " | ".join(json.dumps(run, ensure_ascii=False) for run in _runs(excerpt.spans))
        for number, excerpt in zip(numbers, excerpts, strict=True)
    ]
    return Grammar("\n".join(rules) + "\n", kind="lark")


def _runs(spans: Sequence[Span]) -> list[str]:
    """Return the text of every run of neighbouring spans, each once."""
    ends = range(1, len(spans) + 1)
    return list(dict.fromkeys(run_text(spans[start:end]) for end in ends for start in range(end)))


def _excerpts(candidates: Sequence[Evidence], passages: Sequence[Passage]) -> list[Excerpt]:
    """Return the candidates, each with the spans beside it that none before has taken; strongest first."""
    excerpts: list[Excerpt] = []
    taken: set[Span] = set()
    for evidence in candidates:
        if evidence.span in taken:
            continue
        passage = passages[evidence.span.passage]
        free = [span for span in spans_of(passage, index=evidence.span.passage) if span not in taken]
        around = _with_neighbours(evidence.span, spans=free, passage=passage)
        taken.update(around)
        excerpts.append(Excerpt(passage, around))
    return excerpts


def _with_neighbours(span: Span, *, spans: Sequence[Span], passage: Passage) -> tuple[Span, ...]:
    """Return a span with the one before and the one after it, where nothing stands between them."""
    place = spans.index(span)
    around: tuple[Span, ...] = (span,)
    before, after = spans[max(0, place - 1) : place], spans[place + 1 : place + 2]
    if before and not before[0].heading and quote(passage, text=run_text([*before, *around])):
        around = (*before, *around)
    if after and not after[0].heading and quote(passage, text=run_text([*around, *after])):
        around = (*around, *after)
    return around


def _chosen_by_model(generation: Generation, excerpts: Sequence[Excerpt]) -> list[Quotation | None]:
    """Return the quotations that the model wrote, each found again where it stands."""
    lines = generation.text.split("\n")
    if not generation.complete:
        lines.pop()
    chosen = []
    for line in lines:
        written = _QUOTED.fullmatch(line.strip())
        number = int(written[1]) if written else 0
        if written is None or not 1 <= number <= len(excerpts):
            continue
        quotation = quote(excerpts[number - 1].passage, text=written[2])
        if quotation is None:
            _log.warning("quotation_not_found", file=excerpts[number - 1].passage.file, text=written[2])
        chosen.append(quotation)
    return chosen


def _merged(quotations: Sequence[Quotation | None]) -> list[Quotation]:
    """Return the quotations in order, without those that could not be found or say what another one says."""
    kept: list[Quotation] = []
    for quotation in quotations:
        if quotation is None:
            continue
        same_file = [other for other in kept if other.file == quotation.file]
        if any(quotation.text in other.text for other in same_file):
            continue
        shorter = [other for other in same_file if other.text in quotation.text]
        if shorter:
            kept[kept.index(shorter[0])] = quotation
            kept = [other for other in kept if other not in shorter]
        else:
            kept.append(quotation)
    return kept


def _evidence_record(found: Sequence[Evidence]) -> list[dict[str, object]]:
    return [
        {
            "text": evidence.span.text,
            "similarity": round(evidence.similarity, 3),
            "overlap": round(evidence.overlap, 3),
        }
        for evidence in found[:_CANDIDATES]
    ]
