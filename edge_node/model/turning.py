"""A turn of the residual stream that spreads what stands out in a few places over all of them.

Knows matrices only; knows nothing of graphs, files or what a decoder computes.

A decoder whose stream is turned computes the same: the turn is multiplied into the weights around it, and
so are the weights of norms, which without them commute with it. What is normed then looks alike in each
token, no number far from the others, and 8 bits with one fixed step hold it. So it needs no look at the
numbers first, and is multiplied in whole numbers.

Source: Ashkboos et al., QuaRot (2024), section 4; the cosine transform is Ahmed et al. (1974).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 4.5
"""What 8 bits of a turned and normed stream reach to: of a normal distribution all but seven in a million."""


class Turning:
    """One turn: random signs, then a cosine transform; the same wherever a stream is as wide.

    Attributes:
        matrix: What a row of the stream is multiplied by, orthogonal, shape (width, width), float32.
    """

    def __init__(self, width: int) -> None:
        places = np.arange(width)
        waves = np.cos(np.pi / width * np.outer(places + 0.5, places)) * np.sqrt(2 / width)
        waves[:, 0] /= np.sqrt(2)
        signs = np.random.default_rng(width).choice([-1.0, 1.0], width)
        self.matrix: NDArray[np.float32] = (signs[:, np.newaxis] * waves).astype(np.float32)

    def behind_norm(self, rows: NDArray[np.float32], *, norm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rows of a matrix that takes the turned stream, normed without weights.

        Args:
            rows: Those that take the stream as it was, shape (n, width).
            norm: Weights of the norm before them, shape (width,).
        """
        turned: NDArray[np.float32] = np.matmul(rows * norm, self.matrix, dtype=np.float32)
        return turned

    def into(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return turned rows, or what writes into the turned stream in place of the stream.

        Args:
            values: The last axis as wide as the stream.
        """
        return values @ self.matrix

    def out_of(self, norm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what makes of the turned stream, normed without weights, what the norm gave before.

        Args:
            norm: Weights of the norm, shape (width,).

        Returns:
            Shape (width, width), float32.
        """
        turned: NDArray[np.float32] = np.ascontiguousarray(self.matrix.T) * norm
        return turned
