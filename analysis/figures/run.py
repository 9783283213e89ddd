"""Figures of one run: accuracy against time and traffic, and privacy loss over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import declared, style
from analysis.store import Outage, Run
from analysis.tables.summary import MIB
from simulator.errors import StorageError

_NAMED = 4
"""Largest number of nodes or observers that are named one by one."""


def has_accuracy(run: Run) -> bool:
    """Return whether a run was evaluated; a finished run without evaluations raises when it is drawn."""
    return run.finished or (run.has("metrics") and not run.metrics.is_empty())


def accuracy_figure(run: Run) -> Figure:
    """Draw accuracy of every honest node that is up, their mean and their worst, against time and traffic.

    The line of a node is broken while it is down. Scheduled outages are marked: ▼ node down, ▲ node back. The last
    evaluation, at the end of the run, has a dot: no later mix corrects a node whose last one failed.

    Raises:
        StorageError: nothing has been evaluated yet.
    """
    every = run.metrics
    overall = (
        every.filter(pl.col("node") == -1)
        .pivot("metric", index="t_s", values="value", aggregate_function="last")
        .sort("t_s")
    )
    needed = {"accuracy_mean", "accuracy_worst", "bytes_sent"}
    if overall.is_empty() or not needed <= set(overall.columns):
        raise StorageError(
            f"{run.path / 'metrics.parquet'}: holds no evaluation of {', '.join(sorted(needed))}"
        )
    single = every.filter((pl.col("metric") == "accuracy") & (pl.col("node") >= 0)).sort("t_s")
    traffic = overall.select("t_s", mib=pl.col("bytes_sent") / MIB)
    made, axes = style.figure(1, 2, sharey=True, height=2.5)
    with style.applied():
        for ax, column, unit in (
            (axes[0], "t_s", clock(run)),
            (axes[1], "mib", "traffic, all nodes (MiB)"),
        ):
            x = (overall if column == "t_s" else traffic)[column].to_list()
            for _, node in single.group_by("node", maintain_order=True):
                here = traffic.join(node, on="t_s", how="left", maintain_order="left")
                ax.plot(here[column], here["value"], color=style.GREY, lw=0.5, alpha=0.35, zorder=1)
            ax.plot([], [], color=style.GREY, lw=0.7, alpha=0.6, label="each honest node")
            mean, worst = overall["accuracy_mean"].to_list(), overall["accuracy_worst"].to_list()
            end: dict[str, Any] = {"marker": "o", "ms": 3, "markevery": [-1], "zorder": 3, "clip_on": False}
            ax.plot(x, mean, color=style.BLUE, label="mean", **end)
            dashed: dict[str, Any] = {"color": style.VERMILION, "ls": (0, (4, 1.5))}
            ax.plot(x, worst, label="worst honest node", **dashed, **end)
            ax.set_xlabel(unit)
            ax.set_xlim(left=0)
        axes[0].set_ylabel("test accuracy (%)")
        style.percent_axis(axes[0].yaxis)
        target = (run.summary or {}).get("target_accuracy")
        if target is not None:
            for ax in axes:
                ax.axhline(target, color=style.BLACK, lw=0.6, ls=":", label=f"target {100 * target:g} %")
        _mark_outages(axes[0], run.outages, overall["t_s"].to_list()[-1])
        handles, labels = axes[0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return made


def _mark_outages(ax: Axes, outages: Sequence[Outage], end_s: float) -> None:
    """Draw thin lines with ▼ and ▲ over the axes; node numbers only if there are few."""
    marks: dict[tuple[float, str], list[int]] = {}
    for outage in outages:
        if outage.down_s <= end_s:
            marks.setdefault((outage.down_s, "▼"), []).append(outage.node)
        if outage.up_s is not None and outage.up_s <= end_s:
            marks.setdefault((outage.up_s, "▲"), []).append(outage.node)
    few = len(marks) <= 6
    for (t_s, sign), nodes in marks.items():
        ax.axvline(t_s, color=style.GREY, lw=0.5, ls=":", zorder=0)
        text = sign + (",".join(map(str, nodes)) if few and len(nodes) <= 3 else "")
        ax.annotate(
            text,
            (t_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 1),
            textcoords="offset points",
            ha="center",
            fontsize=5.5,
            color="#444444",
            annotation_clip=False,
        )


def clock(run: Run) -> str:
    """Return the label of an axis of time."""
    return "real time (s)" if run.manifest.get("mode") == "live" else "virtual time (s)"


def has_epsilon(run: Run) -> bool:
    """Return whether a run's privacy loss was accounted."""
    return run.has("privacy") and run.privacy["epsilon"].drop_nulls().len() > 0


