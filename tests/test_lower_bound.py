"""Lower bounds from error counts, against values computed independently from the published formulas.

Clopper–Pearson at alpha/2 per rate with ln((1 − δ − FNR)/FPR) (Kairouz et al. 2015), Gaussian: Nasr et al. 2023.
"""

from __future__ import annotations

import pytest

from protocols.privacy.accounting import mu2_of
from protocols.privacy.lower_bound import Counts, epsilon_from_errors, epsilon_if_gaussian

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
