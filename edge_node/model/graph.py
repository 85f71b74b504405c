"""ONNX graphs of decoders: int8 weights in one file that is mapped, not read.

Knows what a decoder computes; knows nothing of sessions, tokenizers or manifests.

Weights are symmetric int8 with one float32 scale for each block of 32 inputs. Embedding table and head,
where they are tied, lie in the file once. Keys and values are kept in 16 bits, which halves what a context
takes and changes the loss in the fifth digit; they go in and come out through buffers of
fixed length; the caller binds both ends to the same memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.errors import ModelUnsupported
from edge_node.model.manifest import GRAPH_FILE
from edge_node.model.onnx_file import DATA_FILE, MICROSOFT, Kind, Weights, node, product, value, write_new
from edge_node.model.quantise import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from onnx import NodeProto, ValueInfoProto

    from edge_node.model.gguf_file import GgufFile


def build_graph(gguf: GgufFile, folder: Path, *, progress: Callable[[int, int], None]) -> None:
    """Write model.onnx and model.onnx.data for a GGUF model into `folder`.

    Inputs of the graph: `input_ids` int64 (1, S), `seqlens_k` int32 (1), `total_sequence_length` int32
    scalar, `positions` int64 (W), and for each layer `past_key_values.N.key|value` float16
    (1, kv_heads, L, head_size).
    Outputs: `logits` float32 (1, W, vocabulary) of these places among the S, and `present.N.key|value`.

    Args:
        gguf: The model.
        folder: Where to write.
        progress: Called with layers done and layers in all.

    Raises:
        ModelCorrupt: A tensor is missing.
        ModelUnsupported: A tensor has a type that cannot be read, or rows that do not divide into blocks.
    """
    for width in (gguf.dimensions.hidden, gguf.dimensions.feed_forward):
        if width % BLOCK:
            raise ModelUnsupported(
                gguf.path, expected=f"widths that are multiples of {BLOCK}", came=str(width)
            )
    with (folder / DATA_FILE).open("wb") as data:
        _DecoderGraph(gguf, weights=Weights(data)).write(folder / GRAPH_FILE, progress=progress)


class _DecoderGraph:
    """A decoder with grouped-query attention and a gated feed-forward block."""

    def __init__(self, gguf: GgufFile, *, weights: Weights) -> None:
        self._gguf = gguf
        self._sizes = gguf.dimensions
        self._weights = weights
        self._nodes: list[NodeProto] = []

    def write(self, path: Path, *, progress: Callable[[int, int], None]) -> None:
        sizes = self._sizes
        embedding = self._embedding()
        self._rotary_caches()
        residual = "embedded"
        normed = self._node(
            "SimplifiedLayerNormalization",
            [residual, self._norm("blk.0.attn_norm")],
            ["normed.0"],
            domain="",
            axis=-1,
            epsilon=sizes.norm_epsilon,
        )
        for layer in range(sizes.layers):
            residual, normed = self._layer(layer, residual, normed)
            progress(layer + 1, sizes.layers)
        self._head(normed, embedding)
        write_new(
            path, nodes=self._nodes, inputs=self._inputs(), outputs=self._outputs(), weights=self._weights
        )

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
        packed = self._linear(normed, [f"{block}.attn_{part}.weight" for part in "qkv"], name=f"{block}.qkv")
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        narrow = self._cast(packed, Kind.FLOAT16)
        attended = self._node(
            "GroupQueryAttention",
            [narrow, "", "", *past, "seqlens_k", "total_sequence_length", "cos_cache", "sin_cache"],
            [f"{block}.attended.narrow", *present],
            num_heads=sizes.heads,
            kv_num_heads=sizes.kv_heads,
            do_rotary=1,
            rotary_interleaved=int(self._gguf.architecture.rotary_interleaved),
        )
        wide = self._cast(attended, Kind.FLOAT)
        return self._linear(wide, [f"{block}.attn_output.weight"], name=f"{block}.attn_output")

    def _cast(self, source: str, kind: Kind) -> str:
        return self._node("Cast", [source], [f"{source}.{kind.name.lower()}"], domain="", to=kind)

    def _feed_forward(self, layer: int, normed: str) -> str:
        block = f"blk.{layer}"
        both = self._linear(
            normed, [f"{block}.ffn_{part}.weight" for part in ("gate", "up")], name=f"{block}.gate_up"
        )
        self._node("Split", [both], [f"{block}.gate", f"{block}.up"], domain="", axis=-1, num_outputs=2)
        swish = self._node("QuickGelu", [f"{block}.gate"], [f"{block}.swish"], alpha=1.0)
        gated = self._node("Mul", [swish, f"{block}.up"], [f"{block}.gated"], domain="")
        return self._linear(gated, [f"{block}.ffn_down.weight"], name=f"{block}.ffn_down")

    def _linear(self, source: str, tensors: Sequence[str], *, name: str) -> str:
        """Multiply by one or more matrices laid on top of each other."""
        slabs = (slab for tensor in tensors for slab in self._gguf.slabs(tensor))
        at, scales_at, rows = self._weights.matrix(slabs)
        columns = self._gguf.shape(tensors[0])[1]
        return self._multiply(source, name=name, at=at, scales_at=scales_at, rows=rows, columns=columns)

    def _multiply(self, source: str, *, name: str, at: int, scales_at: int, rows: int, columns: int) -> str:
        blocks = columns // BLOCK
        values = self._weights.large(f"{name}.values", Kind.UINT8, (rows, blocks, BLOCK), at)
        scales = self._weights.large(f"{name}.scales", Kind.FLOAT, (rows, blocks), scales_at)
        self._nodes.append(product(source, values, scales, output=name, rows=rows, columns=columns))
        return name

    def _embedding(self) -> tuple[int, int]:
        """Add the look-up of embeddings; return the offsets of values and scales."""
        at, scales_at, rows = self._weights.matrix(self._gguf.slabs("token_embd.weight"))
        hidden = self._sizes.hidden
        values = self._weights.large("embedding.values", Kind.UINT8, (rows, hidden), at)
        scales = self._weights.large("embedding.scales", Kind.FLOAT, (rows, hidden // BLOCK), scales_at)
        self._node(
            "GatherBlockQuantized",
            [values, "input_ids", scales],
            ["embedded"],
            bits=8,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )
        return at, scales_at

    def _head(self, normed: str, embedding: tuple[int, int]) -> None:
        last = self._node(
            "Gather",
            [normed, "positions"],
            ["last"],
            domain="",
            axis=1,
        )
        if self._gguf.has("output.weight"):
            self._linear(last, ["output.weight"], name="logits")
            return
        sizes = self._sizes
        at, scales_at = embedding
        self._multiply(
            last, name="logits", at=at, scales_at=scales_at, rows=sizes.vocabulary, columns=sizes.hidden
        )

    def _rotary_caches(self) -> None:
        """Add the cosines and sines of all positions.

        Source: Su et al., RoFormer (2021), equation 15; the per-frequency divisors of Llama 3.1 files.
        """
        sizes = self._sizes
        exponents = np.arange(0, sizes.head_size, 2, dtype=np.float64) / sizes.head_size
        frequencies = sizes.rope_base**-exponents
        if self._gguf.has("rope_freqs.weight"):
            frequencies /= self._gguf.tensor("rope_freqs.weight")
        angles = np.arange(sizes.context)[:, np.newaxis] * frequencies
        for name, function in (("cos_cache", np.cos), ("sin_cache", np.sin)):
            offset = self._weights.start()
            self._weights.write(function(angles).astype(np.float16))
            self._weights.large(name, Kind.FLOAT16, angles.shape, offset)

    def _norm(self, name: str) -> str:
        return self._weights.small(name, self._gguf.tensor(f"{name}.weight"))

    def _skip_norm(self, residual: str, added: str, *, norm: str, name: str) -> tuple[str, str]:
        summed, normed = f"{name}.sum", f"{name}.normed"
        self._node(
            "SkipSimplifiedLayerNormalization",
            [residual, added, self._norm(norm)],
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
            value(f"{prefix}.{layer}.{part}", Kind.FLOAT16, shape)
            for layer in range(sizes.layers)
            for part in ("key", "value")
        ]
