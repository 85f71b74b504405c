"""What is read from a GGUF file, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

from edge_node.errors import ModelCorrupt, ModelError, ModelUnsupported
from edge_node.model.build import build_language_model
from edge_node.model.gguf_file import GgufFile
from edge_node.model.quantise import _levels
from tests.model.conftest import write_gguf

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def test_sizes_are_those_the_file_tells(tiny_gguf: Path) -> None:
    sizes = GgufFile.open(tiny_gguf).dimensions
    assert (sizes.layers, sizes.hidden, sizes.feed_forward, sizes.context) == (2, 64, 96, 256)
    assert (sizes.heads, sizes.kv_heads, sizes.head_size) == (4, 2, 16)
    assert sizes.norm_epsilon == pytest.approx(1e-5)


def test_the_vocabulary_knows_its_special_tokens(tiny_gguf: Path) -> None:
    vocabulary = GgufFile.open(tiny_gguf).vocabulary
    assert vocabulary.special == {0, 1, 2}
    assert vocabulary.tokens[2] == "<|im_end|>"
    assert (vocabulary.bos, vocabulary.eos) == (1, (2,))
    assert vocabulary.merges[0] == "s t"


@pytest.mark.parametrize("name", ["token_embd.weight", "blk.0.attn_k.weight", "blk.1.ffn_down.weight"])
def test_slabs_laid_on_top_of_each_other_are_the_tensor(
    tiny_gguf: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_node.model.gguf_file._SLAB_ELEMENTS", 640)
    gguf = GgufFile.open(tiny_gguf)
    slabs = list(gguf.slabs(name))
    assert len(slabs) > 1
    assert all(slab.dtype == np.float32 for slab in slabs)
    np.testing.assert_array_equal(np.concatenate(slabs), gguf.tensor(name))
    assert gguf.tensor(name).shape == gguf.shape(name)


def test_a_missing_tensor_is_named(tiny_gguf: Path) -> None:
    with pytest.raises(ModelCorrupt, match=r"blk\.9\.attn_q\.weight"):
        GgufFile.open(tiny_gguf).tensor("blk.9.attn_q.weight")


@pytest.mark.parametrize("kept", [0.0, 0.00005, 0.01, 0.2, 0.7, 0.999])
def test_a_file_cut_short_anywhere_is_corrupt(tiny_gguf: Path, tmp_path: Path, kept: float) -> None:
    whole = tiny_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelCorrupt, match=r"cut\.gguf"):
        GgufFile.open(path)


def test_a_file_of_another_kind_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(ModelCorrupt, match="a whole GGUF file"):
        GgufFile.open(path)


def test_another_architecture_is_refused_with_those_that_run(tmp_path: Path) -> None:
    path = tmp_path / "mamba.gguf"
    writer = GGUFWriter(path, "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelUnsupported, match="among llama, qwen2, qwen3, came mamba"):
        GgufFile.open(path)


def test_a_length_past_the_end_is_corrupt_before_anything_loops_over_it(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    content = bytearray(tiny_gguf.read_bytes())
    at = content.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 8
    content[at : at + 8] = (2**40).to_bytes(8, "little")
    path = tmp_path / "altered.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelCorrupt, match=f"{2**40} entries"):
        GgufFile.open(path)


@pytest.mark.parametrize("seed", range(6))
def test_a_head_with_altered_bytes_is_read_or_refused_and_never_crashes(
    tiny_gguf: Path, tmp_path: Path, seed: int
) -> None:
    whole, random = tiny_gguf.read_bytes(), np.random.default_rng(seed)
    head = whole.index(b"blk.1.ffn_down.weight") + 60
    path = tmp_path / "altered.gguf"
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        for at in random.integers(0, head, 3):
            content[at] ^= int(random.integers(1, 256))
        path.write_bytes(content)
        try:
            build_language_model(path, tmp_path / "built", progress=lambda _done, _total: None)
        except ModelError:
            refused += 1
    assert refused


def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    reader = GGUFReader(path, "r+")
    tensor = next(tensor for tensor in reader.tensors if tensor.name == "blk.1.ffn_up.weight")
    tensor.data[3, :2] = (0, 0x7C)  # a scale of infinity
    reader.data.flush()
    with pytest.raises(ModelCorrupt, match=r"numbers in blk\.1\.ffn_up\.weight"):
        GgufFile.open(path).tensor("blk.1.ffn_up.weight")


def test_a_type_that_is_not_supported_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, kind=GGMLQuantizationType.MXFP4)
    with pytest.raises(ModelUnsupported, match=r"Q4_1, .*Q6_K, came MXFP4 in token_embd\.weight"):
        build_language_model(path, tmp_path / "built", progress=lambda _done, _total: None)


def blocks_of(kind: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return blocks of 256 weights as bytes, and the weights that the format's definition makes of them.

    Source: the GGUF specification, block_q4_K and block_q6_K.
    """
    random = np.random.default_rng(9)
    raw, weights = [], []
    for _ in range(count):
        scale, least = random.uniform(0.01, 0.1, 2).astype(np.float16)
        if kind == "Q4_K":
            scales, mins = random.integers(0, 64, (2, 8))
            packed = np.zeros(12, np.uint8)
            packed[:4] = scales[:4] | (scales[4:] >> 4 << 6)
            packed[4:8] = mins[:4] | (mins[4:] >> 4 << 6)
            packed[8:] = (scales[4:] & 15) | ((mins[4:] & 15) << 4)
            levels = random.integers(0, 16, (8, 32))
            halves = (levels[::2] | (levels[1::2] << 4)).astype(np.uint8)
            raw.append(
                np.frombuffer(
                    scale.tobytes() + least.tobytes() + packed.tobytes() + halves.tobytes(), np.uint8
                )
            )
            weights.append((float(scale) * scales[:, None] * levels - float(least) * mins[:, None]).ravel())
        else:
            scales = random.integers(-64, 64, 16).astype(np.int8)
            levels = random.integers(0, 64, (2, 4, 32))
            low = np.stack(
                [levels[:, 0] & 15 | (levels[:, 2] & 15) << 4, levels[:, 1] & 15 | (levels[:, 3] & 15) << 4],
                1,
            )
            high = sum((levels[:, place] >> 4) << (2 * place) for place in range(4))
            parts = (low.astype(np.uint8), np.asarray(high, np.uint8), scales, scale)
            raw.append(np.frombuffer(b"".join(part.tobytes() for part in parts), np.uint8))
            weights.append(float(scale) * scales.repeat(16) * (levels.ravel() - 32.0))
    return np.stack(raw), np.stack(weights)


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_blocks_of_256_are_read_as_the_format_defines_them(tmp_path: Path, kind: str) -> None:
    raw, weights = blocks_of(kind, 6)
    write_gguf(tmp_path / "tiny.gguf", blocks={"big.weight": (raw, GGMLQuantizationType[kind])})
    came = GgufFile.open(tmp_path / "tiny.gguf").tensor("big.weight")
    np.testing.assert_allclose(came, weights, rtol=1e-3, atol=1e-3)


def test_q4_k_blocks_come_back_from_4_bits() -> None:
    weights = blocks_of("Q4_K", 50)[1].astype(np.float32).reshape(-1, 32)
    values, scales, zeros, offsets = _levels(weights)
    back = scales[:, np.newaxis] * (values.astype(np.float32) - zeros[:, np.newaxis]) + offsets[:, np.newaxis]
    assert np.linalg.norm(back - weights) < 0.01 * np.linalg.norm(weights)
