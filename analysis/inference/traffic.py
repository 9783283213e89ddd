"""Traffic analysis: inference from sizes, times and silence of messages that cannot be read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

SHORT = 1.5
"""Fraction of the median number of messages on a link below which a sender counts as absent for a time."""


class Habit(NamedTuple):
    """Traffic pattern of one sender, as seen by an observer.

    Args:
        node: the sender.
        links: number of receivers seen.
        messages: mean number on each link.
        sizes: number of different message sizes.
        gap_s: median time between two of its messages on a link, seconds.
        silence_s: longest time without a message on a link, seconds.
        silent_from_s: start of that time, seconds.
        missing: whether it sent so much less than others that it was probably absent for a time.
    """

    node: int
    links: int
    messages: float
    sizes: int
    gap_s: float
    silence_s: float
    silent_from_s: float
    missing: bool


def habits(frame: pl.DataFrame) -> list[Habit]:
    """Return the traffic patterns of all senders, from metadata alone.

    Args:
        frame: ``t_s`` (when a message was seen), ``src``, ``dst`` and ``size_bytes``.

    Returns:
        Senders, ascending; those with at most one message on every link are left out.
    """
    seen = frame.drop_nulls("t_s")
    found = []
    for (node,), rows in sorted(seen.partition_by("src", as_dict=True).items()):
        per_link = [np.sort(link["t_s"].to_numpy()) for link in rows.partition_by("dst")]
        gaps = [np.diff(times) for times in per_link if len(times) > 1]
        if not gaps:
            continue
        longest = max(gaps, key=lambda g: float(g.max()))
        times = next(
            t for t in per_link if len(t) == len(longest) + 1 and np.array_equal(np.diff(t), longest)
        )
        found.append(
            Habit(
                int(node),
                len(per_link),
                len(rows) / len(per_link),
                rows["size_bytes"].n_unique(),
                float(np.median(np.concatenate(gaps))),
                float(longest.max()),
                float(times[int(longest.argmax())]),
                False,
            )
        )
    usual = float(np.median([habit.messages for habit in found])) if found else 0.0
    return [habit._replace(missing=habit.messages < usual - SHORT) for habit in found]
