"""Answers made of quotations.

Knows passages, an embedding model and the language model; knows nothing of commands. The evidence decides
whether the manuals tell at all and what is quoted; where several places tell it about equally well, the
model chooses which stands first.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from edge_node.messages import AnswerDraft, Grammar
from edge_node.understand.evidence import rank
from edge_node.understand.prompts import question_turns
from edge_node.understand.quotation import lists_of, quote, run_text, spans_of
from edge_node.understand.record import record_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.messages import Open, Passage, Quotation, Request, Turn
    from edge_node.protocols import Attention, Embedder, LanguageModel
    from edge_node.understand.evidence import Evidence, Findings
    from edge_node.understand.quotation import Span

# Over 119 questions to five manuals this declines 25 of the 26 that they do not answer, and 10 of the others.
_TELLING = 0.6
# What is weaker than this share of the strongest is no answer of its own ...
_NEAR = 0.9
# ... but says more about it where it stands beside it.
_BESIDE = 0.8
_MOST_QUOTATIONS = 3
_EVIDENCE_KEPT = 5
_MOST_TOKENS = 256
_LONGEST_LIST = 12
# A heading this similar to a question names what is asked for: "Replacing the seal".
_NAMED = 0.7
_PROCEDURE = re.compile(
    r"\bhow (?:do|to|can|should|must)\b|\bsteps?\b|\bprocedure\b"
    r"|\bwhat (?:do|must|should|can) (?:i|we|you) do\b",
    re.IGNORECASE,
)


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
        self,
        request: Request,
        matter: Open,
        passages: Sequence[Passage],
        *,
        attention: Attention | None = None,
    ) -> tuple[AnswerDraft, Mapping[str, object]]:
        """Return quotations that answer a question, or none where the manuals do not tell, and the record."""
        findings = rank(request.text, passages, embedder=self._embedder)
        steps = _procedure(request.text, findings, passages)
        telling = max((evidence.telling for evidence in findings.spans), default=0.0)
        record = {"evidence": _evidence_record(findings), "telling": round(telling, 3)}
        if not steps and telling < _TELLING:
            node = matter.node or (passages[0].node if passages else "")
            return AnswerDraft(node), {**record, "chosen": "nothing tells it"}
        runs = [steps] if steps else _runs(findings.spans, passages)
        if attention:
            for quotation in _quotations(runs, passages):
                attention.tell(quotation)
        runs, chosen = self._ordered(request.text, runs, attention=attention)
        node = matter.node or passages[runs[0][0].passage].node
        return AnswerDraft(node, _quotations(runs, passages)), {**record, **chosen}

    def _ordered(
        self, question: str, runs: list[tuple[Span, ...]], *, attention: Attention | None
    ) -> tuple[list[tuple[Span, ...]], Mapping[str, object]]:
        """Return the runs, the one that the model chose first, and what it read and wrote."""
        texts = [run_text(run) for run in runs]
        # The strongest come first: what does not fit is the weakest, quoted all the same but not chosen from.
        while len(texts) > 1 and self._too_long(question_turns(question, texts)):
            texts.pop()
        left_out = {"left_out": {"excerpts": len(runs) - len(texts)}} if len(texts) < len(runs) else {}
        if len(texts) == 1:
            return runs, left_out
        turns = question_turns(question, texts)
        generation = self._model.generate(
            turns,
            grammar=grammar_for(texts),
            max_tokens=_MOST_TOKENS,
            check=attention.check if attention else None,
        )
        chosen = [index for index, line in enumerate(_lines(texts)) if generation.text == line]
        first = [runs[index] for index in chosen]
        ordered = [*first, *(run for run in runs if run not in first)]
        return ordered, {**record_of(turns, generation), **left_out}

    def _too_long(self, turns: Sequence[Turn]) -> bool:
        return self._model.count(turns) + _MOST_TOKENS > self._model.context


def grammar_for(texts: Sequence[str]) -> Grammar:
    """Return the grammar of exactly one of the excerpts, with its number."""
    choices = " | ".join(json.dumps(line, ensure_ascii=False) for line in _lines(texts))
    return Grammar(f"start: {choices}\n", kind="lark")


def _quotations(runs: Sequence[Sequence[Span]], passages: Sequence[Passage]) -> tuple[Quotation, ...]:
    """Return what is quoted; the model only chooses which stands first."""
    quoted = (quote(passages[run[0].passage], text=run_text(run)) for run in runs)
    return tuple(quotation for quotation in quoted if quotation is not None)


def _lines(texts: Sequence[str]) -> list[str]:
    return [f"[{number}] {text}" for number, text in enumerate(texts, start=1)]


def _procedure(question: str, findings: Findings, passages: Sequence[Passage]) -> tuple[Span, ...]:
    """Return the whole list of steps whose heading names what a how-to question asks for, or nothing."""
    if not _PROCEDURE.search(question):
        return ()
    named = [index for index, similarity in findings.titles.items() if similarity >= _NAMED]
    for index in sorted(named, key=lambda index: -findings.titles[index]):
        for steps in lists_of(spans_of(passages[index], index=index)):
            return steps
    return ()


def _runs(found: Sequence[Evidence], passages: Sequence[Passage]) -> list[tuple[Span, ...]]:
    """Return what is quoted, strongest first: each span with those beside it that bear it out."""
    strengths = {evidence.span: evidence.strength for evidence in found}
    runs: list[tuple[Span, ...]] = []
    taken: set[Span] = set()
    for evidence in found:
        if len(runs) == _MOST_QUOTATIONS or evidence.strength < _NEAR * found[0].strength:
            break
        if evidence.span not in taken:
            spans = spans_of(passages[evidence.span.passage], index=evidence.span.passage)
            free = [span for span in spans if span == evidence.span or span not in taken]
            runs.append(_with_neighbours(evidence, free, strengths=strengths))
            taken.update(runs[-1])
    return runs


def _with_neighbours(
    evidence: Evidence, spans: Sequence[Span], *, strengths: Mapping[Span, float]
) -> tuple[Span, ...]:
    """Return a span with what stands right beside it, where that is about as strong or completes it."""
    place = spans.index(evidence.span)
    if evidence.span.row:
        return (evidence.span,)
    enough = _BESIDE * evidence.strength
    after = _completed(evidence.span, spans[place + 1 :])
    for span in spans[place + 1 : place + 2]:
        if not after and _beside(span, evidence.span) and strengths.get(span, 0.0) >= enough:
            after = (span,)
    before = tuple(
        span
        for span in spans[max(0, place - 1) : place]
        if _beside(evidence.span, span) and strengths.get(span, 0.0) >= enough
    )
    return (*before, evidence.span, *after)


def _beside(later: Span, earlier: Span) -> bool:
    return later.follows(earlier) and not later.row and not earlier.row


def _completed(span: Span, after: Sequence[Span]) -> tuple[Span, ...]:
    """Return the answer to a question that the manual asks itself, or the list that a colon opens."""
    following = next(iter(after), None)
    if following is None:
        return ()
    if span.text.endswith("?") and _beside(following, span):
        return (following,)
    if span.text.endswith(":") and following.item and following.follows(span, lines=2):
        opened = next((items for items in lists_of(after) if items[0] == following), (following,))
        return opened[:_LONGEST_LIST]
    return ()


def _evidence_record(findings: Findings) -> list[dict[str, object]]:
    return [
        {
            "text": evidence.span.text,
            "strength": round(evidence.strength, 3),
            "similarity": round(evidence.similarity, 3),
            "overlap": round(evidence.overlap, 3),
        }
        for evidence in findings.spans[:_EVIDENCE_KEPT]
    ]
