"""Write a run folder (format 1). Every file is complete or absent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.formats import tables
from analysis.formats.columns import TableFormat
from analysis.formats.tables import FORMAT
from protocols.privacy.entries import Entry, columns_of
from protocols.privacy.ledger import Claim
from simulator.adversary.wiretap import Wiretap
from simulator.core.clock import NS_PER_S
from simulator.core.records import ActivityLog, MessageLog
from simulator.errors import StorageError


class RunFolder:
    """A new folder for one run.

    Raises:
        StorageError: the folder is not empty, or cannot be created; nothing is overwritten.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            occupied = any(path.iterdir())
        except OSError as error:
            raise StorageError(f"cannot create the output folder {path}: {error.strerror}") from error
        if occupied:
            raise StorageError(
                f"the output folder {path} is not empty, and nothing was overwritten; choose another"
            )
        self.json("manifest", {"format": FORMAT, "status": "running"})

    def json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write ``name``.json; infinity becomes "inf", NaN becomes null."""
        text = json.dumps(_plain(content), indent=2, allow_nan=False)
        self._write(f"{name}.json", lambda file: file.write_text(text + "\n"))

    def table(self, table: TableFormat, columns: Mapping[str, Any], node: int | None = None) -> None:
        """Write a table; with ``node``, that node's own."""
        frame = table.frame(columns)
        name = table.path(self.path, node).relative_to(self.path)
        self._write(str(name), lambda file: frame.write_parquet(file))

    def metrics(self, columns: Mapping[str, Any]) -> None:
        """Write metrics.parquet."""
        self.table(tables.METRICS, columns)

    def messages(self, log: MessageLog) -> None:
        """Write messages.parquet, a row for every message."""
        columns = log.columns()
        times = {f"{name}_s": _seconds(columns.pop(f"{name}_ns")) for name in ("sent", "left", "delivered")}
        self.table(tables.MESSAGES, times | columns)

    def activity(self, log: ActivityLog) -> None:
        """Write activity.parquet: what every node was doing when."""
        columns = log.columns()
        times = {f"{name}_s": _seconds(columns.pop(f"{name}_ns")) for name in ("from", "until")}
        self.table(tables.ACTIVITY, times | columns)

    def releases(self, entries: Sequence[Entry]) -> None:
        """Write releases.parquet."""
        columns: dict[str, Any] = dict(columns_of(entries))
        for name in ("parents", "coefs"):
            columns[name] = _lists(columns[name], tables.RELEASES.dtypes[name])
        self.table(tables.RELEASES, columns)

    def privacy(self, claims: Sequence[Claim]) -> None:
        """Write privacy.parquet, the ledger's claims."""
        columns = {name: [getattr(claim, name) for claim in claims] for name in tables.PRIVACY.dtypes}
        self.table(tables.PRIVACY, columns)

    def view(self, node: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write the view of a curious node."""
        self.table(tables.VIEW, _transpose(tuple(tables.VIEW.dtypes), rows), node)

    def wiretap(self, wires: Wiretap) -> None:
        """Write the record of a wiretap, without bodies of messages, which need not be numbers."""
        names = tuple(tables.WIRETAP.dtypes)
        rows = ([getattr(row, name) for name in names] for row in wires.rows())
        self.table(tables.WIRETAP, _transpose(names, rows))

    def _write(self, name: str, write: Any) -> None:
        file = self.path / name
        part = file.with_name(file.name + ".part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write(part)
            part.replace(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            part.unlink(missing_ok=True)
            raise StorageError(f"cannot write {file}: {error}; what was written before is intact") from error


def _seconds(nanoseconds: NDArray[np.int64]) -> pl.Series:
    """Convert nanoseconds to seconds; null for events that never happened."""
    return pl.Series(np.where(nanoseconds < 0, np.nan, nanoseconds / NS_PER_S), nan_to_null=True)


def _lists(rows: Sequence[Sequence[Any]], dtype: Any) -> pl.Series:
    """Return a column of lists from flat arrays; polars is slow with many short Python lists."""
    row = np.repeat(np.arange(len(rows)), [len(entries) for entries in rows])
    values = pl.Series("value", list(chain.from_iterable(rows)), dtype=dtype.inner)
    filled = pl.DataFrame({"row": row, "value": values}).group_by("row", maintain_order=True).agg("value")
    every = pl.DataFrame({"row": np.arange(len(rows))}).join(
        filled, on="row", how="left", maintain_order="left"
    )
    return every["value"].fill_null([])


def _transpose(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        for name, value in zip(names, row, strict=True):
            columns[name].append(value)
    return columns


def _plain(value: Any) -> Any:
    """Replace infinity and NaN, which JSON does not have."""
    if type(value) is int or type(value) is str:  # first, as most values are
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
