"""Matrices in 8 bits, symmetric, or in 4, with a zero point; scales by blocks of inputs or by outputs.

Knows NumPy only; knows nothing of where matrices come from or how they are multiplied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32
"""Inputs that share a scale in 4 bits, and the least that do in 8."""
_WIDE_BLOCK = 64
_ZERO_POINT = 128
_LARGEST = 127
_TOP = 15
# Levels that span a block: fewer than 15 where a block uses not all of them, more where outliers are cut.
_SPANNED = (15, 14, 13, 12, 11, 16, 17, 18.5)
_NOTHING = 1e-10  # share of the squares that rounding of float32 alone leaves


def block_of(columns: int) -> int:
    """Return how many inputs share a scale in 8 bits: 64, which multiplies fastest, where they divide so."""
    return BLOCK if columns % _WIDE_BLOCK else _WIDE_BLOCK


def quantise(rows: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a matrix in 8 bits with a scale for each block of B = `block_of(K)` inputs.

    Args:
        rows: Shape (N, K), K a multiple of 32.

    Returns:
        Shape (N, K / B, B), uint8, 128 stands for zero; and the scales, shape (N, K / B), float32.
    """
    blocks = rows.reshape(rows.shape[0], -1, block_of(rows.shape[1]))
    scales = np.abs(blocks).max(axis=2) / np.float32(_LARGEST)
    divisors = np.where(scales == 0, np.float32(1), scales)[:, :, np.newaxis]
    quantised = np.rint(blocks / divisors) + np.float32(_ZERO_POINT)
    return quantised.astype(np.uint8), scales


def quantise_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a matrix in 8 bits with a scale for each output.

    Args:
        rows: Shape (N, K).

    Returns:
        Shape (N, K), int8; and the scales, shape (N,), float32.
    """
    scales = np.abs(rows).max(axis=1) / np.float32(_LARGEST)
    divisors = np.where(scales == 0, np.float32(1), scales)[:, np.newaxis]
    return np.rint(rows / divisors).astype(np.int8), scales


def quantise_to_4_bits(
    rows: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Return a matrix in 4 bits with scale and zero point for each block of 32 inputs, fitted by error.

    A weight is scale * (value - zero) + offset of its block. Offsets make the 16 levels lie where the error
    is least, as in Q4_1, whose blocks come out as they were; they follow as one more column for each block,
    quantised alike but without offsets of their own, to be multiplied by the sum of the block's inputs.

    Args:
        rows: Shape (N, K), K a multiple of 32.

    Returns:
        Of C = `columns_with_offsets(K)` columns, B = ceil(C / 32) blocks, two values a byte, the earlier in
        the low half: shape (N, B, 16), uint8; the scales, shape (N, B), float32; and the zero points
        packed likewise along a row, shape (N, ceil(B / 2)), uint8.
    """
    count, blocks = rows.shape[0], rows.reshape(-1, BLOCK)
    values, scales, zeros, offsets = _levels(blocks)
    beside = offsets.reshape(count, -1)
    beside = np.pad(beside, [(0, 0), (0, -beside.shape[1] % BLOCK)])
    beside_values, beside_scales, beside_zeros, _ = _levels(beside.reshape(-1, BLOCK), has_offsets=False)
    joined = [
        np.concatenate([one.reshape(count, -1), other.reshape(count, -1)], axis=1)
        for one, other in ((values, beside_values), (scales, beside_scales), (zeros, beside_zeros))
    ]
    return _pairs(joined[0]).reshape(count, -1, BLOCK // 2), joined[1], _pairs(joined[2])


def columns_with_offsets(columns: int) -> int:
    """Return how many columns a matrix in 4 bits has together with its offsets."""
    return columns + columns // BLOCK


def _levels(
    blocks: NDArray[np.float32], *, has_offsets: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]:
    """Return values in [0, 15], scales, zero points and offsets of blocks, shape (blocks, 32)."""
    values = np.zeros(blocks.shape, np.uint8)
    scales, lows = np.zeros((2, len(blocks)), np.float32)
    least = np.full(len(blocks), np.inf, np.float32)
    exact = np.square(blocks).sum(axis=1) * np.float32(_NOTHING)
    for levels in _SPANNED:
        left = np.flatnonzero(least > exact)
        chosen, scale, low, error = _tried(blocks[left], levels=levels, has_offsets=has_offsets)
        better = error < least[left]
        at = left[better]
        least[at], scales[at], lows[at] = error[better], scale[better], low[better]
        values[at] = chosen[better]
    zeros = np.clip(np.rint(-lows / np.where(scales == 0, np.float32(1), scales)), 0, _TOP).astype(np.uint8)
    return values, scales, zeros, lows + zeros * scales


def _tried(
    blocks: NDArray[np.float32], *, levels: float, has_offsets: bool
) -> tuple[NDArray[np.float32], ...]:
    """Return values, scales, lowest levels and squared errors where so many levels span each block."""
    lowest, spans = blocks.min(axis=1), np.ptp(blocks, axis=1)
    steps = np.where(spans == 0, np.float32(1), spans / np.float32(levels))
    low = lowest + (spans - steps * np.float32(min(levels, _TOP))) / 2
    if not has_offsets:
        low = np.clip(np.rint(low / steps), -_TOP, 0) * steps
    chosen = np.clip(np.rint((blocks - low[:, np.newaxis]) / steps[:, np.newaxis]), 0, _TOP)
    scale, low = _fitted(blocks, chosen) if has_offsets else (steps, low)
    error = np.square(blocks - scale[:, np.newaxis] * chosen - low[:, np.newaxis]).sum(axis=1)
    return chosen, scale, low, error


def _fitted(
    blocks: NDArray[np.float32], chosen: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return scale and lowest level of each block by least squares."""
    centred = chosen - chosen.mean(axis=1, keepdims=True)
    weight = np.square(centred).sum(axis=1)
    scale = (centred * blocks).sum(axis=1) / np.where(weight == 0, np.float32(1), weight)
    return scale, blocks.mean(axis=1) - scale * chosen.mean(axis=1)


def _pairs(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack values of 4 bits along the last axis, two a byte, the earlier in the low half."""
    if values.shape[-1] % 2:
        values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, 1)])
    return np.bitwise_or(values[..., ::2], np.left_shift(values[..., 1::2], np.uint8(4)), dtype=np.uint8)


def in_blocks(
    values: NDArray[np.int8], *, scales: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a matrix that is in 8 bits already as `quantise` lays it out, in blocks of 32: the same weights.

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
