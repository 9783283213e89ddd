"""Main results of one run, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from analysis.store import Run
from analysis.tables.tradeoff import BOUNDS, epsilon_of

MIB = 2**20
NOT_A_BOUND = "not a bound for adaptive training"
_UNDELIVERED = {
    "dropped": "a node was down, a link cut, or an adversary held them back",
    "expired": "abandoned by the transport",
    "in_flight": "the run ended first",
}


def number(value: float | None, digits: int = 3) -> str:
    """Format ``value`` with ``digits`` significant digits; "–" for none, "∞" or "−∞" for infinity."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    places = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
    return f"{value:.{max(places, 0)}f}"


def upper(value: float, digits: int = 3) -> str:
    """Format ``value`` rounded up to ``digits`` significant digits, so that a bound remains a bound."""
    if not math.isfinite(value) or value <= 0:
        return number(value, digits)
    value = max(value, 1e-300)  # below, the unit of rounding would be no number
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    # The slack keeps 4.38 from becoming 4.39, as 4.38 / 0.01 is slightly above 438 in floating point.
    return number(math.ceil(value / unit * (1 - 1e-12)) * unit, digits)


def percent(fraction: float | None) -> str:
    """Format a fraction as a percentage with one decimal."""
    return "–" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f} %"


def observers_in_words(observers: Any) -> str:
    """Describe the observers of a summary: "any single node", or the sets of nodes."""
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


_CERTIFIED_BY = {
    "local": ("each update alone",),
    "sums": ("sums of updates",),
    "states": ("all states public",),
    "view": ("the view itself",),
}
"""Words for the enlarged view that gave a figure; runs of earlier versions name none."""


def epsilon_in_words(summary: Mapping[str, Any]) -> str:
    """Return the main privacy line: a bound is written "≤", other figures state what they are.

    For a run that was cut short it states until when, as the rest of the run would have cost more.
    """
    value = summary.get("epsilon_worst")
    if value is None:
        return "none accounted"
    if math.isinf(value):
        reason = summary.get("epsilon_reason")
        return "ε = ∞ (no guarantee)" + (f": {reason}" if reason else "")
    until = f", up to {number(summary.get('simulated_s'))} s" if cut_short(summary) else ""
    if value == 0:
        return f"ε = 0: what observers received depends on no victim's data by more than δ allows{until}"
    basis = str(summary.get("basis"))
    if basis in BOUNDS:
        kind = "certified, by the local bound: ldp-fallback"
        if basis == "certified":
            kind = ", ".join(["certified", *_CERTIFIED_BY.get(str(summary.get("certified_by")), ())])
        start = f"ε ≤ {upper(value)} ({kind})"
    else:
        start = f"ε = {number(value)} ({basis}: {NOT_A_BOUND})"
    unit, adjacency = summary.get("unit"), summary.get("adjacency")
    terms = (
        unit and f"unit {unit}",
        adjacency and f"adjacency {adjacency}",
        observers_in_words(summary.get("observers")),
    )
    told = ", ".join(str(term) for term in terms if term)
    return f"{start} at δ = {summary.get('delta')}, {told}{until}"


def open_loop_in_words(summary: Mapping[str, Any]) -> str | None:
    """Return the open-loop line, or why there is no such figure; ``None`` where none is due."""
    certified = summary.get("epsilon_worst")
    if not certified or math.isinf(certified) or summary.get("basis") == "open-loop":
        return None
    if (reason := summary.get("open_loop_missing")) is not None:
        return f"not available ({reason})"
    found = epsilon_of(summary, "open-loop")
    if found is None or not math.isfinite(found):
        return None
    return f"ε = {upper(found)} ({NOT_A_BOUND})"


def cut_short(summary: Mapping[str, Any]) -> bool:
    """Return whether the run ended before any node had finished its rounds."""
    done, planned = summary.get("rounds_done_max"), summary.get("rounds")
    if summary.get("status") in ("interrupted", "failed"):
        return True
    return done is not None and planned is not None and done < planned


def rounds_in_words(summary: Mapping[str, Any]) -> str:
    """Return rounds finished by the slowest and the fastest honest node, out of those planned."""
    planned, least, most = (summary.get(key) for key in ("rounds", "rounds_done_min", "rounds_done_max"))
    if planned is None:
        return "– rounds"
    if least is None or most is None:  # written by an earlier version
        return f"{planned} rounds planned"
    if least == most:
        return f"{planned} rounds" if most == planned else f"{most} of {planned} rounds"
    return f"{least} (slowest node) to {most} of {planned} rounds"


def weakest_in_words(summary: Mapping[str, Any], worst: int | None = None) -> str:
    """Return accuracy of the worst honest node at the last evaluation, and over the last few."""
    worst = summary.get("accuracy_worst_node") if worst is None else worst
    text = percent(summary.get("accuracy_worst")) + ("" if worst is None else f" (node {worst})")
    count, mean = summary.get("recent_evaluations"), summary.get("accuracy_worst_recent")
    if mean is None or count is None or count < 2:
        return text
    since = summary.get("recent_from_s")
    span = "" if since is None else f" (from {number(since)} s)"
    text += f" at the last evaluation; last {count} averaged{span}: worst of each {percent(mean)}"
    lowest = summary.get("accuracy_lowest_recent_node")
    if lowest is None:
        return text
    return f"{text}, lowest node ({lowest}) {percent(summary.get('accuracy_lowest_recent'))}"


