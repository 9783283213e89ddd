"""Writing a run folder (format 1). Every file appears whole or not at all."""

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

from protocols.privacy.entries import Entry, columns_of
from protocols.privacy.ledger import Claim
from simulator.adversary.wiretap import Wiretap
from simulator.core.clock import NS_PER_S
from simulator.core.records import ActivityLog, MessageLog
from simulator.errors import StorageError

FORMAT = 1

METRICS = {"t_s": pl.Float64, "round": pl.Int64, "node": pl.Int64, "metric": pl.String, "value": pl.Float64}
RELEASES = {
    "kind": pl.String,
    "id": pl.Int64,
    "t_s": pl.Float64,
    "node": pl.Int64,
    "round": pl.Int64,
    "parents": pl.List(pl.Int64),
    "coefs": pl.List(pl.Float64),
    "sigma": pl.Float64,
    "sensitivity": pl.Float64,
}
PRIVACY = {
    "t_s": pl.Float64,
    "victim": pl.Int64,
    "observers": pl.String,
    "adjacency": pl.String,
    "unit": pl.String,
    "mu2": pl.Float64,
    "epsilon": pl.Float64,
    "delta": pl.Float64,
    "basis": pl.String,
    "mu2_lower": pl.Float64,
    "reason": pl.String,
}
MESSAGES = {
    "sent_s": pl.Float64,
    "left_s": pl.Float64,
    "delivered_s": pl.Float64,
    "src": pl.Int64,
    "dst": pl.Int64,
    "kind": pl.String,
    "round": pl.Int64,
    "size_bytes": pl.Int64,
    "attempts": pl.Int64,
    "copy": pl.Boolean,
    "status": pl.String,
}
ACTIVITY = {"node": pl.Int64, "state": pl.String, "from_s": pl.Float64, "until_s": pl.Float64}
VIEW = {
    "t_s": pl.Float64,
    "src": pl.Int64,
    "kind": pl.String,
    "round": pl.Int64,
    "size_bytes": pl.Int64,
    "values": pl.List(pl.Float64),
}
WIRETAP = {
    "left_s": pl.Float64,
    "arrived_s": pl.Float64,
    "src": pl.Int64,
    "dst": pl.Int64,
    "size_bytes": pl.Int64,
    "kind": pl.String,
    "round": pl.Int64,
}


class RunFolder:
    """A new folder for one run.

    Raises:
        StorageError: it exists and holds something, or cannot be created; nothing is overwritten.
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
                f"the output folder {path} is not empty; nothing was overwritten, choose another"
            )
        self.json("manifest", {"format": FORMAT, "status": "running"})

    def json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write ``name``.json; infinity becomes "inf", NaN becomes null."""
        text = json.dumps(_plain(content), indent=2, allow_nan=False)
        self._write(f"{name}.json", lambda file: file.write_text(text + "\n"))

    def table(self, name: str, schema: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        """Write ``name``.parquet."""
        frame = pl.DataFrame(columns, schema=dict(schema), strict=False)
        self._write(f"{name}.parquet", lambda file: frame.write_parquet(file))

    def messages(self, log: MessageLog) -> None:
        """Write every message of the run."""
        columns = log.columns()
        times = {f"{name}_s": _seconds(columns.pop(f"{name}_ns")) for name in ("sent", "left", "delivered")}
        self.table("messages", MESSAGES, {name: (times | columns)[name] for name in MESSAGES})

    def activity(self, log: ActivityLog) -> None:
        """Write what every node was busy with."""
        columns = log.columns()
        times = {f"{name}_s": _seconds(columns.pop(f"{name}_ns")) for name in ("from", "until")}
        self.table("activity", ACTIVITY, {name: (times | columns)[name] for name in ACTIVITY})

    def releases(self, entries: Sequence[Entry]) -> None:
        """Write the record of releases."""
        columns: dict[str, Any] = dict(columns_of(entries))
        columns |= {name: _lists(columns[name], RELEASES[name]) for name in ("parents", "coefs")}
        self.table("releases", RELEASES, columns)

    def privacy(self, claims: Sequence[Claim]) -> None:
        """Write what the ledger claims."""
        self.table("privacy", PRIVACY, {name: [getattr(c, name) for c in claims] for name in PRIVACY})

    def view(self, node: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write what one curious node recorded."""
        self.table(f"views/{node}", VIEW, _transpose(tuple(VIEW), rows))

    def wiretap(self, wires: Wiretap) -> None:
        """Write what an eavesdropper on links recorded; never bodies, which need not be numbers."""
        names = tuple(WIRETAP)
        self.table(
            "views/wiretap",
            WIRETAP,
            _transpose(names, ([getattr(row, name) for name in names] for row in wires.rows())),
        )

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
    """Null where it never happened."""
    return pl.Series(np.where(nanoseconds < 0, np.nan, nanoseconds / NS_PER_S), nan_to_null=True)


def _lists(rows: Sequence[Sequence[Any]], dtype: Any) -> pl.Series:
    """A column of lists; polars takes one Python list after another, which is slow for many short ones."""
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
    """JSON has neither infinity nor NaN."""
    if type(value) is int or type(value) is str:  # by far the most
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
