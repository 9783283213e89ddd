"""Figure of a what-if: paired differences of every variant to the baseline."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.figures import declared, style
from analysis.store import Study
from analysis.tables.estimate import ONE_SEED, seeds_in_words
from analysis.tables.paired import Difference, study_differences
from analysis.tables.study import epsilon_terms, plain, signed
from simulator.errors import StorageError


def has_paired(study: Study) -> bool:
    """Return whether a what-if has a finished variant to compare with its baseline."""
    return study.kind == "whatif" and bool(study_differences(study))


def paired_figure(study: Study) -> Figure:
    """Draw every variant's difference to the baseline: each seed (faint), mean and 95 % t interval.

    One panel per metric; a missing finite difference is noted in words, and a mean without such seeds is hollow.

    Raises:
        StorageError: there is no finished variant, or no baseline to compare it with.
    """
    found = study_differences(study)
    if not found:
        raise StorageError(f"{study.path}: no finished variant to compare with a finished baseline")
    names = dict.fromkeys(_row_name(one) for one in found)
    metrics = list(dict.fromkeys(one.metric for one in found))
    rows = -(-len(metrics) // 3)
    made, axes = style.figure(rows, 3, sharey=True, height=0.5 + rows * (0.7 + 0.28 * len(names)))
    with style.applied():
        for ax in axes[len(metrics) :]:
            ax.set_visible(False)
        for ax, metric in zip(axes, metrics, strict=False):
            of_metric = {_row_name(one): one for one in found if one.metric == metric}
            for row, name in enumerate(names):
                _draw_difference(ax, of_metric[name], row)
            ax.set_title(metric.title)
            ax.set_xlabel("Δε" if metric.unit == "ε" else f"Δ ({metric.unit})")
            ax.margins(x=0.12)
            ax.tick_params(left=False)
            ax.xaxis.set_major_locator(MaxNLocator(5))
            if any(math.isfinite(value) for one in of_metric.values() for _, value in one.per_seed):
                ax.axvline(0, color=style.BLACK, lw=0.7, zorder=1)
            else:
                ax.set_xticks([])
            ax.grid(False, axis="y")
        axes[0].set_yticks(range(len(names)), list(names))
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        made.suptitle(" ".join(epsilon_terms(study)), x=0.01, ha="left", fontsize=7, color="#444444")
        pairs = seeds_in_words(len(one.per_seed) for one in found if one.per_seed)
        made.legend(handles=_paired_legend(pairs), loc="outside lower center", ncols=2)
    return made


def _row_name(one: Difference) -> str:
    """Return the variant or series, with the swept values of its point."""
    return ", ".join([one.variant, *(f"{k.rpartition('.')[2]} = {plain(v)}" for k, v in one.setting)])


def _paired_legend(pairs: str) -> list[Line2D]:
    """Return the legend of dots and bars; ``pairs`` is the number of seeds in words."""
    grey: dict[str, Any] = {"ls": "", "marker": "o", "ms": 3, "mfc": style.GREY, "mec": "none", "alpha": 0.5}
    blue: dict[str, Any] = {"color": style.BLUE, "marker": "o", "ms": 4}
    if pairs == ONE_SEED:
        return [Line2D([], [], ls="", label="Δ: variant − baseline; one pair, no interval", **blue)]
    return [
        Line2D([], [], label="Δ: variant − baseline, one seed", **grey),
        Line2D([], [], label=f"mean over {pairs}, 95 % t interval", **blue),
    ]


def _draw_difference(ax: Axes, one: Difference, row: int) -> None:
    finite = [value for _, value in one.per_seed if math.isfinite(value)]
    for i, value in enumerate(finite if len(one.per_seed) > 1 else ()):
        ax.plot(
            value,
            row + 0.22 + 0.12 * (i / max(len(finite) - 1, 1) - 0.5),
            marker="o",
            ms=2.6,
            mfc=style.GREY,
            mec="none",
            alpha=0.5,
            zorder=2,
        )
    if math.isfinite(one.mean):
        if one.estimate.bounded:
            ax.plot(
                [one.low, one.high], [row, row], color=style.BLUE, lw=1.5, solid_capstyle="butt", zorder=3
            )
        # Hollow where the mean leaves seeds out: the note beside it names them.
        fill = "white" if one.note else style.BLUE
        ax.plot(one.mean, row, marker="o", ms=4, color=style.BLUE, mfc=fill, zorder=4)
    words = signed(one.estimate) if math.isinf(one.mean) else ""
    told = f"{words} ({one.note})" if words and one.note else words or one.note
    if told:
        ax.annotate(
            told,
            (0.5, row - 0.16 if finite else row),
            xycoords=("axes fraction", "data"),
            ha="center",
            va="bottom" if finite else "center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            fontsize=6.5,
            color="#444444",
        )


FIGURES = (
    declared.Figure(
        "paired",
        has_paired,
        paired_figure,
        "Difference of each variant to the baseline with the same seed. Grey: one seed; {blue}",
        of="study",
        place=50,
    ),
)
