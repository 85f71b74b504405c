"""What is read from a GGUF file, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGUFWriter

from edge_node.errors import ModelCorrupt, ModelUnsupported
from edge_node.model.gguf_file import GgufFile

if TYPE_CHECKING:
    from pathlib import Path


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
    with pytest.raises(ModelUnsupported, match="among llama, came mamba"):
        GgufFile.open(path)
