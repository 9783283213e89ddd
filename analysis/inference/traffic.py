"""Traffic analysis: what sizes, times and silence say although nothing can be read."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

SILENCES = 3.0
"""A gap this many times the usual one is taken for an outage."""


class Habit(NamedTuple):
    """What an observer makes of one sender's traffic.

    Args:
        node: the sender.
        messages: seen of it.
        sizes: how many different message sizes.
        gap_s: usual time between two of its rounds (the median).
        silence_s: longest time without a message.
        silent_from_s: when that began.
        missing: whether that is long enough to look like an outage.
    """

    node: int
    messages: int
    sizes: int
    gap_s: float
    silence_s: float
    silent_from_s: float
    missing: bool


def habits(frame: pl.DataFrame) -> list[Habit]:
    """From metadata: columns ``t_s`` (when a message was seen), ``src`` and ``size_bytes``; senders ascending."""
    found = []
    for (node,), rows in sorted(frame.partition_by("src", as_dict=True).items()):
        times = rows["t_s"].drop_nulls().sort()
        gaps = times.diff().drop_nulls()
        usual = gaps.filter(gaps > 0).median()
        longest = gaps.max()
        if not isinstance(usual, float) or not isinstance(longest, float):
            continue  # seen once: nothing to compare with
        began = times[int((gaps == longest).arg_max() or 0)]
        found.append(
            Habit(
                int(node),
                len(rows),
                rows["size_bytes"].n_unique(),
                usual,
                longest,
                float(began),
                longest > SILENCES * max(usual, _round_s(times)),
            )
        )
    return found


def _round_s(times: pl.Series) -> float:
    """Time between bursts: messages of one round come close together."""
    gaps = times.diff().drop_nulls()
    wide = gaps.filter(gaps > gaps.mean())
    usual = wide.median()
    return usual if isinstance(usual, float) else 0.0
