"""Random rotation before encoding: spreads a vector's norm evenly over its coordinates.

The range of words is set by the largest coordinate, the sensitivity by the norm. Rotated by H D / √P, with D random
signs and H the Hadamard matrix, every coordinate of a vector of norm 1 is of the order 1 / √P, so the same words
hold a finer scale. All members use the same public signs; sums are rotated back after they are opened.

Sources: Ailon and Chazelle 2009 (the fast Johnson-Lindenstrauss transform), for its use before encoding Suresh, Yu,
Kumar and McMahan 2017 (arXiv 1611.00429) and Kairouz, Liu and Steinke 2021 (arXiv 2102.06387, section 4.2).
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigurationError

Signs: TypeAlias = NDArray[np.int8]


def padded(dimension: int) -> int:
    """Return the number of coordinates of a rotated vector: the next power of two.

    Raises:
        ConfigurationError: the dimension is below 1.
    """
    if dimension < 1:
        raise ConfigurationError(f"a vector must have at least one coordinate, not {dimension!r}")
    return 1 << (dimension - 1).bit_length()


def draw_signs(dimension: int, rng: np.random.Generator) -> Signs:
    """Draw the signs of one rotation.

    Args:
        dimension: number of coordinates of the vectors to rotate.
        rng: a public stream that all members can open, for example one of the round.

    Returns:
        int8 of ±1, shape (padded(dimension),).
    """
    return rng.integers(0, 2, padded(dimension), dtype=np.int8) * np.int8(2) - np.int8(1)


def rotate(values: NDArray[np.floating[Any]], signs: Signs) -> NDArray[np.float64]:
    """Return the vectors H D x / √P, padded with zeros to P coordinates.

    Args:
        values: shape (..., d), float32 or float64.
        signs: from :func:`draw_signs` for the same d.

    Returns:
        float64 of shape (..., P).

    Raises:
        ConfigurationError: the number of signs does not fit the vectors.

    Guarantees:
        The Euclidean norm is preserved, up to float64 rounding: clip before or after, the sensitivity is the same.
        Signs are public; rotation hides nothing.
    """
    size = signs.size
    if values.ndim < 1 or padded(values.shape[-1]) != size:
        raise ConfigurationError(f"{size} signs do not rotate vectors of shape {values.shape}")
    rotated = np.zeros((*values.shape[:-1], size))
    np.multiply(values, signs[: values.shape[-1]], out=rotated[..., : values.shape[-1]])
    rotated = hadamard(rotated)
    rotated *= 1.0 / math.sqrt(size)
    return rotated


def rotate_back(rotated: NDArray[np.floating[Any]], signs: Signs, dimension: int) -> NDArray[np.float64]:
    """Invert :func:`rotate`; for other vectors return the nearest result that padding allows.

    Args:
        rotated: shape (..., P).
        signs: those of :func:`rotate`.
        dimension: d, number of coordinates of the result.

    Returns:
        float64 of shape (..., d). If a sum was rounded or noised in between, the part of that change in the first
        d coordinates remains; the part in the padding is dropped.

    Raises:
        ConfigurationError: the number of signs does not fit the vectors.
    """
    size = signs.size
    if rotated.ndim < 1 or rotated.shape[-1] != size or padded(dimension) != size:
        raise ConfigurationError(
            f"{size} signs do not rotate shape {rotated.shape} back to {dimension} coordinates"
        )
    values = hadamard(rotated)[..., :dimension] * signs[:dimension]
    values *= 1.0 / math.sqrt(size)
    return values


def hadamard(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return H x for the unnormalised Hadamard matrix H of entries ±1, along the last axis: H H x = P x.

    Args:
        values: shape (..., P), P a power of two. Not changed.

    Returns:
        float64 of the same shape, from P · log₂ P additions in an order that does not depend on the machine;
        exact for integers as long as P · max|x| is below 2^53.

    Raises:
        ConfigurationError: P is not a power of two.
    """
    size = values.shape[-1] if values.ndim else 0
    if size < 1 or size & (size - 1):
        raise ConfigurationError(f"the Hadamard transform needs a power of two of coordinates, not {size}")
    # H of P = a·b is the Kronecker product of those of a and b. As a matrix of a rows every step adds long rows,
    # whereas steps within a row would add adjacent numbers.
    rows = 1 << (size.bit_length() - 1) // 2
    work = np.array(values, np.float64, order="C").reshape(-1, rows, size // rows)
    _add_rows(work)
    work = np.ascontiguousarray(work.swapaxes(1, 2))
    _add_rows(work)
    return np.ascontiguousarray(work.swapaxes(1, 2)).reshape(values.shape)


def _add_rows(work: NDArray[np.float64]) -> None:
    """Apply the Hadamard transform along axis 1 of (batch, rows, columns), in place."""
    batch, rows, columns = work.shape
    half = 1
    while half < rows:
        pairs = work.reshape(batch, rows // (2 * half), 2, half * columns)
        upper, lower = pairs[:, :, 0], pairs[:, :, 1]
        difference = upper - lower
        upper += lower
        lower[...] = difference
        half *= 2
