"""Privacy loss per victim and set of observers, computed from the trace of one run.

Two figures for every victim, set of observers and point in time, both from the record of releases alone.

``certified`` holds against adaptive training. Its base is the *local bound*: every contribution of the victim that
can have influenced anything the observers saw is charged as if it had been released on its own. Other enlarged views
may cost less, and the least is claimed (:mod:`protocols.privacy.certified`).

``open-loop`` is exact for the linear map that the record describes, with all gradients held fixed
(:mod:`protocols.privacy.open_loop`). It is **not** a bound for adaptive training: on the path u - w - a with
quadratic loss at w, node a's open-loop figure for u is 0.100 while the true loss is 4/13 (step · curvature = 3),
because the gradient of w repeats, amplified, what w learnt from u. It is never reported alone as "the ε".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.certified import GENIES, LOCAL, SUMS, Views, views
from protocols.privacy.coalitions import (
    CERTIFIED,
    OPEN_LOOP,
    Price,
    Progress,
    Scope,
    by_release,
    measured,
    never_above_larger,
    no_progress,
    with_opener,
)
from protocols.privacy.entries import Entry
from protocols.privacy.exposure import expose
from protocols.privacy.failure import handed_over, with_failure_probability
from protocols.privacy.integer_accounting import ORDERS
from protocols.privacy.lineage import NAMES
from protocols.privacy.question import Limits, Question, RunFacts
from protocols.privacy.reasons import why_infinite
from protocols.privacy.record import Floats, Record, read_record
from protocols.privacy.sampling import sampled_epsilon
from protocols.privacy.sum_law import SumLaw


@dataclass(frozen=True, slots=True)
class Claim:
    """One privacy statement about one victim.

    Args:
        t_s: time up to which releases are counted, seconds.
        victim: node whose data are protected.
        observers: nodes that pool their views: ``"3"``, ``"3,7"`` or ``"public"``.
        adjacency: relation of neighbouring data sets.
        unit: what is protected, ``"record"`` or ``"node"``.
        mu2: Gaussian loss μ²; infinite if anything was shown without noise, None where noise is not Gaussian.
        epsilon: ε at ``delta``.
        delta: δ.
        basis: ``"certified"``, ``"open-loop"`` or ``"ldp-fallback"``.
        mu2_lower: for open-loop claims, the loss for full shifts in one direction in all rounds: a lower bound of
            the quantity that ``mu2`` bounds from above; never converted to ε.
        reason: for an infinite ε, the release or assumption that allows no claim; None otherwise.
        certified_by: for certified claims, the enlarged view whose loss it is
            (:data:`~protocols.privacy.certified.GENIES`); None for others.
    """

    t_s: float
    victim: int
    observers: str
    adjacency: str
    unit: str
    mu2: float | None
    epsilon: float
    delta: float
    basis: str
    mu2_lower: float | None = None
    reason: str | None = None
    certified_by: str | None = None


def account(
    entries: Iterable[Entry],
    question: Question,
    facts: RunFacts = RunFacts(),
    limits: Limits = Limits(),
    on_progress: Progress | None = None,
) -> list[Claim]:
    """Account the losses of every victim towards every set of observers it is not part of, at every time.

    Args:
        entries: the record of a run, in the order it was made.
        question: victims, observers and terms.
        facts: properties of the run that the record does not hold.
        limits: of the computation.
        on_progress: called with (fraction done, text).

    Returns:
        For every set of observers, victim and time a ``certified`` claim, and in addition an ``open-loop``
        claim or, from the time anything non-linear was seen, an ``ldp-fallback`` claim with the local bound. A
        figure is never above that of a larger set that was asked about, nor, where a single node opens all sums,
        above that of the set joined with that node: a bound on the larger view bounds the smaller one.

    Raises:
        ContractError: a record that contradicts itself.

    Guarantees:
        Threat model: the observers and the uncredited nodes are one adversary that keeps everything
        delivered to any of them, used or not, and knows their own data, contributions, noises and masks.
        Noise of any of them is never credited. Byzantine nodes may send anything computed from what this
        adversary knows: their own states are combinations of its view, so values sent in their place
        move later rows only by known amounts and leave the span of the view, and with it every figure,
        unchanged.

        Neighbouring data sets differ in one unit of the victim, in all rounds at once; numbers of samples are
        public; the data of all other nodes are the same.

        Assumed: a gradient depends on its own node's data, on the state it was computed at (the recorded
        parent) and on public randomness; noises are independent Gaussians; topology, weights, timing, losses
        and the schedule of answers do not depend on data; opaque steps depend on data through their parents only;
        arithmetic is that of real numbers. In sums, coefficients that agree to 1e-9 are taken as equal; where all
        states are public, they are the exact numbers of the record.
    """
    record = read_record(entries)
    case = _Case(record, question, facts, on_progress or no_progress)
    common = views(record, limits.max_cells, gaussian=facts.law is None)
    if facts.law is not None:
        figures = _of_integers(case, facts.law, common.rows)
    else:
        figures = _of_gaussians(case, common, limits)
        if case.rate < 1:
            figures = _amplified(case, figures)
        if facts.failure_probability > 0:
            figures = _handed_over(case, figures)
    return list(_claims(case, figures))


@dataclass(frozen=True)
class _Case:
    """One record, and the question about it."""

    record: Record
    question: Question
    facts: RunFacts
    told: Progress

    @property
    def rate(self) -> float:
        """Return the sampling rate, for the unit that sampling hides."""
        return self.facts.rate if self.question.unit == "record" else 1.0

    @cached_property
    def scope(self) -> Scope:
        """Return shift factor, times and number of nodes."""
        question = self.question
        nodes = 1 + max([*question.victims, *self.record.owner.tolist()], default=-1)
        return Scope(question.factor, np.asarray(question.times_s, dtype=np.float64), nodes)

    @cached_property
    def asked(self) -> list[frozenset[int]]:
        """Return the sets of observers, each with the nodes that are not credited."""
        return list(dict.fromkeys(self.coalition(group) for group in self.question.observers))

    @cached_property
    def coalitions(self) -> list[frozenset[int]]:
        """Return the sets asked about, and larger ones whose figures bound theirs."""
        return list(dict.fromkeys([*self.asked, *with_opener(self.record, self.asked)]))

    def coalition(self, group: tuple[int, ...]) -> frozenset[int]:
        """Return the nodes that pool their views for a set of observers."""
        return frozenset(group) | self.facts.uncredited

    def paid(self, epsilon_at: Callable[[float], float]) -> float:
        """Return ε at δ, the cost of refusals included."""
        return with_failure_probability(
            epsilon_at, probability=self.facts.failure_probability, delta=self.question.delta
        )


_Figures: TypeAlias = "Mapping[frozenset[int], list[_Figure]]"
"""One figure per basis, by set of observers."""


@dataclass(frozen=True, eq=False)
class _Figure:
    """Losses of one coalition on one basis: arrays [times, nodes], NaN where the basis does not apply.

    Args:
        basis: of all of them.
        mu2: Gaussian losses; None, or NaN, where the credited noise is not Gaussian.
        epsilon: at the δ of the question.
        lower: lower bounds beside open-loop losses.
        genie: of certified figures, places in :data:`~protocols.privacy.certified.GENIES`.
    """

    basis: str
    mu2: Floats | None
    epsilon: Floats
    lower: Floats | None = None
    genie: NDArray[np.int8] | None = None

    def loss(self, at: int, victim: int) -> float | None:
        """Return μ² of a victim at one time; None where there is none."""
        if self.mu2 is None or math.isnan(self.mu2[at, victim]):
            return None
        return float(self.mu2[at, victim])

    def certified_by(self, at: int, victim: int) -> str | None:
        """Return the name of the genie of a victim's figure at one time; None on other bases."""
        return None if self.genie is None else GENIES[self.genie[at, victim]]

    def at_most(self, epsilon: Floats, mu2: Floats | None = None) -> _Figure:
        """Return the minimum of this figure and another form of the local bound, which holds on every basis."""
        less = epsilon < self.epsilon
        kept = None if self.mu2 is None else np.where(less, np.nan if mu2 is None else mu2, self.mu2)
        local = np.int8(GENIES.index(LOCAL))
        genie = None if self.genie is None else np.where(less, local, self.genie)
        return replace(self, mu2=kept, epsilon=np.where(less, epsilon, self.epsilon), genie=genie)


