"""Figure of a search for the breaking point: accuracy loss by number of Byzantine nodes."""

from __future__ import annotations

import json
from typing import Any

from matplotlib.figure import Figure

from analysis.figures import declared, style
from analysis.store import Study
from analysis.tables.estimate import seeds_in_words
from simulator.errors import StorageError


def has_breaking(study: Study) -> bool:
    """Return whether a study searched for a breaking point."""
    return study.kind == "breaking"


def breaking_figure(study: Study) -> Figure:
    """Draw accuracy loss by number of Byzantine nodes, against honest runs: mean and 95 % t interval.

    With one seed there is no interval and no bar.

    Raises:
        StorageError: the search did not finish.
    """
    found = _found(study)
    costs = found["costs"]
    made, (ax,) = style.figure(width=style.COLUMN_INCHES, height=2.3)
    with style.applied():
        numbers = [cost["byzantine"] for cost in costs]
        means = [100 * cost["mean"] for cost in costs]
        ax.plot(numbers, means, color=style.BLUE, marker="o", lw=1.1)
        for cost in costs:
            if cost["low"] is not None:
                ends = [100 * cost["low"], 100 * cost["high"]]
                ax.plot([cost["byzantine"]] * 2, ends, color=style.BLUE, lw=0.8)
        ax.axhline(100 * found["drop"], color=style.BLACK, lw=0.7, ls=(0, (4, 2)))
        point = found["byzantine"]
        if point is not None:
            cost = means[numbers.index(point)]
            left = point - min(numbers) < max(numbers) - point  # the text goes where there is room
            ax.plot(point, cost, marker="o", ms=6, color=style.VERMILION, zorder=4)
            ax.annotate(
                f"breaks at {point}",
                (point, cost),
                xytext=(6 if left else -6, -3 if left else 3),
                textcoords="offset points",
                ha="left" if left else "right",
                va="top" if left else "bottom",
                fontsize=7,
                color=style.VERMILION,
            )
        ax.set_xlabel("Byzantine nodes")
        ax.set_title(seeds_in_words(cost["seeds"] for cost in costs), color="#444444", fontsize=7)
        ax.set_ylabel("accuracy lost (percentage points)")
        ax.xaxis.set_major_locator(style.WholeLocator())
    return made


def _found(study: Study) -> dict[str, Any]:
    file = study.path / "breaking.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise StorageError(f"{file}: is missing or damaged ({error}); run the search to its end") from error
    for table in (found, *found["costs"]):  # searches of earlier versions have another name for the number
        if "liars" in table:
            table["byzantine"] = table.pop("liars")
    return found


FIGURES = (
    declared.Figure(
        "breaking",
        has_breaking,
        breaking_figure,
        "Accuracy lost by number of Byzantine nodes, against the same nodes being honest{over}. {bars} "
        "Dashed: the limit; red: the smallest number found that exceeds it.",
        of="study",
        place=30,
        alone=True,
    ),
)
