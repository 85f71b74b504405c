"""Matrices in 8 bits, symmetric, with one scale for each block of 32 inputs.

Knows NumPy only; knows nothing of where matrices come from or how they are multiplied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32
_ZERO_POINT = 128
_LARGEST = 127


def quantise(rows: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a matrix in 8 bits with a scale for each block of 32 inputs.

    Args:
        rows: Shape (N, K), K a multiple of 32.

    Returns:
        Shape (N, K / 32, 32), uint8, 128 stands for zero; and the scales, shape (N, K / 32), float32.
    """
    blocks = rows.reshape(rows.shape[0], -1, BLOCK)
    scales = np.abs(blocks).max(axis=2) / np.float32(_LARGEST)
    divisors = np.where(scales == 0, np.float32(1), scales)[:, :, np.newaxis]
    quantised = np.rint(blocks / divisors) + np.float32(_ZERO_POINT)
    return quantised.astype(np.uint8), scales


def in_blocks(
    values: NDArray[np.int8], *, scales: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a matrix that is in 8 bits already as `quantise` lays it out: the same weights.

    Args:
        values: Shape (K, N), int8, K a multiple of 32.
        scales: One for each column, shape (N,), float32.
    """
    blocks = values.shape[0] // BLOCK
    shifted = (values.astype(np.int16) + _ZERO_POINT).astype(np.uint8)
    return (
        np.ascontiguousarray(shifted.T).reshape(-1, blocks, BLOCK),
        np.repeat(scales[:, np.newaxis], blocks, axis=1),
    )
