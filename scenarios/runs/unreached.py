"""Faults of a scenario that never happened, as the run ended before them."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.faults.plan import Arrival, Churn, Closure, Fault, Outage, Slow

NAMED = 4
"""Largest number of faults that are named one by one."""


def unreached(faults: Iterable[Fault], end_s: float) -> str | None:
    """Return a sentence about faults later than the end of a run; None without any.

    Args:
        faults: of the run.
        end_s: when it ended, in virtual seconds.
    """
    late = [words for fault in faults for at_s, words in _beginnings(fault) if at_s > end_s]
    if not late:
        return None
    more = f", and {len(late) - NAMED} more" if len(late) > NAMED else ""
    return f"The run ended at {end_s:.6g} s, before these faults: {', '.join(late[:NAMED])}{more}."


def _beginnings(fault: Fault) -> list[tuple[float, str]]:
    """List the times of what a fault does, each with its words."""
    match fault:
        case Outage():
            found = [(fault.down_s, f"node {fault.node} goes down at {fault.down_s:.6g} s")]
            if fault.up_s is not None:
                found.append((fault.up_s, f"node {fault.node} returns at {fault.up_s:.6g} s"))
            return found
        case Arrival():
            return [(fault.at_s, f"node {fault.node} arrives at {fault.at_s:.6g} s")]
        case Closure():
            return [(fault.at_s, f"links close at {fault.at_s:.6g} s")]
        case Slow():
            return [(fault.at_s, f"node {fault.node} slows down at {fault.at_s:.6g} s")]
        case Churn():
            return [(fault.from_s, f"churn begins at {fault.from_s:.6g} s")]
