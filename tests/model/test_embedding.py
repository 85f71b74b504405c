from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_node.errors import ModelCorrupt, ModelMissing, ModelUnsupported
from edge_node.model.build import build_embedding_model
from edge_node.model.embedding import DIMENSION, MAX_TOKENS, MiniLmEmbedder
from edge_node.paths import models_folder
from tests.model.exports import INPUTS, WORDS, write_export, write_words

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TABLE = np.random.default_rng(3).normal(size=(len(WORDS), DIMENSION)).astype(np.float32)


def write_model(folder: Path, inputs: tuple[str, ...] = INPUTS) -> Path:
    """Write a model whose hidden state is a row of a table for each token, and its tokenizer."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in inputs],
        [
            helper.make_tensor_value_info(
                "last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", DIMENSION]
            )
        ],
        [numpy_helper.from_array(TABLE, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    write_words(folder / "tokenizer.json")
    return folder


def unit_mean(*words: str) -> NDArray[np.float32]:
    mean = TABLE[[WORDS.index(word) for word in words]].mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny")


def test_a_vector_is_the_mean_of_its_tokens_with_length_one(tiny: Path) -> None:
    vectors = MiniLmEmbedder.open(tiny, threads=1).embed(["pump hot", "open the valve"])

    expected = [unit_mean("pump", "hot"), unit_mean("open", "[UNK]", "valve")]
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_no_texts_give_no_rows_of_the_right_width(tiny: Path) -> None:
    vectors = MiniLmEmbedder.open(tiny, threads=1).embed([])

    assert vectors.shape == (0, DIMENSION)
    assert vectors.dtype == np.float32


def test_text_beyond_the_limit_is_cut_and_not_before(tiny: Path) -> None:
    embedder = MiniLmEmbedder.open(tiny, threads=1)
    whole, beyond, shorter = embedder.embed(
        [
            "pump " * (MAX_TOKENS - 1) + "valve",
            "pump " * (MAX_TOKENS - 1) + "valve hot hot",
            "pump " * (MAX_TOKENS - 1),
        ]
    )

    np.testing.assert_array_equal(whole, beyond)
    assert not np.array_equal(whole, shorter)


def test_the_name_changes_with_the_weights_and_with_the_tokenizer_and_with_nothing_else(
    tmp_path: Path,
) -> None:
    def name_of(export: Path) -> str:
        folder = tmp_path / export.name / "minilm" / "onnx"
        sources = (export / "model.onnx", export / "tokenizer.json")
        build_embedding_model(sources[0], folder, beside=sources[1:], progress=lambda _done, _total: None)
        return MiniLmEmbedder.open(folder, threads=1).name

    first = name_of(write_export(tmp_path / "first"))
    same = name_of(write_export(tmp_path / "same"))
    weights = name_of(write_export(tmp_path / "weights", seed=4))
    tokenizer = name_of(write_export(tmp_path / "tokenizer", words=tuple(reversed(WORDS))))

    assert first == same
    assert len({first, weights, tokenizer}) == 3
    assert all(name.startswith("minilm-") for name in (first, weights, tokenizer))


def test_an_export_as_it_is_and_what_is_built_from_it_have_two_names(tmp_path: Path) -> None:
    export = write_export(tmp_path / "minilm")
    built = export / "onnx"
    sources = (export / "model.onnx", export / "tokenizer.json")
    build_embedding_model(sources[0], built, beside=sources[1:], progress=lambda _done, _total: None)

    names = {MiniLmEmbedder.open(folder, threads=1).name for folder in (export, built)}

    assert len(names) == 2


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_that_is_missing_is_told_with_the_way_to_get_it(tiny: Path, name: str) -> None:
    (tiny / name).unlink()

    with pytest.raises(ModelMissing) as caught:
        MiniLmEmbedder.open(tiny, threads=1)

    assert caught.value.hint == "edge-node model pull tiny"


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_that_cannot_be_read_is_named(tiny: Path, name: str) -> None:
    (tiny / name).write_bytes(b"not a model")

    with pytest.raises(ModelCorrupt, match=name):
        MiniLmEmbedder.open(tiny, threads=1)


def test_a_model_that_takes_something_else_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "other", inputs=("input_ids", "position_ids"))

    with pytest.raises(ModelUnsupported, match="came input_ids, position_ids"):
        MiniLmEmbedder.open(folder, threads=1)


@pytest.fixture(scope="module")
def minilm() -> MiniLmEmbedder:
    return MiniLmEmbedder.open(models_folder() / "all-minilm-l6-v2" / "onnx", threads=2)


@pytest.mark.models
@pytest.mark.parametrize(
    ("text", "paraphrase", "unrelated"),
    [
        (
            "The bearing of the pump is overheating.",
            "The pump's bearing is getting too hot.",
            "Invoices are paid within thirty days.",
        ),
        (
            "How do I bleed the air out of the hydraulic line?",
            "Removing trapped air from the hydraulics",
            "The robot waves when somebody enters the room.",
        ),
        ("Slow the conveyor down.", "Reduce the speed of the belt.", "What colour is the sky today?"),
    ],
)
def test_a_paraphrase_is_nearer_than_something_unrelated(
    minilm: MiniLmEmbedder, text: str, paraphrase: str, unrelated: str
) -> None:
    query, near, far = minilm.embed([text, paraphrase, unrelated])

    assert query @ near > 0.5
    assert query @ far < 0.2


@pytest.mark.models
def test_a_vector_does_not_depend_on_its_neighbours(minilm: MiniLmEmbedder) -> None:
    texts = ["Check the oil level.", "pump " * 300, "Open valve seven.", "Check the oil level."]

    together = minilm.embed(texts)
    alone = np.concatenate([minilm.embed([text]) for text in reversed(texts)])[::-1]

    np.testing.assert_array_equal(together, alone)
    assert together.shape == (4, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
