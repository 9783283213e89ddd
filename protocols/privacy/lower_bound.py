"""What an attack proves: lower bounds on ε from the error counts of a distinguishing game.

The attacker is shown runs with and without the canary and guesses. Any (ε, δ)-private mechanism forces errors;
errors seen less often than that, with confidence, give a lower bound on ε.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

from scipy.stats import beta, norm

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
