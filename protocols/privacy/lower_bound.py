"""What an attack proves: lower bounds on ε from the error counts of a distinguishing game.

The attacker is shown runs with and without the canary and guesses. Any (ε, δ)-private mechanism forces errors;
errors seen less often than that, with confidence, give a lower bound on ε.
"""

from __future__ import annotations

from math import exp, log
from typing import NamedTuple

import numpy as np
from scipy.stats import beta, binom, norm

from protocols.privacy.accounting import epsilon_of


class Counts(NamedTuple):
    """Errors of an attack whose threshold was chosen on other runs.

    Args:
        false_positives, negatives: guesses "present" among runs without the canary.
        false_negatives, positives: guesses "absent" among runs with it.
    """

    false_positives: int
    negatives: int
    false_negatives: int
    positives: int


def epsilon_from_errors(counts: Counts, delta: float, alpha: float = 0.05) -> float:
    """Lower bound on ε at δ that holds for any mechanism, with confidence 1 − alpha.

    Clopper–Pearson upper limits of both error rates at alpha/2 each; then
    ε ≥ max(ln((1 − δ − FNR)/FPR), ln((1 − δ − FPR)/FNR), 0) (Kairouz, Oh and Viswanath 2015). With m perfect
    guesses an arm it cannot exceed about ln(m / 3.7): few trials prove little.
    """
    fpr, fnr = _upper_rates(counts, alpha)
    bounds = [log((1 - delta - b) / a) for a, b in ((fpr, fnr), (fnr, fpr)) if 1 - delta - b > 0]
    return max([0.0, *bounds])


def epsilon_if_gaussian(counts: Counts, delta: float, alpha: float = 0.05) -> float:
    """Lower bound on ε at δ, valid only if the mechanism's trade-off curve is Gaussian.

    μ ≥ Φ⁻¹(1 − FPR) − Φ⁻¹(FNR) at the same upper limits (Nasr et al. 2023, arXiv 2302.07956), converted exactly.
    True of full-batch Gaussian releases whose view is linear; not of subsampled ones.
    """
    fpr, fnr = _upper_rates(counts, alpha)
    mu = float(norm.ppf(1 - fpr) - norm.ppf(fnr))
    return epsilon_of(mu * mu, delta) if mu > 0 else 0.0


def _upper_rates(counts: Counts, alpha: float) -> tuple[float, float]:
    def upper(errors: int, trials: int) -> float:
        return 1.0 if errors >= trials else float(beta.ppf(1 - alpha / 2, errors + 1, trials - errors))

    return (
        upper(counts.false_positives, counts.negatives),
        upper(counts.false_negatives, counts.positives),
    )


def epsilon_one_run(canaries: int, guesses: int, right: int, delta: float, alpha: float = 0.05) -> float:
    """Lower bound on ε at δ from a single run in which every canary was put in with probability 1/2, independently.

    Of ``guesses`` canaries the attacker says which were in, ``right`` of them correctly; it abstains on the others.
    Under (ε, δ) that many right guesses have probability at most
    P[Bin(r, q) ≥ v] + 2 m δ max_i P[v − i ≤ Bin(r, q) < v] / i with q = e^ε / (1 + e^ε);
    the result is the largest ε for which that is below ``alpha``.

    Source: Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), theorem 5.2 and algorithm 2.

    Args:
        canaries: m.
        guesses: r.
        right: v.
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
