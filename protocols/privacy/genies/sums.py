"""The genie of sums: the view, with the noisy value of each contribution that keeps it from being disjoint sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.exposure import Exposure, accumulate, loss_ratio, repeated_under_masks
from protocols.privacy.genies.local import Charges
from protocols.privacy.linear_view import sight_rows
from protocols.privacy.record import Floats, Ints, Record

SAME_RATIO = 1e-9  # relative difference below which two coefficients are taken to differ by rounding only
_UNSEEN, _KNOWN = -1, -2


def sum_losses(record: Record, rows: Floats, exposure: Exposure, times_s: Floats, nodes: int) -> Floats:
    """Compute the local bound, except that a sum whose inputs are public to the observers is charged as a sum.

    Sights are taken in time order. The contributions a sight shows for the first time form a *sum* if (1)
    each was made at a state that is a combination of earlier sights and of what the observers know, and (2)
    the sight minus some such combination contains nothing but them. The sum then costs a victim (shift ·
    Σ|a| over its own)² / Σ a²σ² once; later repetitions of the same sum cost nothing. A contribution that
    violates (1) or (2), because it is also used on its own, is *revealed*: its noisy value is handed to the
    observers when it first had influence, at the local price, and its noise protects no other node. Noise that a
    node beside its owner knows (that of pairs) is credited to no node.

    Guarantees:
        Holds against adaptive training. The schedule does not depend on data, so the set of revealed contributions
        is fixed in advance. Given those, by (1) every gradient is a function of what the observers already have and
        of the data, and by (2) every sight, given all earlier ones, is a Gaussian whose noise is independent of
        them; the losses add up by adaptive composition, and at least the true view is charged. Which contributions
        are revealed is decided from the whole record, so a figure at an early time bounds the loss so far but may
        include charges that become necessary only later. Never above the local bound.

    Returns:
        Array [times, nodes].
    """
    charged = charges(record, rows, exposure)
    loss = loss_ratio(charged.shift, np.sqrt(charged.variance))
    return accumulate(times_s, charged.t_s, charged.owner, loss, nodes)


def charges(record: Record, rows: Floats, exposure: Exposure) -> Charges:
    """Return the charges that :func:`sum_losses` adds up, sum by sum."""
    sums = _Sums(record, exposure)
    shown = sight_rows(rows, exposure.sights)
    for index, new in enumerate(exposure.reach.new):
        made_at = [record.parents[state][0] for state in record.state[new].tolist()]
        sums.settle(rows[made_at])
        row = shown[index]
        before = row.copy()
        before[new] = 0.0
        sums.settle(before[None])
        sums.open(row, new)
    return sums.charges()


def shared_noise(record: Record) -> Ints:
    """Return columns of pure noise shown on their own: to the other end of a pair, or to be subtracted again."""
    states = [sight.parents[0] for _, sight in record.releases if len(sight.parents) == 1]
    columns = record.column[np.unique(np.array(states, dtype=np.int64))]
    columns = columns[columns >= 0]
    noise: Ints = columns[record.sensitivity[columns] == 0]
    return noise


class _Sums:
    """Contributions known only as sums, with their coefficients.

    Sums are disjoint sets of columns, and a row is a combination of earlier sights exactly if it is
    proportional to each sum's coefficients on that sum's columns and zero on columns not seen yet.
    """

    def __init__(self, record: Record, exposure: Exposure) -> None:
        self._record = record
        self._exposure = exposure
        self._member = np.full(len(record.owner), _UNSEEN)
        self._weight = np.zeros(len(record.owner))
        own = np.isin(record.owner, list(exposure.coalition))
        # An opaque state is known once everything it was made from is.
        self._revealed = exposure.reach.below_opaque & ~own
        twice = repeated_under_masks(record)
        self._revealed[twice] |= ~own[twice]
        self._member[own | self._revealed] = _KNOWN
        self._member[shared_noise(record)] = _KNOWN
        self._open_s: list[float] = []
        self.mixed: Ints = np.zeros(0, dtype=np.int64)
        self._starts: Ints = self.mixed

    def settle(self, rows: Floats) -> None:
        """Reveal contributions until every row is a combination of earlier sights."""
        if not len(rows):
            return
        unseen = np.flatnonzero(self._member == _UNSEEN)
        self._reveal(unseen[rows[:, unseen].any(axis=0)])
        while len(self.mixed):
            # Constant ratio within each sum, compared with the sum's first column.
            part = rows[:, self.mixed]
            ratio = part / self._weight[self.mixed]
            sizes = np.diff(np.append(self._starts, len(self.mixed)))
            lead = np.repeat(ratio[:, self._starts], sizes, axis=1)
            wrong = np.abs(ratio - lead) > SAME_RATIO * np.maximum(np.abs(ratio), np.abs(lead))
            if not wrong.any():
                return
            row = int(np.argmax(wrong.any(axis=1)))
            sums = self._member[self.mixed]
            self._reveal(
                np.concatenate(
                    [
                        self.mixed[sums == name][_minority(ratio[row, sums == name])]
                        for name in np.unique(sums[wrong[row]])
                    ]
                )
            )

    def open(self, row: Floats, new: Ints) -> None:
        """Enter the sum that a sight shows for the first time."""
        fresh = new[(self._member[new] == _UNSEEN) & (row[new] != 0)]
        if len(fresh):
            name = len(self._open_s)
            self._open_s.append(float(self._exposure.reach.first_s[fresh[0]]))
            self._member[fresh] = name
            self._weight[fresh] = row[fresh]
            if len(fresh) > 1:
                self._arrange(np.concatenate((self.mixed, fresh)))

    def charges(self) -> Charges:
        """Return the charges of everything shown."""
        record, shift = self._record, self._exposure.shift
        alone = np.flatnonzero(self._revealed)
        times = [self._exposure.reach.first_s[alone]]
        owners, moved, variances = [record.owner[alone]], [shift[alone]], [record.sigma[alone] ** 2]
        order = np.flatnonzero(self._member >= 0)
        order = order[np.argsort(self._member[order], kind="stable")]
        names, starts = np.unique(self._member[order], return_index=True)
        ends = np.append(starts[1:], len(order))
        for name, start, end in zip(names.tolist(), starts, ends[: len(names)], strict=True):
            columns = order[start:end]
            weight = np.abs(self._weight[columns])
            whose, inverse = np.unique(record.owner[columns], return_inverse=True)
            along = np.zeros(len(whose))
            np.add.at(along, inverse, weight * shift[columns])
            noise = weight * record.sigma[columns]
            # In the units of the noise as it was added: a multiple of a sum shows the sum.
            unit = float(weight[noise > 0].max(initial=0.0)) or 1.0
            times.append(np.full(len(whose), self._open_s[name]))
            owners.append(whose)
            moved.append(along / unit)
            variances.append(np.full(len(whose), float(np.sum((noise / unit) ** 2))))
        return Charges(
            np.concatenate(times), np.concatenate(owners), np.concatenate(moved), np.concatenate(variances)
        )

    def _reveal(self, columns: Ints) -> None:
        if len(columns):
            self._member[columns] = _KNOWN
            self._revealed[columns] = True
            self._arrange(self.mixed)

    def _arrange(self, columns: Ints) -> None:
        """Keep the columns of sums that still have at least two, in the order of their sums."""
        columns = columns[self._member[columns] >= 0]
        _, sizes = np.unique(self._member[columns], return_counts=True)
        self.mixed = columns[np.repeat(sizes > 1, sizes)]
        sizes = sizes[sizes > 1]
        self._starts = np.cumsum(sizes) - sizes


def _minority(ratio: Floats) -> NDArray[np.bool_]:
    """Mark all entries outside the largest group of equal ones."""
    order = np.argsort(ratio, kind="stable")
    ordered = ratio[order]
    step = np.diff(ordered) > SAME_RATIO * np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    run = np.concatenate(([0], np.cumsum(step)))
    minority = np.empty(len(ratio), dtype=np.bool_)
    minority[order] = run != np.argmax(np.bincount(run))
    return minority
