"""Lower bounds from error counts, against values computed independently from the published formulas.

Clopper–Pearson at alpha/2 per rate with ln((1 − δ − FNR)/FPR) (Kairouz et al. 2015), Gaussian: Nasr et al. 2023.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from protocols.privacy.accounting import epsilon_of, mu2_of
from protocols.privacy.lower_bound import (
    DELTAS,
    AnyClaim,
    Counts,
    GaussianClaim,
    ProfileClaim,
    epsilon_from_errors,
    epsilon_if_gaussian,
    epsilon_one_run,
    upper_limit,
    upper_rates,
)

CASES = [
    (Counts(0, 1000, 0, 1000), 5.600587531298923, 5.359822537549039),
    (Counts(1, 1000, 20, 1000), 5.161148879427933, 4.409287901421093),
    (Counts(50, 1000, 50, 1000), 2.6597520047532237, 3.0220586795257525),
    (Counts(0, 250, 100, 250), 3.6005981866914145, 2.27082519478441),
    (Counts(0, 1000, 900, 1000), 3.1045241199989615, 1.2888625992144491),
    (Counts(500, 1000, 500, 1000), 0.0, 0.0),
    (Counts(5, 10000, 3000, 10000), 6.3840510373039745, 3.5426486297180126),
]


@pytest.mark.parametrize(("counts", "epsilon", "mu"), CASES)
def test_reference_counts(counts: Counts, epsilon: float, mu: float) -> None:
    assert epsilon_from_errors(counts, 0.0) == pytest.approx(epsilon, rel=1e-9)
    found = epsilon_if_gaussian(counts, 1e-5)
    assert (mu2_of(found, 1e-5) ** 0.5 if found else 0.0) == pytest.approx(mu, rel=1e-6)


def test_an_attack_that_always_errs_proves_nothing() -> None:
    assert epsilon_from_errors(Counts(10, 10, 10, 10), 1e-5) == 0.0
    assert epsilon_if_gaussian(Counts(10, 10, 10, 10), 1e-5) == 0.0


# (canaries, guesses, right, delta, bound), computed independently from the published formula at confidence 95 %.
ONE_RUN = [
    (100, 20, 20, 0, 1.8227081298828125),
    (100, 20, 20, 0.001, 1.4762802124023438),
    (100, 50, 40, 1e-05, 0.7735137939453125),
    (1000, 100, 90, 0, 1.6308212280273438),
    (1000, 100, 90, 0.001, 0.3884735107421875),
    (1000, 100, 100, 1e-05, 3.4653701782226562),
    (1000, 500, 300, 0, 0.251678466796875),
    (1000, 1000, 600, 1e-05, 0.2972259521484375),
    (5000, 500, 450, 0, 1.9471359252929688),
    (5000, 500, 450, 0.001, 0.21142578125),
    (200, 200, 120, 1e-05, 0.1588287353515625),
]


@pytest.mark.parametrize(("canaries", "guesses", "right", "delta", "epsilon"), ONE_RUN)
def test_one_run(canaries: int, guesses: int, right: int, delta: float, epsilon: float) -> None:
    assert epsilon_one_run(canaries, guesses, right, delta) == pytest.approx(epsilon, abs=2e-4)


def test_one_run_that_guesses_badly_proves_nothing() -> None:
    assert epsilon_one_run(100, 100, 50, 1e-5) == 0.0
    assert epsilon_one_run(100, 0, 0, 1e-5) == 0.0


# ---------------------------------------------------------------- claims that errors refute


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.5])
def test_the_best_attack_on_a_gaussian_release_meets_its_claim_exactly(mu: float) -> None:
    thresholds = np.linspace(-1.0, mu + 1.0, 30)
    fpr, fnr = norm.sf(thresholds), norm.cdf(thresholds - mu)
    np.testing.assert_allclose(GaussianClaim(mu * mu).excess(fpr, fnr), 0.0, atol=1e-9)
    assert (GaussianClaim(1.02 * mu * mu).excess(fpr, fnr) < 0).all()
    assert (GaussianClaim(0.98 * mu * mu).excess(fpr, fnr) > 0).all()
    profile = ProfileClaim.of(lambda delta: epsilon_of(mu * mu, delta), (1e-5, *DELTAS))
    assert (profile.excess(fpr, fnr) <= 1e-12).all()
    half = ProfileClaim.of(lambda delta: epsilon_of(mu * mu / 4, delta), (1e-5, *DELTAS))
    assert half.excess(fpr, fnr).max() > 0.05 * mu


def test_an_infinite_claim_is_refuted_by_nothing() -> None:
    assert ProfileClaim.of(lambda delta: float("inf"), DELTAS).excess(np.zeros(1), np.zeros(1))[0] < 0
    assert GaussianClaim(float("inf")).excess(np.full(1, 0.01), np.full(1, 0.01))[0] < 0


def test_the_bound_for_any_mechanism_is_what_an_empty_claim_exceeds_by() -> None:
    counts = Counts(50, 1000, 20, 1000)
    fpr, fnr = upper_rates(counts)
    excess = AnyClaim(1e-5).excess(np.array([fpr]), np.array([fnr]))[0]
    assert excess == pytest.approx(epsilon_from_errors(counts, 1e-5))


def test_limits_of_rates_grow_with_errors_and_between_whole_ones() -> None:
    limits = upper_limit(np.linspace(0, 40, 161), 40)
    assert (np.diff(limits) >= 0).all()
    assert limits[0] == pytest.approx(1 - 0.025 ** (1 / 40))
    assert limits[-1] == 1.0
