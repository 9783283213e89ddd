"""Views recorded by honest-but-curious nodes, as input of attacks: models by sender and round, sums, metadata."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.formats.tables import VIEW
from analysis.store import Run
from simulator.errors import StorageError

SUM = "opened sum"


class Views:
    """Pooled views of a coalition.

    Args:
        run: the run folder.
        coalition: honest-but-curious nodes of that run; empty for the view of a wiretap alone.

    Raises:
        StorageError: a node of the coalition recorded nothing, or the table is damaged.
    """

    def __init__(self, run: Run, coalition: Collection[int]) -> None:
        self.coalition = tuple(sorted(coalition))
        frames = [_read(run, node) for node in self.coalition]
        self.frame = pl.concat(frames).sort("t_s", maintain_order=True) if frames else pl.DataFrame()

    def models(self, kinds: Collection[str], size: int) -> dict[tuple[int, int], NDArray[np.float64]]:
        """Return (sender, round) -> the model that was sent, the coalition's own included.

        Args:
            kinds: kinds of message that carry models.
            size: number of leading values that are parameters.

        Raises:
            StorageError: a message has a round below 0, which no protocol has.
        """
        shown = self.frame.filter(pl.col("values").list.len() >= size, pl.col("kind").is_in(list(kinds)))
        if shown.filter(pl.col("round") < 0).height:
            raise StorageError(
                f"the views of nodes {', '.join(map(str, self.coalition))}: round: is below 0; a file is damaged, "
                "run the scenario again"
            )
        return {
            (src, round): np.array(values[:size], float)
            for src, round, values in shown.select("src", "round", "values").iter_rows()
        }

    def sums(self) -> dict[tuple[int, int], NDArray[np.float64]]:
        """Return (member, round) -> the sum that the member opened."""
        opened = self.frame.filter(pl.col("kind") == SUM)
        return {
            (src, round): np.array(values, float)
            for src, round, values in opened.select("src", "round", "values").iter_rows()
        }


def _read(run: Run, node: int) -> pl.DataFrame:
    path = VIEW.path(run.path, node)
    if not path.exists():
        raise StorageError(
            f"{path} is missing: node {node} recorded nothing in this run; make it curious and run again"
        )
    return VIEW.whole(VIEW.read(path), path).select(pl.lit(node).alias("member"), *VIEW.dtypes)