def worst_node(run: Run) -> int | None:
    """Return the honest node with the lowest accuracy at the last evaluation; ``None`` without one."""
    if not run.has("metrics"):
        return None
    accuracy = run.metrics.filter((pl.col("metric") == "accuracy") & (pl.col("node") >= 0))
    last = accuracy.filter(pl.col("t_s") == pl.col("t_s").max()).sort("value", "node")
    return None if last.is_empty() else int(last["node"][0])


def summary_rows(summary: Mapping[str, Any], worst: int | None = None) -> list[tuple[str, str]]:
    """Return label and value of every line of :func:`summary_table`, in order."""

    def text(key: str, default: str = "–") -> str:
        return default if summary.get(key) is None else str(summary[key])

    status = text("status")
    rows = [("name", text("name") + ("" if status == "finished" else f" ({status})"))]
    if summary.get("warnings"):
        rows.append(("warnings", " ".join(map(str, summary["warnings"]))))
    for key in ("series", "variant"):
        if summary.get(key):
            rows.append((key, text(key)))
    rows += [
        ("protocol", text("protocol")),
        ("seed", text("seed")),
        ("accuracy, mean", percent(summary.get("accuracy_mean"))),
        ("accuracy, worst honest node", weakest_in_words(summary, worst)),
        ("consensus distance", _distance(summary.get("consensus_distance"))),
        ("privacy", epsilon_in_words(summary)),
    ]
    if summary.get("diverged"):
        rows.insert(1, ("diverged", "the model holds NaN or infinity"))
    if (open_loop := open_loop_in_words(summary)) is not None:
        rows.append(("privacy, open-loop", open_loop))
    target, reached = summary.get("target_accuracy"), summary.get("time_to_accuracy_s")
    clock = "real time" if summary.get("mode") == "live" else "virtual time"
    rows.append((clock, f"{number(summary.get('simulated_s'))} s, {rounds_in_words(summary)}"))
    if target is not None:
        rows.append(
            (f"time to {100 * target:g} % accuracy", "never" if reached is None else _reached(summary))
        )
    rows += [
        ("traffic", f"{mib(summary.get('bytes_sent'))} of all nodes, {text('messages_sent')} messages"),
        ("messages lost", _share(summary.get("messages_lost"), summary.get("messages_sent"))),
    ]
    for key, why in _UNDELIVERED.items():
        if summary.get(f"messages_{key}"):
            share = _share(summary[f"messages_{key}"], summary.get("messages_sent"))
            rows.append((f"messages {key.replace('_', ' ')}", f"{share}: {why}"))
    if (secure := _sums(summary)) is not None:
        rows.append(("secure sums", secure))
    if (complete := summary.get("mixes_complete_fraction")) is not None:
        heard = summary.get("neighbours_heard_fraction")
        rows.append(("mixes with all partners", f"{percent(complete)} (partners heard: {percent(heard)})"))
    if summary.get("lists_refused"):
        rows.append(("member lists refused", text("lists_refused")))
    rows += [
        ("nodes down at the end", _nodes(summary.get("nodes_down"))),
        ("trace hash", text("trace_hash")[:12] if summary.get("trace_hash") else "none (live run)"),
        ("wall time", f"{number(summary.get('wall_s'))} s"),
    ]
    return rows


def summary_table(summary: Mapping[str, Any], worst: int | None = None) -> Table:
    """Build the overview of one run.

    Args:
        summary: from :attr:`analysis.store.Run.summary`.
        worst: the node behind ``accuracy_worst``, if known (:func:`worst_node`).
    """
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in summary_rows(summary, worst):
        table.add_row(Text(name), Text(value))
    return table


def mib(size_bytes: float | None) -> str:
    """Format bytes as MiB."""
    return "–" if size_bytes is None else f"{number(size_bytes / MIB)} MiB"


def _reached(summary: Mapping[str, Any]) -> str:
    size = summary.get("bytes_to_accuracy")
    reached = f"{number(summary['time_to_accuracy_s'])} s"
    return f"{reached} (first evaluation there)" + ("" if size is None else f", {mib(size)} sent by then")


def _distance(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{number(value)} (root mean square distance of honest models to their mean)"


def _share(part: float | None, whole: float | None) -> str:
    if part is None:
        return "–"
    return f"{part:g}" + (f" ({percent(part / whole)})" if whole else "")


def _sums(summary: Mapping[str, Any]) -> str | None:
    """Describe the outcome of secure sums; ``None`` where there were none."""
    opened, skipped = summary.get("sums_opened"), summary.get("sums_skipped") or 0
    share = summary.get("sums_opened_fraction")
    if not opened and not skipped and share is None:
        return None
    parts = [f"{opened} opened" + ("" if share is None else f" ({percent(share)})")]
    parts.append(f"{skipped} failed attempts")
    if summary.get("withheld"):
        parts.append(f"{summary['withheld']} contributions out of range withheld")
    if summary.get("wrong_shares"):
        parts.append(f"{summary['wrong_shares']} wrong shares corrected")
    return ", ".join(parts)


def _nodes(nodes: Any) -> str:
    if isinstance(nodes, list | tuple):
        return ", ".join(str(node) for node in nodes) or "none"
    return "–" if nodes is None else str(nodes or "none")
