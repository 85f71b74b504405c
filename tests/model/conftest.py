"""A tiny Llama with random weights, as a GGUF file and built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize
from tokenizers import pre_tokenizers

from edge_node.model.build import build_language_model
from edge_node.model.tokens import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, LAYERS, CONTEXT = 64, 96, 4, 2, 2, 256
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("s t", "p e", "pe e", "pee d", "st o", "sto p", "e r", "u s", "us er", "Ġ t", '{ "', '" :', '" }')
TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_gguf(path: Path, *, architecture: str = "llama", pre: str = "smollm") -> None:
    """Write the tiny model: one matrix type of each kind that files in the wild have."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    tokens = _add_tokenizer(writer, pre=pre)
    _add_tensors(writer, vocabulary=tokens)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: GGUFWriter, *, pre: str) -> int:
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens += [merge.replace(" ", "") for merge in MERGES]
    kinds = [TokenType.CONTROL] * len(SPECIAL) + [TokenType.NORMAL] * (len(tokens) - len(SPECIAL))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    return len(tokens)


def _add_tensors(writer: GGUFWriter, *, vocabulary: int) -> None:
    random = np.random.default_rng(7)

    def matrix(name: str, rows: int, columns: int, kind: GGMLQuantizationType) -> None:
        values: NDArray[np.float32] = random.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)
        writer.add_tensor(f"{name}.weight", quantize(values, kind), raw_dtype=kind)

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", random.uniform(0.5, 1.5, HIDDEN).astype(np.float32))

    kinds = GGMLQuantizationType
    matrix("token_embd", vocabulary, HIDDEN, kinds.Q8_0)
    norm("output_norm")
    narrow = HIDDEN // HEADS * KV_HEADS
    for block in (f"blk.{layer}" for layer in range(LAYERS)):
        norm(f"{block}.attn_norm")
        norm(f"{block}.ffn_norm")
        matrix(f"{block}.attn_q", HIDDEN, HIDDEN, kinds.F32)
        matrix(f"{block}.attn_k", narrow, HIDDEN, kinds.F16)
        matrix(f"{block}.attn_v", narrow, HIDDEN, kinds.Q4_0)
        matrix(f"{block}.attn_output", HIDDEN, HIDDEN, kinds.Q8_0)
        matrix(f"{block}.ffn_gate", FEED_FORWARD, HIDDEN, kinds.Q4_1)
        matrix(f"{block}.ffn_up", FEED_FORWARD, HIDDEN, kinds.Q4_1)
        matrix(f"{block}.ffn_down", HIDDEN, FEED_FORWARD, kinds.Q4_1)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_gguf(path)
    return path


@pytest.fixture(scope="session")
def tiny_folder(tiny_gguf: Path) -> Path:
    folder = tiny_gguf.parent / "built"
    build_language_model(tiny_gguf, folder, progress=lambda _done, _total: None)
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_folder: Path) -> Tokenizer:
    return Tokenizer.open(tiny_folder / "tokenizer.json", bos=1, eos=[2], chat_template=TEMPLATE)
