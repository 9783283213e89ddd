"""Sorting of a few vectors against each other, position by position, in one pass over memory.

Compilers sort long arrays well and many short ones badly. Here the length of a sort is the number of vectors, known
when a rule is compiled, so it is a fixed network of minima and maxima over whole vectors (Batcher's odd-even merge
sort), which is fused into one pass over memory. For many vectors the compiler's own sort is used, since networks
become too large to compile.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp

MOST = 40
"""Number of vectors above which the compiler's own sort is used."""


def sorted_rows(x: jax.Array) -> list[jax.Array]:
    """Sort the rows of x, position by position.

    Args:
        x: (n, …).

    Returns:
        n arrays, smallest first. NaN makes its position NaN.
    """
    count = x.shape[0]
    if count > MOST:
        return list(jnp.sort(x, axis=0))
    rows = [x[i] for i in range(count)]
    for i, j in comparators(count):
        rows[i], rows[j] = jnp.minimum(rows[i], rows[j]), jnp.maximum(rows[i], rows[j])
    return rows


@lru_cache(maxsize=64)
def comparators(count: int) -> tuple[tuple[int, int], ...]:
    """Return Batcher's odd-even merge sort for any number of inputs (Knuth, volume 3, algorithm 5.2.2M)."""
    found: list[tuple[int, int]] = []
    if count < 2:
        return ()
    top = 1 << ((count - 1).bit_length() - 1)
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            found += [(i, i + d) for i in range(count - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return tuple(found)
