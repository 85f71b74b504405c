"""The adapter that ships, made again: trained on invented worlds, measured on worlds it never saw.

Knows worlds, lessons and the order of the steps; knows nothing of the command line.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_node.messages import CommandDraft, Request, RequestKind
from edge_node.model.adapted import AdaptedModel
from edge_node.model.gguf_file import GgufFile
from edge_node.model.lora import convert_adapter
from edge_node.model.manifest import read_manifest
from edge_node.model.shipped import FILE
from edge_node.tuning.lessons import packed
from edge_node.tuning.report import JSON_FILE
from edge_node.tuning.school import School, matter_of
from edge_node.tuning.training import Training
from edge_node.tuning.worlds import worlds

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.protocols import Embedder, LanguageModel, Progress
    from edge_node.tuning.training import Recipe
    from edge_node.tuning.tuner import Base

WORLDS, CASES = 1500, 10
"""Worlds that the adapter is trained on, and sentences in each."""
UNSEEN, UNSEEN_SEED = 24, 900_001
"""Worlds that it is measured on, and what their chance starts from."""
_MOST_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class WorldFigures:
    """How well a model follows worlds that it never saw, all their commands in question.

    Attributes:
        cases: Sentences.
        orders_exact: Share of the orders that became the right command with all arguments.
        orders_named: Share of the orders that became the right command.
        false_actions: Share of the other sentences that became a command.
    """

    cases: int
    orders_exact: float
    orders_named: float
    false_actions: float


class DefaultTuner:
    """What makes the adapter that ships.

    Args:
        base: The language model.
        embedder: Sentences to vectors.
        recipe: How it is trained.
        progress: Told how far it is.
    """

    def __init__(self, *, base: Base, embedder: Embedder, recipe: Recipe, progress: Progress) -> None:
        self._base = base
        self._embedder = embedder
        self._recipe = recipe
        self._progress = progress

    def make(self, folder: Path, *, count: int = WORLDS, unseen: int = UNSEEN) -> dict[str, Any]:
        """Return the report of the adapter that was written into a folder; checkpoints lie there too.

        Args:
            folder: Where adapter, report and checkpoints go.
            count: Worlds to train on.
            unseen: Worlds to measure on.

        Raises:
            Unavailable: The extra `tune` is not installed.
            ModelError: The model cannot be trained or run.
        """
        folder.mkdir(parents=True, exist_ok=True)
        school = School(self._base.open({}), self._base.tokenizer(), self._embedder)
        lessons = school.of_worlds(worlds(count, seed=self._recipe.seed, cases=CASES))
        packs = packed(lessons, most_tokens=_MOST_TOKENS, most_lessons=CASES)
        training = Training(GgufFile.open(self._base.gguf), recipe=self._recipe, folder=folder)
        trained = training.run(packs, progress=self._progress)
        convert_adapter(trained, folder / FILE, base=self._base.folder, half=True)
        report = self.report(folder / FILE, unseen=unseen) | {
            "recipe": asdict(self._recipe) | {"worlds": count, "cases_a_world": CASES},
            "training": {
                "steps": training.course.step,
                "packs": training.course.packs,
                "tokens": training.course.tokens,
                "seconds": round(training.course.spent_s),
            },
        }
        (folder / JSON_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        return report

    def report(self, adapter: Path, *, unseen: int = UNSEEN) -> dict[str, Any]:
        """Return the figures of an adapter beside those of the bare model, on worlds that it never saw."""
        model = self._base.open({"default": adapter})
        manifest = read_manifest(self._base.folder)
        return {
            "base": manifest.sources,
            "number": manifest.base,
            "unseen_worlds": asdict(self._followed(AdaptedModel(model, adapter="default"), unseen)),
            "unseen_worlds_without": asdict(self._followed(model, unseen)),
        }

    def _followed(self, model: LanguageModel, count: int) -> WorldFigures:
        school = School(model, self._base.tokenizer(), self._embedder)
        exact = named = orders = others = wrong = 0
        self._progress.start("following unseen worlds", count)
        for done, world in enumerate(worlds(count, seed=UNSEEN_SEED, cases=CASES), start=1):
            drafting = school.drafting(world.node, states=world.states)
            for case in world.cases:
                request = Request("world", RequestKind.ASK, "", 0.0, text=case.utterance)
                draft, _ = drafting.draft(request, matter_of(world), ())
                name = draft.name if isinstance(draft, CommandDraft) else ""
                given = dict(draft.arguments) if isinstance(draft, CommandDraft) else {}
                if case.command:
                    orders += 1
                    named += name == case.command
                    exact += name == case.command and given == dict(case.arguments)
                else:
                    others += 1
                    wrong += bool(name)
            self._progress.advance(done)
        self._progress.finish()
        return WorldFigures(
            orders + others, exact / max(orders, 1), named / max(orders, 1), wrong / max(others, 1)
        )
