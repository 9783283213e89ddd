"""Removable noise: noise added for tolerated dropouts and subtracted from a sum when they did not happen.

The survivors are unknown when noise is added, so members add enough for the largest tolerated number of dropouts, and
a sum with fewer dropouts holds more noise than it needs. Here each member adds its noise in parts, each drawn from
its own seed. Once the number of dropouts is known, the survivors reveal the seeds of the excess parts, and the
aggregator subtracts them. Variances of the parts: with n members of whom c collude and k drop out, noise of variance
s² / (n − c − k) from each gives s² in total, so part k is the difference to k − 1.

Source: Jiang, Wang and Chen 2024 (Dordis, EuroSys), add-then-remove noise enforcement.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.errors import ConfigurationError


def part_variances(member_variance: float, counted: int, tolerated_dropouts: int) -> tuple[float, ...]:
    """Return the variances of a member's parts; they sum to ``member_variance``.

    Args:
        member_variance: variance of a member's noise in total: s² / ``counted``. Not negative.
        counted: members that are honest and stay even after all tolerated dropouts, h ≥ 1.
        tolerated_dropouts: T ≥ 0.

    Returns:
        T + 1 variances: part 0 is never removed, part k is needed from k dropouts on.

    Raises:
        ConfigurationError: an argument outside its range.

    Guarantees:
        After k ≤ T dropouts, parts 0 … k of the h + T − k honest members that stay have variance s² in all.
    """
    if not 0 <= member_variance < math.inf or counted < 1 or tolerated_dropouts < 0:
        raise ConfigurationError(
            f"expected a variance, at least 1 counted member and no negative number of dropouts, got "
            f"{member_variance}, {counted} and {tolerated_dropouts}"
        )
    total, most = member_variance * counted, counted + tolerated_dropouts
    parts = [total / most]
    for dropouts in range(1, tolerated_dropouts + 1):
        left = most - dropouts
        parts.append(total / (left * (left + 1)))
    return tuple(parts)


def removable(dropouts: int, parts: int) -> range:
    """Return the parts that are excess noise after a number of dropouts.

    Args:
        dropouts: number of asked members without an answer; a negative number counts as 0.
        parts: number of parts, part 0 included.
    """
    return range(max(0, dropouts) + 1, parts)


def generator(seed: bytes) -> np.random.Generator:
    """Return the generator of a part: the same for its member and for the aggregator that learns the seed."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
