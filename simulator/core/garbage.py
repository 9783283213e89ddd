"""Garbage collection of long runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS, _YOUNG, _MIDDLE = 200_000, 20, 20


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect cycles rarely, and not among objects that exist already.

    A run keeps nearly all it allocates (records, messages under way), so the usual thresholds make the collector walk
    over the same objects again and again: up to a third of the time. Cycles are still found, only later.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, _YOUNG, _MIDDLE)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
