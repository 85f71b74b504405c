"""How many bits each matrix of a decoder gets.

Knows the names of matrices and the types they come in; knows nothing of how they are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BITS = (4, 8)
# Types whose blocks have 16 even levels: blocks of 32 in 4 bits with an offset hold them as they are.
_EVEN_LEVELS = frozenset({"Q4_0", "Q4_1", "Q4_K"})
_IN_LAYERS = "blk."


@dataclass(frozen=True, slots=True)
class Scheme:
    """How many bits each matrix gets.

    Attributes:
        bits: 8 or 4 of the matrices in layers; 32 leaves everything as float32; None gives 4 to those that
            lose nothing by it and 8 to the others.
    """

    bits: int | None

    def of(self, part: str, *, kinds: Sequence[str]) -> int:
        """Return the bits of matrices that lie on top of each other.

        Table and head, which may share their bytes, have at least 8: each row of them is one token.

        Args:
            part: Name of the first, without `.weight`.
            kinds: Types that they come in.
        """
        if not part.startswith(_IN_LAYERS):
            return max(self.bits or 8, 8)
        return self.bits or (4 if _EVEN_LEVELS.issuperset(kinds) else 8)


FLOAT = Scheme(32)
OWN = Scheme(None)
