"""The numbers of one run that a person wants first, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from analysis.store import Run
from analysis.tradeoff import BOUNDS, epsilon_of

MIB = 2**20
NOT_A_BOUND = "not a bound for adaptive training"


def number(value: float | None, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits; "–" for none, "∞" or "−∞" for infinity."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    places = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
    return f"{value:.{max(places, 0)}f}"


def upper(value: float, digits: int = 3) -> str:
    """``value`` rounded up to ``digits`` significant digits: a bound must stay a bound when it is printed."""
    if not math.isfinite(value) or value <= 0:
        return number(value, digits)
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    # The slack keeps 4.38 from becoming 4.39 because 4.38 / 0.01 is a hair over 438.
    return number(math.ceil(value / unit * (1 - 1e-12)) * unit, digits)


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with one decimal."""
    return "–" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f} %"


def observers_in_words(observers: Any) -> str:
    """Who is watching, as a summary names it: "any single node", or the sets of nodes."""
    if observers in (None, "each node"):
        return "any single node"
    if observers == "any":
        return "any observer"
    if isinstance(observers, str):
        sets = [part.split(",") for part in observers.split(";")]
    else:
        sets = [list(one) if isinstance(one, list | tuple) else [one] for one in observers]
    each = ["+".join(str(node).strip() for node in one) for one in sets]
    return ("node " if len(each) == 1 and len(sets[0]) == 1 else "nodes ") + ", ".join(each)


def epsilon_in_words(summary: Mapping[str, Any]) -> str:
    """The headline privacy line: a bound is written "≤", everything else says what it is."""
    value = summary.get("epsilon_worst")
    if value is None:
        return "none accounted"
    if math.isinf(value):
        reason = summary.get("epsilon_reason")
        return "ε = ∞ (no guarantee)" + (f": {reason}" if reason else "")
    basis = str(summary.get("basis"))
    if basis in BOUNDS:
        kind = "certified" if basis == "certified" else "certified, by the local bound: ldp-fallback"
        start = f"ε ≤ {upper(value)} ({kind})"
    else:
        start = f"ε = {number(value)} ({basis}: {NOT_A_BOUND})"
    terms = (summary.get("unit"), summary.get("adjacency"), observers_in_words(summary.get("observers")))
    return f"{start} at δ = {summary.get('delta')}, " + ", ".join(str(term) for term in terms if term)


def worst_node(run: Run) -> int | None:
    """The honest node with the lowest accuracy at the last evaluation; ``None`` without one."""
    if not run.has("metrics"):
        return None
    accuracy = run.metrics.filter((pl.col("metric") == "accuracy") & (pl.col("node") >= 0))
    last = accuracy.filter(pl.col("t_s") == pl.col("t_s").max()).sort("value", "node")
    return None if last.is_empty() else int(last["node"][0])


def summary_rows(summary: Mapping[str, Any], worst: int | None = None) -> list[tuple[str, str]]:
    """Label and value of every line of :func:`summary_table`, in order."""

    def text(key: str, default: str = "–") -> str:
        return default if summary.get(key) is None else str(summary[key])

    status = text("status")
    rows = [("name", text("name") + ("" if status == "finished" else f" ({status})"))]
    for key in ("series", "variant"):
        if summary.get(key):
            rows.append((key, text(key)))
    rows += [
        ("protocol", text("protocol")),
        ("seed", text("seed")),
        ("accuracy, mean", percent(summary.get("accuracy_mean"))),
        (
            "accuracy, worst honest node",
            percent(summary.get("accuracy_worst")) + ("" if worst is None else f" (node {worst})"),
        ),
        ("consensus distance", number(summary.get("consensus_distance"))),
        ("privacy", epsilon_in_words(summary)),
    ]
    if summary.get("diverged"):
        rows.insert(1, ("diverged", "training left the finite numbers"))
    open_loop = epsilon_of(summary, "open-loop")
    if open_loop is not None and math.isfinite(open_loop) and summary.get("basis") != "open-loop":
        rows.append(("privacy, open-loop", f"ε = {number(open_loop)} ({NOT_A_BOUND})"))
    target, reached = summary.get("target_accuracy"), summary.get("time_to_accuracy_s")
    clock = "real time" if summary.get("mode") == "live" else "virtual time"
    rows.append((clock, f"{number(summary.get('simulated_s'))} s, {text('rounds')} rounds"))
    if target is not None:
        rows.append(
            (f"time to {100 * target:g} % accuracy", "never" if reached is None else _reached(summary))
        )
    rows += [
        ("traffic", f"{mib(summary.get('bytes_sent'))}, {text('messages_sent')} messages"),
        ("messages lost", _share(summary.get("messages_lost"), summary.get("messages_sent"))),
    ]
    if summary.get("sums_opened") is not None:
        parts = [f"{text('sums_opened')} opened", f"{text('sums_skipped', '0')} skipped"]
        parts.append(f"{text('withheld', '0')} withheld")
        if summary.get("wrong_shares"):
            parts.append(f"{text('wrong_shares')} wrong shares corrected")
        rows.append(("secure sums", ", ".join(parts)))
    if summary.get("lists_refused"):
        rows.append(("member lists refused", text("lists_refused")))
    rows += [
        ("nodes down at the end", _nodes(summary.get("nodes_down"))),
        ("trace", text("trace_hash")[:12] if summary.get("trace_hash") else "none (live run)"),
        ("wall time", f"{number(summary.get('wall_s'))} s"),
    ]
    return rows


def summary_table(summary: Mapping[str, Any], worst: int | None = None) -> Table:
    """One run at a glance.

    Args:
        summary: as :attr:`analysis.store.Run.summary` gives it.
        worst: the node behind ``accuracy_worst``, if known (:func:`worst_node`).
    """
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in summary_rows(summary, worst):
        table.add_row(Text(name), Text(value))
    return table


def mib(size_bytes: float | None) -> str:
    """Bytes as MiB."""
    return "–" if size_bytes is None else f"{number(size_bytes / MIB)} MiB"


def _reached(summary: Mapping[str, Any]) -> str:
    size = summary.get("bytes_to_accuracy")
    return f"{number(summary['time_to_accuracy_s'])} s" + ("" if size is None else f", {mib(size)}")


def _share(part: float | None, whole: float | None) -> str:
    if part is None:
        return "–"
    return f"{part:g}" + (f" ({percent(part / whole)})" if whole else "")


def _nodes(nodes: Any) -> str:
    if isinstance(nodes, list | tuple):
        return ", ".join(str(node) for node in nodes) or "none"
    return "–" if nodes is None else str(nodes or "none")
