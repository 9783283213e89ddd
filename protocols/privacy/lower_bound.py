"""Lower bounds on ε from the error counts of a distinguishing game.

The attacker is shown runs with and without the canary and guesses. Any (ε, δ)-private mechanism forces a rate of
errors; a lower observed rate, with confidence, gives a lower bound on ε.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom, norm

from protocols.privacy.accounting import epsilon_of

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
"""Default confidence of every bound and verdict."""
DELTAS = (1e-2, 0.05, 0.1, 0.2, 0.4)
"""Values of δ, beside its own, at which a claim that is not Gaussian is tested: an attack with occasional errors
gives no bound on ε at a tiny δ, and a useful one at a large δ."""


class Counts(NamedTuple):
    """Error counts of an attack whose threshold was chosen on other runs.

    Args:
        false_positives, negatives: guesses "present" among runs without the canary.
        false_negatives, positives: guesses "absent" among runs with it.
    """

    false_positives: int
    negatives: int
    false_negatives: int
    positives: int


def epsilon_from_errors(counts: Counts, delta: float, alpha: float = 1 - CONFIDENCE) -> float:
    """Return a lower bound on ε at δ that holds for any mechanism, with confidence 1 − alpha.

    Clopper–Pearson upper limits of both error rates at alpha/2 each; then
    ε ≥ max(ln((1 − δ − FNR)/FPR), ln((1 − δ − FPR)/FNR), 0) (Kairouz, Oh and Viswanath 2015). With m perfect
    guesses in each arm it cannot exceed about ln(m / 3.7), so few trials give a small bound.
    """
    fpr, fnr = upper_rates(counts, alpha)
    bounds = [log((1 - delta - b) / a) for a, b in ((fpr, fnr), (fnr, fpr)) if 1 - delta - b > 0]
    return max([0.0, *bounds])


def epsilon_if_gaussian(counts: Counts, delta: float, alpha: float = 1 - CONFIDENCE) -> float:
    """Return a lower bound on ε at δ, valid only if the mechanism's trade-off curve is Gaussian.

    μ ≥ Φ⁻¹(1 − FPR) − Φ⁻¹(FNR) at the same upper limits (Nasr et al. 2023, arXiv 2302.07956), converted exactly.
    Valid for full-batch Gaussian releases whose view is linear; not for subsampled ones.
    """
    fpr, fnr = upper_rates(counts, alpha)
    mu = float(gaussian_loss(np.float64(fpr), np.float64(fnr)))  # type: ignore[arg-type]
    return epsilon_of(mu * mu, delta) if mu > 0 else 0.0


def upper_limit(errors: Floats, trials: int, alpha: float = 1 - CONFIDENCE) -> Floats:
    """Return Clopper–Pearson upper limits at alpha/2 of error rates, from counts of errors in a number of trials."""
    left = np.maximum(trials - np.asarray(errors, np.float64), 0.0)
    with np.errstate(invalid="ignore"):
        return np.where(left > 0, beta.ppf(1 - alpha / 2, errors + 1, left), 1.0)


def upper_rates(counts: Counts, alpha: float = 1 - CONFIDENCE) -> tuple[float, float]:
    """Return upper limits of both error rates that hold together with confidence 1 − alpha."""
    fpr = upper_limit(np.float64(counts.false_positives), counts.negatives, alpha)  # type: ignore[arg-type]
    fnr = upper_limit(np.float64(counts.false_negatives), counts.positives, alpha)  # type: ignore[arg-type]
    return float(fpr), float(fnr)


class Tested(Protocol):
    """Base of claims that the errors of an attack can refute."""

    def excess(self, fpr: Floats, fnr: Floats) -> Floats:
        """Return how far the error rates lie below what the claim allows; above 0 they refute the claim.

        With upper limits of both rates that hold together with some confidence, a refutation has that confidence.
        """
        ...


@dataclass(frozen=True)
class GaussianClaim:
    """The claim that every attack errs at least as much as the best one on a Gaussian release of loss μ.

    Args:
        mu2: μ².

    Guarantees:
        Holds for adaptive compositions of Gaussian releases and all functions of them, linear or not (Dong, Roth and
        Su 2022), so a refutation is valid for every full-batch run.
    """

    mu2: float

    def excess(self, fpr: Floats, fnr: Floats) -> Floats:
        """Return μ of the attack minus μ of the claim."""
        return gaussian_loss(fpr, fnr) - float(np.sqrt(self.mu2))


@dataclass(frozen=True)
class ProfileClaim:
    """The claim of (ε, δ) at several δ at once.

    Args:
        epsilons: ε by δ.

    Guarantees:
        (ε, δ)-privacy means e^ε · FPR + FNR ≥ 1 − δ, and the same with the rates exchanged (Kairouz, Oh and Viswanath
        2015): errors below that at any δ refute the claim, whatever the mechanism.
    """

    epsilons: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, epsilon_at: Callable[[float], float], deltas: Sequence[float]) -> ProfileClaim:
        """Build the claim at these δ."""
        return cls(tuple((delta, epsilon_at(delta)) for delta in sorted(set(deltas))))

    def excess(self, fpr: Floats, fnr: Floats) -> Floats:
        """Return the largest value of 1 − δ − (e^ε · one rate + the other) over all δ."""
        best = np.full(np.shape(fpr), -1.0)
        for delta, epsilon in self.epsilons:
            if isfinite(epsilon):
                least = np.minimum(exp(epsilon) * fpr + fnr, exp(epsilon) * fnr + fpr)
                best = np.maximum(best, 1 - delta - least)
        return best


@dataclass(frozen=True)
class AnyClaim:
    """No claim: the excess is the lower bound on ε itself that holds for any mechanism.

    Args:
        delta: δ.
    """

    delta: float

    def excess(self, fpr: Floats, fnr: Floats) -> Floats:
        """Return ε of :func:`epsilon_from_errors`; it may be below 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = 1 - self.delta - fnr, 1 - self.delta - fpr
            bounds = np.maximum(
                np.where(one > 0, np.log(one / fpr), -1.0), np.where(other > 0, np.log(other / fnr), -1.0)
            )
        return bounds


