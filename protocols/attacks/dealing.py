"""Dealers whose shares lie on no polynomial: whoever combines different ones finds different secrets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.aggregation.sums import SumId
from protocols.aggregation.vector_shares import RealShares
from protocols.sharing.modulus import Words


class CrookedShares(RealShares):
    """Shares of a Byzantine dealer: as they should be, and then every holder's moved by its own amount."""

    def rows(self, sum: SumId, words: Words, holders: Sequence[int]) -> Words:
        """Proper shares, shifted by 1, 4, 9, … in the field: more than a polynomial of low degree explains."""
        straight = super().rows(sum, words, holders)
        shifts = np.array([(1 + place) ** (len(holders) + 1) for place in range(len(holders))], object)
        moved = (straight.astype(object) + shifts[:, None]) % self.plan.modulus.value
        crooked: Words = moved.astype(straight.dtype)
        return crooked
