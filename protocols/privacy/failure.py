"""What is claimed of a mechanism that is not quite the one that was accounted: with a small probability it fails.

A secure sum is accounted as the sum of all its members' noised vectors. A member whose own vector lies where it
cannot be encoded, or proven to be short, sends none; that this happened says something about its vector, whose noise
is only a share of the sum's. Ranges are chosen so that it hardly ever happens, and the rest is paid for here.

Let a mechanism equal an (ε, δ(ε))-private one except on an event that has probability at most p under either of two
neighbouring data sets. Leaving the event out, and taking it in again on the other side, costs p each time::

    P(M(D) ∈ S)  ≤  P(ideal(D) ∈ S) + p  ≤  e^ε P(ideal(D′) ∈ S) + δ(ε) + p
                 ≤  e^ε (P(M(D′) ∈ S) + p) + δ(ε) + p,

so it is (ε, δ(ε) + (1 + e^ε) p)-private, the usual price of being near to a private mechanism in total variation.
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
    """How likely it is that any honest member of a run withholds a vector, or finds no proof for one.

    Each coordinate of an offered vector is a number within its range plus Gaussian noise, and there is room for
    ``sigmas`` standard deviations of it on either side. A norm proof has room for (√d + ``sigmas``) of them:
    P(‖z‖ ≥ √d + t) ≤ exp(−t²/2) for a standard normal z of d dimensions (Laurent and Massart 2000; the norm is
    1-Lipschitz, and its mean at most √d).

    Args:
        vectors: offered in the whole run, by all members together; each is encoded once.
        coordinates: d, of a vector.
        sigmas: standard deviations of the noise of one coordinate that the range leaves room for.
        proven: whether norms are proven too.

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
    """The smallest ε with δ(ε) + (1 + e^ε) p ≤ δ.

    Args:
        epsilon_at: of the mechanism that never fails: the ε that belongs to a δ, from Gaussian losses, Rényi curves
            or privacy loss distributions. Must not rise with δ.
        probability: p, with which the real one differs from it, at most, under either data set.
        delta: δ of the claim.

    Returns:
        ε at ``delta``, never too small, and too large by far less than it says where p is far below δ; infinite where
        (1 + e^ε) p leaves nothing of δ. With p = 0, ``epsilon_at(delta)``.

    Raises:
        ConfigurationError: a probability outside [0, 1], or δ outside (0, 1).

    Guarantees:
        (ε, δ) for everything that the real mechanism shows, its failures among it, if they are as unlikely as is said
        whatever observers chose before. Adjacency, unit and observer are those of ``epsilon_at``.
    """
    if not 0 <= probability <= 1:
        raise ConfigurationError(f"a probability of failures must lie between 0 and 1, got {probability}")
    if not 0 < delta < 1:
        raise ConfigurationError(f"delta must lie strictly between 0 and 1, got {delta}")
    epsilon = epsilon_at(delta)
    if probability == 0:
        return epsilon
    # From below: with a larger ε less of δ is left, so more is needed, until it is enough or nothing is left. The
    # margin doubles, so that this ends, and what is returned has been checked.
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
    """δ − (1 + e^ε) p, what a failure probability leaves of δ at an ε: rounded down, not positive for nothing."""
    if probability == 0:
        return delta
    rising = epsilon + math.log(probability)
    if not rising < 0:
        return 0.0
    return math.nextafter(delta - probability - math.exp(rising), 0.0)


def handed_over(
    record: Record, victim: int, factor: float, adjacency: str, delta: float, rate: float = 1.0
) -> tuple[float, float | None]:
    """ε and loss μ² if each noised contribution of a node were shown to everybody, as it is made.

    Args:
        record: of a run with Gaussian noise.
        victim: whose.
        factor: the adjacency's :func:`~protocols.privacy.accounting.shift_factor`.
        adjacency: as everywhere.
        delta: δ.
        rate: with what probability a record takes part in a contribution, where that amplifies; there is no μ² then.

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