def gaussian_loss(fpr: Floats, fnr: Floats) -> Floats:
    """Return μ = Φ⁻¹(1 − FPR) − Φ⁻¹(FNR): the Gaussian release on which the best attack has these error rates."""
    return np.asarray(norm.ppf(1 - fpr) - norm.ppf(fnr))


def epsilon_one_run(
    canaries: int, guesses: int, right: int, delta: float, alpha: float = 1 - CONFIDENCE
) -> float:
    """Return a lower bound on ε at δ from one run that included each canary independently with probability 1/2.

    The attacker guesses for ``guesses`` canaries whether they were included, ``right`` of them correctly; it abstains
    on the others. Under (ε, δ) that many right guesses have probability at most
    P[Bin(r, q) ≥ v] + 2 m δ max_i P[v − i ≤ Bin(r, q) < v] / i with q = e^ε / (1 + e^ε);
    the result is the largest ε for which that is below ``alpha``.

    Source: Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), theorem 5.2 and algorithm 2.

    Args:
        canaries: m, number of canaries.
        guesses: r, number of guesses.
        right: v, number of correct guesses.
        delta: δ.
        alpha: one minus the confidence.
    """

    def probability(epsilon: float) -> float:
        q = 1 / (1 + exp(-epsilon))
        tail = float(binom.sf(right - 1, guesses, q))
        below = binom.pmf(np.arange(right - 1, -1, -1), guesses, q)
        worst = float(np.max(np.cumsum(below) / np.arange(1, right + 1), initial=0.0))
        return tail + 2 * canaries * delta * worst

    if right == 0 or probability(0.0) >= alpha:
        return 0.0
    low, high = 0.0, 1.0
    while probability(high) < alpha:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < alpha else (low, middle)
    return low
