"""Tiny models with random weights, as GGUF files and built."""

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
WIDE_HEAD = 32
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("s t", "p e", "pe e", "pee d", "st o", "sto p", "e r", "u s", "us er", "Ġ t", '{ "', '" :', '" }')
PIECES = ("▁s", "to", "sto", "op", "stop", "▁stop", "▁", *"stopumed<>nk|", "un", "<un", "k>", "é")
TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    pre: str = "smollm",
    kind: GGMLQuantizationType | None = None,
    tied: bool = True,
    more: tuple[str, ...] = (),
    blocks: dict[str, tuple[NDArray[np.uint8], GGMLQuantizationType]] | None = None,
) -> None:
    """Write a tiny model.

    Args:
        path: Where to write.
        architecture: Its family; a qwen3 has heads of a width of their own.
        pre: How its tokenizer splits text; `sentence-pieces` for one of SentencePiece.
        kind: Type of all matrices; where left out, one of each kind that files in the wild have.
        tied: Whether the embedding table is the head as well.
        more: Names of vectors that it has besides.
        blocks: Tensors that it has besides, as bytes.
    """
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    if architecture == "qwen3":
        writer.add_key_length(WIDE_HEAD)
        writer.add_value_length(WIDE_HEAD)
    tokens = add_sentence_pieces(writer) if pre == "sentence-pieces" else add_tokenizer(writer, pre=pre)
    Tensors(writer, architecture=architecture, kind=kind).add(vocabulary=tokens, tied=tied)
    for name in more:
        writer.add_tensor(name, np.zeros(HIDDEN, np.float32))
    for name, (raw, type_of) in (blocks or {}).items():
        writer.add_tensor(name, raw, raw_dtype=type_of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: GGUFWriter, *, pre: str) -> int:
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


def add_sentence_pieces(writer: GGUFWriter) -> int:
    tokens = ["<unk>", *SPECIAL, *(f"<0x{byte:02X}>" for byte in range(0x100)), *PIECES]
    kinds = [TokenType.UNKNOWN] + [TokenType.CONTROL] * len(SPECIAL)
    kinds += [TokenType.BYTE] * 0x100 + [TokenType.NORMAL] * len(PIECES)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_scores(
        [0.0] * (len(tokens) - len(PIECES)) + [-float(place) for place in range(len(PIECES))]
    )
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_chat_template(TEMPLATE)
    return len(tokens)


class Tensors:
    """Random tensors of a family."""

    def __init__(self, writer: GGUFWriter, *, architecture: str, kind: GGMLQuantizationType | None) -> None:
        self._writer = writer
        self._architecture = architecture
        self._kind = kind
        self._random = np.random.default_rng(7)

    def add(self, *, vocabulary: int, tied: bool) -> None:
        kinds = GGMLQuantizationType
        self._matrix("token_embd", vocabulary, HIDDEN, kinds.Q8_0)
        self._vector("output_norm.weight", HIDDEN)
        if not tied:
            self._matrix("output", vocabulary, HIDDEN, kinds.F16)
        for block in (f"blk.{layer}" for layer in range(LAYERS)):
            self._vector(f"{block}.attn_norm.weight", HIDDEN)
            self._vector(f"{block}.ffn_norm.weight", HIDDEN)
            self._attention(block)
            self._matrix(f"{block}.ffn_gate", FEED_FORWARD, HIDDEN, kinds.Q4_1)
            self._matrix(f"{block}.ffn_up", FEED_FORWARD, HIDDEN, kinds.Q4_1)
            self._matrix(f"{block}.ffn_down", HIDDEN, FEED_FORWARD, kinds.Q4_1)

    def _attention(self, block: str) -> None:
        kinds = GGMLQuantizationType
        head = WIDE_HEAD if self._architecture == "qwen3" else HIDDEN // HEADS
        widths = {"q": HEADS * head, "k": KV_HEADS * head, "v": KV_HEADS * head}
        for part, kind in zip("qkv", (kinds.F32, kinds.F16, kinds.Q4_0), strict=True):
            self._matrix(f"{block}.attn_{part}", widths[part], HIDDEN, kind)
            if self._architecture == "qwen2":
                self._vector(f"{block}.attn_{part}.bias", widths[part])
        if self._architecture == "qwen3":
            self._vector(f"{block}.attn_q_norm.weight", head)
            self._vector(f"{block}.attn_k_norm.weight", head)
        self._matrix(f"{block}.attn_output", HIDDEN, HEADS * head, kinds.Q8_0)

    def _matrix(self, name: str, rows: int, columns: int, kind: GGMLQuantizationType) -> None:
        spread = columns**-0.5
        values: NDArray[np.float32] = self._random.normal(0, spread, (rows, columns)).astype(np.float32)
        kind = self._kind or kind
        self._writer.add_tensor(f"{name}.weight", quantize(values, kind), raw_dtype=kind)

    def _vector(self, name: str, width: int) -> None:
        self._writer.add_tensor(name, self._random.uniform(0.5, 1.5, width).astype(np.float32))


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
