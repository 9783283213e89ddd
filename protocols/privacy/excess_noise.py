"""Noise that dropouts might have made necessary, taken out of a sum again when they did not happen.

Nobody knows the survivors when noise is added, so members add what would be enough after the most dropouts that are
tolerated, and a sum without dropouts holds more noise than it needs. Here each member adds its noise in parts, each
from a seed of its own. When it is known how many dropped out, the survivors reveal the seeds of the parts that turned
out to be surplus, and whoever opened the sum subtracts them. What a part is worth: with n members of whom c
collude and k drop out, noise of variance s² / (n − c − k) from each makes s² in all, so part k is the difference
to k − 1.

Source: Jiang, Wang and Chen 2024 (Dordis, EuroSys), add-then-remove noise enforcement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simulator.errors import ConfigurationError


def part_variances(member_variance: float, counted: int, tolerated_dropouts: int) -> tuple[float, ...]:
    """The variances of a member's parts; together ``member_variance``.

    Args:
        member_variance: what each member adds in all: s² / ``counted``. Not negative.
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
    """The parts that are surplus after so many dropouts.

    Args:
        dropouts: of those who were asked; negative counts as none.
        parts: how many there are, part 0 included.
    """
    return range(max(0, dropouts) + 1, parts)


def generator(seed: bytes) -> np.random.Generator:
    """What a part is drawn from: the same for its member and for whoever learns the seed."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))


def remaining_variance(parts: Sequence[float], honest: int, dropouts: int) -> float:
    """Variance of the noise of ``honest`` members that stay, when surplus parts are gone."""
    return honest * math.fsum(parts[: max(0, dropouts) + 1])
