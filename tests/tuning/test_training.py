"""A real training of a tiny model, from cases to an adapter that runs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_node.config.load import load_node
from edge_node.model.gguf_file import GgufFile
from edge_node.model.graph import build_graph
from edge_node.model.lora import convert_adapter
from edge_node.model.scheme import FLOAT
from edge_node.model.session import open_kv_session, read_adapter
from edge_node.tuning.lessons import Lesson, Pack, packed
from edge_node.tuning.packed_attention import Layout
from edge_node.tuning.training import Recipe, Training, _laid
from edge_node.tuning.tuner import Base, Tuner
from tests.tuning.conftest import HashedWords, NoProgress

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch", reason="needs the extra `tune`", exc_type=ImportError)
pytest.importorskip("peft", reason="needs the extra `tune`", exc_type=ImportError)
pytestmark = [
    pytest.mark.tune,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

RECIPE = Recipe(rank=4, rate=2e-2, epochs=30, minutes=5, threads=1, device="cpu", checkpoint_s=0.0)
BEGINNING = tuple(range(40, 60))


def lesson(word: int, answer: int) -> Lesson:
    return Lesson((*BEGINNING, word, 61), (answer, 2), (1.0, 0.5))


LESSONS = [("k", lesson(70 + number, 90 + number)) for number in range(4)]


def test_a_training_learns_its_lessons_and_the_runtime_computes_the_same(base: Base, tmp_path: Path) -> None:
    packs = packed(LESSONS, most_tokens=1000, most_lessons=4)
    training = Training(GgufFile.open(base.gguf), recipe=RECIPE, folder=tmp_path)
    folder = training.run(packs, progress=NoProgress())
    assert training.course.losses[-1] < 0.3 * training.course.losses[0]
    convert_adapter(folder, tmp_path / "own.onnx_adapter", base=base.folder, half=True)
    build_graph(GgufFile.open(base.gguf), tmp_path, scheme=FLOAT, progress=lambda _done, _total: None)
    session = open_kv_session(tmp_path / "adaptable.onnx", threads=1, length=64)
    session.adapt(read_adapter(tmp_path / "own.onnx_adapter"))
    for _, each in LESSONS:
        logits = session.run(np.array(each.prompt), position=0)[-1]
        assert int(np.argmax(logits)) == each.answer[0]
        alone = Layout.of(torch, begun=0, lengths=[len(each.prompt)], device="cpu")
        with torch.no_grad():
            expected = (
                training._model(torch.tensor([each.prompt]), layout=alone).logits[0, -1].float().numpy()
            )
        assert np.linalg.norm(logits - expected) < 0.05 * np.linalg.norm(expected)


def test_packed_lessons_do_not_see_each_other(base: Base, tmp_path: Path) -> None:
    training = Training(GgufFile.open(base.gguf), recipe=RECIPE, folder=tmp_path)
    training._model.float()
    training.kind = torch.float32
    with torch.no_grad():
        together = float(training._loss(packed(LESSONS, most_tokens=1000, most_lessons=4)[0]))
        alone = sum(float(training._loss(Pack((), (each,)))) for _, each in LESSONS)
    assert together == pytest.approx(alone, rel=1e-3)


def test_a_training_that_was_broken_off_goes_on_where_it_was(base: Base, tmp_path: Path) -> None:
    packs = packed(LESSONS, most_tokens=1000, most_lessons=1)
    whole = Training(GgufFile.open(base.gguf), recipe=RECIPE, folder=tmp_path / "whole")
    whole.run(packs, progress=NoProgress())

    class Broken(Exception):
        pass

    def stop(_folder: Path) -> None:
        shutil.copytree(tmp_path / "parts", tmp_path / "kept", dirs_exist_ok=True)
        raise Broken

    first = Training(GgufFile.open(base.gguf), recipe=RECIPE, folder=tmp_path / "parts")
    with pytest.raises(Broken):
        first.run(packs, progress=NoProgress(), at_checkpoint=stop)
    again = Training(GgufFile.open(base.gguf), recipe=RECIPE, folder=tmp_path / "kept")
    again.run(packs, progress=NoProgress())
    assert again.course.step == whole.course.step == RECIPE.epochs * len(packs)
    assert again.course.losses[0] == first.course.losses[0]


def test_a_row_holds_the_beginning_once_and_each_answer_behind_its_prompt() -> None:
    pack = packed(LESSONS[:2], most_tokens=1000, most_lessons=4)[0]
    laid = _laid(pack)
    assert pack.beginning == BEGINNING
    assert laid.tokens == [*BEGINNING, 70, 61, 90, 2, 71, 61, 91, 2]
    assert laid.positions == [*range(20), 20, 21, 22, 23, 20, 21, 22, 23]
    assert [laid.tokens[at + 1] for at in laid.sources] == laid.targets == [90, 2, 91, 2]
    assert pack.length == len(laid.tokens)


def test_a_node_is_tuned_from_end_to_end(base: Base, embedder: HashedWords, tmp_path: Path) -> None:
    folder = tmp_path / "rover"
    shutil.copytree("nodes/rover", folder)
    recipe = Recipe(rank=2, epochs=1, minutes=0.05, threads=1, device="cpu")
    tuner = Tuner(
        load_node(folder),
        base=base,
        embedder=embedder,
        recipe=recipe,
        home=tmp_path / "home",
        progress=NoProgress(),
    )
    report, work = tuner.tune(orders=5)
    assert (work / "cases.jsonl").stat().st_size
    assert (work / "tuned.onnx_adapter").is_file()
    assert (folder / "tuned.report.json").is_file()
    assert bool(report.installed) is (folder / "tuned.onnx_adapter").is_file()
    assert report.training["steps"] >= 1
    assert report.now["cases"] == report.tuned["cases"] == report.training["cases_held"]
