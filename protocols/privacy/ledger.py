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
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from joblib import Parallel, delayed

from protocols.privacy.accounting import UNITS, epsilon_of, shift_factor
from protocols.privacy.certified import certified_losses, charges, local_charges, local_losses
from protocols.privacy.exposure import Exposure, expose
from protocols.privacy.integer_accounting import ORDERS
from protocols.privacy.lineage import NAMES, Entry
from protocols.privacy.linear_view import MAX_CELLS, Floats, Record, ViewTooLarge, read_record, state_rows
from protocols.privacy.open_loop import MAX_WORK, open_loop_losses
from protocols.privacy.sampling import sampled_epsilon
from protocols.privacy.sum_law import SumLaw
from simulator.errors import ConfigurationError

Price: TypeAlias = Callable[[Mapping[tuple[float, float], int]], float]
"""From how often each (shift, variance) was released to ε."""
Progress: TypeAlias = Callable[[float, str], None]
"""Told how much of the accounting is done, from 0 to 1, and in words."""
WORTH_PROCESSES = 3_000_000
"""Coalitions times states beyond which it pays to start processes."""
CERTIFIED, OPEN_LOOP, LDP_FALLBACK = "certified", "open-loop", "ldp-fallback"


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
        on_progress: called with (fraction done, text) where releases are composed one by one.

    Returns:
        For every set of observers, victim and time a ``certified`` claim, and beside it an ``open-loop``
        claim or, from the moment something non-linear was seen, an ``ldp-fallback`` claim with the local
        bound.

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
    try:
        rows = state_rows(record, max_cells)
    except ViewTooLarge:
        rows = None
    times = np.asarray(times_s, dtype=np.float64)
    nodes = 1 + max([*victims, *record.owner.tolist()], default=-1)
    done: dict[frozenset[int], tuple[dict[str, Floats], Floats]] = {}
    claims = []
    if law is not None:
        found = _by_release(
            record,
            rows,
            victims,
            observers,
            uncredited,
            factor,
            times_s,
            _priced_by(law, unit, adjacency, delta),
            on_progress,
        )
        return [
            Claim(t_s, victim, label, adjacency, unit, None, epsilon, delta, CERTIFIED)
            for (t_s, victim, label), epsilon in found.items()
        ]
    coalitions = list(dict.fromkeys(frozenset(group) | uncredited for group in observers))
    if jobs > 1 and len(coalitions) * len(record.kinds) > WORTH_PROCESSES:
        chunks = [coalitions[start::jobs] for start in range(min(jobs, len(coalitions)))]
        for chunk in Parallel(n_jobs=jobs)(
            delayed(_all_figures)(record, rows, chunk, factor, times, nodes, max_cells, max_work)
            for chunk in chunks
        ):
            done |= chunk
    else:
        done = _all_figures(record, rows, coalitions, factor, times, nodes, max_cells, max_work)
    for group in observers:
        coalition = frozenset(group) | uncredited
        figures, lower = done[coalition]
        label = label_of(group)
        for victim in victims:
            if victim in coalition:
                continue
            for basis, mu2s in figures.items():
                for at, mu2 in enumerate(mu2s[:, victim].tolist()):
                    if math.isnan(mu2):  # a basis has no figure at times where it does not apply
                        continue
                    least = float(lower[at, victim]) if basis == OPEN_LOOP else None
                    epsilon = epsilon_of(mu2, delta)
                    who = (float(times_s[at]), victim, label, adjacency, unit)
                    claims.append(Claim(*who, mu2, epsilon, delta, basis, least))
    if rate < 1 and unit == "record":
        # Contribution by contribution: several of one node in a sum are not one sample of its records.
        amplified = _by_release(
            record,
            None,
            victims,
            observers,
            uncredited,
            factor,
            times_s,
            lambda charged: sampled_epsilon(rate, charged, factor, adjacency, delta),
            on_progress,
        )
        claims = [_least(claim, amplified[claim.t_s, claim.victim, claim.observers]) for claim in claims]
    return claims


