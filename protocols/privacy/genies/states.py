"""The genie of states: the view, with every state at which a gradient was computed made public.

A public state is a row. Reduced by the public states before it, what is left are the contributions made since. Rows
that share no contribution are independent, so the loss is a sum over *blocks*: in synchronous gossip one round each.
Within a block a victim loses s² e_uᵀ Rᵀ (R Σ Rᵀ)⁺ R e_u, R being all rows of the block. That depends on the rank of
R, which no rounding may decide: coefficients are the exact rational numbers that the recorded floats are. With K an
orthonormal basis of the kernel of R, in units of the noise, the loss is (s/σ)² (1 − ‖K_u‖²), and every exact part of
the kernel gives an upper bound (:mod:`protocols.privacy.genies.kernel`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from protocols.privacy.adaptive_bound import adaptive_bound
from protocols.privacy.exposure import Exposure, accumulate, loss_ratio
from protocols.privacy.genies.kernel import Row, Vector, along, combined, kernel, spans
from protocols.privacy.genies.public import ONE, PublicStates, join, leader_of, mixed
from protocols.privacy.lineage import ORIGIN
from protocols.privacy.record import Floats, Ints, Record

MAX_WORK = 3e8
"""Multiplications for the kernels of one set of observers: seconds. Later blocks are charged one by one."""
MAX_CONDITION = 1e6
"""Condition of a kernel basis above which its block is charged one by one."""
_Found = TypeVar("_Found")


class _Block(NamedTuple):
    """Rows that share contributions, with places in the concatenation of its components' columns.

    Args:
        components: numbers.
        public: visible public states of each component.
        sights: reduced rows of sights, by the newest state in them.
        before: for each public state, how many of the sights come before the first state made from it.
    """

    components: tuple[int, ...]
    public: tuple[tuple[int, ...], ...]
    sights: tuple[Row, ...]
    before: tuple[int, ...]


class StatesView:
    """The view of one set of observers, enlarged by the states at which gradients were computed.

    Only states that can have influenced a sight are made public. A contribution that an opaque state was made from,
    or that has no noise or no bound, is handed over alone.

    Args:
        record: parsed record of the run.
        public: its public states.
        exposure: view of the observers.

    Guarantees:
        Holds against adaptive training, for any schedule that does not depend on data or noise. In the order in which
        states were made, every row shows the contributions that are new in it at states which are rows before it, so
        every gradient is a function of its owner's data and of earlier rows, and the drift of the whitened view is
        predictable (T1 and T2 in docs/privacy.md). Coefficients are the exact rational numbers of the record. Where
        anything is undecided, the contributions are charged one by one. A block is charged as a whole as soon as it
        shows anything of the victim.
    """

    def __init__(self, record: Record, public: PublicStates, exposure: Exposure) -> None:
        self._record, self._public, self._exposure = record, public, exposure
        self._seen = np.isfinite(exposure.reach.first_s)
        shift, sigma = exposure.shift, record.sigma
        self._known = np.isin(record.owner, list(exposure.coalition)) | ((shift == 0) & (sigma == 0))
        self._known[public.shared] = True
        self._known |= (public.noise == 0) & (sigma > 0)  # with gain 0: nothing was added
        alone = public.hidden_by_opaque & exposure.reach.below_opaque
        alone |= (shift > 0) & ((sigma == 0) | ~np.isfinite(shift))
        self._alone = alone & self._seen & ~self._known
        self._work = 0.0
        self._solved: dict[tuple[object, ...], Mapping[int, float]] = {}
        self._judged: dict[tuple[object, ...], bool] = {}

    def losses(self, times_s: Floats, nodes: int) -> Floats:
        """Add up the losses of all blocks: array [times, nodes]."""
        first_s, owner = self._exposure.reach.first_s, self._record.owner
        alone = np.flatnonzero(self._alone)
        ratio = loss_ratio(self._exposure.shift[alone], self._record.sigma[alone])
        when, whose, lost = first_s[alone].tolist(), owner[alone].tolist(), ratio.tolist()
        for block in self._blocks:
            columns = self._columns(block)
            for node, loss in self._once(self._solved, block, self._computed).items():
                when.append(float(first_s[columns[owner[columns] == node]].min()))
                whose.append(node)
                lost.append(loss)
        moved = np.array(lost, dtype=np.float64)
        return accumulate(times_s, np.array(when), np.array(whose, dtype=np.int64), moved, nodes)

    def measurable(self) -> bool:
        """Return whether the observers can compute every public state from sights before its first use, so that the
        loss is that of their own view."""
        return all(self._once(self._judged, block, self._computable) for block in self._blocks)

    def _columns(self, block: _Block) -> Ints:
        parts = [self._public.components[number].columns for number in block.components]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @cached_property
    def _blocks(self) -> list[_Block]:
        """Return all blocks, by their earliest contribution."""
        public = self._public
        numbers = set(public.component[self._seen].tolist())
        sights = self._sights()
        leader = list(range(len(public.components)))
        for _, row in sights:
            join(leader, (int(public.component[c]) for c in row))
        grouped: dict[int, list[int]] = {}
        for number in sorted(numbers):
            grouped.setdefault(leader_of(leader, number), []).append(number)
        shown: dict[int, list[tuple[int, Row]]] = {}
        for newest, row in sights:
            shown.setdefault(leader_of(leader, int(public.component[next(iter(row))])), []).append(
                (newest, row)
            )
        return [self._block(numbers, shown.get(root, [])) for root, numbers in grouped.items()]

    def _sights(self) -> list[tuple[int, Row]]:
        """Return the newest state of every sight and its reduced row, ordered by the former."""
        public = self._public
        found: dict[tuple[int, tuple[tuple[int, Fraction], ...]], Row] = {}
        for sight in self._exposure.sights:
            newest = max(sight.parents, default=ORIGIN)
            # A public state itself is reduced by earlier ones only.
            number = public.component_of.get(newest)
            rows = [public.fresh[parent] for parent in sight.parents]
            if number is not None:
                part = public.components[number]
                own = {int(part.columns[at]): value for at, value in part.rows[newest].items()}
                rows = [
                    own if parent == newest else row for parent, row in zip(sight.parents, rows, strict=True)
                ]
            row = mixed(rows, sight.coefs)
            if row:
                found.setdefault((newest, tuple(row.items())), row)
        return [(newest, row) for (newest, _), row in sorted(found.items(), key=lambda item: item[0][0])]

    def _block(self, numbers: list[int], shown: list[tuple[int, Row]]) -> _Block:
        public = self._public
        offset, start = {}, 0
        for number in numbers:
            offset[number] = start
            start += len(public.components[number].columns)
        rows = tuple(
            {offset[int(public.component[c])] + int(public.place[c]): value for c, value in row.items()}
            for _, row in shown
        )
        reached = self._exposure.reach.states
        visible = [[state for state in public.components[n].rows if reached[state]] for n in numbers]
        newest, used = [one for one, _ in shown], [int(public.used[s]) for states in visible for s in states]
        before = np.searchsorted(newest, used, side="left")
        return _Block(tuple(numbers), tuple(map(tuple, visible)), rows, tuple(before.tolist()))

    def _once(
        self, found: dict[tuple[object, ...], _Found], block: _Block, compute: Callable[[_Block], _Found]
    ) -> _Found:
        """Compute something about a block; equal blocks once."""
        parts = [self._public.components[number] for number in block.components]
        columns = self._columns(block)
        states = [
            tuple(at for at, state in enumerate(part.rows) if state in shown)
            for part, shown in zip(parts, map(frozenset, block.public), strict=True)
        ]
        key = (
            tuple(part.shape for part in parts),
            tuple(states),
            tuple(tuple(row.items()) for row in block.sights),
            block.before,
            self._known[columns].tobytes(),
            self._alone[columns].tobytes(),
        )
        if key not in found:
            found[key] = compute(block)
        return found[key]

    def _computed(self, block: _Block) -> Mapping[int, float]:
        """Compute the losses of a block from its kernel, by owner."""
        columns, public_rows = self._columns(block), self._public_rows(block)
        free = np.flatnonzero(~(self._known | self._alone)[columns])
        shown = {at for row in (*public_rows, *block.sights) for at in row}
        free = free[np.isin(free, list(shown))]
        if not len(free):
            return {}
        hidden = self._hidden(block, public_rows, len(columns), free)
        return self._charged(columns[free], free, hidden)

    def _public_rows(self, block: _Block) -> list[Row]:
        found: list[Row] = []
        offset = 0
        for number, visible in zip(block.components, block.public, strict=True):
            part = self._public.components[number]
            for state in visible:
                row = part.rows[state]
                found.append({offset + at: value for at, value in row.items()} if offset else row)
            offset += len(part.columns)
        return found

    def _hidden(self, block: _Block, public_rows: list[Row], width: int, free: Ints) -> list[Vector]:
        """Return combinations of free contributions, by their places in the block, that no row shows."""
        whole = all(
            len(visible) == len(self._public.components[number].rows)
            for number, visible in zip(block.components, block.public, strict=True)
        )
        if whole and len(block.components) == 1:
            base = self._public.kernel(block.components[0])
            if not base:
                return []
            kept = set(free.tolist())
            bound = [{at: ONE} for at in range(width) if at not in kept]
            extra = [
                {i: product for i, vector in enumerate(base) if (product := along(row, vector))}
                for row in (*block.sights, *bound)
            ]
            return [combined(base, factors) for factors in kernel(extra, len(base))]
        rows, left = _peeled([*public_rows, *block.sights], free.tolist())
        self._work += float(len(rows)) * len(left) ** 2
        if self._work > MAX_WORK or not left:
            return []
        place = {at: index for index, at in enumerate(left)}
        found = kernel([{place[at]: value for at, value in row.items()} for row in rows], len(left))
        return [{left[index]: value for index, value in vector.items()} for vector in found]

    def _computable(self, block: _Block) -> bool:
        """Return whether each public state is a combination of sights before the first contribution made at it."""
        columns, public_rows = self._columns(block), self._public_rows(block)
        given = self._known[columns] | self._alone[columns]
        places = {int(at): index for index, at in enumerate(np.flatnonzero(~given))}

        def unknown(row: Row) -> Row:
            return {places[at]: value for at, value in row.items() if at in places}

        needed: dict[int, list[Row]] = {}
        for row, before in zip(public_rows, block.before, strict=True):
            if left := unknown(row):
                needed.setdefault(before, []).append(left)
        sights = [unknown(row) for row in block.sights]
        return all(spans(sights[:before], rows, len(places)) for before, rows in needed.items())

    def _charged(self, columns: Ints, free: Ints, hidden: list[Vector]) -> dict[int, float]:
        """Return losses by owner, given the combinations that stay hidden."""
        ratio = np.sqrt(loss_ratio(self._exposure.shift[columns], self._record.sigma[columns]))
        inside, slack = _projector(hidden, free, self._public.noise[columns])
        losses = {}
        for node in np.unique(self._record.owner[columns]).tolist():
            mine = np.flatnonzero((self._record.owner[columns] == node) & (ratio > 0))
            if len(mine):
                seen = np.eye(len(mine)) * (1.0 + slack) - inside[mine] @ inside[mine].T
                losses[node] = adaptive_bound(ratio[mine, None] * seen * ratio[mine])
        return losses


def _peeled(rows: list[Row], columns: list[int]) -> tuple[list[Row], list[int]]:
    """Drop contributions that some row shows alone, and then from all other rows."""
    left = set(columns)
    while True:
        rows = [{at: value for at, value in row.items() if at in left} for row in rows]
        single = {next(iter(row)) for row in rows if len(row) == 1}
        if not single:
            return [row for row in rows if row], sorted(left)
        left -= single


def _projector(hidden: list[Vector], free: Ints, noise: Floats) -> tuple[Floats, float]:
    """Return an orthonormal basis of what stays hidden, in units of the noise, and a bound on its rounding error.

    Returns:
        Array [free, dimension].
    """
    place = {int(at): index for index, at in enumerate(free)}
    basis = np.zeros((len(free), len(hidden)))
    for index, vector in enumerate(hidden):
        largest = max(map(abs, vector.values()))
        for at, value in vector.items():
            basis[place[at], index] = float(Fraction(value, largest)) / noise[place[at]]
    if not hidden:
        return basis, 0.0
    basis /= np.linalg.norm(basis, axis=0)
    condition = float(np.linalg.cond(basis))
    if not condition < MAX_CONDITION:
        return basis[:, :0], 0.0
    return np.linalg.qr(basis)[0], 1e-15 * len(free) * condition
