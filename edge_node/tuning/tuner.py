"""One node tuned from end to end: cases, training, adapter, measure, installation.

Knows the order of the steps and where their files lie; the steps themselves lie in the modules it calls.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_node.errors import InputError, ModelUnsupported
from edge_node.model.adapted import AdaptedModel
from edge_node.model.gguf_file import GgufFile
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.lora import convert_adapter
from edge_node.model.manifest import read_manifest
from edge_node.model.tokens import TOKENIZER_FILE, Tokenizer
from edge_node.runtime.adapters import TUNED, adapters_of
from edge_node.tuning.cases import peopled, save_cases, split, write_cases
from edge_node.tuning.lessons import packed
from edge_node.tuning.measuring import measured, verdict
from edge_node.tuning.report import JSON_FILE, TEXT_FILE, Report
from edge_node.tuning.school import School
from edge_node.tuning.training import Training, require_torch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_node.config.loaded import Node, SpokenExample
    from edge_node.protocols import Embedder, LanguageModel, Progress
    from edge_node.tuning.cases import Cases
    from edge_node.tuning.lessons import Pack
    from edge_node.tuning.training import Recipe

MOST_TOKENS, MOST_LESSONS = 1400, 12
_TUNING, _NOW = "tuned", "now"
_HELD_AT_MOST = 240


@dataclass(frozen=True, slots=True)
class Base:
    """The language model that is tuned.

    Attributes:
        folder: Folder of the built model.
        gguf: The file that it was built from.
        context: Tokens that prompt and answer may have together.
        threads: Threads to run it with.
    """

    folder: Path
    gguf: Path
    context: int
    threads: int

    def tokenizer(self) -> Tokenizer:
        """Return its tokens; raises as `Tokenizer.open` does."""
        decoder = read_manifest(self.folder).decoder
        if decoder is None:
            raise ModelUnsupported(self.folder, expected="a language model", came="another kind")
        return Tokenizer.open(
            self.folder / TOKENIZER_FILE,
            bos=decoder.bos,
            eos=decoder.eos,
            chat_template=decoder.chat_template,
        )

    def open(self, adapters: dict[str, Path]) -> OnnxLanguageModel:
        """Return the model with adapters; raises as `OnnxLanguageModel.open` does."""
        return OnnxLanguageModel.open(
            self.folder, context=self.context, threads=self.threads, adapters=adapters
        )


class Tuner:
    """What tunes one node.

    Args:
        node: The node.
        base: The language model.
        embedder: Sentences to vectors.
        recipe: How the adapter is trained.
        home: Folder in which each tuning has one of its own.
        progress: Told how far it is.
    """

    def __init__(
        self, node: Node, *, base: Base, embedder: Embedder, recipe: Recipe, home: Path, progress: Progress
    ) -> None:
        self._node = node
        self._base = base
        self._embedder = embedder
        self._recipe = recipe
        self._home = home
        self._progress = progress

    def tune(
        self,
        *,
        orders: int,
        devices: Sequence[str] = (),
        given: Sequence[SpokenExample] = (),
        output: Path | None = None,
    ) -> tuple[Report, Path]:
        """Return the report, and the folder with cases, adapter and checkpoints.

        The adapter is put beside the node's file, or into `output`, only where it is better than what runs.

        Args:
            orders: Orders that are written for each command.
            devices: Devices that the node's people speak of.
            given: Cases of the user's own.
            output: Where adapter and report go instead of the node's folder.

        Raises:
            Unavailable: The extra `tune` is not installed.
            InputError: The node has no command with an example, or none of its cases can be learned.
            ModelError: The model cannot be trained or run.
        """
        require_torch()
        node = peopled(self._node, devices=devices)
        written = write_cases(node, orders=orders, seed=self._recipe.seed, given=given)
        if not any(case.command for case in written):
            raise InputError(f"node {node.name}: expected commands with examples, came none", field="node")
        cases = split(written, seed=self._recipe.seed)
        folder = self._home / f"{node.name}-{self._key(written)}"
        folder.mkdir(parents=True, exist_ok=True)
        save_cases(cases.learned, folder / "cases.jsonl")
        save_cases(cases.held, folder / "held.jsonl")
        training = Training(GgufFile.open(self._base.gguf), recipe=self._recipe, folder=folder)
        trained = training.run(self._packs(node, cases), progress=self._progress)
        adapter = folder / TUNED
        convert_adapter(trained, adapter, base=self._base.folder, half=True)
        report = self._judge(node, cases, adapter=adapter, training=_course(training, cases))
        return self._install(report, folder=folder, output=output or self._node.folder), folder

    def _key(self, cases: Sequence[SpokenExample]) -> str:
        """Return what tells one tuning from another; the same one goes on where it was broken off."""
        told = [[case.utterance, case.command] for case in cases]
        recipe = {
            key: value for key, value in asdict(self._recipe).items() if key not in {"device", "threads"}
        }
        what = json.dumps([told, recipe, read_manifest(self._base.folder).digest, str(self._node.spec)])
        return hashlib.sha256(what.encode()).hexdigest()[:12]

    def _packs(self, node: Node, cases: Cases) -> list[Pack]:
        school = School(self._base.open({}), self._base.tokenizer(), self._embedder)
        lessons = school.of_node(node, cases.learned)
        packs = packed(lessons, most_tokens=MOST_TOKENS, most_lessons=MOST_LESSONS)
        if not packs:
            raise InputError(f"node {node.name}: expected cases that can be learned, came none", field="node")
        return packs

    def _judge(self, node: Node, cases: Cases, *, adapter: Path, training: dict[str, Any]) -> Report:
        manifest = read_manifest(self._base.folder)
        now = adapters_of([self._node], base=manifest.base, shipped=True)
        held = cases.held[:_HELD_AT_MOST]
        running = now.of.get(self._node.name, "")
        files = {_TUNING: adapter, **({_NOW: now.files[running]} if running else {})}
        shared = self._base.open(files)
        plain: LanguageModel = AdaptedModel(shared, adapter=_NOW) if running else shared
        figures = [
            measured(node, held, model=model, embedder=self._embedder, progress=self._progress)
            for model in (plain, AdaptedModel(shared, adapter=_TUNING))
        ]
        judged = verdict(*figures)
        return Report(
            node=node.name,
            installed="yes" if judged.better else "",
            reason=judged.reason,
            base=manifest.sources,
            recipe=asdict(self._recipe),
            training=training,
            now=figures[0].as_dict(),
            tuned=figures[1].as_dict(),
        )

    def _install(self, report: Report, *, folder: Path, output: Path) -> Report:
        report.save(folder)
        output.mkdir(parents=True, exist_ok=True)
        stem = TUNED.partition(".")[0]
        if report.installed:
            aside = output / f".{TUNED}"
            shutil.copyfile(folder / TUNED, aside)
            aside.replace(output / TUNED)
        for name in (JSON_FILE, TEXT_FILE):
            shutil.copyfile(folder / name, output / f"{stem}.{name}")
        return report


def _course(training: Training, cases: Cases) -> dict[str, Any]:
    course = training.course
    few = max(1, len(course.losses) // 10)
    return {
        "cases_learned": len(cases.learned),
        "cases_held": len(cases.held),
        "steps": course.step,
        "tokens": course.tokens,
        "seconds": round(course.spent_s),
        "device": str(training.device),
        "numbers": str(training.kind).removeprefix("torch."),
        "loss_first": round(sum(course.losses[:few]) / few, 3) if course.losses else None,
        "loss_last": round(sum(course.losses[-few:]) / few, 3) if course.losses else None,
    }
