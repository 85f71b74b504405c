"""ONNX graphs of decoders: weights of 8 or 4 bits in one file that is mapped, not read.

Knows what a decoder computes; knows nothing of sessions, tokenizers or manifests.

In 8 bits the residual stream is turned: what reads it is rounded with one fixed step and multiplied in whole
numbers, with a scale for each output; the other weights have a scale for each block of inputs. The turn of
the embeddings comes after the look-up, and is taken back before the head, so that table and head are as they
came, and where they are tied, lie in the file once. Keys and values are kept in 16 bits, which halves what
a context takes and changes the loss in the fifth digit; they go in and come out through buffers of fixed
length; the caller binds both ends to the same memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.errors import ModelUnsupported
from edge_node.model.adapter_graph import Linear, side_inputs, with_side_ways
from edge_node.model.decoder_tensors import DecoderTensors
from edge_node.model.manifest import ADAPTABLE_FILE, GRAPH_FILE, NORMS_FILE
from edge_node.model.onnx_file import (
    DATA_FILE,
    MICROSOFT,
    Kind,
    Weights,
    node,
    product,
    value,
    whole_product,
    write_new,
)
from edge_node.model.quantise import BLOCK
from edge_node.model.scheme import norm_before, writes_stream
from edge_node.model.turning import REACH, Turning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import NodeProto, ValueInfoProto

    from edge_node.model.gguf_file import GgufFile
    from edge_node.model.onnx_file import Stored
    from edge_node.model.scheme import Scheme


def build_graph(
    gguf: GgufFile, folder: Path, *, scheme: Scheme, progress: Callable[[int, int], None]
) -> None:
    """Write model.onnx, adaptable.onnx and the weights of both for a GGUF model into `folder`.

    Inputs of the graph: `input_ids` int64 (1, S), `seqlens_k` int32 (1), `total_sequence_length` int32
    scalar, `positions` int64 (W), and for each layer `past_key_values.N.key|value` float16
    (1, kv_heads, L, head_size), float32 where the weights are.
    In adaptable.onnx besides, for each product with weights, `NAME.lora_a` (columns, rank) and `NAME.lora_b`
    (rank, rows), empty unless something is bound.
    Outputs: `logits` float32 (1, W, vocabulary) of these places among the S, and `present.N.key|value`.

    Args:
        gguf: The model.
        folder: Where to write.
        scheme: How many bits each matrix gets.
        progress: Called with layers done and layers in all.

    Raises:
        ModelCorrupt: A tensor is missing, or is not what the sizes of the model make it.
        ModelUnsupported: A tensor has a type that cannot be read, rows that do not divide into blocks, or
            no place in the graph.
    """
    sizes = gguf.dimensions
    for width in (sizes.hidden, sizes.feed_forward, sizes.heads * sizes.head_size):
        if width % BLOCK:
            raise ModelUnsupported(
                gguf.path, expected=f"widths that are multiples of {BLOCK}", came=str(width)
            )
    with (folder / DATA_FILE).open("wb") as data:
        graph = _DecoderGraph(gguf, weights=Weights(data), scheme=scheme)
        graph.write(folder / GRAPH_FILE, progress=progress)
    if scheme.is_turned:
        np.savez(folder / NORMS_FILE, **graph.norms)  # type: ignore[arg-type]


class _DecoderGraph:
    """A decoder with grouped-query attention and a gated feed-forward block."""

    def __init__(self, gguf: GgufFile, *, weights: Weights, scheme: Scheme) -> None:
        self._interleaved = gguf.architecture.rotary_interleaved
        self._tensors = DecoderTensors(gguf)
        self._scheme = scheme
        self._kept = Kind.FLOAT if scheme.is_float else Kind.FLOAT16
        self._sizes = gguf.dimensions
        self._weights = weights
        self._turning = Turning(gguf.dimensions.hidden) if scheme.is_turned else None
        self.norms: dict[str, NDArray[np.float32]] = {}
        self._nodes: list[NodeProto] = []
        self._linears: list[Linear] = []

    def write(self, path: Path, *, progress: Callable[[int, int], None]) -> None:
        sizes = self._sizes
        embedding = self._embedding()
        self._rotary_caches()
        residual = self._turned_embedding("embedded")
        normed = self._node(
            "SimplifiedLayerNormalization",
            [residual, self._stream_norm("blk.0.attn_norm")],
            ["normed.0"],
            domain="",
            axis=-1,
            epsilon=sizes.norm_epsilon,
        )
        for layer in range(sizes.layers):
            residual, normed = self._layer(layer, residual, normed)
            progress(layer + 1, sizes.layers)
        self._head(normed, embedding)
        self._tensors.refuse_the_rest()
        inputs, outputs = self._inputs(), self._outputs()
        write_new(path, nodes=self._nodes, inputs=inputs, outputs=outputs, weights=self._weights)
        inputs += side_inputs(self._linears, weights=self._weights)
        nodes = with_side_ways(self._nodes, self._linears)
        path = path.with_name(ADAPTABLE_FILE)
        write_new(path, nodes=nodes, inputs=inputs, outputs=outputs, weights=self._weights)

    def _layer(self, layer: int, residual: str, normed: str) -> tuple[str, str]:
        """Add one block; return the residual stream after it and the input of what follows."""
        block = f"blk.{layer}"
        attended = self._attention(layer, normed)
        residual, normed = self._skip_norm(
            residual, attended, norm=f"{block}.ffn_norm", name=f"{block}.attention"
        )
        fed = self._feed_forward(layer, normed)
        last = layer + 1 == self._sizes.layers
        following = "output_norm" if last else f"blk.{layer + 1}.attn_norm"
        return self._skip_norm(residual, fed, norm=following, name=f"{block}.block")

    def _attention(self, layer: int, normed: str) -> str:
        block, sizes = f"blk.{layer}", self._sizes
        heads = self._heads(layer, normed)
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        attended = self._node(
            "GroupQueryAttention",
            [
                *(self._cast(each, self._kept) if each else "" for each in heads),
                *past,
                "seqlens_k",
                "total_sequence_length",
                "cos_cache",
                "sin_cache",
            ],
            [f"{block}.attended.narrow", *present],
            num_heads=sizes.heads,
            kv_num_heads=sizes.kv_heads,
            do_rotary=1,
            rotary_interleaved=int(self._interleaved),
        )
        wide = self._cast(attended, Kind.FLOAT)
        return self._linear(wide, [f"{block}.attn_output"], name=f"{block}.attn_output")

    def _heads(self, layer: int, normed: str) -> list[str]:
        """Add queries, keys and values; return the names that attention takes them by."""
        block = f"blk.{layer}"
        packed = self._linear(normed, [f"{block}.attn_{part}" for part in "qkv"], name=f"{block}.qkv")
        if not self._tensors.has(f"{block}.attn_q_norm.weight"):
            return [packed, "", ""]
        sizes = self._sizes
        widths = np.array([sizes.heads, sizes.kv_heads, sizes.kv_heads], np.int64) * sizes.head_size
        split = self._weights.small(f"{block}.widths", widths)
        query, key, value = (f"{block}.{part}" for part in ("query", "key", "value"))
        self._node("Split", [packed, split], [query, key, value], domain="", axis=-1)
        return [
            self._normed_heads(query, norm=f"{block}.attn_q_norm"),
            self._normed_heads(key, norm=f"{block}.attn_k_norm"),
            value,
        ]

    def _cast(self, source: str, kind: Kind) -> str:
        if self._kept is Kind.FLOAT:  # nothing is in 16 bits
            return source
        return self._node("Cast", [source], [f"{source}.{kind.name.lower()}"], domain="", to=kind)

    def _feed_forward(self, layer: int, normed: str) -> str:
        block = f"blk.{layer}"
        both = self._linear(
            normed, [f"{block}.ffn_{part}" for part in ("gate", "up")], name=f"{block}.gate_up"
        )
        self._node("Split", [both], [f"{block}.gate", f"{block}.up"], domain="", axis=-1, num_outputs=2)
        swish = self._node("QuickGelu", [f"{block}.gate"], [f"{block}.swish"], alpha=1.0)
        gated = self._node("Mul", [swish, f"{block}.up"], [f"{block}.gated"], domain="")
        return self._linear(gated, [f"{block}.ffn_down"], name=f"{block}.ffn_down")

    def _normed_heads(self, packed: str, *, norm: str) -> str:
        """Norm each head by itself."""
        sizes, name = self._sizes, f"{packed}.normed"
        apart = self._weights.small(f"{packed}.apart", np.array([0, 0, -1, sizes.head_size], np.int64))
        together = self._weights.small(f"{packed}.together", np.array([0, 0, -1], np.int64))
        self._node("Reshape", [packed, apart], [f"{packed}.heads"], domain="")
        self._node(
            "SimplifiedLayerNormalization",
            [f"{packed}.heads", self._norm(norm, width=sizes.head_size)],
            [f"{packed}.heads.normed"],
            domain="",
            axis=-1,
            epsilon=sizes.norm_epsilon,
        )
        return self._node("Reshape", [f"{packed}.heads.normed", together], [name], domain="")

    def _linear(self, source: str, parts: Sequence[str], *, name: str) -> str:
        """Multiply by one or more matrices laid on top of each other, and add the bias that they have."""
        rows, columns = sum(self._tensors.shape(part)[0] for part in parts), self._tensors.shape(parts[0])[1]
        self._linears.append(Linear(name, source, rows, columns))
        bias = self._bias(parts, name=name)
        if self._turning is not None and (norm := norm_before(parts[0])):
            self._multiply_whole(source, parts, name=name, bias=bias, norm=norm)
            return name
        slabs: Iterable[NDArray[np.float32]] = (slab for part in parts for slab in self._tensors.matrix(part))
        if self._turning is not None and writes_stream(parts[0]):
            slabs = [self._turning.into(np.concatenate(list(slabs)).T).T]
        stored = self._weights.matrix(slabs, bits=self._scheme.of(parts[0]))
        return self._multiply(source, stored, name=name, bias=bias)

    def _multiply_whole(self, source: str, parts: Sequence[str], *, name: str, bias: str, norm: str) -> None:
        """Multiply the turned and normed stream in whole numbers."""
        if self._turning is None:
            return
        turned = [
            self._turning.behind_norm(slab, norm=self.norms[norm])
            for part in parts
            for slab in self._tensors.matrix(part)
        ]
        values, scales = self._weights.by_rows(name, np.concatenate(turned))
        self._nodes += whole_product(
            source, values, scales, output=name, step="stream.step", zero="stream.zero", bias=bias
        )

    def _bias(self, parts: Sequence[str], *, name: str) -> str:
        if not self._tensors.has(f"{parts[0]}.bias"):
            return ""
        biases = [self._tensors.vector(f"{part}.bias", width=self._tensors.shape(part)[0]) for part in parts]
        joined = np.concatenate(biases)
        if self._turning is not None and writes_stream(parts[0]):
            joined = self._turning.into(joined)
        return self._weights.small(f"{name}.bias", joined)

    def _multiply(self, source: str, stored: Stored, *, name: str, bias: str = "") -> str:
        values, *beside = self._weights.parts(name, stored)
        if not beside:
            return self._multiply_floats(source, values, name=name, bias=bias)
        scales, *zeros = beside
        if stored.bits == 4:  # noqa: PLR2004
            source = self._with_sums(source, name=name)
        self._nodes.append(
            product(
                source,
                values,
                scales,
                output=name,
                rows=stored.rows,
                columns=stored.columns,
                bits=stored.bits,
                block=stored.block,
                zeros="".join(zeros),
                bias=bias,
            )
        )
        return name

    def _with_sums(self, source: str, *, name: str) -> str:
        """Put the sum of each block of inputs behind them, for the offsets to be multiplied by."""
        shape = self._weights.small(f"{name}.in_blocks", np.array([0, 0, -1, BLOCK], np.int64))
        axis = self._weights.small(f"{name}.last_axis", np.array([-1], np.int64))
        self._node("Reshape", [source, shape], [f"{name}.blocks"], domain="")
        self._node("ReduceSum", [f"{name}.blocks", axis], [f"{name}.sums"], domain="", keepdims=0)
        return self._node("Concat", [source, f"{name}.sums"], [f"{name}.source"], domain="", axis=-1)

    def _multiply_floats(self, source: str, values: str, *, name: str, bias: str) -> str:
        if not bias:
            return self._node("FusedMatMul", [source, values], [name], transB=1)
        self._node("FusedMatMul", [source, values], [f"{name}.unbiased"], transB=1)
        return self._node("Add", [f"{name}.unbiased", bias], [name], domain="")

    def _embedding(self) -> Stored:
        """Add the look-up of embeddings; return where their table lies."""
        bits = self._scheme.of("token_embd")
        table = self._weights.matrix(self._tensors.matrix("token_embd"), bits=bits)
        shape = (table.rows, table.columns)
        if table.scales_at is None:
            values = self._weights.large("embedding.values", Kind.FLOAT, shape, table.values_at)
            self._node("Gather", [values, "input_ids"], ["embedded"], domain="", axis=0)
            return table
        values = self._weights.large("embedding.values", Kind.UINT8, shape, table.values_at)
        scales = self._weights.large(
            "embedding.scales", Kind.FLOAT, (table.rows, table.blocks), table.scales_at
        )
        self._node(
            "GatherBlockQuantized",
            [values, "input_ids", scales],
            ["embedded"],
            bits=8,
            block_size=table.block,
            gather_axis=0,
            quantize_axis=1,
        )
        return table

    def _head(self, normed: str, table: Stored) -> None:
        last = self._node("Gather", [normed, "positions"], ["last"], domain="", axis=1)
        if self._turning is not None:
            back = self._weights.add("turn.back", self._turning.out_of(self.norms["output_norm"]))
            last = self._node("MatMul", [last, back], ["last.back"], domain="")
        if self._tensors.has("output.weight"):
            self._linear(last, ["output"], name="logits")
        else:
            self._multiply(last, table, name="logits")

    def _rotary_caches(self) -> None:
        """Add the cosines and sines of all positions.

        Source: Su et al., RoFormer (2021), equation 15; the per-frequency divisors of Llama 3.1 files.
        """
        sizes = self._sizes
        exponents = np.arange(0, sizes.head_size, 2, dtype=np.float64) / sizes.head_size
        frequencies = sizes.rope_base**-exponents
        if self._tensors.has("rope_freqs.weight"):
            frequencies /= self._tensors.vector("rope_freqs.weight", width=len(frequencies))
        angles = np.arange(sizes.context)[:, np.newaxis] * frequencies
        for name, function in (("cos_cache", np.cos), ("sin_cache", np.sin)):
            offset = self._weights.start()
            kind = np.float32 if self._kept is Kind.FLOAT else np.float16
            self._weights.write(function(angles).astype(kind))
            self._weights.large(name, self._kept, angles.shape, offset)

    def _norm(self, name: str, *, width: int = 0) -> str:
        values = self._tensors.vector(f"{name}.weight", width=width or self._sizes.hidden)
        return self._weights.small(name, values)

    def _stream_norm(self, name: str) -> str:
        """Return the weights of a norm of the stream; where that is turned, they lie in what comes after."""
        if self._turning is None:
            return self._norm(name)
        self.norms[name] = self._tensors.vector(f"{name}.weight", width=self._sizes.hidden)
        return "stream.ones"

    def _turned_embedding(self, embedded: str) -> str:
        if self._turning is None:
            return embedded
        self._weights.small("stream.ones", np.ones(self._sizes.hidden, np.float32))
        self._weights.small("stream.step", np.array(REACH / 127, np.float32))
        self._weights.small("stream.zero", np.array(128, np.uint8))
        matrix = self._weights.add("turn", self._turning.matrix)
        return self._node("MatMul", [embedded, matrix], [f"{embedded}.turned"], domain="")

    def _skip_norm(self, residual: str, added: str, *, norm: str, name: str) -> tuple[str, str]:
        summed, normed = f"{name}.sum", f"{name}.normed"
        self._node(
            "SkipSimplifiedLayerNormalization",
            [residual, added, self._stream_norm(norm)],
            [normed, "", "", summed],
            epsilon=self._sizes.norm_epsilon,
        )
        return summed, normed

    def _node(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        domain: str = MICROSOFT,
        **settings: Any,
    ) -> str:
        self._nodes.append(node(kind, inputs, outputs, domain=domain, **settings))
        return outputs[0]

    def _inputs(self) -> list[ValueInfoProto]:
        return [
            value("input_ids", Kind.INT64, [1, "sequence"]),
            value("seqlens_k", Kind.INT32, [1]),
            value("total_sequence_length", Kind.INT32, []),
            value("positions", Kind.INT64, ["wanted"]),
            *self._caches("past_key_values"),
        ]

    def _outputs(self) -> list[ValueInfoProto]:
        logits = value("logits", Kind.FLOAT, [1, "wanted", self._sizes.vocabulary])
        return [logits, *self._caches("present")]

    def _caches(self, prefix: str) -> list[ValueInfoProto]:
        sizes = self._sizes
        shape: list[int | str] = [1, sizes.kv_heads, "length", sizes.head_size]
        return [
            value(f"{prefix}.{layer}.{part}", self._kept, shape)
            for layer in range(sizes.layers)
            for part in ("key", "value")
        ]
