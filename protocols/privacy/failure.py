"""Cost in ε and δ of a mechanism that differs, with a small probability, from the one that was accounted.

A secure sum is accounted as the sum of all its members' noised vectors. A member sends nothing if its own vector lies
outside the range that can be encoded or proven short; that event depends on its vector, whose own noise is only a
part of the noise of the sum. Ranges are chosen so that the event is rare; this module accounts for the remaining
probability.

Let a mechanism equal an (ε, δ(ε))-private one except on an event of probability at most p under either of two
neighbouring data sets. Removing the event on one side and adding it on the other costs p each::

    P(M(D) ∈ S)  ≤  P(ideal(D) ∈ S) + p  ≤  e^ε P(ideal(D′) ∈ S) + δ(ε) + p
                 ≤  e^ε (P(M(D′) ∈ S) + p) + δ(ε) + p,

so it is (ε, δ(ε) + (1 + e^ε) p)-private, as for any mechanism within total variation p of a private one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from sys import float_info

import numpy as np
from scipy.special import log_ndtr

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.exposure import loss_ratio
from protocols.privacy.record import Record
from protocols.privacy.sampling import sampled_epsilon
from simulator.errors import ConfigurationError

_FIRST_MARGIN = 1e-12
_TRIES = 60


def refusal_probability(vectors: int, coordinates: int, sigmas: float, *, proven: bool) -> float:
    """Bound the probability that any honest member of a run withholds a vector or finds no proof for one.

    Each coordinate of an offered vector is a number within its range plus Gaussian noise, and there is room for
    ``sigmas`` standard deviations of it on either side. A norm proof has room for (√d + ``sigmas``) of them:
    P(‖z‖ ≥ √d + t) ≤ exp(−t²/2) for a standard normal z of d dimensions (Laurent and Massart 2000; the norm is
    1-Lipschitz, and its mean at most √d).

    Args:
        vectors: number offered in the whole run by all members together; each is encoded once.
        coordinates: d, of a vector.
        sigmas: standard deviations of the noise of one coordinate that the range leaves room for.
        proven: whether norms are proven as well.

    Returns:
        A union bound, at most 1. Never below the smallest normal float64, about 2e-308, unless nothing is offered.

    Raises:
        ConfigurationError: an argument is negative or not a number.
    """
    if vectors < 0 or coordinates < 0 or not sigmas >= 0:
        raise ConfigurationError(
            f"a probability of refusals needs counts and sigmas of at least 0, got {vectors}, {coordinates} and "
            f"{sigmas}"
        )
    if vectors == 0 or coordinates == 0:
        return 0.0
    each = math.log(2 * coordinates) + float(log_ndtr(-sigmas))
    if proven:
        each = float(np.logaddexp(each, -sigmas * sigmas / 2))
    return min(1.0, max(float_info.min, math.exp(math.log(vectors) + each)))


def with_failure_probability(epsilon_at: Callable[[float], float], probability: float, delta: float) -> float:
    """Return the smallest ε with δ(ε) + (1 + e^ε) p ≤ δ.

    Args:
        epsilon_at: of the mechanism that never fails: the ε that belongs to a δ, from Gaussian losses, Rényi curves
            or privacy loss distributions. Must not rise with δ.
        probability: p, largest probability under either data set that the real mechanism differs from it.
        delta: δ of the claim.

    Returns:
        ε at ``delta``, rounded up, by far less than ε itself where p is far below δ; infinite where
        (1 + e^ε) p uses up δ. With p = 0, ``epsilon_at(delta)``.

    Raises:
        ConfigurationError: a probability outside [0, 1], or δ outside (0, 1).

    Guarantees:
        (ε, δ) for the whole output of the real mechanism, failures included, if their probability is at most p for
        every earlier choice of the observers. Adjacency, unit and observer are those of ``epsilon_at``.
    """
    if not 0 <= probability <= 1:
        raise ConfigurationError(f"a probability of failures must lie between 0 and 1, got {probability}")
    if not 0 < delta < 1:
        raise ConfigurationError(f"delta must lie strictly between 0 and 1, got {delta}")
    epsilon = epsilon_at(delta)
    if probability == 0:
        return epsilon
    # From below: a larger ε leaves less of δ, so ε grows until it suffices or δ is used up. The margin doubles, so
    # the loop ends, and the returned value has been checked.
    margin = _FIRST_MARGIN
    for _ in range(_TRIES):
        left = remaining_delta(delta, probability, epsilon)
        if left <= 0:
            return math.inf
        needed = epsilon_at(left)
        if needed <= epsilon:
            return epsilon
        epsilon = needed * (1 + margin)
        margin *= 2
    return math.inf


def remaining_delta(delta: float, probability: float, epsilon: float) -> float:
    """Return δ − (1 + e^ε) p, rounded down: the δ that a failure probability leaves at ε; not positive if none."""
    if probability == 0:
        return delta
    rising = epsilon + math.log(probability)
    if not rising < 0:
        return 0.0
    return math.nextafter(delta - probability - math.exp(rising), 0.0)


def handed_over(
    record: Record, victim: int, factor: float, adjacency: str, delta: float, rate: float = 1.0
) -> tuple[float, float | None]:
    """Return ε and loss μ² if each noised contribution of a node were shown to all other nodes when it is made.

    Args:
        record: of a run with Gaussian noise.
        victim: node whose loss is computed.
        factor: the adjacency's :func:`~protocols.privacy.accounting.shift_factor`.
        adjacency: name of the adjacency, as in :func:`~protocols.privacy.accounting.shift_factor`.
        delta: δ.
        rate: probability that a record takes part in a contribution, where that amplifies; there is no μ² then.

    Guarantees:
        Holds against adaptive training, towards any observers, whatever the run shows of the victim. What a node
        refuses follows from its noised contributions and from what others did, so this covers refusals of any
        probability; δ is not touched by them.
    """
    mine = np.flatnonzero(record.owner == victim)
    shift, sigma = factor * record.sensitivity[mine], record.sigma[mine]
    if rate < 1:
        charged: dict[tuple[float, float], int] = {}
        for key in zip(shift.tolist(), (sigma**2).tolist(), strict=True):
            charged[key] = charged.get(key, 0) + 1
        return sampled_epsilon(rate, charged, factor, adjacency, delta), None
    mu2 = float(loss_ratio(shift, sigma).sum())
    return epsilon_of(mu2, delta), mu2
