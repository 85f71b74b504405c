"""Answers from manuals measured against known places, through the same search and answering as the service's.

Knows retrieval, answering and cases; knows nothing of the command line or of where models lie.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.evaluation.scoring import mean, percentile, share
from edge_node.messages import Open, Request, RequestKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.evaluation.cases import Case, Manuals
    from edge_node.messages import Passage, Quotation
    from edge_node.protocols import Progress, Retrieval
    from edge_node.understand.answering import Answering


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question.

    Attributes:
        case: The question.
        quotations: What was quoted; none where it was declined.
        hits: For each quotation, whether it stands in the place that answers.
        retrieved: Whether the place lies in one of the passages found.
        spent_ms: Milliseconds for search and answer.
    """

    case: Case
    quotations: tuple[Quotation, ...]
    hits: tuple[bool, ...]
    retrieved: bool
    spent_ms: float


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """How well questions are answered.

    Attributes:
        cases: Questions asked.
        answerable: Those that the manuals answer.
        unanswerable: Those that they do not answer.
        retrieved: Share of the answerable whose place lies in a passage that was found.
        found: Share of the answerable with a quotation from the place that answers.
        first: Share of the answerable whose first quotation stands there.
        declined: Share of the unanswerable for which nothing was quoted.
        wrongly_declined: Share of the answerable for which nothing was quoted.
        quotes_mean: Quotations in an answer that has some, on average.
        words_mean: Words quoted in such an answer, on average.
        ms_p50: Median time of search and answer, in milliseconds.
        ms_p95: Time that 95 of 100 stay within, in milliseconds.
    """

    cases: int
    answerable: int
    unanswerable: int
    retrieved: float
    found: float
    first: float
    declined: float
    wrongly_declined: float
    quotes_mean: float
    words_mean: float
    ms_p50: float
    ms_p95: float


class AnswerTrial:
    """Asks questions and looks where the quotations stand.

    Args:
        retrieval: The manuals.
        answering: What makes quotations of passages.
        manuals: The manuals' files, for the places.
        passages: How many passages each question gets.
    """

    def __init__(
        self, retrieval: Retrieval, *, answering: Answering, manuals: Manuals, passages: int
    ) -> None:
        self._retrieval = retrieval
        self._answering = answering
        self._manuals = manuals
        self._passages = passages

    def run(self, cases: Sequence[Case], *, progress: Progress) -> tuple[Outcome, ...]:
        """Return what came of each question, in order.

        Raises:
            KnowledgeIndexError: The index cannot be read.
            ModelError: A model failed.
        """
        outcomes = []
        progress.start("answering", len(cases))
        for done, case in enumerate(cases, start=1):
            outcomes.append(self._ask(case))
            progress.advance(done)
        progress.finish()
        return tuple(outcomes)

    def _ask(self, case: Case) -> Outcome:
        request = Request(f"case-{case.line}", RequestKind.ASK, "", 0.0, text=case.question, user="eval")
        began = time.perf_counter()
        passages = self._retrieval.passages(case.question, limit=self._passages)
        draft, _ = self._answering.draft(request, Open("", question=True), passages)
        spent_ms = (time.perf_counter() - began) * 1000
        hits = tuple(self._tells(case, quotation) for quotation in draft.quotations)
        retrieved = any(self._tells(case, passage) for passage in passages)
        return Outcome(case, draft.quotations, hits, retrieved, spent_ms)

    def _tells(self, case: Case, cited: Quotation | Passage) -> bool:
        if case.gold is None:
            return False
        return self._manuals.tells(
            case.gold,
            file=cited.file,
            first_line=cited.first_line,
            last_line=cited.last_line,
            text=cited.text,
        )


def answer_figures(outcomes: Sequence[Outcome]) -> AnswerFigures:
    """Return the figures over all outcomes."""
    answerable = [outcome for outcome in outcomes if outcome.case.gold]
    unanswerable = [outcome for outcome in outcomes if not outcome.case.gold]
    answered = [outcome.quotations for outcome in outcomes if outcome.quotations]
    spent_ms = [outcome.spent_ms for outcome in outcomes]
    words = [sum(len(quotation.text.split()) for quotation in quotations) for quotations in answered]
    return AnswerFigures(
        cases=len(outcomes),
        answerable=len(answerable),
        unanswerable=len(unanswerable),
        retrieved=share([outcome.retrieved for outcome in answerable]),
        found=share([any(outcome.hits) for outcome in answerable]),
        first=share([outcome.hits[:1] == (True,) for outcome in answerable]),
        declined=share([not outcome.quotations for outcome in unanswerable]),
        wrongly_declined=share([not outcome.quotations for outcome in answerable]),
        quotes_mean=mean([len(quotations) for quotations in answered]),
        words_mean=mean(words),
        ms_p50=percentile(spent_ms, percent=50),
        ms_p95=percentile(spent_ms, percent=95),
    )