def epsilon_figure(run: Run) -> Figure:
    """Draw ε over virtual time, per basis: each observer's worst victim, the worst of all, and the median victim.

    The median is over victims of each one's worst observer. The legend names the observer that is worst at the end.

    An infinite ε is not drawn; a note gives the time from which there is no guarantee, for the worst and the median
    victim. The local bound is not drawn beside the certified one, which is never larger, and an open-loop ε is not
    drawn at times when some observer's view has none.

    Raises:
        StorageError: no privacy loss has been accounted.
    """
    rows = _one_notion(run)
    made, (ax,) = style.figure(width=style.COLUMN_INCHES * 1.25, height=3.4)
    notes: list[str] = []
    finite: list[float] = []
    several = False
    with style.applied():
        missing = (run.summary or {}).get("open_loop_missing")
        if missing is not None:
            notes.append(f"open-loop ε: not available ({missing})")
        for basis, part in by_basis(run, rows).items():
            look: dict[str, Any] = {"color": style.BASIS_COLOUR[basis], "ls": style.BASIS_DASH[basis]}
            by_observer = part.group_by("observers", "t_s").agg(pl.col("epsilon").max()).sort("t_s")
            observers = by_observer["observers"].unique(maintain_order=True)
            several |= len(observers) > 1
            if len(observers) > 1:
                for _, one in by_observer.group_by("observers", maintain_order=True):
                    ax.plot(*_drawable(one), color=look["color"], lw=0.5, alpha=0.25, zorder=1)
            worst = part.group_by("t_s").agg(pl.col("epsilon").max()).sort("t_s")
            by_victim = part.group_by("victim", "t_s").agg(pl.col("epsilon").max())
            median = by_victim.group_by("t_s").agg(pl.col("epsilon").median()).sort("t_s")
            bound = "not a bound" if basis == "open-loop" else "a bound"
            label = f"{basis} ({bound}), {_worst_in_words(by_observer)}"
            ax.plot(*_drawable(worst), lw=1.8, label=label, zorder=3, **look)
            ax.plot(
                *_drawable(median),
                lw=0.9,
                label=f"{basis}, median victim",
                zorder=2,
                marker=".",
                ms=2.5,
                **look,
            )
            finite += [e for e in worst["epsilon"].to_list() if math.isfinite(e) and e > 0]
            infinite = worst.filter(pl.col("epsilon").is_infinite())["t_s"].to_list()
            if infinite:
                note = f"{basis}: worst ε = ∞ (no guarantee) from {infinite[0]:g} s"
                of_median = median.filter(pl.col("epsilon").is_infinite())["t_s"].to_list()
                notes.append(note + (f", median victim's from {of_median[0]:g} s" if of_median else ""))
        if several:
            ax.plot([], [], color=style.GREY, lw=0.7, alpha=0.6, label="every observer, its worst victim")
        first = rows.row(0, named=True)
        ax.set_xlabel(clock(run))
        ax.set_ylabel(f"privacy loss ε at δ = {style.power(first['delta'])}")
        # Above the axes, where no curve can run through the words.
        notes.insert(0, f"unit: {first['unit']}, adjacency: {first['adjacency']}")
        notes.insert(1, f"observers: {_observers_in_words(rows)}")
        ax.set_title("\n".join(notes), fontsize=7, color="#444444")
        if finite and max(finite) > 30 * min(finite):
            ax.set_yscale("log", nonpositive="mask")
        else:
            ax.set_ylim(bottom=0)
        ax.set_xlim(left=0)
        if finite:
            made.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=1)
        else:
            ax.set_yticks([])
    return made


