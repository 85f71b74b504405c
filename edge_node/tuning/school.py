"""From cases to lessons: each case goes through the runtime's own drafting, with its devices there.

Knows nodes, cases, worlds and the drafting; knows nothing of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.evaluation.tools import Catalogue, CatalogueTwin
from edge_node.messages import Open, Request, RequestKind
from edge_node.tuning.lessons import answer_of, is_teachable, lay_case, lesson_of
from edge_node.understand.calls import call_text
from edge_node.understand.cascade import Cascade
from edge_node.understand.drafting import ModelDrafting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from edge_node.config.loaded import Node, SpokenExample
    from edge_node.model.tokens import Tokenizer
    from edge_node.protocols import Embedder, LanguageModel
    from edge_node.tuning.lessons import Lesson
    from edge_node.tuning.worlds import World


@dataclass(frozen=True, slots=True)
class School:
    """What turns cases into lessons.

    Attributes:
        model: The base; only its room and its tokens are asked for.
        tokenizer: Its tokens.
        embedder: Sentences to vectors.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    embedder: Embedder

    def drafting(self, node: Node, *, states: Mapping[str, Mapping[str, Any]]) -> ModelDrafting:
        """Return the drafting of a node whose devices are those of its file."""
        twin = CatalogueTwin(Catalogue(node.spec.devices, node.spec.words, states))
        return ModelDrafting([node], twin=twin, embedder=self.embedder, model=self.model)

    def lesson(self, case: SpokenExample, drafting: ModelDrafting, *, matter: Open) -> Lesson | None:
        """Return a case as a lesson, or None where the runtime would not let its answer through."""
        laid = lay_case(case, drafting, matter=matter)
        if laid is None or not is_teachable(case, laid):
            return None
        return lesson_of(laid.turns, answer_of(case, laid), tokenizer=self.tokenizer)

    def of_node(self, node: Node, cases: Iterable[SpokenExample]) -> Iterator[tuple[str, Lesson]]:
        """Yield the lessons of a node whose file names its devices, in the order of the cases.

        What the cheap tiers leave to the model is asked as they leave it. What they settle themselves is
        asked with all commands: another day it may come with a slip that they do not know.
        """
        drafting = self.drafting(node, states={})
        twin = CatalogueTwin(Catalogue(node.spec.devices, node.spec.words, {}))
        cascade = Cascade([node], twin=twin, embedder=self.embedder)
        whole = Open(node.name, question=False, commands=tuple(node.spec.commands))
        for case in cases:
            request = Request("case", RequestKind.ASK, "", 0.0, text=case.utterance, context=case.context)
            left = cascade.draft(request)
            matter = left if isinstance(left, Open) and not left.question else whole
            if case.command and case.command not in matter.commands:
                matter = whole
            lesson = self.lesson(case, drafting, matter=matter)
            if lesson is not None:
                yield node.name, lesson

    def of_worlds(self, worlds: Iterable[World]) -> Iterator[tuple[str, Lesson]]:
        """Yield the lessons of worlds, each under the name of its world."""
        for world in worlds:
            drafting = self.drafting(world.node, states=world.states)
            matter = matter_of(world)
            for case in world.cases:
                lesson = self.lesson(case, drafting, matter=matter)
                if lesson is not None:
                    yield str(world.node.folder), lesson


def matter_of(world: World) -> Open:
    """Return what the model is asked in a world: all its commands come into question."""
    shown = tuple((case.utterance, call_text(case.command, case.arguments)) for case in world.shown)
    return Open(world.node.name, question=False, commands=tuple(world.node.spec.commands), examples=shown)
