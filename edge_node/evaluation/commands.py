"""Orders measured against the right commands, through the same understanding as the service's.

Knows understanding, the language model's drafting and cases; knows nothing of the command line or of where
models lie.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_node.evaluation.command_cases import ANY
from edge_node.evaluation.scoring import percentile, share
from edge_node.evaluation.tools import CatalogueTwin, tool_node
from edge_node.messages import CommandDraft, NothingDraft, Open, Origin, Request, RequestKind, TaskDraft
from edge_node.understand.cascade import Cascade
from edge_node.understand.drafting import ModelDrafting

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from edge_node.config.loaded import Node, SpokenExample
    from edge_node.evaluation.command_cases import CommandCase
    from edge_node.evaluation.tools import Catalogue
    from edge_node.messages import Proposal
    from edge_node.protocols import Drafting, Embedder, LanguageModel, Progress, Understanding

TIERS = ("template", "nearest", "slm")
"""Tiers that may propose a command; a sentence that none of them takes is `left` to a person."""
Call = tuple[str, "Mapping[str, Any]"]
"""Name of a command, and its arguments."""
_LEFT = "left"
_TIER_OF = {Origin.TEMPLATE: "template", Origin.NEAREST: "nearest", Origin.MODEL: "slm"}
_SAME_NUMBER = 1e-9


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """What came of one sentence.

    Attributes:
        case: The sentence.
        name: Name of the command that was proposed; empty where none was.
        arguments: Its arguments.
        tier: Tier that settled it, or `left`.
        asked: Whether it was asked back.
        reason: What was said instead of a command.
        exact: Whether the command and all arguments are right, or rightly nothing was proposed.
        exact_spoken: The same without the arguments that need not be spoken.
        spent_ms: Milliseconds from the words to the draft.
        others: The calls that were proposed after it, name and arguments, where they were several.
    """

    case: CommandCase
    name: str
    arguments: Mapping[str, Any]
    tier: str
    asked: bool
    reason: str
    exact: bool
    exact_spoken: bool
    spent_ms: float
    others: tuple[Call, ...] = ()

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls that were proposed, in order."""
        return ((self.name, self.arguments), *self.others) if self.name else ()