def _least(claim: Claim, amplified: float) -> Claim:
    """A claim, or what sampling leaves of the local bound, which holds on every basis, if that is less."""
    return replace(claim, mu2=None, epsilon=amplified) if amplified < claim.epsilon else claim


def _priced_by(law: SumLaw, unit: str, adjacency: str, delta: float) -> Price:
    """ε of sums with noise of integers."""
    curves: dict[tuple[float, float], Floats] = {}

    def price(charged: Mapping[tuple[float, float], int]) -> float:
        total = np.zeros(len(ORDERS))
        for key, count in charged.items():
            if key not in curves:
                curves[key] = law.curve(*key, unit, adjacency)
            total += count * curves[key]
        return law.epsilon(total, delta)

    return price


def _by_release(
    record: Record,
    rows: Floats | None,
    victims: Sequence[int],
    observers: Sequence[tuple[int, ...]],
    uncredited: frozenset[int],
    factor: float,
    times_s: Sequence[float],
    price: Price,
    on_progress: Progress | None,
) -> dict[tuple[float, int, str], float]:
    """ε by (time, victim, observers), where releases are charged one by one, by a law that is not Gaussian.

    What many victims, observers and times have in common is priced once.
    """
    asked: dict[tuple[float, int, str], frozenset[tuple[tuple[float, float], int]]] = {}
    for group in observers:
        coalition = frozenset(group) | uncredited
        exposure = expose(record, coalition, factor)
        charged = local_charges(record, exposure) if rows is None else charges(record, rows, exposure)
        label = label_of(group)
        for victim in victims:
            if victim in coalition:
                continue
            mine = np.flatnonzero((charged.owner == victim) & (charged.shift > 0))
            for t_s in times_s:
                seen = mine[charged.t_s[mine] <= t_s]
                pairs = zip(charged.shift[seen].tolist(), charged.variance[seen].tolist(), strict=True)
                asked[float(t_s), victim, label] = frozenset(Counter(pairs).items())
    distinct = list(dict.fromkeys(asked.values()))
    priced = {}
    for done, charges_of in enumerate(distinct):
        if on_progress is not None:
            on_progress(done / len(distinct), f"accounting {done + 1} of {len(distinct)}")
        priced[charges_of] = price(dict(charges_of))
    return {who: priced[charges_of] for who, charges_of in asked.items()}


def label_of(group: Sequence[int]) -> str:
    """What a set of observers is called in claims."""
    return ",".join(NAMES.get(node, str(node)) for node in group)


def _all_figures(
    record: Record,
    rows: Floats | None,
    coalitions: Sequence[frozenset[int]],
    factor: float,
    times_s: Floats,
    nodes: int,
    max_cells: int,
    max_work: float,
) -> dict[frozenset[int], tuple[dict[str, Floats], Floats]]:
    """:func:`_figures` of several coalitions."""
    return {
        coalition: _figures(
            record, rows, expose(record, coalition, factor), times_s, nodes, max_cells, max_work
        )
        for coalition in coalitions
    }


def _figures(
    record: Record,
    rows: Floats | None,
    exposure: Exposure,
    times_s: Floats,
    nodes: int,
    max_cells: int,
    max_work: float,
) -> tuple[dict[str, Floats], Floats]:
    """By basis, arrays [times, nodes], NaN where a basis does not apply; and the lower bound of the open-loop one."""
    certified = local = local_losses(record, exposure, times_s, nodes)
    if rows is not None:
        certified = np.minimum(certified_losses(record, rows, exposure, times_s, nodes), local)
    figures = {CERTIFIED: certified}
    lower = np.full_like(local, np.nan)
    fallback = times_s >= exposure.reach.opaque_from_s
    linear = open_loop_losses(record, exposure, times_s[~fallback], nodes, max_cells, max_work)
    if linear.upper is not None:
        figures[OPEN_LOOP] = np.full_like(local, np.nan)
        figures[OPEN_LOOP][~fallback] = np.minimum(linear.upper, certified[~fallback])
        lower[~fallback] = np.minimum(linear.same_direction, figures[OPEN_LOOP][~fallback])
    if fallback.any():
        figures[LDP_FALLBACK] = np.where(fallback[:, None], local, np.nan)
    return figures, lower
