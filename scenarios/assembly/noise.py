"""Build the clipping and noise of every node's updates, and the budget that bounds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.aggregation.members import minimum_members
from protocols.privacy.accounting import noise_multiplier_for, shift_factor
from protocols.privacy.adaptive_clip import AdaptiveClip
from protocols.privacy.bands import normalised, square_root_bands
from protocols.privacy.group_losses import group_losses
from protocols.privacy.mechanism import member_sigma
from scenarios.facts.budget import allowances, local_multiplier, mechanism_of
from scenarios.facts.training import Protection, has_integer_noise, protection_of, sums_per_round
from scenarios.kinds.privacy import Privacy
from scenarios.schema import Scenario
from simulator.topology.overlays import Overlay


@dataclass(frozen=True)
class Noise:
    """Clipping and noise of local updates.

    Args:
        protection: what is clipped and noised.
        sigma: per node, the standard deviation of the noise it adds to each coordinate of a clipped sum.
        allowance: per node, the noised sums that its budget allows; None without a budget.
        bands: coefficients of noise correlated across rounds; None without.
        adaptive: adaptation of the clipping norm; None if it is fixed.
    """

    protection: Protection
    sigma: list[float]
    allowance: list[int] | None
    bands: tuple[float, ...] | None
    adaptive: AdaptiveClip | None


def build_noise(scenario: Scenario, overlay: Overlay, samples: Sequence[int]) -> Noise:
    """Return clipping and noise of every node, which privacy, training, protocol and secure sums decide together.

    Args:
        scenario: of the run.
        overlay: nodes and their links.
        samples: number of training samples of each node (public).
    """
    privacy = scenario.privacy
    sigma = [0.0] * overlay.nodes
    if not has_integer_noise(scenario):
        sigma = build_sigma(scenario, overlay, samples)
    return Noise(
        protection=protection_of(scenario),
        sigma=sigma,
        allowance=build_allowance(scenario, sigma),
        bands=None if privacy is None else build_bands(privacy),
        adaptive=None if privacy is None else build_adaptive(privacy, sigma),
    )


def build_bands(privacy: Privacy) -> tuple[float, ...] | None:
    """Return the coefficients of noise correlated across rounds (banded); None without."""
    bands = privacy.bands
    if bands is None:
        return None
    return square_root_bands(bands) if isinstance(bands, int) else normalised(bands)


def build_allowance(scenario: Scenario, sigma: Sequence[float]) -> list[int] | None:
    """Return the number of noised sums that each node's budget allows; None without a budget."""
    privacy = scenario.privacy
    if privacy is None or privacy.budget is None:
        return None
    return allowances(mechanism_of(scenario, privacy), privacy.budget, sigma)


def build_adaptive(privacy: Privacy, sigma: Sequence[float]) -> AdaptiveClip | None:
    """Return the adaptation of the clipping norm to the norms of updates; None if the norm is fixed.

    Args:
        privacy: the table [privacy].
        sigma: standard deviation of each node's noise at the initial clipping norm.
    """
    spec = privacy.adaptive_clip
    if spec is None:
        return None
    return AdaptiveClip(privacy.clip, spec.quantile, spec.rate, max(sigma) / privacy.clip, spec.bit_noise)


def build_sigma(scenario: Scenario, overlay: Overlay, samples: Sequence[int]) -> list[float]:
    """Return the standard deviation of the noise that each node adds to its clipped sum; zero without a mechanism."""
    privacy = scenario.privacy
    if privacy is None or scenario.protocol.exchange == "plain":
        return [0.0] * overlay.nodes
    shared = privacy.noise == "sum"
    relative = [_share(scenario, node, overlay, samples) if shared else 1.0 for node in range(overlay.nodes)]
    z = privacy.noise_multiplier
    if z is None:
        assert privacy.target_epsilon is not None
        z = shift_factor(privacy.adjacency)
        if shared and (price := _price(scenario, overlay, samples, relative)) is not None:
            z *= noise_multiplier_for(privacy.target_epsilon, privacy.delta, price)
        else:
            mechanism = mechanism_of(scenario, privacy)
            z *= local_multiplier(mechanism, privacy.target_epsilon) / min(relative)
    return [z * privacy.clip * share for share in relative]


def _price(
    scenario: Scenario, overlay: Overlay, samples: Sequence[int], relative: Sequence[float]
) -> float | None:
    """Return what all rounds cost the worst node with noise of these multipliers, by the public schedule of groups.

    None where contributions are charged one by one: between several noised steps of a round models are no opened
    sums, and sums of subsampled steps are not amplified.
    """
    protocol, secure, privacy = scenario.protocol, scenario.secure, scenario.privacy
    assert secure is not None
    assert privacy is not None
    if sums_per_round(scenario) > 1 or mechanism_of(scenario, privacy).rate < 1:
        return None
    least = minimum_members(0, secure.colluders, 0)
    if protocol.groups_of_rounds(overlay, scenario.seed, least) is None:
        return None
    losses = group_losses(
        lambda: protocol.groups_of_rounds(overlay, scenario.seed, least) or (),
        protocol.update_weights(samples),
        relative,
        secure.colluders + 1,
        lambda members: secure.per_position(protocol.asked(members)),
    )
    return float(losses.max()) or None  # a run without any group is refused with its sums


def _share(scenario: Scenario, node: int, overlay: Overlay, samples: Sequence[int]) -> float:
    """Return the part of a sum's noise that ``node`` must add so that every sum it enters has enough."""
    secure, protocol = scenario.secure, scenario.protocol
    assert secure is not None
    least = minimum_members(0, secure.colluders, 0)
    sums = protocol.sums(overlay, samples, scenario.seed, least, node)
    # Where nodes train from opened sums, whoever looks at one is a member of it, and knows its own noise.
    knowing = secure.colluders + protocol.states_are_public
    return max(
        (
            member_sigma(1.0, 1.0, [weights], knowing, secure.per_position(protocol.asked(len(weights))))
            for weights in sums
        ),
        default=1.0,  # a node in no sum contributes nothing
    )
