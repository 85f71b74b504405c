"""The int8 graph against a float32 decoder written out in NumPy, and the files it lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.errors import ModelCorrupt, ModelMissing, ModelUnsupported
from edge_node.model.build import build_language_model, verify_folder
from edge_node.model.gguf_file import GgufFile
from edge_node.model.manifest import FORMAT, read_manifest
from edge_node.model.onnx_file import DATA_FILE
from edge_node.model.quantise import BLOCK, quantise
from edge_node.model.session import open_kv_session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def reference_logits(gguf: GgufFile, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what follows the last token, in float64, by the definition of a Llama decoder."""
    sizes, count = gguf.dimensions, len(tokens)
    pairs = np.arange(0, sizes.head_size, 2) / sizes.head_size
    turns = np.exp(1j * np.arange(count)[:, None] * sizes.rope_base**-pairs)[:, None]

    def normed(stream: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        size = np.sqrt((stream**2).mean(axis=-1, keepdims=True) + sizes.norm_epsilon)
        return np.asarray(stream / size * gguf.tensor(f"{name}.weight"))

    def rotated(heads: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.ascontiguousarray(heads).view(np.complex128) * turns).view(np.float64)

    stream = gguf.tensor("token_embd.weight")[tokens].astype(np.float64)
    for layer in range(sizes.layers):

        def times(source: NDArray[np.float64], part: str, *, layer: int = layer) -> NDArray[np.float64]:
            return np.asarray(source @ gguf.tensor(f"blk.{layer}.{part}.weight").T)

        inner = normed(stream, f"blk.{layer}.attn_norm")
        query = rotated(times(inner, "attn_q").reshape(count, sizes.heads, -1))
        key = rotated(times(inner, "attn_k").reshape(count, sizes.kv_heads, -1))
        value = times(inner, "attn_v").reshape(count, sizes.kv_heads, -1)
        group = sizes.heads // sizes.kv_heads
        scores = np.einsum("qhd,khd->hqk", query, key.repeat(group, axis=1)) / np.sqrt(sizes.head_size)
        scores[:, np.triu(np.ones((count, count), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", weights, value.repeat(group, axis=1)).reshape(count, -1)
        stream = stream + times(attended, "attn_output")
        inner = normed(stream, f"blk.{layer}.ffn_norm")
        gate = times(inner, "ffn_gate")
        stream = stream + times(gate / (1 + np.exp(-gate)) * times(inner, "ffn_up"), "ffn_down")
    return np.asarray(normed(stream[-1], "output_norm") @ gguf.tensor("token_embd.weight").T)


@pytest.mark.parametrize("count", [1, 2, 37])
def test_int8_logits_stay_within_five_percent_of_float(
    tiny_gguf: Path, tiny_folder: Path, count: int
) -> None:
    tokens = np.random.default_rng(count).integers(0, 200, count)
    expected = reference_logits(GgufFile.open(tiny_gguf), tokens)
    session = open_kv_session(tiny_folder / "model.onnx", threads=1, length=64)
    came = session.run(tokens, position=0)
    assert came.shape == (1, *expected.shape)
    # 8 bits for weights and for activations leave 1 to 4 %; 7 bits would leave 11, a wrong rotation 16.
    assert np.linalg.norm(came[0] - expected) < 0.05 * np.linalg.norm(expected)


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1e3))
def test_quantising_moves_no_weight_by_more_than_half_a_step(seed: int, scale: float) -> None:
    rows = np.random.default_rng(seed).normal(0, scale, (3, 2 * BLOCK)).astype(np.float32)
    values, scales = quantise(rows)
    back = (values.astype(np.float32) - 128) * scales[:, :, np.newaxis]
    allowed = np.repeat(scales, BLOCK, axis=1) * 0.5001
    assert (np.abs(back.reshape(rows.shape) - rows) <= allowed).all()


def test_quantising_a_block_of_zeros_gives_zeros() -> None:
    values, scales = quantise(np.zeros((1, BLOCK), np.float32))
    assert (values == 128).all()
    assert (scales == 0).all()


def test_tied_embedding_and_head_share_their_bytes(tiny_folder: Path) -> None:
    model = onnx.load(str(tiny_folder / "model.onnx"), load_external_data=False)
    places = {
        tensor.name: {item.key: item.value for item in tensor.external_data}
        for tensor in model.graph.initializer
    }
    assert places["embedding.values"] == places["logits.values"]
    assert places["embedding.scales"] == places["logits.scales"]


def test_weights_begin_on_pages_so_that_they_can_be_mapped(tiny_folder: Path) -> None:
    model = onnx.load(str(tiny_folder / "model.onnx"), load_external_data=False)
    offsets = [
        int(item.value)
        for tensor in model.graph.initializer
        for item in tensor.external_data
        if item.key == "offset"
    ]
    assert offsets
    assert all(offset % 4096 == 0 for offset in offsets)


def test_progress_ends_with_all_steps_done(tiny_gguf: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    build_language_model(
        tiny_gguf, tmp_path / "model", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_build_that_fails_leaves_the_old_folder_whole(tiny_gguf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    build_language_model(tiny_gguf, folder, progress=lambda _done, _total: None)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf.read_bytes()[:5000])
    with pytest.raises(ModelCorrupt):
        build_language_model(cut, folder, progress=lambda _done, _total: None)
    verify_folder(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "cut.gguf"}


def test_building_twice_gives_the_same_model(tiny_gguf: Path, tiny_folder: Path, tmp_path: Path) -> None:
    build_language_model(tiny_gguf, tmp_path / "again", progress=lambda _done, _total: None)
    assert read_manifest(tmp_path / "again").digest == read_manifest(tiny_folder).digest


@pytest.fixture
def own_folder(tiny_gguf: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    build_language_model(tiny_gguf, folder, progress=lambda _done, _total: None)
    return folder


@pytest.mark.parametrize("name", [DATA_FILE, "model.onnx", "tokenizer.json"])
def test_a_flipped_byte_is_found_and_its_file_named(own_folder: Path, name: str) -> None:
    path = own_folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelCorrupt, match=f"{name}: expected sha256") as caught:
        verify_folder(own_folder)
    assert caught.value.path == path


def test_a_file_cut_short_is_found_without_reading_it(own_folder: Path) -> None:
    data = own_folder / DATA_FILE
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ModelCorrupt, match=r"model\.onnx\.data: expected \d+ bytes"):
        read_manifest(own_folder)


def test_a_missing_file_is_named(own_folder: Path) -> None:
    (own_folder / "tokenizer.json").unlink()
    with pytest.raises(ModelCorrupt, match=r"tokenizer\.json: expected \d+ bytes, came no file"):
        verify_folder(own_folder)


def test_a_manifest_of_another_format_asks_for_a_new_build(own_folder: Path) -> None:
    path = own_folder / "manifest.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 99'))
    with pytest.raises(ModelCorrupt, match="format 99") as caught:
        read_manifest(own_folder)
    assert "edge-node model build" in caught.value.hint


def test_a_manifest_that_is_not_json_is_corrupt(own_folder: Path) -> None:
    (own_folder / "manifest.json").write_text("{")
    with pytest.raises(ModelCorrupt, match="expected a manifest"):
        read_manifest(own_folder)


def test_a_folder_without_manifest_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        verify_folder(tmp_path)


def test_a_graph_that_is_no_decoder_is_refused(tmp_path: Path) -> None:
    same = onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([same], "same", ends[:1], ends[1:])
    path = tmp_path / "same.onnx"
    opset = onnx.helper.make_opsetid("", 21)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), str(path))
    with pytest.raises(ModelUnsupported, match="past_key_values"):
        open_kv_session(path, threads=1, length=8)


def test_a_file_that_is_no_graph_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(ModelCorrupt, match="an ONNX model that loads"):
        open_kv_session(path, threads=1, length=8)
