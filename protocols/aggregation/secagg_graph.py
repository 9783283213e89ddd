"""Partner graph of SecAgg+: a sparse random graph, and the smallest degree that is safe.

Source: Bell et al. 2020 (CCS). The conditions on degree and threshold are those of the parameter finder of
google-parfait/federated-compute (``graph_parameter_finder.cc``), written anew with scipy's hypergeometric law.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import gammaln
from scipy.stats import hypergeom

from simulator.errors import ConfigurationError

Adversary: TypeAlias = Literal["semi-honest", "semi-malicious"]


class Parameters(NamedTuple):
    """Degree and threshold of a partner graph.

    Args:
        degree: partners of each member, even.
        threshold: number of shares that recover a seed.
    """

    degree: int
    threshold: int


def parameters(
    members: int,
    corrupted: float,
    dropouts: float,
    security_bits: int = 40,
    correctness_bits: int = 20,
    adversary: Adversary = "semi-honest",
) -> Parameters:
    """Return the sparsest graph with the required security and correctness.

    Args:
        members: n, at least 3.
        corrupted: γ, the fraction that may collude with the server, 0 … below 1.
        dropouts: δ, the fraction that may drop out, 0 … below 1.
        security_bits: σ: with probability at least 1 − 2^-σ no member's seed can be recovered unduly, and the honest
            members that stay are connected.
        correctness_bits: η: with probability at least 1 − 2^-η all seeds that are needed can be recovered.
        adversary: whether a semi-malicious server may announce different dropouts to different members.

    Raises:
        ConfigurationError: no degree below n − 1 is sufficient: use a complete graph.

    Guarantees:
        Over the random choice of the graph, which must be made after the adversary has chosen the corrupted members.
    """
    if members < 3 or not (0 <= corrupted < 1 and 0 <= dropouts < 1):
        raise ConfigurationError(
            f"expected at least 3 members and fractions from 0 to below 1, got {members}, {corrupted}, {dropouts}"
        )
    bad, alive = math.floor(corrupted * members), math.ceil((1 - dropouts) * members)
    lost = bad + math.floor(dropouts * members)
    security = -(security_bits + 1) * math.log(2)
    for degree in range(2, members - 1, 2):
        if _log_gap(members, degree, lost) >= security:
            continue
        counts = np.arange(degree + 1)
        too_many = hypergeom.logsf(counts, members, bad, degree) if bad else np.full(degree + 1, -np.inf)
        below = np.flatnonzero(too_many < security - math.log(members))
        if not len(below):
            continue
        unsafe = int(below[0])
        if adversary == "semi-malicious":
            unsafe = math.ceil((unsafe + degree - 1.25) / 2)
        too_few = hypergeom.logcdf(counts, members, alive, degree)
        rare = np.flatnonzero(too_few < -correctness_bits * math.log(2) - math.log(members))
        recoverable = 1 + (int(rare[-1]) if len(rare) else -1)
        if recoverable > unsafe:
            return Parameters(degree, max(unsafe + 1, 2))
    raise ConfigurationError(
        f"no sparse graph of {members} members is safe for {corrupted:g} corrupted and {dropouts:g} dropping out; "
        "use a complete graph"
    )


def partners(members: Sequence[int], degree: int, key: bytes) -> dict[int, tuple[int, ...]]:
    """Return a random Harary graph: on a circle in random order, the next and previous degree / 2 members.

    Args:
        members: ids, in any order known to all members.
        degree: even; with n − 1 or more the graph is complete.
        key: seed of the order; all members and their aggregator know it.

    Returns:
        By member, its partners, ascending.

    Raises:
        ConfigurationError: the degree is odd or not positive.
    """
    if degree < 2 or degree % 2:
        raise ConfigurationError(
            f"the degree of a circle's neighbours must be even and positive, not {degree}"
        )
    count = len(members)
    if degree >= count - 1:
        return {one: tuple(sorted(other for other in members if other != one)) for one in members}
    seed = int.from_bytes(hashlib.sha256(b"order of members" + key).digest(), "big")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(count).tolist()
    circle = [members[i] for i in order]
    steps = [*range(1, degree // 2 + 1), *range(-(degree // 2), 0)]
    return {
        one: tuple(sorted(circle[(place + step) % count] for step in steps))
        for place, one in enumerate(circle)
    }


def _log_gap(members: int, degree: int, lost: int) -> float:
    """Return the log of a bound on the probability that the honest survivors are disconnected: two gaps of half the
    degree on the circle, all corrupted or dropped out."""
    if lost < degree or members <= degree + 1:
        return -math.inf
    pairs = members * (members - degree - 1) / 2
    gaps = (
        gammaln(lost + 1) + gammaln(members - degree + 1) - gammaln(lost - degree + 1) - gammaln(members + 1)
    )
    return float(math.log(pairs) + gaps)
