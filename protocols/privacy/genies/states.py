"""The genie of states: the view, with every state at which a gradient was computed made public.

A public state is a row. Reduced by the public states before it, what is left are the contributions made since. Rows
that share no contribution are independent, so the loss is a sum over *blocks*: in synchronous gossip one round each.
Within a block a victim loses s² e_uᵀ Rᵀ (R Σ Rᵀ)⁺ R e_u, R being all rows of the block. That depends on the rank of
R, which no rounding may decide: coefficients are the exact rational numbers that the recorded floats are. With K an
orthonormal basis of the kernel of R, in units of the noise, the loss is (s/σ)² (1 − ‖K_u‖²), and every exact part of
the kernel gives an upper bound (:mod:`protocols.privacy.genies.kernel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.adaptive_bound import adaptive_bound
from protocols.privacy.correlated import correlated_columns
from protocols.privacy.entries import COMBINE, CONTRIBUTE, OPAQUE
from protocols.privacy.exposure import Exposure, accumulate, loss_ratio
from protocols.privacy.genies.kernel import Row, Vector, along, combined, kernel, spans
from protocols.privacy.genies.sums import shared_noise
from protocols.privacy.lineage import ORIGIN
from protocols.privacy.record import Floats, Ints, Record

MAX_TERMS = 3_000_000
"""Largest number of coefficients of all public states together; longer records have no figure of this genie."""
MAX_WORK = 3e8
"""Multiplications for the kernels of one set of observers: seconds. Later blocks are charged one by one."""
MAX_CONDITION = 1e6
"""Condition of a kernel basis above which its block is charged one by one."""
_ONE = Fraction(1)
_Found = TypeVar("_Found")


@dataclass(frozen=True, eq=False, slots=True)
class _Component:
    """Contributions connected by public states.

    Args:
        columns: ascending.
        rows: by public state, its reduced row over places in ``columns``.
        shape: number that components with equal owners, noises, shifts and rows share.
    """

    columns: Ints
    rows: Mapping[int, Row]
    shape: int


@dataclass(frozen=True, eq=False)
class PublicStates:
    """Reduced rows of one record, for all observers.

    Args:
        fresh: by state, the contributions in it since the last public states, as multiples of ``gain · (g + z)``;
            empty for public ones.
        hidden_by_opaque: by column, whether an opaque state was made from it directly.
        noise: by column, the standard deviation of what it adds.
        component: by column, the number of its component.
        place: by column, its place there.
        components: all of them.
        component_of: by public state, the number of its component; without those that add nothing to earlier ones.
        used: by state, the first state made from it, or the number of states.
        shared: columns of noise that a node beside its owner knows.
        kernels: of components whose rows are all public, by shape, as they are asked for.
    """

    fresh: Sequence[Row]
    hidden_by_opaque: NDArray[np.bool_]
    noise: Floats
    component: Ints
    place: Ints
    components: Sequence[_Component]
    component_of: Mapping[int, int]
    used: Ints
    shared: Ints
    kernels: dict[int, list[Vector]] = field(default_factory=dict)

    def kernel(self, number: int) -> list[Vector]:
        """Return the kernel of all rows of a component."""
        component = self.components[number]
        if component.shape not in self.kernels:
            rows = list(component.rows.values())
            self.kernels[component.shape] = kernel(rows, len(component.columns))
        return self.kernels[component.shape]


def public_states(record: Record) -> PublicStates | None:
    """Reduce the rows of all states at which a gradient was computed.

    Returns:
        None if this genie says nothing about the record: noise is correlated across contributions, a clipping norm
        changes during the run (what it follows is not in the record), or there are more than :data:`MAX_TERMS`
        coefficients.
    """
    if len(correlated_columns(record)) or _norm_changes(record):
        return None
    columns = len(record.owner)
    reduced = _reduced(record, frozenset(record.parents[s][0] for s in record.state.tolist()))
    if reduced is None:
        return None
    fresh, rows, hidden = reduced
    gain = np.fromiter((abs(record.coefs[s][0]) for s in record.state.tolist()), np.float64, columns)
    noise = gain * record.sigma
    component, place, components = _components(record, rows, noise)
    component_of = {state: number for number, one in enumerate(components) for state in one.rows}
    used, shared = _first_uses(record), shared_noise(record)
    return PublicStates(fresh, hidden, noise, component, place, components, component_of, used, shared)


def _first_uses(record: Record) -> Ints:
    """Return the first state made from each, or the number of states."""
    count = len(record.kinds)
    used = np.full(count, count)
    for state in range(count - 1, 0, -1):
        used[list(record.parents[state])] = state
    return used


def _norm_changes(record: Record) -> bool:
    """Return whether some node's contributions have different sensitivities."""
    order = np.lexsort((record.sensitivity, record.owner))
    order = order[record.sensitivity[order] > 0]
    same_owner = record.owner[order[1:]] == record.owner[order[:-1]]
    return bool((same_owner & (record.sensitivity[order[1:]] != record.sensitivity[order[:-1]])).any())


