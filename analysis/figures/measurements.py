"""Figure of a run: metrics of plug-ins over time."""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import declared, style
from analysis.figures.run import clock
from analysis.metrics.catalogue import of_plugins
from analysis.store import Run
from simulator.errors import StorageError

COLUMNS = 3
"""Largest number of panels side by side."""


def recorded(run: Run) -> dict[str, str]:
    """Map each metric of a plug-in that a run measured to the package it is from."""
    packages = run.manifest.get("metrics") or {}
    if not packages or not run.has("metrics"):
        return {}
    found = {}
    for name in run.metrics["metric"].unique(maintain_order=True).to_list():
        of = [metric for metric in packages if name == metric or name.startswith(f"{metric}_")]
        if of:
            found[name] = str(packages[max(of, key=len)])
    return found


def measurements_figure(run: Run) -> Figure:
    """Draw one panel per metric: single nodes thin and their mean bold, or the value of all nodes.

    Raises:
        StorageError: the run has no metric of a plug-in.
    """
    found = recorded(run)
    if not found:
        raise StorageError(f"{run.path / 'metrics.parquet'}: holds no metric of a plug-in")
    rows = -(-len(found) // COLUMNS)
    columns = min(COLUMNS, len(found))
    width = style.COLUMN_INCHES if columns == 1 else style.PAGE_INCHES
    made, axes = style.figure(rows, columns, width=width, height=0.3 + 2.2 * rows)
    units = {name: metric.unit for name, metric in of_plugins().items()}
    with style.applied():
        for ax, (name, package) in zip(axes, found.items(), strict=False):
            _draw(ax, run.metrics.filter(pl.col("metric") == name))
            unit = units.get(name, "")
            ax.set_title(f"{name} ({package})")
            ax.set_ylabel(unit or name.replace("_", " "))
            ax.set_xlabel(clock(run))
            ax.set_xlim(left=0)
        for ax in axes[len(found) :]:
            ax.set_visible(False)
    return made


def _draw(ax: Axes, rows: pl.DataFrame) -> None:
    single = rows.filter(pl.col("node") >= 0).sort("t_s")
    for _, node in single.group_by("node", maintain_order=True):
        ax.plot(node["t_s"], node["value"], color=style.GREY, lw=0.5, alpha=0.35, zorder=1)
    mean = single.group_by("t_s").agg(pl.col("value").mean()).sort("t_s")
    shown = mean if single.height else rows.sort("t_s")
    ax.plot(shown["t_s"], shown["value"], color=style.BLUE, zorder=3)


FIGURES = (
    declared.Figure(
        "measurements",
        lambda run: bool(recorded(run)),
        measurements_figure,
        "Metrics of plug-ins over time. Thin: single honest nodes; bold: their mean, or the value of all nodes.",
        place=35,
    ),
)
