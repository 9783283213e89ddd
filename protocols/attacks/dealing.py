"""Dealers of inconsistent shares: they lie on no polynomial, and different ones give different secrets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.aggregation.sums import SumId
from protocols.aggregation.vector_shares import RealShares
from protocols.sharing.modulus import Words


class InconsistentShares(RealShares):
    """Shares of a Byzantine dealer: proper ones, each holder's shifted by an amount of its own."""

    def rows(self, sum: SumId, words: Words, holders: Sequence[int]) -> Words:
        """Proper shares, shifted by 1, 4, 9, … in the field: more than a polynomial of low degree explains."""
        proper = super().rows(sum, words, holders)
        shifts = np.array([(1 + place) ** (len(holders) + 1) for place in range(len(holders))], object)
        moved = (proper.astype(object) + shifts[:, None]) % self.plan.modulus.value
        shifted: Words = moved.astype(proper.dtype)
        return shifted