def _of_gaussians(case: _Case, common: Views, limits: Limits) -> _Figures:
    """Compute figures from Gaussian losses."""
    losses = measured(case.record, common, case.coalitions, case.scope, limits, case.told)
    for basis in (CERTIFIED, OPEN_LOOP):
        never_above_larger(
            {who: found.by_basis[basis] for who, found in losses.items() if basis in found.by_basis},
            {who: found.genie for who, found in losses.items()} if basis == CERTIFIED else None,
        )
    return {
        coalition: [
            _Figure(
                basis,
                mu2,
                _converted(mu2, case.paid),
                losses[coalition].lower if basis == OPEN_LOOP else None,
                losses[coalition].genie if basis == CERTIFIED else None,
            )
            for basis, mu2 in losses[coalition].by_basis.items()
        ]
        for coalition in case.asked
    }


def _of_integers(case: _Case, law: SumLaw, rows: Floats | None) -> _Figures:
    """Compute figures of sums with integer noise."""
    price = _priced_by(law, case.question.unit, case.question.adjacency, case.paid)
    priced = by_release(
        case.record, rows, case.question.victims, case.coalitions, case.scope, price, case.told
    )
    never_above_larger(priced)
    genie = np.full(
        (len(case.scope.times_s), case.scope.nodes), GENIES.index(LOCAL if rows is None else SUMS)
    )
    return {
        coalition: [_Figure(CERTIFIED, None, priced[coalition], genie=genie.astype(np.int8))]
        for coalition in case.asked
    }


