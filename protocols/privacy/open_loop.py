"""The exact loss of the recorded linear view, all gradients held fixed. No bound for adaptive training."""

from __future__ import annotations

import numpy as np

from protocols.privacy.exposure import Exposure
from protocols.privacy.linear_view import Floats, Record, sight_rows, whiten

MAX_WORK = 2e11  # multiplications to whiten one observer's view, some ten seconds


def open_loop_losses(
    record: Record, rows: Floats, exposure: Exposure, times_s: Floats, nodes: int, max_work: float = MAX_WORK
) -> Floats | None:
    """The loss of the linear view, other nodes' gradients held fixed.

    With G the victim's block of Aᵀ Σ⁺ A in units of its shifts, a victim whose every round moves by at most
    its shift, in any direction, loses at most min(Σ|G|, T · λ_max(G)): two bounds of sup tr(GH) over positive
    semidefinite H with diagonal at most 1. The first is attained when G has no negative entry.

    Guarantees:
        Exact up to that supremum for a fixed sequence of gradients of all other nodes (and of the victim,
        apart from its shifts). **No bound for adaptive training**; for an example see
        :mod:`protocols.privacy.ledger`. A combination
        of contributions shown without any noise is an infinite loss for everybody in it.

    Returns:
        Array [times, nodes], or None if whitening would take more than ``max_work`` multiplications.
    """
    hidden = np.flatnonzero(~np.isin(record.owner, list(exposure.coalition)))
    hidden = hidden[np.isfinite(exposure.reach.first_s[hidden])]
    count = len(exposure.sights)
    if 4.0 * count * min(count, len(hidden)) * len(hidden) > max_work:
        return None
    losses = np.zeros((len(times_s), nodes))
    if not len(hidden) or not len(times_s):
        return losses
    whitened = whiten(sight_rows(rows[:, hidden], exposure.sights), record.sigma[hidden])
    when = np.array([sight.t_s for sight in exposure.sights])
    order = np.argsort(times_s, kind="stable")
    ends = np.searchsorted(when[whitened.sight], times_s[order], side="right")
    seen = np.searchsorted(when, times_s[order], side="right")
    owner, shift = record.owner[hidden], exposure.shift[hidden]
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
                losses[at, victim] = np.inf
                continue
            gram += moves[start:end].T @ moves[start:end]
            start = end
            losses[at, victim] = _supremum(gram)
    return losses


def _supremum(gram: Floats) -> float:
    """min(Σ|G|, T · λ_max(G)) over the rounds that were seen at all."""
    used = np.flatnonzero(gram.diagonal())
    total = float(np.abs(gram).sum())
    if not len(used) or float(gram.min()) >= 0:
        return total
    largest = float(np.linalg.eigvalsh(gram[np.ix_(used, used)])[-1])
    return min(total, len(used) * largest)