def _reduced(
    record: Record, public: frozenset[int]
) -> tuple[list[Row], dict[int, Row], NDArray[np.bool_]] | None:
    """Return fresh contributions by state, rows by public state, and columns below opaque states."""
    fresh: list[Row] = [{}]
    rows: dict[int, Row] = {}
    hidden = np.zeros(len(record.owner), dtype=np.bool_)
    terms = 0
    for state in range(1, len(record.kinds)):
        kind, parents = record.kinds[state], record.parents[state]
        row: Row = {}
        if kind == CONTRIBUTE:
            row = {int(record.column[state]): _ONE}  # the state it was added to is public
        elif kind == COMBINE:
            row = _mixed([fresh[parent] for parent in parents], record.coefs[state])
        elif kind == OPAQUE:
            hidden[[column for parent in parents for column in fresh[parent]]] = True
        terms += len(row)
        if terms > MAX_TERMS:
            return None
        if state in public:
            if row:
                rows[state] = row
            row = {}
        fresh.append(row)
    return fresh, rows, hidden


def _mixed(rows: Sequence[Row], coefs: Sequence[float]) -> Row:
    """Return Σ coefs · rows, exactly."""
    total: dict[int, Fraction] = {}
    for found, coef in zip(rows, coefs, strict=True):
        if not found or coef == 0.0:
            continue
        factor = _exact(coef)
        for column, value in found.items():
            part = factor if value is _ONE else factor * value
            total[column] = total[column] + part if column in total else part
    return {column: value for column, value in total.items() if value}


@lru_cache(maxsize=4096)
def _exact(value: float) -> Fraction:
    return Fraction(value)


def _components(
    record: Record, rows: Mapping[int, Row], noise: Floats
) -> tuple[Ints, Ints, list[_Component]]:
    """Group contributions that occur in one row."""
    columns = len(record.owner)
    leader = list(range(columns))
    for row in rows.values():
        _join(leader, row)
    component = np.array([_leader(leader, c) for c in range(columns)], dtype=np.int64)
    _, component = np.unique(component, return_inverse=True)
    order = np.argsort(component, kind="stable")
    starts = np.flatnonzero(np.diff(component[order], prepend=-1))
    place = np.empty(columns, dtype=np.int64)
    members = np.split(order, starts[1:]) if columns else []
    for those in members:
        place[those] = np.arange(len(those))
    owned: list[dict[int, Row]] = [{} for _ in members]
    for state, row in rows.items():
        local = {int(place[c]): value for c, value in row.items()}
        owned[int(component[next(iter(row))])][state] = local
    shapes: dict[tuple[object, ...], int] = {}
    found = []
    for those, mine in zip(members, owned, strict=True):
        key = (
            record.owner[those].tobytes(),
            (noise[those] / (noise[those].max() or 1.0)).tobytes(),
            record.sigma[those].tobytes(),
            record.sensitivity[those].tobytes(),
            tuple(tuple(row.items()) for row in mine.values()),
        )
        found.append(_Component(those, mine, shapes.setdefault(key, len(shapes))))
    return component, place, found


def _leader(leader: list[int], one: int) -> int:
    while leader[one] != one:
        leader[one] = leader[leader[one]]
        one = leader[one]
    return one


def _join(leader: list[int], those: Iterable[int]) -> None:
    """Join sets that hold any of these."""
    roots = [_leader(leader, one) for one in those]
    for root in roots:
        leader[root] = roots[0]


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
            _join(leader, (int(public.component[c]) for c in row))
        grouped: dict[int, list[int]] = {}
        for number in sorted(numbers):
            grouped.setdefault(_leader(leader, number), []).append(number)
        shown: dict[int, list[tuple[int, Row]]] = {}
        for newest, row in sights:
            shown.setdefault(_leader(leader, int(public.component[next(iter(row))])), []).append(
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
            row = _mixed(rows, sight.coefs)
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
            bound = [{at: _ONE} for at in range(width) if at not in kept]
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
