"""One look for every figure: colour-blind safe, sized for a paper column, no state shared between figures."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

BLACK, GREY, LIGHT = "#000000", "#7f7f7f", "#d0d0d0"
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
"""Okabe & Ito (2008), without the yellow that vanishes on white paper."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BASIS_DASH: dict[str, Any] = {"certified": "-", "open-loop": (0, (4, 2)), "ldp-fallback": (0, (1, 1.2))}
BASIS_COLOUR = {"certified": BLUE, "open-loop": VERMILION, "ldp-fallback": GREEN}

COLUMN_INCHES, PAGE_INCHES = 3.45, 7.1
"""Widths of one column and of a two-column page."""

RC: dict[str, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
}


def applied() -> AbstractContextManager[None]:
    """The house style while figures are filled; whatever the caller had set is back afterwards."""
    parameters: Any = RC
    return matplotlib.rc_context(parameters)


def figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = PAGE_INCHES,
    height: float = 2.6,
    **kwargs: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure with ``rows`` × ``columns`` axes in reading order, in the house style.

    Built without pyplot, so that nothing is kept alive after :func:`save` and no display is needed.

    Args:
        rows: of panels.
        columns: of panels.
        width: inches.
        height: inches.
        **kwargs: for :meth:`matplotlib.figure.Figure.subplots`.
    """
    with applied():
        made = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(made)
        axes = made.subplots(rows, columns, squeeze=False, **kwargs)
    return made, [ax for row in axes for ax in row]


def save(made: Figure, path: Path) -> Path:
    """Write ``made`` as a PNG of 200 dots per inch and release its memory.

    Args:
        made: a figure; empty afterwards.
        path: of the file; its folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with applied():
        made.savefig(path, dpi=200, format="png")
    made.clear()
    return path


def power(value: float) -> str:
    """A small probability for a label: 10 to a power where it is one."""
    exponent = math.log10(value) if value > 0 else math.nan
    whole = not math.isnan(exponent) and math.isclose(exponent, round(exponent), abs_tol=1e-9)
    return f"$10^{{{round(exponent)}}}$" if whole else f"{value:g}"


def percent_axis(axis: Axis) -> None:
    """Show fractions as percentages (the label says "(%)"); every tick with the digits it needs, none rounded."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda fraction, _: f"{100 * fraction:.6g}"))
