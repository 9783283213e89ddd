"""Common style of all figures: colour-blind safe, sized for a paper column, without shared state."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from simulator.errors import ConfigurationError

BLACK, GREY, LIGHT = "#000000", "#7f7f7f", "#d0d0d0"
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, "#882255", "#999933", "#332288")
"""Okabe & Ito (2008), without the yellow that is too pale on white paper, and three muted colours of Tol (2021)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", "p")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
BASIS_DASH: dict[str, Any] = {"certified": "-", "open-loop": (0, (4, 2)), "ldp-fallback": (0, (1, 1.2))}
BASIS_COLOUR = {"certified": BLUE, "open-loop": VERMILION, "ldp-fallback": GREEN}

FEWEST_TICKS = 3
"""Number of ticks below which an axis cannot be read."""
_FINER = (
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
)

Format: TypeAlias = Literal["png", "pdf", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""Formats of pictures, which are also their extensions."""
_UNDATED: dict[str, dict[str, None]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}

COLUMN_INCHES, PAGE_INCHES = 3.45, 7.1
"""Widths of one column and of a two-column page, inches."""

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
    "pdf.fonttype": 42,  # text that can be searched and edited
    "svg.hashsalt": "sottovoce",  # the same figure is the same file
}


class WholeLocator(MaxNLocator):
    """Ticks at whole numbers, of which there may be fewer than three.

    Args:
        most: largest number of intervals between ticks.
    """

    def __init__(self, most: int = 9) -> None:
        super().__init__(most, integer=True, steps=[1, 2, 5, 10])


def applied() -> AbstractContextManager[None]:
    """Return a context with the common style; the caller's settings are restored afterwards."""
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
    """Make a figure with ``rows`` × ``columns`` axes in reading order, in the common style.

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
    """Write ``made`` in the format of its extension and release its memory; a PNG has 200 dots per inch.

    Args:
        made: a figure; empty afterwards.
        path: of the file, whose extension is one of :data:`FORMATS`; its folder is made if it does not exist.

    Raises:
        ConfigurationError: the extension is none of them.
    """
    kind = known_format(path.suffix[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    with applied():
        for axis in (
            axis for ax in made.axes if ax.get_visible() and ax.axison for axis in (ax.xaxis, ax.yaxis)
        ):
            enough_ticks(axis)
        made.savefig(path, dpi=200, format=kind, metadata=_UNDATED[kind])
    made.clear()
    return path


def known_format(text: str) -> Format:
    """Return a format of pictures.

    Raises:
        ConfigurationError: there is no such format.
    """
    for kind in FORMATS:
        if text == kind:
            return kind
    raise ConfigurationError(f"format of pictures: must be one of {', '.join(FORMATS)}, got {text or 'none'}")


def power(value: float) -> str:
    """Format a small probability for a label: as a power of 10 where it is one."""
    exponent = math.log10(value) if value > 0 else math.nan
    whole = not math.isnan(exponent) and math.isclose(exponent, round(exponent), abs_tol=1e-9)
    return f"$10^{{{round(exponent)}}}$" if whole else f"{value:g}"


def percent_axis(axis: Axis) -> None:
    """Show fractions as percentages (the label says "(%)"); every tick with the digits it needs, none rounded."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda fraction, _: f"{100 * fraction:.6g}"))


def within_percent(axis: Axis) -> None:
    """Cut an axis of fractions at 0 and 1, a little outside, where wide intervals would extend it."""
    low, high = sorted(axis.get_view_interval())
    axis.axes.set_ylim(max(low, -0.02), min(high, 1.02))


def enough_ticks(axis: Axis) -> None:
    """Give an axis at least three labelled ticks, where its own locator finds fewer.

    Axes whose ticks were set individually, or that have none on purpose, are unchanged.
    """
    if (
        isinstance(axis.get_major_locator(), FixedLocator | NullLocator | WholeLocator)
        or len(shown_ticks(axis)) >= FEWEST_TICKS
    ):
        return
    logarithmic = axis.get_scale() == "log"
    finer: list[Locator] = [LogLocator(10, subs, numticks=30) for subs in _FINER] if logarithmic else []
    finer += [MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]) for count in (4, 6, 9)]
    for locator in finer:
        axis.set_major_locator(locator)
        if len(shown_ticks(axis)) >= FEWEST_TICKS:
            break
    if logarithmic:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def shown_ticks(axis: Axis) -> list[float]:
    """List the places of an axis that have a label."""
    ax = axis.axes
    low, high = sorted(ax.get_xlim() if axis is ax.xaxis else ax.get_ylim())
    slack = 1e-9 * (high - low)
    return [float(tick) for tick in axis.get_majorticklocs() if low - slack <= tick <= high + slack]
