"""An adapter measured on cases that training never saw, through the engine that runs.

Knows the measure of `eval commands` and nodes; knows nothing of how an adapter was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.evaluation.command_cases import CommandCase, Expected
from edge_node.evaluation.commands import CommandTrial, command_figures
from edge_node.evaluation.tools import Catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.loaded import Node, SpokenExample
    from edge_node.evaluation.commands import CommandFigures
    from edge_node.protocols import Embedder, LanguageModel, Progress

_LEAST_GAIN = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an adapter is to take the place of what runs.

    Attributes:
        better: Whether it is.
        reason: Why, in one sentence.
    """

    better: bool
    reason: str


def measured(
    node: Node,
    cases: Sequence[SpokenExample],
    *,
    model: LanguageModel,
    embedder: Embedder,
    progress: Progress,
) -> CommandFigures:
    """Return how a node whose file names its devices understands cases with a model.

    Raises:
        ModelError: The model failed.
    """
    catalogue = Catalogue(node.spec.devices, node.spec.words, {})
    said = [
        CommandCase(number, case.utterance, _expected(case, node), (), catalogue, case.context, node.name)
        for number, case in enumerate(cases, start=1)
    ]
    trial = CommandTrial(embedder=embedder, model=model, folder=node.folder, node=node)
    return command_figures(trial.run(said, progress=progress))


def verdict(now: CommandFigures, tuned: CommandFigures) -> Verdict:
    """Return whether what was tuned is better than what runs: more is right, and no more is done wrongly."""
    if tuned.false_actions > now.false_actions:
        return Verdict(
            better=False,
            reason=f"it proposes commands where none is wanted in {tuned.false_actions:.1%} of the cases, "
            f"what runs now in {now.false_actions:.1%}",
        )
    right = f"{tuned.exact:.1%} of the cases come out right, {now.exact:.1%} with what runs now"
    return Verdict(better=tuned.exact > now.exact + _LEAST_GAIN, reason=right)


def _expected(case: SpokenExample, node: Node) -> Expected:
    """Return what is right for a case; an argument with a default may stand there with it."""
    if not case.command:
        return Expected()
    wanted: dict[str, tuple[Any, ...]] = {
        name: tuple(value) if isinstance(value, list) else (value,) for name, value in case.arguments.items()
    }
    for name, argument in node.spec.commands[case.command].args.items():
        if argument.default is not None:
            wanted.setdefault(name, (argument.default, None))
    return Expected(case.command, wanted)
