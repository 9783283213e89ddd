"""What curious nodes recorded, as attacks read it: models by sender and round, opened sums, metadata."""

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
    """The pooled views of a coalition.

    Args:
        run: the run folder.
        coalition: curious nodes of that run; nobody for what a wiretap alone may see.

    Raises:
        StorageError: somebody of the coalition recorded nothing, or the table is damaged.
    """

    def __init__(self, run: Run, coalition: Collection[int]) -> None:
        self.coalition = tuple(sorted(coalition))
        frames = [_read(run, node) for node in self.coalition]
        self.frame = pl.concat(frames).sort("t_s", maintain_order=True) if frames else pl.DataFrame()

    def models(self, kinds: Collection[str], size: int) -> dict[tuple[int, int], NDArray[np.float64]]:
        """(sender, round) -> the model it showed, the coalition's own included.

        Args:
            kinds: of message that show models.
            size: how many of the numbers are parameters.
        """
        shown = self.frame.filter(pl.col("values").list.len() >= size, pl.col("kind").is_in(list(kinds)))
        return {
            (src, round): np.array(values[:size], float)
            for src, round, values in shown.select("src", "round", "values").iter_rows()
        }

    def sums(self) -> dict[tuple[int, int], NDArray[np.float64]]:
        """(member, round) -> the sum that it opened."""
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
    return VIEW.read(path).select(pl.lit(node).alias("member"), *VIEW.dtypes)
