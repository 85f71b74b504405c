"""A tiny export of an embedding model: int8 weights that its graph makes float32 of, and a tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import NodeProto

WORDS = ("[UNK]", "pump", "valve", "open", "close", "hot")
WIDTH = 384
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def write_export(folder: Path, *, seed: int = 3, spoilt: str = "", words: tuple[str, ...] = WORDS) -> Path:
    """Write model.onnx and tokenizer.json; return the folder.

    Args:
        folder: Where to write.
        seed: What the weights are drawn from.
        spoilt: What keeps the matrix from being multiplied by in 8 bits: `transposed`, `half`, `by row`
            or `kept`; empty for nothing.
        words: Vocabulary of the tokenizer.
    """
    random = np.random.default_rng(seed)
    scales = (WIDTH, 1) if spoilt == "by row" else (1, WIDTH)
    tensors = {
        "t_q": random.integers(-128, 128, (len(WORDS), WIDTH), np.int8),
        "t_s": random.uniform(0.001, 0.01, (len(WORDS), 1)).astype(np.float32),
        "m_q": random.integers(-128, 128, (WIDTH, WIDTH), np.int8),
        "m_s": random.uniform(0.001, 0.01, scales).astype(np.float32),
    }
    lengths = ["batch", "sequence"]
    outputs = [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [*lengths, WIDTH])]
    if spoilt == "kept":
        outputs.append(helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [WIDTH, WIDTH]))
    graph = helper.make_graph(
        _nodes(spoilt),
        "export",
        [helper.make_tensor_value_info(name, TensorProto.INT64, lengths) for name in INPUTS],
        outputs,
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    write_words(folder / "tokenizer.json", words=words)
    return folder


def _nodes(spoilt: str) -> list[NodeProto]:
    half, turned = spoilt == "half", spoilt == "transposed"
    between = [helper.make_node("Cast", ["m_h"], ["m_f"], to=TensorProto.FLOAT)] if half else []
    after = [helper.make_node("Transpose", ["matrix"], ["turned"])] if turned else []
    return [
        helper.make_node("Cast", ["t_q"], ["t_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["t_f", "t_s"], ["table"]),
        helper.make_node("Gather", ["table", "input_ids"], ["taken"]),
        helper.make_node("Cast", ["m_q"], ["m_h"], to=TensorProto.FLOAT16 if half else TensorProto.FLOAT),
        *between,
        helper.make_node("Mul", ["m_s", "m_f" if half else "m_h"], ["matrix"]),
        *after,
        helper.make_node("MatMul", ["taken", "turned" if turned else "matrix"], ["hidden"]),
    ]


def write_words(path: Path, *, words: tuple[str, ...] = WORDS) -> None:
    """Write a tokenizer that knows these words, and that pads and cuts as those of exports do."""
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a word, no secret
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(128)
    tokenizer.save(str(path))
