"""Local bound for noise correlated across rounds.

Releasing everything a node contributes, with its noise, gives y_t = g_t + w_t with w of covariance K. For every
dependence of gradients on earlier releases, a shift of size δ_t in every round moves the innovations of y by a total
of δᵀ K⁻¹ δ on every path, and a bound that holds on every path composes like one Gaussian release (Denisov et al.
2022 for matrix factorisation; Smith and Thakurta 2022 for adaptively chosen shifts). Over shifts of bounded size in
any directions that is at most min(Σ|G|, T λ_max(G)) with G = K⁻¹ in units of the shifts.
"""

from __future__ import annotations

import numpy as np

from protocols.privacy.adaptive_bound import adaptive_bound
from protocols.privacy.entries import CONTRIBUTE
from protocols.privacy.exposure import Exposure
from protocols.privacy.linear_view import ancestors
from protocols.privacy.record import Floats, Ints, Record


def correlated_columns(record: Record) -> Ints:
    """Return the columns whose noise is a state."""
    return np.flatnonzero(
        np.fromiter(
            (len(record.parents[state]) > 1 for state in record.state.tolist()), bool, len(record.state)
        )
    )


def correlated_losses(record: Record, exposure: Exposure, times_s: Floats, nodes: int) -> Floats:
    """Compute losses of contributions with correlated noise that can have influenced a sight.

    Returns:
        Array [times, nodes].
    """
    losses = np.zeros((len(times_s), nodes))
    columns = correlated_columns(record)
    columns = columns[np.isfinite(exposure.reach.first_s[columns]) & (exposure.shift[columns] > 0)]
    for owner in np.unique(record.owner[columns]).tolist():
        mine = columns[record.owner[columns] == owner]
        noise = _noise_rows(record, mine)
        for at, t_s in enumerate(times_s):
            shown = exposure.reach.first_s[mine] <= t_s
            losses[at, owner] = _loss(noise[shown], exposure.shift[mine[shown]])
    return losses


def _loss(noise: Floats, shift: Floats) -> float:
    if not len(noise):
        return 0.0
    # Rows are made one after another, each with noise that no earlier row has: a triangular system.
    lower = np.linalg.qr(noise.T)[1].T
    size = np.abs(lower.diagonal()) if lower.shape[0] == lower.shape[1] else np.zeros(len(noise))
    if not (np.isfinite(shift).all() and (size > 1e-11 * np.linalg.norm(noise, axis=1)).all()):
        return float("inf")
    moves = np.linalg.solve(lower, np.diag(shift))
    return adaptive_bound(moves.T @ moves)


def _noise_rows(record: Record, columns: Ints) -> Floats:
    """Return the noises of contributions, in units of the contributions, over unit-variance draws."""
    states = [int(state) for state in record.state[columns]]
    sources = [record.parents[state][1] for state in states]
    order = sorted(state for state in ancestors(record, sources, bytearray(len(record.kinds))) if state)
    drawn = {state: at for at, state in enumerate(s for s in order if record.kinds[s] == CONTRIBUTE)}
    rows = {0: np.zeros(len(drawn))}
    for state in order:
        parents, coefs = record.parents[state], record.coefs[state]
        if record.kinds[state] == CONTRIBUTE:
            row = rows[parents[0]].copy()
            row[drawn[state]] += coefs[0] * record.sigma[record.column[state]]
        else:
            row = np.zeros(len(drawn))
            for parent, coef in zip(parents, coefs, strict=True):
                row += coef * rows[parent]
        rows[state] = row
    scale = [record.coefs[state][1] / record.coefs[state][0] for state in states]
    return np.stack([c * rows[source] for c, source in zip(scale, sources, strict=True)])
