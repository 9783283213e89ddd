"""Who lost how much to whom, on the trace that really happened.

Two answers for every victim, set of observers and point in time, both from the record of releases alone.

``certified`` holds against adaptive training. Its base is the *local bound*: every contribution of the victim
that can have influenced anything the observers saw is charged as if it had been handed over on its own. Where
the observers already know the state a gradient was computed at, a sum is charged as a sum
(:mod:`protocols.privacy.certified`).

``open-loop`` is exact for the linear map that the record describes, with all gradients held fixed
(:mod:`protocols.privacy.open_loop`). It is **not** a bound for adaptive training: on the path u - w - a with
quadratic loss at w, node a's open-loop figure for u is 0.100 while the true loss is 4/13 (step · curvature = 3),
because the gradient of w repeats, amplified, what w learnt from u. It never stands alone as "the ε".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from protocols.privacy.accounting import UNITS, epsilon_of, shift_factor
from protocols.privacy.coalitions import (
    CERTIFIED,
    OPEN_LOOP,
    Price,
    Progress,
    by_release,
    measured,
    never_above_larger,
    unheard,
    with_opener,
)
from protocols.privacy.exposure import expose
from protocols.privacy.failure import handed_over, with_failure_probability
from protocols.privacy.integer_accounting import ORDERS
from protocols.privacy.lineage import NAMES, Entry
from protocols.privacy.linear_view import MAX_CELLS, Floats, Record, ViewTooLarge, read_record, state_rows
from protocols.privacy.open_loop import MAX_WORK
from protocols.privacy.reasons import why_infinite
from protocols.privacy.sampling import sampled_epsilon
from protocols.privacy.sum_law import SumLaw
from simulator.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement about one victim.

    Args:
        t_s: up to when releases are counted, seconds.
        victim: whose data.
        observers: who looks, together: ``"3"``, ``"3,7"`` or ``"public"``.
        adjacency: what neighbouring data sets are.
        unit: what is protected, ``"record"`` or ``"node"``.
        mu2: Gaussian loss μ²; infinite if something was shown without noise, None where noise is not Gaussian.
        epsilon: ε at ``delta``.
        delta: δ.
        basis: ``"certified"``, ``"open-loop"`` or ``"ldp-fallback"``.
        mu2_lower: beside an open-loop μ², the loss for full shifts in one direction in all rounds: a lower bound of
            what that one bounds from above, and never an ε.
        reason: of an infinite ε, which release or assumption leaves nothing to claim; None otherwise.
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


def account(
    entries: Iterable[Entry],
    *,
    victims: Sequence[int],
    observers: Sequence[tuple[int, ...]],
    uncredited: frozenset[int],
    unit: str,
    adjacency: str,
    delta: float,
    times_s: Sequence[float],
    max_cells: int = MAX_CELLS,
    max_work: float = MAX_WORK,
    law: SumLaw | None = None,
    rate: float = 1.0,
    jobs: int = 1,
    failure_probability: float = 0.0,
    on_progress: Progress | None = None,
) -> list[Claim]:
    """The losses of every victim towards every set of observers it is not part of, at every time.

    Args:
        entries: the record of a run, in the order it was made.
        victims: nodes whose loss is asked for; uncredited nodes among them are passed over.
        observers: sets of curious nodes that pool what they see and know; with them, or alone, the public and the
            wire (:data:`~protocols.privacy.lineage.NAMES`).
        uncredited: Byzantine nodes. Nothing is known about what they add or send, so they are taken to side
            with every observer: their view is joined to it and their contributions count as known.
        unit: ``"record"`` or ``"node"``; must be what the recorded sensitivities were clipped for.
        adjacency: ``"add-remove"``, ``"zero-out"`` or ``"replace"``.
        delta: δ of the reported ε.
        times_s: checkpoints, seconds; releases delivered at that instant are included.
        max_cells: largest dense view (states × columns). Beyond it the certified figure is the local bound.
        max_work: largest number of multiplications for one observer's open-loop figures; beyond it there are
            none.
        law: of the noise, where it is made of integers and added to sums. Every sum then has a curve of Rényi
            divergences of its own, and there is no μ². There are certified claims alone: a linear view of integers
            is no Gaussian one, so nothing is said of sums that hold parts of one another.
        rate: with what probability a record takes part in a contribution, drawn by chance that nobody sees (unit
            record only). The local bound is amplified by it; a claim that it improves has no μ².
        jobs: processes among which observers are divided, where there is work for them.
        failure_probability: bound on the probability that an honest member refuses to take part in a sum for what is
            in its vector; under any data, whatever others do. Every ε pays for it
            (:func:`~protocols.privacy.failure.with_failure_probability`), but for those of the local bound over
            everything the victim has contributed in the whole run, which is claimed where it is less.
        on_progress: called with (fraction done, text).

    Returns:
        For every set of observers, victim and time a ``certified`` claim, and beside it an ``open-loop``
        claim or, from the moment something non-linear was seen, an ``ldp-fallback`` claim with the local
        bound. Observers never lose to a larger set that was asked about, nor, where a single node opens all sums, to
        themselves together with that node: what bounds the larger view bounds theirs.

    Raises:
        ConfigurationError: an unknown unit or adjacency, δ outside (0, 1), or an empty set of observers.
        ContractError: a record that contradicts itself.

    Guarantees:
        Threat model: the observers and the uncredited nodes are one adversary that keeps everything
        delivered to any of them, used or not, and knows their own data, contributions, noises and masks.
        Noise of any of them is never credited. Byzantine nodes may send anything computed from what this
        adversary knows: their own states are combinations of its view, so whatever they put in their place
        moves later rows only by known values and leaves the span of the view, and with it every figure,
        unchanged.

        Neighbouring data sets differ in one unit of the victim, in all rounds at once; numbers of samples are
        public; everybody else's data are the same.

        Assumed: a gradient depends on its own node's data, on the state it was computed at (the recorded
        parent) and on public randomness; noises are independent Gaussians; topology, weights, timing, losses
        and who answers whom do not depend on data; opaque steps depend on data through their parents only;
        arithmetic is that of real numbers, with coefficients that agree to 1e-9 taken as equal.
    """
    if unit not in UNITS:
        raise ConfigurationError(f"unit {unit!r} is unknown; expected one of {', '.join(UNITS)}")
    epsilon_of(0.0, delta)
    if any(not group for group in observers):
        raise ConfigurationError("a set of observers is empty; expected at least one node in each")
    factor = shift_factor(adjacency)
    record = read_record(entries)
    paid = partial(with_failure_probability, probability=failure_probability, delta=delta)
    told = on_progress or unheard
    try:
        rows = state_rows(record, max_cells)
    except ViewTooLarge:
        rows = None
    times = np.asarray(times_s, dtype=np.float64)
    nodes = 1 + max([*victims, *record.owner.tolist()], default=-1)
    asked = list(dict.fromkeys(frozenset(group) | uncredited for group in observers))
    coalitions = list(dict.fromkeys([*asked, *with_opener(record, asked)]))
    if law is not None:
        price = _priced_by(law, unit, adjacency, paid)
        priced = by_release(record, rows, victims, coalitions, factor, times, nodes, price, told)
        never_above_larger(priced)
        figures = {coalition: [_Figure(CERTIFIED, None, priced[coalition])] for coalition in asked}
    else:
        losses = measured(record, rows, coalitions, factor, times, nodes, max_cells, max_work, jobs, told)
        for basis in (CERTIFIED, OPEN_LOOP):
            never_above_larger({who: by[basis] for who, (by, _) in losses.items() if basis in by})
        figures = {
            coalition: [
                _Figure(
                    basis, mu2, _converted(mu2, paid), losses[coalition][1] if basis == OPEN_LOOP else None
                )
                for basis, mu2 in losses[coalition][0].items()
            ]
            for coalition in asked
        }
    if rate < 1 and unit == "record" and law is None:
        # Contribution by contribution: several of one node in a sum are not one sample of its records.
        amplified = by_release(
            record,
            None,
            victims,
            asked,
            factor,
            times,
            nodes,
            lambda charged: paid(partial(sampled_epsilon, rate, charged, factor, adjacency)),
            told,
        )
        for coalition in asked:
            figures[coalition] = [figure.at_most(amplified[coalition]) for figure in figures[coalition]]
    if failure_probability > 0 and law is None:
        alone, loss = _handed_over(
            record, victims, factor, adjacency, delta, rate if unit == "record" else 1.0
        )
        figures = {who: [one.at_most(alone, loss) for one in found] for who, found in figures.items()}
    claims = []
    for group in observers:
        coalition = frozenset(group) | uncredited
        exposure = None
        for victim, figure in ((v, f) for v in victims if v not in coalition for f in figures[coalition]):
            for at, epsilon in enumerate(figure.epsilon[:, victim].tolist()):
                if math.isnan(epsilon):  # a basis has no figure at times where it does not apply
                    continue
                reason = None
                if math.isinf(epsilon):
                    exposure = exposure or expose(record, coalition, factor)
                    reason = why_infinite(record, exposure, victim, times[at], integers=law is not None)
                mu2 = None if figure.mu2 is None else float(figure.mu2[at, victim])
                least = None if figure.lower is None else float(figure.lower[at, victim])
                claims.append(
                    Claim(
                        float(times_s[at]),
                        victim,
                        label_of(group),
                        adjacency,
                        unit,
                        mu2 if mu2 is None or not math.isnan(mu2) else None,
                        epsilon,
                        delta,
                        figure.basis,
                        least,
                        reason,
                    )
                )
    return claims


@dataclass(frozen=True, eq=False)
class _Figure:
    """What one coalition's claims on one basis say: arrays [times, nodes], NaN where the basis does not apply.

    Args:
        basis: of all of them.
        mu2: Gaussian losses; None, or NaN, where the noise that counts is not Gaussian.
        epsilon: at the δ that was asked for.
        lower: lower bounds beside open-loop losses.
    """

    basis: str
    mu2: Floats | None
    epsilon: Floats
    lower: Floats | None = None

    def at_most(self, epsilon: Floats, mu2: Floats | None = None) -> _Figure:
        """This, or what the local bound says in another way, which holds on every basis, where that is less."""
        less = epsilon < self.epsilon
        kept = None if self.mu2 is None else np.where(less, np.nan if mu2 is None else mu2, self.mu2)
        return replace(self, mu2=kept, epsilon=np.where(less, epsilon, self.epsilon))


def _handed_over(
    record: Record, victims: Sequence[int], factor: float, adjacency: str, delta: float, rate: float
) -> tuple[Floats, Floats]:
    """ε and losses of victims whose every contribution is shown, by node; infinite of nodes nobody asked about."""
    nodes = 1 + max([*victims, *record.owner.tolist()], default=-1)
    epsilon, mu2 = np.full(nodes, np.inf), np.full(nodes, np.nan)
    for victim in victims:
        epsilon[victim], loss = handed_over(record, victim, factor, adjacency, delta, rate)
        mu2[victim] = np.nan if loss is None else loss
    return epsilon, mu2


def _converted(mu2: Floats, paid: Callable[[Callable[[float], float]], float]) -> Floats:
    """ε of Gaussian losses, each of them converted once."""
    values, places = np.unique(mu2, return_inverse=True)
    epsilon = np.array([v if math.isnan(v) else paid(partial(epsilon_of, v)) for v in values.tolist()])
    converted: Floats = epsilon[places].reshape(mu2.shape)
    return converted


def _priced_by(
    law: SumLaw, unit: str, adjacency: str, paid: Callable[[Callable[[float], float]], float]
) -> Price:
    """ε of sums with noise of integers."""
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
    """What a set of observers is called in claims."""
    return ",".join(NAMES.get(node, str(node)) for node in group)
