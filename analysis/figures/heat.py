"""Heat map of attacks against defences."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.figures import declared, style
from analysis.store import Study
from analysis.tables.heat import WORST, Grid, has_heat, heat

_PANELS = (("accuracy_mean", "mean over honest nodes"), ("accuracy_worst", "worst honest node"))


def heat_figure(study: Study) -> Figure:
    """Draw accuracy in per cent of every attack on every defence, and of the worst attack, marked in its row.

    Two panels: the mean over honest nodes, and the worst of them. Means over seeds.
    """
    grids = [heat(study, metric) for metric, _ in _PANELS]
    rows, columns = len(grids[0].defences), len(grids[0].attacks)
    made, axes = style.figure(2, 1, sharex=True, height=1.9 + 2 * max(0.2 * rows, 0.45))
    colours = matplotlib.colormaps["cividis"]
    scale = Normalize(0.0, 1.0)
    with style.applied():
        for ax, grid, (_, title) in zip(axes, grids, _PANELS, strict=True):
            _draw(ax, grid, colours, scale)
            ax.set_title(title)
        axes[-1].set_xticks(range(columns), grids[0].attacks, rotation=40, ha="right", rotation_mode="anchor")
        bar = made.colorbar(
            matplotlib.cm.ScalarMappable(scale, colours), ax=axes, aspect=max(12, 3 * rows), pad=0.015
        )
        bar.set_label("test accuracy (%)")
        bar.set_ticks(np.linspace(0, 1, 6).tolist(), labels=[f"{v:g}" for v in np.linspace(0, 100, 6)])
        bar.outline.set_visible(False)
    return made


def _draw(ax: Axes, grid: Grid, colours: matplotlib.colors.Colormap, scale: Normalize) -> None:
    shown = np.full((len(grid.defences), len(grid.attacks)), math.nan)
    for i, defence in enumerate(grid.defences):
        for j, attack in enumerate(grid.attacks):
            cell = grid.cells.get((defence, attack))
            if cell is None or not cell.seeds:
                continue
            shown[i, j] = cell.mean
            worst = grid.cells.get((defence, WORST))
            ax.text(
                j,
                i,
                f"{100 * cell.mean:.0f}",
                ha="center",
                va="center",
                fontsize=6.5,
                fontweight="bold" if worst is not None and attack == worst.attack else "normal",
                color="white" if scale(cell.mean) < 0.55 else "black",
            )
    ax.imshow(shown, cmap=colours, norm=scale, aspect="auto", interpolation="nearest")
    ax.axvline(len(grid.attacks) - 1.5, color="white", lw=3)
    ax.set_yticks(range(len(grid.defences)), grid.defences)
    ax.tick_params(left=False, bottom=False)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


FIGURES = (
    declared.Figure(
        "heat",
        has_heat,
        heat_figure,
        "Accuracy in % under every attack (columns) with every defence (rows){over}. Bold: the worst attack "
        "on each defence, repeated in the last column. Runs that diverged count as chance.",
        of="study",
        place=40,
        alone=True,
    ),
)
