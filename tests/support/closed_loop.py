"""Gossip with gradients that are linear in the model, recorded for the ledger and followed exactly: an oracle.

The gradient of node v at x is ``feedback · x`` plus what its data add. The true loss of a view is then a quadratic
form of rational numbers, feedback included. The record that is made beside it says what the simulator would record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from protocols.privacy.lineage import ORIGIN, Lineage

Row = dict[int, Fraction]


def combined(terms: Iterable[tuple[Fraction | int, Row]]) -> Row:
    total: Row = {}
    for factor, row in terms:
        for column, value in row.items():
            total[column] = total.get(column, Fraction(0)) + factor * value
    return {column: value for column, value in total.items() if value}


class ClosedLoop:
    """Models as (shift of data, noise) over contributions and noise draws of unit variance."""

    def __init__(self) -> None:
        self.lineage = Lineage()
        self.owner: list[int] = []
        self.drawn_by: list[int] = []
        self.sights: list[tuple[int, Row, Row]] = []
        self._models: dict[int, tuple[Row, Row]] = {ORIGIN: ({}, {})}

    def contribute(
        self,
        t_s: float,
        node: int,
        state: int,
        *,
        feedback: int = 0,
        gradient_at: int | None = None,
        noise_of: int | None = None,
    ) -> int:
        """Add a contribution with σ = 1, C = 1.

        Args:
            gradient_at: state at which the gradient is really computed, if it is not the recorded one.
            noise_of: contribution whose noise is really used again.
        """
        made = self.lineage.contribute(
            t_s, node, len(self.owner), state, gain=1.0, sigma=1.0, sensitivity=1.0
        )
        column = len(self.owner)
        self.owner.append(node)
        self.drawn_by.append(node)
        draw = column if noise_of is None else noise_of
        at = self._models[state if gradient_at is None else gradient_at]
        before = self._models[state]
        self._models[made] = (
            combined([(1, before[0]), (feedback, at[0]), (1, {column: Fraction(1)})]),
            combined([(1, before[1]), (feedback, at[1]), (1, {draw: Fraction(1)})]),
        )
        return made

    def mix(
        self, t_s: float, node: int, terms: Sequence[tuple[float, int]], claimed: int | None = None
    ) -> int:
        """Mix models; with ``claimed`` the node really goes on with that state instead."""
        made = self.lineage.combine(t_s, node, 0, terms)
        parts = [(Fraction(c), self._models[s]) for c, s in terms]
        self._models[made] = (
            (combined((c, m[0]) for c, m in parts), combined((c, m[1]) for c, m in parts))
            if claimed is None
            else self._models[claimed]
        )
        return made

    def show(self, t_s: float, observer: int, tag: Any, terms: Sequence[tuple[float, int]]) -> None:
        """Deliver a message, or nothing (None), and note what it shows."""
        if tag is not None:
            self.lineage.delivered(t_s, observer, 0, tag)
        parts = [(Fraction(c), self._models[s]) for c, s in terms]
        moved, noise = (combined((c, m[which]) for c, m in parts) for which in (0, 1))
        self.sights.append((observer, moved, noise))

    def losses(self, coalition: frozenset[int]) -> dict[int, float]:
        """Return the exact loss of every node outside: the largest over shifts of ±1 in every contribution."""
        inside = {c for c, owner in enumerate(self.owner) if owner in coalition}
        basis: list[tuple[Row, Row, Fraction]] = []
        bare: set[int] = set()
        for observer, moved, noise in self.sights:
            if observer not in coalition:
                continue
            moved = {c: v for c, v in moved.items() if c not in inside}
            noise = {c: v for c, v in noise.items() if c not in inside}
            for shifts, draws, size in basis:
                along = sum((v * draws.get(c, 0) for c, v in noise.items()), Fraction(0)) / size
                moved = combined([(1, moved), (-along, shifts)])
                noise = combined([(1, noise), (-along, draws)])
            if size := sum((v * v for v in noise.values()), Fraction(0)):
                basis.append((moved, noise, size))
            else:
                bare |= {self.owner[c] for c in moved}
        return {
            node: float("inf") if node in bare else float(self._largest(node, basis))
            for node in sorted(set(self.owner) - coalition)
        }

    def _largest(self, node: int, basis: list[tuple[Row, Row, Fraction]]) -> Fraction:
        mine = [c for c, owner in enumerate(self.owner) if owner == node]
        signs = [(1, *rest) for rest in product((1, -1), repeat=len(mine) - 1)]
        return max(
            sum(
                (
                    sum((s * shifts.get(c, 0) for s, c in zip(sign, mine, strict=True)), Fraction(0)) ** 2
                    / size
                    for shifts, _, size in basis
                ),
                Fraction(0),
            )
            for sign in signs
        )
