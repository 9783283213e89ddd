"""Declared figures: condition, drawing and caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib import figure

from analysis.tables.estimate import ONE_SEED

GROUP = "sottovoce.figures"
"""Entry points of figures of other packages."""


@dataclass(frozen=True)
class Figure:
    """Figure of runs, or of studies.

    Args:
        name: of the picture, without its extension.
        fits: called with the :class:`~analysis.store.Run` or :class:`~analysis.store.Study`; returns whether there is
            anything to draw.
        draw: called with the same where it fits.
        caption: text under it. For a study's figure, ``{over}`` becomes " (one seed, no interval)" or
            ", means over 8 seeds", and ``{bars}``, ``{range}``, ``{shade}`` and ``{blue}`` describe intervals.
        of: whether it is of runs or of studies.
        place: smaller ones come first; those of plug-ins come last.
        alone: whether no other figure of sottovoce is drawn of a study that it fits.
    """

    name: str
    fits: Callable[[Any], bool]
    draw: Callable[[Any], figure.Figure]
    caption: str
    of: Literal["run", "study"] = "run"
    place: int = 0
    alone: bool = False

    def words(self, seeds: str = "") -> str:
        """Return the caption of the figure.

        Args:
            seeds: for a study's figure, the number of seeds (:func:`analysis.tables.estimate.seeds_in_words`).
        """
        one = seeds == ONE_SEED
        told = {
            "over": f" ({ONE_SEED})" if one else f", means over {seeds}",
            "bars": "" if one else "Bars: 95 % t intervals over seeds; no bar: a single seed.",
            "range": "" if one else "Bars: the range over seeds.",
            "shade": "" if one else "Shaded, where there are few curves: the range over seeds.",
            "blue": "there is one pair, and no interval."
            if one
            else "blue: their mean with its 95 % t interval.",
        }
        text = self.caption
        for key, words in told.items():
            text = text.replace(f"{{{key}}}", words)
        return text.replace("  ", " ").strip()
