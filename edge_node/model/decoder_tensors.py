"""The tensors of a decoder in a GGUF file, each with the shape it must have, and none left over.

Knows which tensors the supported families have; knows nothing of graphs or of how weights are stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_node.errors import ModelCorrupt, ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from edge_node.model.gguf_file import GgufFile

_NAMED = 3


class DecoderTensors:
    """What a decoder is made of, as it is asked for."""

    def __init__(self, gguf: GgufFile) -> None:
        self._gguf = gguf
        self._left = set(gguf.names)
        sizes = gguf.dimensions
        queries, keys = sizes.heads * sizes.head_size, sizes.kv_heads * sizes.head_size
        self._shapes = {
            "token_embd": (sizes.vocabulary, sizes.hidden),
            "output": (sizes.vocabulary, sizes.hidden),
            "attn_q": (queries, sizes.hidden),
            "attn_k": (keys, sizes.hidden),
            "attn_v": (keys, sizes.hidden),
            "attn_output": (sizes.hidden, queries),
            "ffn_gate": (sizes.feed_forward, sizes.hidden),
            "ffn_up": (sizes.feed_forward, sizes.hidden),
            "ffn_down": (sizes.hidden, sizes.feed_forward),
        }

    def has(self, name: str) -> bool:
        """Return whether there is a tensor of this name."""
        return self._gguf.has(name)

    def shape(self, part: str) -> tuple[int, int]:
        """Return the shape that a matrix has, by its name without `.weight`."""
        return self._shapes[part.rpartition(".")[2]]

    def kind(self, part: str) -> str:
        """Return the type that a matrix comes in, such as Q4_1, by its name without `.weight`."""
        return self._gguf.kind(f"{part}.weight")

    def matrix(self, part: str) -> Iterator[NDArray[np.float32]]:
        """Yield a matrix a few rows at a time, by its name without `.weight`.

        Raises:
            ModelCorrupt: It is missing, has another shape, or holds what is no number.
            ModelUnsupported: Its type cannot be turned into float32.
        """
        name = f"{part}.weight"
        self._check(name, shape=self.shape(part))
        yield from self._gguf.slabs(name)

    def vector(self, name: str, *, width: int) -> NDArray[np.float32]:
        """Return a vector by its whole name; raises as `matrix` does."""
        self._check(name, shape=(width,))
        return self._gguf.tensor(name)

    def refuse_the_rest(self) -> None:
        """Make sure that everything in the file was asked for.

        Raises:
            ModelUnsupported: Something was not: the model computes more than the graph would.
        """
        if self._left:
            named = sorted(self._left)
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            raise ModelUnsupported(
                self._gguf.path,
                expected=f"the tensors of a plain {self._gguf.architecture.name}",
                came=", ".join(named[:_NAMED]) + more,
            )

    def _check(self, name: str, *, shape: tuple[int, ...]) -> None:
        if (came := self._gguf.shape(name)) != shape:
            raise ModelCorrupt(
                self._gguf.path,
                expected=f"{name} of shape {shape}",
                came=f"shape {came}",
                hint="fetch it again",
            )
        self._left.discard(name)