@dataclass(frozen=True, slots=True)
class TierFigures:
    """What one tier settled.

    Attributes:
        cases: Sentences that it settled.
        share: Their share of all.
        accuracy: Share of them that came out exact.
    """

    cases: int
    share: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class CommandFigures:
    """How well orders are understood.

    Attributes:
        cases: Sentences.
        exact: Share with the right command and all arguments, or rightly without a command.
        exact_spoken: The same, without the arguments that are implied rather than spoken.
        name: Share with the right command, or rightly without one.
        false_actions: Share of the sentences that want none for which a command was proposed.
        missed: Share of the orders for which nothing was proposed and nothing asked back.
        asked: Share of all sentences that were asked back.
        tiers: Tier to what it settled.
        ms_p50: Median time from the words to the draft, in milliseconds.
        ms_p95: Time that 95 of 100 stay within, in milliseconds.
    """

    cases: int
    exact: float
    exact_spoken: float
    name: float
    false_actions: float
    missed: float
    asked: float
    tiers: Mapping[str, TierFigures]
    ms_p50: float
    ms_p95: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them."""
        return asdict(self)


class CommandTrial:
    """Says sentences and looks what command they become.

    Args:
        embedder: Sentences to vectors.
        model: The language model; None leaves its tier out.
        examples: What the node's file of examples would hold.
        tiers: The tiers that may propose.
        implied: Arguments that `exact_spoken` leaves out.
        folder: Folder of the node in memory.
        node: The node that all sentences are said to; None makes one of the tools of each case.
    """

    def __init__(
        self,
        *,
        embedder: Embedder,
        model: LanguageModel | None,
        examples: tuple[SpokenExample, ...] = (),
        tiers: Collection[str] = TIERS,
        implied: Collection[str] = (),
        folder: Path,
        node: Node | None = None,
    ) -> None:
        self._node = node
        self._embedder = embedder
        self._model = model
        self._examples = examples
        self._tiers = frozenset(tiers)
        self._implied = frozenset(implied)
        self._folder = folder
        self._world = ""
        self._parts: tuple[Understanding, Drafting | None] | None = None

    def run(self, cases: Sequence[CommandCase], *, progress: Progress) -> tuple[CommandOutcome, ...]:
        """Return what came of each sentence, in order.

        Raises:
            ModelError: A model failed.
        """
        outcomes: dict[int, CommandOutcome] = {}
        progress.start("understanding", len(cases))
        # One world after the other: making the node of a world costs more than a sentence in it.
        for done, index in enumerate(sorted(range(len(cases)), key=lambda at: cases[at].world), start=1):
            outcomes[index] = self._say(cases[index])
            progress.advance(done)
        progress.finish()
        return tuple(outcomes[index] for index in range(len(cases)))

    def _say(self, case: CommandCase) -> CommandOutcome:
        understanding, drafting = self._made(case)
        request = Request(
            f"case-{case.line}",
            RequestKind.ASK,
            "",
            0.0,
            text=case.utterance,
            context=case.context,
        )
        began = time.perf_counter()
        draft = understanding.draft(request)
        reached = isinstance(draft, Open) and not draft.question and drafting is not None
        if isinstance(draft, Open):
            draft = self._drafted(draft, request, drafting)
        spent_ms = (time.perf_counter() - began) * 1000
        return self._outcome(case, draft, reached=reached, spent_ms=spent_ms)

    def _drafted(self, matter: Open, request: Request, drafting: Drafting | None) -> Proposal:
        if matter.question or drafting is None:
            reason = "a question" if matter.question else "no tier is sure"
            return NothingDraft(matter.node, reason)
        return drafting.draft(request, matter, ())[0]

    def _made(self, case: CommandCase) -> tuple[Understanding, Drafting | None]:
        if self._parts is None or self._world != case.world:
            nodes = [
                self._node
                or tool_node(
                    case.tools, catalogue=case.catalogue, examples=self._examples, folder=self._folder
                )
            ]
            twin = CatalogueTwin(case.catalogue)
            drafting = None
            if self._model is not None and "slm" in self._tiers:
                drafting = ModelDrafting(nodes, twin=twin, embedder=self._embedder, model=self._model)
            cascade = Cascade(nodes, twin=twin, embedder=self._embedder)
            # Kept only once both are there: the first sentence pays for what a start of the service pays.
            self._parts, self._world = (cascade, drafting), case.world
            cascade.prepare()
        return self._parts

    def _outcome(
        self, case: CommandCase, draft: Proposal, *, reached: bool, spent_ms: float
    ) -> CommandOutcome:
        tier, calls = "slm" if reached else _LEFT, tuple[Call, ...]()
        drafts = draft.drafts if isinstance(draft, TaskDraft) else (draft,)
        commands = [each for each in drafts if isinstance(each, CommandDraft)]
        if commands:
            tiers = [_TIER_OF.get(each.origin, _LEFT) for each in commands]
            # Several commands are settled by the last tier that one of them needed.
            tier = max(tiers, key=(*TIERS, _LEFT).index) if self._tiers.issuperset(tiers) else _LEFT
        if tier != _LEFT:
            calls = tuple((each.name, dict(each.arguments)) for each in commands)
        (name, arguments), *others = calls or (("", dict[str, Any]()),)
        return CommandOutcome(
            case,
            name,
            arguments,
            tier,
            asked=isinstance(draft, NothingDraft) and draft.code == "ask_back",
            reason=draft.reason if isinstance(draft, NothingDraft) else "",
            exact=are_right(case, calls),
            exact_spoken=are_right(case, calls, implied=self._implied),
            spent_ms=spent_ms,
            others=tuple(others),
        )


def command_figures(outcomes: Sequence[CommandOutcome]) -> CommandFigures:
    """Return the figures over all outcomes."""
    orders = [outcome for outcome in outcomes if outcome.case.expected.name]
    others = [outcome for outcome in outcomes if not outcome.case.expected.name]
    spent_ms = [outcome.spent_ms for outcome in outcomes]
    settled = {tier: [one for one in outcomes if one.tier == tier] for tier in (*TIERS, _LEFT)}
    return CommandFigures(
        cases=len(outcomes),
        exact=share([outcome.exact for outcome in outcomes]),
        exact_spoken=share([outcome.exact_spoken for outcome in outcomes]),
        name=share([_names_of(outcome) for outcome in outcomes]),
        false_actions=share([bool(outcome.name) for outcome in others]),
        missed=share([not outcome.name and not outcome.asked for outcome in orders]),
        asked=share([outcome.asked for outcome in outcomes]),
        tiers={
            tier: TierFigures(
                len(ones),
                share([one.tier == tier for one in outcomes]),
                share([one.exact for one in ones]),
            )
            for tier, ones in settled.items()
        },
        ms_p50=percentile(spent_ms, percent=50),
        ms_p95=percentile(spent_ms, percent=95),
    )


def _names_of(outcome: CommandOutcome) -> bool:
    """Return whether the right commands were proposed, whatever their arguments."""
    names, wanted = [name for name, _ in outcome.calls], [one.name for one in outcome.case.calls]
    return names == wanted or (bool(names) and wanted == [ANY])


def are_right(case: CommandCase, calls: Sequence[Call], *, implied: frozenset[str] = frozenset()) -> bool:
    """Return whether calls are what a case wants: as many, each right, in its order."""
    if len(calls) != len(case.calls):
        return False
    return all(
        is_right(replace(case, expected=wanted), *call, implied=implied)
        for wanted, call in zip(case.calls, calls, strict=True)
    )


def is_right(
    case: CommandCase,
    name: str,
    arguments: Mapping[str, Any],
    *,
    implied: frozenset[str] = frozenset(),
) -> bool:
    """Return whether a call is what a case wants, arguments in `implied` left aside."""
    if case.expected.name == ANY:
        return bool(name)
    if name != case.expected.name:
        return False
    wanted = {key: values for key, values in case.expected.arguments.items() if key not in implied}
    given = {key: value for key, value in arguments.items() if key not in implied}
    if set(given) - set(wanted):
        return False
    for key, values in wanted.items():
        if key not in given:
            if None not in values:
                return False
        elif not any(_is_same(given[key], value, case.catalogue) for value in values):
            return False
    return True


def _is_same(given: Any, wanted: Any, catalogue: Catalogue) -> bool:
    if isinstance(given, bool) or isinstance(wanted, bool):
        return given is wanted
    if isinstance(given, int | float) and isinstance(wanted, int | float):
        return abs(given - wanted) <= _SAME_NUMBER
    if isinstance(given, str) and isinstance(wanted, str):
        said, right = given.strip().casefold(), wanted.strip().casefold()
        return said == right or right in catalogue.names(given.strip())
    return bool(given == wanted)
