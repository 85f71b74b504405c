"""Exports whose int8 weights would become float32 while they load, and what is built from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edge_node.errors import ModelCorrupt
from edge_node.model.embedding import MiniLmEmbedder
from edge_node.model.embedding_graph import build_embedding_graph
from edge_node.model.session import open_session
from edge_node.paths import models_folder
from tests.model.exports import WIDTH, WORDS, write_export

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def built_from(export: Path) -> Path:
    folder = export / "onnx"
    folder.mkdir()
    build_embedding_graph(export / "model.onnx", folder)
    return folder


def hidden(model: Path, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    inputs = {"input_ids": tokens, "attention_mask": tokens, "token_type_ids": tokens}
    states: NDArray[np.float32] = open_session(model, threads=1).run(inputs)[0]
    return states


def float_matrices(model: Path) -> list[tuple[int, ...]]:
    """Return the shapes of float32 initializers with as many numbers as the smallest weight matrix has."""
    return [
        tuple(tensor.dims)
        for tensor in onnx.load(model).graph.initializer
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= WIDTH * WIDTH
    ]


def kinds(model: Path) -> list[str]:
    return [node.op_type for node in onnx.load(model).graph.node]


def test_what_is_built_computes_the_same_within_the_rounding_of_its_inputs(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export")
    tokens = np.random.default_rng(1).integers(0, len(WORDS), (1, 20))

    expected = hidden(export / "model.onnx", tokens)
    came = hidden(built_from(export) / "model.onnx", tokens)

    # What is multiplied is rounded to 8 bits for each block of 32: half a percent; 7 bits would leave 1 %.
    assert np.linalg.norm(came - expected) < 0.008 * np.linalg.norm(expected)


def test_every_weight_stays_exactly_what_it_was(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export")
    source = {t.name: numpy_helper.to_array(t) for t in onnx.load(export / "model.onnx").graph.initializer}

    built = onnx.load(built_from(export) / "model.onnx").graph.initializer

    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in built}
    table = tensors["table/values"] * tensors["table/scales"]
    values, scales = tensors["matrix/values"].astype(np.float32), tensors["matrix/scales"]
    matrix = ((values - 128) * scales[:, :, np.newaxis]).reshape(WIDTH, WIDTH).T
    np.testing.assert_array_equal(table, source["t_q"] * source["t_s"])
    np.testing.assert_array_equal(matrix, source["m_q"] * source["m_s"])


def test_no_weight_is_held_or_made_in_float32(tmp_path: Path) -> None:
    built = built_from(write_export(tmp_path / "export")) / "model.onnx"

    assert float_matrices(built) == []
    assert sorted(kinds(built)) == ["Cast", "Gather", "Gather", "MatMulNBits", "Mul"]
    names = {tensor.name for tensor in onnx.load(built).graph.initializer}
    assert names == {"table/values", "table/scales", "matrix/values", "matrix/scales"}


def test_weights_lie_in_a_file_of_their_own_and_not_in_the_graph(tmp_path: Path) -> None:
    folder = built_from(write_export(tmp_path / "export"))

    assert (folder / "model.onnx").stat().st_size < 4096
    assert (folder / "model.onnx.data").stat().st_size > WIDTH * WIDTH


@pytest.mark.parametrize("spoilt", ["transposed", "half", "by row", "kept"])
def test_a_matrix_that_cannot_be_taken_in_8_bits_stays_while_the_others_are_rewritten(
    tmp_path: Path, spoilt: str
) -> None:
    export = write_export(tmp_path / "export", spoilt=spoilt)
    tokens = np.arange(len(WORDS))[np.newaxis]

    built = built_from(export) / "model.onnx"

    assert "MatMul" in kinds(built)
    assert "table/values" in {tensor.name for tensor in onnx.load(built).graph.initializer}
    np.testing.assert_allclose(
        hidden(built, tokens), hidden(export / "model.onnx", tokens), rtol=1e-4, atol=1e-4
    )


def test_an_export_without_such_weights_is_taken_as_it_is(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export")
    rewritten = built_from(export)
    onnx.save(onnx.load(rewritten / "model.onnx"), tmp_path / "model.onnx")

    again = tmp_path / "again"
    again.mkdir()
    build_embedding_graph(tmp_path / "model.onnx", again)

    assert [path.name for path in again.iterdir()] == ["model.onnx"]
    assert (again / "model.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()


@pytest.mark.parametrize("content", [b"", b"weights" * 100])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)

    with pytest.raises(ModelCorrupt, match=r"model\.onnx: expected an ONNX model"):
        build_embedding_graph(tmp_path / "model.onnx", tmp_path / "onnx")


@pytest.mark.models
def test_vectors_of_the_default_model_stay_within_a_cosine_of_0_999_of_its_export() -> None:
    folder = models_folder() / "all-minilm-l6-v2"
    texts = [
        "How often is the drive-end bearing greased?",
        "slow pump two down to 30 percent",
        "The light turns red when the battery is empty. " * 20,
        "E07",
    ]

    export = MiniLmEmbedder.open(folder, threads=2).embed(texts)
    built = MiniLmEmbedder.open(folder / "onnx", threads=2).embed(texts)

    assert (export * built).sum(axis=1).min() > 0.999
    assert float_matrices(folder / "onnx" / "model.onnx") == []
