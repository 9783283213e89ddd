"""Benchmark of sharing vectors: Shamir's scheme and the packed one, compared with their raw arithmetic.

One JSON line per case and field::

    python benchmarks/sharing.py

The raw arithmetic is one compiled loop over whole vectors modulo 2^31 − 1: multiply, add, remainder, as often as the
scheme has to. Dealing also makes the random coefficients, and everything goes from numpy arrays to numpy arrays.
``name the wrong`` finds as many wrong shares as the scheme can, over recovering from those that are right.

Times are the least of several in one process; ``ratio`` is what the case claims, named by ``ratio_of``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from protocols.sharing import decoding, packed, shamir
from protocols.sharing.modulus import P31, P61, Modulus

KEY = bytes(range(32))
NAMES = {P31: "2^31-1", P61: "2^61-1"}


def least(repeats: int, work: Callable[[], Any]) -> float:
    """Seconds of the fastest of several runs."""
    work()
    best = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def raw(repeats: int, out: int, terms: int, size: int) -> float:
    """Seconds for ``out`` combinations of ``terms`` vectors modulo 2^31 − 1."""
    with jax.enable_x64(True):
        prime = jnp.uint64(P31.value)

        def step(total: Any, term: Any) -> tuple[Any, None]:
            factor, row = term
            return (total + factor[:, None] * row[None, :]) % prime, None

        loop = jax.jit(lambda f, r: jax.lax.scan(step, jnp.zeros((out, size), jnp.uint64), (f, r))[0])
        drawn = np.random.Generator(np.random.PCG64(1))
        factors = jnp.asarray(drawn.integers(P31.value, size=(terms, out)).astype(np.uint64))
        rows = jnp.asarray(drawn.integers(P31.value, size=(terms, size)).astype(np.uint64))
        return least(repeats, lambda: loop(factors, rows).block_until_ready())


def sharing(
    modulus: Modulus, members: int, threshold: int, packing: int, size: int, repeats: int
) -> Iterator[dict[str, Any]]:
    """Dealing, recovering and correcting."""
    drawn = np.random.Generator(np.random.PCG64(2))
    secret = drawn.integers(modulus.value, size=size, dtype=np.uint64).astype(modulus.dtype)
    points = list(range(1, members + 1))
    private, length = threshold - packing, -(-size // packing)

    def deal() -> Any:
        if packing > 1:
            return packed.deal(modulus, secret, packing, private, points, KEY)
        return shamir.deal(modulus, secret, threshold, points, KEY)

    def recover(shares: Any) -> Any:
        if packing > 1:
            return packed.recover(modulus, points, shares, packing, private, size)
        return shamir.recover(modulus, points, shares, threshold)

    shares = deal()
    assert np.array_equal(recover(shares), secret)
    cases = [
        ("deal", deal, raw(repeats, members, threshold, length)),
        ("recover", lambda: recover(shares), raw(repeats, packing, threshold, length)),
    ]
    if packing == 1:
        wrong = shares.copy()
        for row in range((members - threshold) // 2):
            wrong[row] = drawn.integers(modulus.value, size=size, dtype=np.uint64)

        def name() -> tuple[int, ...]:
            return decoding.wrong_shares(modulus, points, wrong, threshold, KEY)

        assert name() == tuple(range((members - threshold) // 2))
        cases.append(("name the wrong", name, least(repeats, lambda: recover(shares))))
    for case, work, raw_s in cases:
        took_s = least(repeats, work)
        yield {
            "case": case,
            "field": NAMES[modulus],
            "members": members,
            "threshold": threshold,
            "packing": packing,
            "size": size,
            "ms": 1e3 * took_s,
            "mib_of_shares_per_s": members * length * modulus.dtype.itemsize / 2**20 / took_s,
            "ratio": took_s / raw_s,
            "ratio_of": "over recovering"
            if case == "name the wrong"
            else "over the raw arithmetic modulo 2^31-1",
        }


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    for modulus in (P31, P61):
        for members, threshold, packing in ((10, 5, 1), (10, 6, 3), (50, 25, 1)):
            for line in sharing(modulus, members, threshold, packing, asked.size, asked.repeats):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
