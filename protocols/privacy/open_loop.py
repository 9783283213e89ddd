"""Exact loss of the recorded linear view, all gradients held fixed. Not a bound for adaptive training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.adaptive_bound import adaptive_bound
from protocols.privacy.exposure import Exposure
from protocols.privacy.innovations import Filter, follow
from protocols.privacy.linear_view import ViewTooLarge, Whitened, sight_rows, state_rows, whiten
from protocols.privacy.record import Floats, Ints, Record

MAX_WORK = 2e11
"""Limit on multiplications for one observer's losses over all rounds: ten to a hundred seconds."""
BATCH_CELLS = 30_000_000
"""Numbers kept in memory while contributions are followed: a quarter of a gigabyte."""


class OpenLoop(NamedTuple):
    """Losses of the linear view.

    Args:
        upper: for any shifts in all rounds; None if the computation would exceed its limit.
        same_direction: for full shifts in one direction in all rounds, which is a lower bound of the former.
    """

    upper: Floats | None
    same_direction: Floats


def open_loop_losses(
    record: Record,
    exposure: Exposure,
    times_s: Floats,
    nodes: int,
    max_cells: int,
    max_work: float = MAX_WORK,
) -> OpenLoop:
    """Compute the loss of the linear view, other nodes' gradients held fixed.

    With G the victim's block of Aᵀ Σ⁺ A in units of its shifts, a victim whose every round moves by at most
    its shift, in any direction, loses at most min(Σ|G|, T · λ_max(G)): two bounds of sup tr(GH) over positive
    semidefinite H with diagonal at most 1. The first is attained when G has no negative entry.

    Args:
        record: parsed record of the run.
        exposure: view of the observers.
        times_s: checkpoints, seconds.
        nodes: number of nodes.
        max_cells: of dense rows, which are built where the filter finds something shown without noise.
        max_work: multiplications for the upper bound.

    Guarantees:
        Exact up to that bound for a fixed sequence of gradients of all other nodes (and of the victim,
        apart from its shifts). **No bound for adaptive training**; for an example see
        :mod:`protocols.privacy.ledger`. A combination
        of contributions shown without any noise is an infinite loss for every node in it.

    Returns:
        Arrays [times, nodes].
    """
    known = np.isin(record.owner, list(exposure.coalition))
    shown = ~known & np.isfinite(exposure.reach.first_s) & (exposure.shift > 0)
    finite = np.where(np.isfinite(exposure.shift), exposure.shift, 0.0)
    when = np.array([sight.t_s for sight in exposure.sights])
    filtered = follow(record, exposure.sights, known)
    asked = np.flatnonzero(shown)

    lower = np.zeros((len(times_s), nodes))
    together = filtered.along(np.where(shown, finite, 0.0), nodes)
    if len(asked) and (together.exposed_from < filtered.count).any():
        dense = _dense(record, exposure, known, max_cells)
        if dense is not None:
            return _both(record, exposure, [dense], when, times_s, nodes)
    for at, end in enumerate(np.searchsorted(when[together.sight], times_s, side="right")):
        lower[at] = (together.shifts[:end] ** 2).sum(axis=0)
        lower[at, together.exposed_from < np.searchsorted(when, times_s[at], side="right")] = np.inf
    if float(filtered.width + 8) * filtered.count * len(asked) > max_work:
        return OpenLoop(None, lower)
    upper = _both(record, exposure, _batches(filtered, record.owner, asked), when, times_s, nodes).upper
    return OpenLoop(upper, lower)


def _dense(
    record: Record, exposure: Exposure, known: NDArray[np.bool_], max_cells: int
) -> tuple[Ints, Whitened] | None:
    """Yield all contributions at once, from dense rows, if there is room for them."""
    hidden = np.flatnonzero(~known & np.isfinite(exposure.reach.first_s))
    try:
        rows = state_rows(record, max_cells)
    except ViewTooLarge:
        return None
    return hidden, whiten(sight_rows(rows[:, hidden], exposure.sights), record.sigma[hidden])


def _batches(filtered: Filter, owner: Ints, asked: Ints) -> Iterator[tuple[Ints, Whitened]]:
    """Yield the same from the filter, some victims at a time."""
    room = max(1, BATCH_CELLS // (filtered.width + filtered.count + 1))
    batch: list[Ints] = []
    for victim in np.unique(owner[asked]).tolist():
        mine = asked[owner[asked] == victim]
        if batch and sum(map(len, batch)) + len(mine) > room:
            columns = np.sort(np.concatenate(batch))
            yield columns, filtered.shifts(columns)
            batch = []
        batch.append(mine)
    if batch:
        columns = np.sort(np.concatenate(batch))
        yield columns, filtered.shifts(columns)


def _both(
    record: Record,
    exposure: Exposure,
    batches: Iterator[tuple[Ints, Whitened]] | list[tuple[Ints, Whitened]],
    when: Floats,
    times_s: Floats,
    nodes: int,
) -> OpenLoop:
    """Compute losses from the effect of every contribution on every innovation."""
    upper, same = np.zeros((len(times_s), nodes)), np.zeros((len(times_s), nodes))
    order = np.argsort(times_s, kind="stable")
    seen = np.searchsorted(when, times_s[order], side="right")
    for columns, whitened in batches:
        ends = np.searchsorted(when[whitened.sight], times_s[order], side="right")
        owner, shift = record.owner[columns], exposure.shift[columns]
        for victim in np.unique(owner[shift > 0]).tolist():
            mine = np.flatnonzero((owner == victim) & (shift > 0))
            exposed = int(whitened.exposed_from[mine].min())
            unbounded = mine[~np.isfinite(shift[mine])]
            touched = np.flatnonzero(whitened.shifts[:, unbounded].any(axis=1))
            if len(touched):
                exposed = min(exposed, int(whitened.sight[touched[0]]))
            moves = np.where(np.isfinite(shift[mine]), shift[mine], 0.0) * whitened.shifts[:, mine]
            gram, start = np.zeros((len(mine), len(mine))), 0
            for at, end, sights in zip(order, ends, seen, strict=True):
                if exposed < sights:
                    upper[at, victim] = same[at, victim] = np.inf
                    continue
                if (
                    at == order[-1]
                ):  # in one product, so that no figure depends on the times of earlier questions
                    gram = moves[:end].T @ moves[:end]
                else:
                    gram += moves[start:end].T @ moves[start:end]
                start = end
                upper[at, victim] = adaptive_bound(gram)
                same[at, victim] = max(0.0, float(gram.sum()))
    return OpenLoop(upper, same)
