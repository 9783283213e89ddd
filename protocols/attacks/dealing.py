"""Dealers of inconsistent shares, which lie on no low-degree polynomial: subsets of them give different secrets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.aggregation.sums import SumId
from protocols.aggregation.vector_shares import RealShares
from protocols.sharing.modulus import Words


class InconsistentShares(RealShares):
    """Shares of a Byzantine dealer: valid ones, each holder's shifted by a different amount."""

    def rows(self, sum: SumId, words: Words, holders: Sequence[int]) -> Words:
        """Return valid shares, shifted by 1, 4, 9, … in the field: no polynomial of low degree fits them."""
        proper = super().rows(sum, words, holders)
        shifts = np.array([(1 + place) ** (len(holders) + 1) for place in range(len(holders))], object)
        moved = (proper.astype(object) + shifts[:, None]) % self.plan.modulus.value
        shifted: Words = moved.astype(proper.dtype)
        return shifted
