"""A model as onnxruntime-genai takes it, written from the same file as this project's own.

Knows what inputs, outputs and settings that library wants; never imports it, as it is only there to be
measured. The graph is the one that its own builder would write for a processor in 8 bits: weights with a
scale for each block, keys and values in float32, sizes counted from the mask, logits of the last place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.model.gguf_file import GgufFile
from edge_node.model.graph import build_graph
from edge_node.model.manifest import ADAPTABLE_FILE, GRAPH_FILE
from edge_node.model.onnx_file import Kind, node, read_layout, value, write_model
from edge_node.model.scheme import Scheme
from edge_node.model.tokens import TOKENIZER_FILE, write_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import NodeProto

CONFIG_FILE = "genai_config.json"
_TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
_BITS = 8
_COUNTED_INSIDE = frozenset({"seqlens_k", "total_sequence_length", "positions"})


@dataclass(frozen=True, slots=True)
class _Blocks(Scheme):
    """8 bits in blocks for every matrix, with nothing turned and float32 for what is kept of a text."""

    @property
    def is_float(self) -> bool:
        """Whether keys and values are in float32, as that library's builder leaves them on processors."""
        return True

    @property
    def is_turned(self) -> bool:
        """Whether the residual stream is turned, which that library's builder does not do."""
        return False


def write_genai_model(gguf_path: Path, folder: Path, *, threads: int, context: int) -> None:
    """Write what onnxruntime-genai loads into `folder`, from a GGUF file.

    Args:
        gguf_path: The model.
        folder: Where to write; it is made.
        threads: Threads for one run.
        context: Tokens that fit.

    Raises:
        ModelCorrupt: It is no GGUF file, or a tensor in it is not what its sizes make it.
        ModelUnsupported: Something in it has no place in the graph.
    """
    folder.mkdir(parents=True)
    gguf = GgufFile.open(gguf_path)
    write_tokenizer(gguf.vocabulary, folder / TOKENIZER_FILE, source=gguf_path)
    build_graph(gguf, folder, scheme=_Blocks(_BITS), progress=lambda _done, _total: None)
    (folder / ADAPTABLE_FILE).unlink()
    _count_inside(folder / GRAPH_FILE, vocabulary=gguf.dimensions.vocabulary)
    _write_json(folder / CONFIG_FILE, _config(gguf, threads=threads, context=context))
    _write_json(folder / _TOKENIZER_CONFIG_FILE, _tokenizer_config(gguf))


def _count_inside(path: Path, *, vocabulary: int) -> None:
    """Take a mask in the place of sizes and places that a caller would have to count."""
    model = read_layout(path)
    graph = model.graph
    kept = [each for each in graph.input if each.name not in _COUNTED_INSIDE]
    mask = value("attention_mask", Kind.INT64, [1, "total_sequence"])
    nodes = [*_sizes_of_mask(), *graph.node]
    outputs = [value("logits", Kind.FLOAT, [1, 1, vocabulary]), *graph.output[1:]]
    for field, fresh in ((graph.input, [*kept, mask]), (graph.node, nodes), (graph.output, outputs)):
        del field[:]
        field.extend(fresh)
    write_model(model, path)


def _sizes_of_mask() -> list[NodeProto]:
    """Return what counts: the tokens in the mask, its length, and the last place of what is read."""
    return [
        node("Constant", [], ["mask.one"], value_ints=[1]),
        node("ReduceSum", ["attention_mask", "mask.one"], ["mask.sum"], keepdims=0),
        node("Sub", ["mask.sum", "mask.one"], ["mask.before"]),
        node("Cast", ["mask.before"], ["seqlens_k"], to=Kind.INT32),
        node("Shape", ["attention_mask"], ["mask.shape"], start=1, end=2),
        node("Squeeze", ["mask.shape"], ["mask.length"]),
        node("Cast", ["mask.length"], ["total_sequence_length"], to=Kind.INT32),
        node("Constant", [], ["positions"], value_ints=[-1]),
    ]


def _config(gguf: GgufFile, *, threads: int, context: int) -> dict[str, Any]:
    sizes, vocabulary = gguf.dimensions, gguf.vocabulary
    decoder = {
        "session_options": {"intra_op_num_threads": threads, "provider_options": []},
        "filename": GRAPH_FILE,
        "head_size": sizes.head_size,
        "hidden_size": sizes.hidden,
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "num_key_value_heads": sizes.kv_heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    model = {
        "type": "llama",  # what a decoder without anything of its own is called there
        "bos_token_id": _opening(gguf),
        "eos_token_id": list(vocabulary.eos),
        "pad_token_id": vocabulary.eos[0],
        "context_length": context,
        "vocab_size": sizes.vocabulary,
        "decoder": decoder,
    }
    search = {"do_sample": False, "max_length": context, "num_beams": 1, "past_present_share_buffer": True}
    return {"model": model, "search": search}


def _tokenizer_config(gguf: GgufFile) -> dict[str, Any]:
    vocabulary = gguf.vocabulary
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": vocabulary.tokens[_opening(gguf)],
        "eos_token": vocabulary.tokens[vocabulary.eos[0]],
        "add_bos_token": False,
    }


def _opening(gguf: GgufFile) -> int:
    """Return the token that opens a text; where there is none, one is named all the same and never read."""
    bos = gguf.vocabulary.bos
    return gguf.vocabulary.eos[0] if bos is None else bos


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
