"""A decoder written out in NumPy, in float64, by the definition of its family."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_node.model.gguf_file import GgufFile

    Floats = NDArray[np.float64]


def reference_logits(gguf: GgufFile, tokens: NDArray[np.int64]) -> Floats:
    """Return what follows the last token."""
    stream = gguf.tensor("token_embd.weight")[tokens].astype(np.float64)
    decoder = _Decoder(gguf, count=len(tokens))
    for layer in range(gguf.dimensions.layers):
        stream = stream + decoder.attended(stream, f"blk.{layer}")
        stream = stream + decoder.fed(stream, f"blk.{layer}")
    head = "output.weight" if gguf.has("output.weight") else "token_embd.weight"
    return np.asarray(decoder.normed(stream[-1], "output_norm") @ gguf.tensor(head).T)


class _Decoder:
    def __init__(self, gguf: GgufFile, *, count: int) -> None:
        self._gguf, self._sizes, self._count = gguf, gguf.dimensions, count
        sizes = gguf.dimensions
        pairs = np.arange(0, sizes.head_size, 2) / sizes.head_size
        self._turns = np.exp(1j * np.arange(count)[:, None] * sizes.rope_base**-pairs)[:, None]

    def normed(self, stream: Floats, name: str) -> Floats:
        size = np.sqrt((stream**2).mean(axis=-1, keepdims=True) + self._sizes.norm_epsilon)
        return np.asarray(stream / size * self._gguf.tensor(f"{name}.weight"))

    def attended(self, stream: Floats, block: str) -> Floats:
        sizes, count = self._sizes, self._count
        inner = self.normed(stream, f"{block}.attn_norm")
        query = self._head(inner, f"{block}.attn_q", sizes.heads)
        key = self._head(inner, f"{block}.attn_k", sizes.kv_heads)
        value = self._times(inner, f"{block}.attn_v").reshape(count, sizes.kv_heads, -1)
        group = sizes.heads // sizes.kv_heads
        scores = np.einsum("qhd,khd->hqk", query, key.repeat(group, axis=1)) / np.sqrt(sizes.head_size)
        scores[:, np.triu(np.ones((count, count), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        heads = np.einsum("hqk,khd->qhd", weights, value.repeat(group, axis=1))
        return self._times(heads.reshape(count, -1), f"{block}.attn_output")

    def fed(self, stream: Floats, block: str) -> Floats:
        inner = self.normed(stream, f"{block}.ffn_norm")
        gate = self._times(inner, f"{block}.ffn_gate")
        up = self._times(inner, f"{block}.ffn_up")
        return self._times(gate / (1 + np.exp(-gate)) * up, f"{block}.ffn_down")

    def _head(self, inner: Floats, part: str, heads: int) -> Floats:
        apart = self._times(inner, part).reshape(self._count, heads, -1)
        if self._gguf.has(f"{part}_norm.weight"):
            apart = self.normed(apart, f"{part}_norm")
        if self._gguf.architecture.name == "llama":  # pairs are neighbours
            return np.ascontiguousarray(np.ascontiguousarray(apart).view(np.complex128) * self._turns).view(
                np.float64
            )
        half = self._sizes.head_size // 2
        turned = (apart[..., :half] + 1j * apart[..., half:]) * self._turns
        return np.concatenate([turned.real, turned.imag], axis=-1)

    def _times(self, source: Floats, part: str) -> Floats:
        product = source @ self._gguf.tensor(f"{part}.weight").T
        if self._gguf.has(f"{part}.bias"):
            product = product + self._gguf.tensor(f"{part}.bias")
        return np.asarray(product)