def _amplified(case: _Case, figures: _Figures) -> _Figures:
    """Lower figures to the local bound amplified by sampling, where that is less.

    Charged contribution by contribution: several of one node in a sum are not one sample of its records.
    """

    def price(charged: Mapping[tuple[float, float], int]) -> float:
        return case.paid(
            partial(sampled_epsilon, case.rate, charged, case.scope.factor, case.question.adjacency)
        )

    epsilon = by_release(case.record, None, case.question.victims, case.asked, case.scope, price, case.told)
    return {who: [figure.at_most(epsilon[who]) for figure in found] for who, found in figures.items()}


def _handed_over(case: _Case, figures: _Figures) -> _Figures:
    """Lower figures to the loss if every contribution of the victim is shown, where that is less."""
    question, scope = case.question, case.scope
    epsilon, mu2 = np.full(scope.nodes, np.inf), np.full(scope.nodes, np.nan)
    for victim in question.victims:
        epsilon[victim], loss = handed_over(
            case.record, victim, scope.factor, question.adjacency, question.delta, case.rate
        )
        mu2[victim] = np.nan if loss is None else loss
    return {who: [figure.at_most(epsilon, mu2) for figure in found] for who, found in figures.items()}


def _claims(case: _Case, figures: _Figures) -> Iterator[Claim]:
    """Yield the claims about every set of observers, victim and time, on every basis that has a figure there."""
    question = case.question
    for group in question.observers:
        coalition = case.coalition(group)
        exposure = None
        for victim, figure in (
            (v, f) for v in question.victims if v not in coalition for f in figures[coalition]
        ):
            for at, epsilon in enumerate(figure.epsilon[:, victim].tolist()):
                if math.isnan(epsilon):  # a basis has no figure at times where it does not apply
                    continue
                reason = None
                if math.isinf(epsilon):
                    exposure = exposure or expose(case.record, coalition, case.scope.factor)
                    when_s, integers = case.scope.times_s[at], case.facts.law is not None
                    reason = why_infinite(case.record, exposure, victim, when_s, integers=integers)
                yield Claim(
                    t_s=float(question.times_s[at]),
                    victim=victim,
                    observers=label_of(group),
                    adjacency=question.adjacency,
                    unit=question.unit,
                    mu2=figure.loss(at, victim),
                    epsilon=epsilon,
                    delta=question.delta,
                    basis=figure.basis,
                    mu2_lower=None if figure.lower is None else float(figure.lower[at, victim]),
                    reason=reason,
                    certified_by=figure.certified_by(at, victim),
                )


def _converted(mu2: Floats, paid: Callable[[Callable[[float], float]], float]) -> Floats:
    """Convert Gaussian losses to ε, each distinct loss once."""
    values, places = np.unique(mu2, return_inverse=True)
    epsilon = np.array([v if math.isnan(v) else paid(partial(epsilon_of, v)) for v in values.tolist()])
    converted: Floats = epsilon[places].reshape(mu2.shape)
    return converted


def _priced_by(
    law: SumLaw, unit: str, adjacency: str, paid: Callable[[Callable[[float], float]], float]
) -> Price:
    """Return the function that prices sums with integer noise."""
    curves: dict[tuple[float, float], Floats] = {}

    def price(charged: Mapping[tuple[float, float], int]) -> float:
        total = np.zeros(len(ORDERS))
        for key, count in charged.items():
            if key not in curves:
                curves[key] = law.curve(*key, unit, adjacency)
            total += count * curves[key]
        return paid(partial(law.epsilon, total))

    return price


def label_of(group: Sequence[int]) -> str:
    """Return the name of a set of observers in claims."""
    return ",".join(NAMES.get(node, str(node)) for node in group)
