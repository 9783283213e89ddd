"""Verdict of an audit: lower bounds, whether the claim is violated, and which missing noise would be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from protocols.privacy.lower_bound import (
    CONFIDENCE,
    AnyClaim,
    GaussianClaim,
    Tested,
    epsilon_from_errors,
    epsilon_if_gaussian,
    upper_rates,
)
from scenarios.studies.attack_errors import errors
from simulator.contract.compute import Vector

VERDICT = "verdict"
CONSISTENT, VIOLATED = "consistent", "violated"
FACTORS = np.geomspace(0.99, 0.01, 140)
"""Fractions of the noise tried to find what an audit would have noticed, about 3 % apart."""


@dataclass(frozen=True)
class Trials:
    """Observations of an attack in all trials of one arm, split into canary and noise.

    Args:
        canary: (trials, looks) shift of each look by the canary; zero where it is absent.
        noise: (trials, looks) the rest of each look.
        size: (trials, looks) shift by a canary that is present, as known to the attacker.
    """

    canary: Vector
    noise: Vector
    size: Vector

    def scores(self, score: Score, share: float = 1.0) -> Vector:
        """Return the scores of the attack, (trials,), with this fraction of the noise."""
        return score(self.canary + share * self.noise, self.size)


Score: TypeAlias = Callable[[Vector, Vector], Vector]
"""Function of looks and shifts by the canary, each (trials, looks), to scores, (trials,), larger with the canary."""


def total(looks: Vector, size: Vector) -> Vector:
    """Return the best score for equal, independent noise: looks weighted by their shift by the canary."""
    return np.asarray((looks * size).sum(axis=1))


def judge(
    absent: Trials,
    present: Trials,
    claim: Tested,
    delta: float,
    score: Score = total,
) -> dict[str, Any]:
    """Compute lower bounds, error rates, the noise that would have been noticed, and the verdict.

    Args:
        absent: trials without the canary.
        present: as many trials with it.
        claim: the ledger's claim.
        delta: δ of the claim.
        score: score of the attack.

    Returns:
        Quantity -> value, for a table; :data:`VERDICT` is its last key.

    Guarantees:
        A claim that holds is called violated with probability at most 1 − :data:`CONFIDENCE`: the threshold comes
        from other trials than the counts, and both error rates stay below their limits with that confidence together.
    """
    counted = errors(absent.scores(score), present.scores(score), claim)
    unbiased = errors(absent.scores(score), present.scores(score), AnyClaim(delta))
    found: dict[str, Any] = {"lower bound, any mechanism (95 %)": epsilon_from_errors(unbiased, delta)}
    if isinstance(claim, GaussianClaim):
        found["lower bound, Gaussian trade-off (95 %)"] = epsilon_if_gaussian(counted, delta)
    found["false positive rate"] = counted.false_positives / counted.negatives
    found["false negative rate"] = counted.false_negatives / counted.positives
    violated = _refuted(absent, present, claim, score, 1.0)
    if not violated:
        found["would have noticed"] = _noticed(absent, present, claim, score)
    found[VERDICT] = VIOLATED if violated else CONSISTENT
    return found


def _refuted(absent: Trials, present: Trials, claim: Tested, score: Score, share: float) -> bool:
    counts = errors(absent.scores(score, share), present.scores(score, share), claim)
    fpr, fnr = upper_rates(counts)
    return bool(claim.excess(np.array([fpr]), np.array([fnr]))[0] > 0)


def _noticed(absent: Trials, present: Trials, claim: Tested, score: Score) -> str:
    """Describe the largest fraction of the noise at and below which these trials would have refuted the claim."""
    noticed = None
    for share in FACTORS[::-1]:
        if not _refuted(absent, present, claim, score, share):
            break
        noticed = share
    if noticed is None:
        return "nothing: the attack or the number of trials is too small for this claim"
    return f"noise below {noticed:.2g} of what is claimed"


def violation(found: dict[str, Any]) -> str | None:
    """Return the error message of an audit that contradicts the ledger; None if it does not."""
    if found.get(VERDICT) != VIOLATED:
        return None
    return (
        f"the audit contradicts the ledger with {CONFIDENCE:.0%} confidence; a true claim is called violated in at "
        "most one audit in twenty, so repeat it with another --seed"
    )
