"""Noise that one member of a secure sum must add."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulator.errors import ConfigurationError


def member_sigma(
    noise_multiplier: float,
    clip: float,
    weights: Sequence[Sequence[float]],
    colluders: int,
    minimum_members: int,
) -> float:
    """Return the standard deviation a member adds to its own contribution before sharing it with any aggregator.

    A sum over ``minimum_members`` members, of whom ``colluders`` know their own noise, is protected by at
    least h = ``minimum_members`` − ``colluders`` noises. Neither the survivors nor the colluders are known
    when the noise is drawn, so the h smallest weights are assumed; with equal weights the result is z·C/√h.

    Args:
        noise_multiplier: z ≥ 0, noise of a sum over the largest weighted contribution in it.
        clip: clipping norm C > 0.
        weights: for every neighbourhood the member belongs to, the mixing weights of all its members (the
            aggregator excluded, this member included), each positive.
        colluders: number of members that may collude with the aggregator.
        minimum_members: the shortest member list that members answer to. Neighbourhoods with fewer members
            are never opened and need no noise.

    Returns:
        max over neighbourhoods v of z·C · max_u W_vu / √(sum of the h smallest W_vw²).

    Raises:
        ConfigurationError: h < 1, weights that are not positive, or no neighbourhood that can ever be opened.

    Guarantees:
        If all members use the value computed for their own neighbourhoods, every sum that is opened
        carries, from members who do not collude, noise of standard deviation at least z·C·max_u W_vu: one
        round costs any member at most (shift factor / z)², towards the aggregator and up to ``colluders``
        members. Losses that add up over rounds and neighbourhoods are accounted by the ledger.
    """
    if noise_multiplier < 0 or not 0 < clip < math.inf:
        raise ConfigurationError(
            f"expected noise_multiplier ≥ 0 and a positive clip, got {noise_multiplier} and {clip}"
        )
    counted = minimum_members - colluders
    if colluders < 0 or counted < 1:
        raise ConfigurationError(
            f"{minimum_members} members of whom {colluders} collude leave no noise that protects; raise the "
            "minimum number of members, lower the colluders, or use a denser topology"
        )
    if any(not 0 < weight < math.inf for neighbourhood in weights for weight in neighbourhood):
        raise ConfigurationError("every mixing weight of a member must be positive and finite")
    openable = [sorted(neighbourhood) for neighbourhood in weights if len(neighbourhood) >= minimum_members]
    if not openable:
        raise ConfigurationError(
            f"no neighbourhood of this member has the {minimum_members} members a sum needs; use a denser "
            "topology or fewer colluders and tolerated dropouts"
        )
    return max(noise_multiplier * clip * ordered[-1] / math.hypot(*ordered[:counted]) for ordered in openable)
