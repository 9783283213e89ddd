"""Losses of coalitions on a record: Gaussian losses on every basis, or ε priced release by release.

Coalitions are accounted one by one and then made monotone: a larger coalition learns at least as much, so its
figure is an upper bound for each of its subsets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from protocols.privacy.certified import Views, certify
from protocols.privacy.exposure import Exposure, expose
from protocols.privacy.genies.local import local_charges
from protocols.privacy.genies.sums import charges
from protocols.privacy.open_loop import open_loop_losses
from protocols.privacy.question import Limits
from protocols.privacy.record import Floats, Record

Price: TypeAlias = Callable[[Mapping[tuple[float, float], int]], float]
"""Function from the number of releases of each (shift, variance) to ε."""
Progress: TypeAlias = Callable[[float, str], None]
"""Callback for the fraction of the accounting that is done, 0 to 1, and a text."""
WORTH_PROCESSES = 3_000_000
"""Product of coalitions and states above which the work is divided among processes."""
CERTIFIED, OPEN_LOOP, LDP_FALLBACK = "certified", "open-loop", "ldp-fallback"


@dataclass(frozen=True, eq=False)
class Scope:
    """Terms in which figures are computed.

    Args:
        factor: shift between neighbours, in units of the recorded sensitivity.
        times_s: checkpoints, seconds.
        nodes: number of nodes.
    """

    factor: float
    times_s: Floats
    nodes: int


@dataclass(frozen=True, eq=False)
class Losses:
    """Losses of one set of observers: arrays [times, nodes].

    Args:
        by_basis: NaN where a basis does not apply.
        lower: lower bounds beside open-loop losses.
        genie: of certified losses, places in :data:`~protocols.privacy.certified.GENIES`.
    """

    by_basis: dict[str, Floats]
    lower: Floats
    genie: NDArray[np.int8]


def with_opener(record: Record, coalitions: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return the coalitions, and each of them joined with the one node that opened all sums, if there is one.

    The models sent by a server are made from its sums, and the opener of all sums sees everything, so the larger view
    can be easier to bound: it still holds whole sums where a client has missed the model made from one.
    """
    openers = record.openers
    return [coalition | openers for coalition in coalitions] if len(openers) == 1 else []


def never_above_larger(
    figures: Mapping[frozenset[int], Floats], genies: Mapping[frozenset[int], NDArray[np.int8]] | None = None
) -> None:
    """Lower every figure, and name its genie, to that of any larger coalition, which learns at least as much."""
    ordered = sorted(figures, key=len, reverse=True)
    for index, larger in enumerate(ordered):
        for smaller in ordered[index + 1 :]:
            if smaller < larger:
                outside = np.ones(figures[smaller].shape[1], dtype=np.bool_)
                outside[[node for node in larger if 0 <= node < len(outside)]] = False
                mine, theirs = figures[smaller], figures[larger]
                less = (theirs < mine) | (np.isnan(mine) & ~np.isnan(theirs))
                less &= outside
                mine[less] = theirs[less]
                if genies is not None:
                    genies[smaller][less] = genies[larger][less]


def measured(
    record: Record,
    common: Views,
    coalitions: Sequence[frozenset[int]],
    scope: Scope,
    limits: Limits,
    on_progress: Progress,
) -> dict[frozenset[int], Losses]:
    """Compute :func:`_figures` of all coalitions, in several processes where that is faster."""
    jobs = limits.jobs
    if jobs == 1 or len(coalitions) * len(record.kinds) <= WORTH_PROCESSES:
        return _all_figures(record, common, coalitions, scope, limits, on_progress)
    # Several chunks per process, so that progress is reported before the end.
    count = min(8 * jobs, len(coalitions))
    chunks = [coalitions[start::count] for start in range(count)]
    done: dict[frozenset[int], Losses] = {}
    for chunk in Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_all_figures)(record, common, chunk, scope, limits, no_progress) for chunk in chunks
    ):
        done |= chunk
        on_progress(
            len(done) / len(coalitions), f"accounting {len(done)} of {len(coalitions)} sets of observers"
        )
    return done


def _all_figures(
    record: Record,
    common: Views,
    coalitions: Sequence[frozenset[int]],
    scope: Scope,
    limits: Limits,
    on_progress: Progress,
) -> dict[frozenset[int], Losses]:
    """Compute :func:`_figures` of several coalitions."""
    found = {}
    for done, coalition in enumerate(coalitions):
        on_progress(done / len(coalitions), f"accounting {done + 1} of {len(coalitions)} sets of observers")
        exposure = expose(record, coalition, scope.factor)
        found[coalition] = _figures(record, common, exposure, scope, limits)
    return found


def _figures(
    record: Record,
    common: Views,
    exposure: Exposure,
    scope: Scope,
    limits: Limits,
) -> Losses:
    """Compute the losses of one coalition on every basis."""
    times_s, nodes = scope.times_s, scope.nodes
    certificate = certify(record, common, exposure, times_s, nodes)
    local, certified = certificate.local, certificate.mu2
    figures = {CERTIFIED: certified}
    lower = np.full_like(local, np.nan)
    fallback = times_s >= exposure.reach.opaque_from_s
    linear = open_loop_losses(record, exposure, times_s[~fallback], nodes, limits.max_cells, limits.max_work)
    if linear.upper is not None:
        figures[OPEN_LOOP] = np.full_like(local, np.nan)
        figures[OPEN_LOOP][~fallback] = np.minimum(linear.upper, certified[~fallback])
        lower[~fallback] = np.minimum(linear.same_direction, figures[OPEN_LOOP][~fallback])
    if fallback.any():
        figures[LDP_FALLBACK] = np.where(fallback[:, None], local, np.nan)
    # A coalition's own nodes are not its victims.
    inside = [node for node in exposure.coalition if 0 <= node < nodes]
    for figure in figures.values():
        figure[:, inside] = np.nan
    return Losses(figures, lower, certificate.genie)


def by_release(
    record: Record,
    rows: Floats | None,
    victims: Sequence[int],
    coalitions: Sequence[frozenset[int]],
    scope: Scope,
    price: Price,
    on_progress: Progress,
) -> dict[frozenset[int], Floats]:
    """Return ε by coalition, arrays [times, nodes], where releases are charged one by one and are not Gaussian.

    Equal sets of charges of several victims, observers and times are priced once.
    """
    asked: dict[tuple[frozenset[int], int, int], frozenset[tuple[tuple[float, float], int]]] = {}
    for coalition in coalitions:
        exposure = expose(record, coalition, scope.factor)
        charged = local_charges(record, exposure) if rows is None else charges(record, rows, exposure)
        for victim in victims:
            if victim in coalition:
                continue
            mine = np.flatnonzero((charged.owner == victim) & (charged.shift > 0))
            for at, t_s in enumerate(scope.times_s.tolist()):
                seen = mine[charged.t_s[mine] <= t_s]
                pairs = zip(charged.shift[seen].tolist(), charged.variance[seen].tolist(), strict=True)
                asked[coalition, at, victim] = frozenset(Counter(pairs).items())
    distinct = list(dict.fromkeys(asked.values()))
    priced = {}
    for done, charges_of in enumerate(distinct):
        on_progress(done / len(distinct), f"accounting {done + 1} of {len(distinct)}")
        priced[charges_of] = price(dict(charges_of))
    found = {coalition: np.full((len(scope.times_s), scope.nodes), np.nan) for coalition in coalitions}
    for (coalition, at, victim), charges_of in asked.items():
        found[coalition][at, victim] = priced[charges_of]
    return found


def no_progress(fraction: float, text: str) -> None:
    """Report no progress."""