def observer_in_words(label: str) -> str:
    """Name an observer of privacy.parquet: "node 3", "nodes 1+4+9", "any observer", "the public" or "the wire"."""
    parts = label.split(",")
    if label == "any":
        return "any observer"
    if not all(part.isdecimal() for part in parts):
        return f"the {label}" if len(parts) == 1 else "+".join(parts)
    if len(parts) == 1:
        return f"node {label}"
    return f"nodes {'+'.join(parts)}" if len(parts) <= _NAMED else f"{len(parts)} colluding nodes"


def _observers_in_words(rows: pl.DataFrame) -> str:
    every = rows["observers"].unique(maintain_order=True).to_list()
    if len(every) > _NAMED and all(one.isdecimal() for one in every):
        return f"each of {len(every)} nodes, alone"
    if len(every) > _NAMED:
        return f"{len(every)} nodes or coalitions"
    return "; ".join(map(observer_in_words, every))


def _worst_in_words(by_observer: pl.DataFrame) -> str:
    """Name the observer with the largest ε at the end; of equal ones, the first."""
    last = by_observer.filter(pl.col("t_s") == by_observer["t_s"].max())
    most = last.filter(pl.col("epsilon") == last["epsilon"].max())["observers"].sort().to_list()
    most.sort(key=lambda one: (len(one), one))
    others = f" and {len(most) - 1} more" if len(most) > 1 else ""
    return f"worst observer (at the end: {observer_in_words(most[0])}{others})"


def by_basis(run: Run, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows of the curves, by basis.

    The fallback is the local bound and never below the certified figure. An open-loop ε that some observer's view
    lacks is left out for all, as a maximum over some observers is not the maximum.
    """
    found = {basis: rows.filter(pl.col("basis") == basis) for basis in style.BASIS_DASH}
    if not found["certified"].is_empty():
        without = found.pop("ldp-fallback")["t_s"].unique().to_list()
        found["open-loop"] = found["open-loop"].filter(~pl.col("t_s").is_in(without))
    if (run.summary or {}).get("open_loop_missing") == "too large to compute":
        del found["open-loop"]
    return {basis: part for basis, part in found.items() if not part.is_empty()}


def _one_notion(run: Run) -> pl.DataFrame:
    """Return the rows of the scenario's own unit and adjacency; a run may have been accounted for others too."""
    rows = run.privacy.filter(pl.col("epsilon").is_not_null() & pl.col("epsilon").is_not_nan())
    if rows.is_empty():
        raise StorageError(
            f"{run.path / 'privacy.parquet'}: holds no privacy loss; the run released nothing noisy"
        )
    wanted = run.summary or {}
    for key in ("adjacency", "unit", "delta"):
        value = wanted.get(key)
        if value is None or rows.filter(pl.col(key) == value).is_empty():
            value = rows[key][0]
        rows = rows.filter(pl.col(key) == value)
    return rows


def _drawable(rows: pl.DataFrame) -> tuple[list[float], list[float]]:
    shown = rows.filter(pl.col("epsilon").is_finite())
    return shown["t_s"].to_list(), shown["epsilon"].to_list()


FIGURES = (
    declared.Figure(
        "accuracy",
        has_accuracy,
        accuracy_figure,
        "Test accuracy of the honest nodes that are up, against virtual time and against traffic. Worst: "
        "the lowest accuracy at that time. ▼ a node goes down, ▲ it returns. Dots: the last evaluation, at the end "
        "of the run; a node whose last mix failed is seen there with its own update alone.",
        place=10,
    ),
    declared.Figure(
        "epsilon",
        has_epsilon,
        epsilon_figure,
        "Privacy loss ε over virtual time. Thin lines: one observer each, its worst victim; bold: the worst "
        "observer; with dots: the median over victims of each one's worst observer.",
        place=20,
    ),
)
