"""Tiny models of each family, drawn by `transformers`, against its own logits.

Needs the extra `reference`; without it the definition in reference.py is the witness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGUFWriter

from edge_node.model.gguf_file import GgufFile
from edge_node.model.graph import build_graph
from edge_node.model.scheme import FLOAT
from edge_node.model.session import open_kv_session
from tests.model.conftest import add_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the extra `reference`", exc_type=ImportError)
transformers = pytest.importorskip("transformers", reason="needs the extra `reference`", exc_type=ImportError)

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, LAYERS = 64, 96, 4, 2, 2
HEAD = {"llama": 16, "qwen2": 16, "qwen3": 32}
NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def drawn(family: str, *, tied: bool) -> Any:
    kind = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[family]
    told = {"head_dim": HEAD[family]} if family != "qwen2" else {}
    configuration = getattr(transformers, f"{kind}Config")(
        vocab_size=300,
        hidden_size=HIDDEN,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
        **told,
    )
    torch.manual_seed(11)
    model = getattr(transformers, f"{kind}ForCausalLM")(configuration).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            spread = 0.5 if values.ndim == 1 else values.shape[1] ** -0.5
            values.copy_(torch.randn_like(values) * spread + (1.0 if "norm" in name else 0.0))
    return model


def written(model: Any, path: Path, *, family: str, tied: bool) -> None:
    writer = GGUFWriter(path, family)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD[family])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50_000.0)
    add_tokenizer(writer, pre="smollm")
    for name, values in model.state_dict().items():
        if not (tied and name == "lm_head.weight"):
            writer.add_tensor(_name(name), _laid(name, values.numpy(), family=family))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(name: str) -> str:
    stem, _, ending = name.removeprefix("model.").rpartition(".")
    if stem.startswith("layers."):
        _, layer, part = stem.split(".", 2)
        return f"blk.{layer}.{NAMES[part]}.{ending}"
    return {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}[stem] + f".{ending}"


def _laid(name: str, values: NDArray[np.float32], *, family: str) -> NDArray[np.float32]:
    """Return rows as conversion to GGUF lays them: in a llama the two of a rotary pair are neighbours."""
    if family != "llama" or not ("q_proj" in name or "k_proj" in name):
        return values.copy()
    halves = values.reshape(-1, 2, HEAD[family] // 2, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_graph_in_float_computes_what_transformers_does(family: str, tied: bool, tmp_path: Path) -> None:  # noqa: FBT001
    model = drawn(family, tied=tied)
    written(model, tmp_path / "tiny.gguf", family=family, tied=tied)
    gguf = GgufFile.open(tmp_path / "tiny.gguf")
    build_graph(gguf, tmp_path, scheme=FLOAT, progress=lambda _done, _total: None)
    tokens = np.random.default_rng(4).integers(0, 300, 50)
    with torch.no_grad():
        expected = model(torch.tensor(tokens[None])).logits[0, -1].numpy()
    session = open_kv_session(tmp_path / "model.onnx", threads=1, length=64)
    came = session.run(tokens, position=0)[-1]
    assert np.linalg.norm(came - expected) < 1e-4 * np.linalg.norm(expected)
