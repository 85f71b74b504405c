"""How many bits each matrix of a decoder gets.

Knows the names of matrices; knows nothing of how they are stored.
"""

from __future__ import annotations

from dataclasses import dataclass

_FLOAT_BITS = 32
_IN_LAYERS = "blk."


@dataclass(frozen=True, slots=True)
class Scheme:
    """How many bits each matrix gets.

    Attributes:
        bits: 8 or 4 of the matrices in layers; 32 leaves everything as float32; None stands for 8.
    """

    bits: int | None

    @property
    def is_float(self) -> bool:
        """Whether everything stays as float32."""
        return self.bits == _FLOAT_BITS

    @property
    def is_turned(self) -> bool:
        """Whether the residual stream is turned, so that what reads it is multiplied in whole numbers.

        Matrices that have only 4 bits would no longer be as they came.
        """
        return self.bits in {None, 8}

    def of(self, part: str) -> int:
        """Return the bits of a matrix, by its name without `.weight`.

        Table and head, which may share their bytes, have at least 8: each row of them is one token.
        """
        return (self.bits or 8) if part.startswith(_IN_LAYERS) else max(self.bits or 8, 8)


FLOAT = Scheme(_FLOAT_BITS)


def norm_before(part: str) -> str:
    """Return the norm of the residual stream whose output a matrix takes; empty where it takes another."""
    block, _, kind = part.rpartition(".")
    if kind in {"attn_q", "attn_k", "attn_v"}:
        return f"{block}.attn_norm"
    return f"{block}.ffn_norm" if kind in {"ffn_gate", "ffn_up"} else ""


def writes_stream(part: str) -> bool:
    """Return whether the output of a matrix is added to the residual stream."""
    return part.endswith((".attn_output", ".ffn_down"))
