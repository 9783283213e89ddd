"""Reading run folders and studies (format 1); analysis reads runs through this module alone.

The folder of an unfinished run is readable: tables that have not been written yet are absent (:meth:`Run.has`), and
:attr:`Run.summary` is ``None``. Anything else that is missing, damaged or of a newer format raises
:class:`simulator.errors.StorageError` with one line that names the file.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from analysis.formats import forms, tables
from analysis.formats.columns import TableFormat, first_line, read_table
from analysis.formats.keys import SUMMARY_NUMBERS
from analysis.formats.tables import FORMAT
from simulator.errors import StorageError
from simulator.units import DURATIONS, parse

_PLACE: dict[str, Any] = {"id": pl.String, "series": pl.String, "variant": pl.String, "seed": pl.Int64}
"""Columns of the summaries of a study that are no keys of its runs' summaries."""
_NODES = {"node": -2, "src": 0, "dst": 0, "victim": 0}
"""Columns that hold nodes, and the least value of each: below 0 are all nodes, the public and a wiretap."""
_BASES = ("certified", "open-loop", "ldp-fallback")
"""What claims of privacy can rest on."""


class Outage(NamedTuple):
    """Period in which a node is down, ``down_s`` until ``up_s`` (``None``: it never returns)."""

    node: int
    down_s: float
    up_s: float | None


@dataclass(frozen=True)
class Run:
    """One run folder; every part is read at first access and then cached.

    Args:
        path: the run folder.
    """

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """``manifest.json``. Raises StorageError if missing, damaged or of a newer format."""
        path = self.path / "manifest.json"
        return forms.manifest(_described(path), path)

    @cached_property
    def summary(self) -> dict[str, Any] | None:
        """``summary.json`` with ``"inf"`` converted to infinity; ``None`` while the run is unfinished."""
        path = self.path / "summary.json"
        if not path.exists():
            if self.finished:
                raise StorageError(f"{path}: is missing although the run says it is finished; run it again")
            return None
        found = forms.summary(_json(path), path)
        found.update((key, _number(value)) for key, value in found.items())
        return found

    @property
    def finished(self) -> bool:
        """Return whether the run ended by itself (also by divergence, which is a result)."""
        return self.manifest["status"] in ("finished", "diverged")

    def has(self, table: str) -> bool:
        """Return whether the table of that name (:data:`analysis.formats.tables.TABLES`) has been written."""
        return (self.path / f"{table}.parquet").exists()

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """``metrics.parquet``: measurements at every evaluation."""
        return self._read(tables.METRICS)

    @cached_property
    def messages(self) -> pl.DataFrame:
        """``messages.parquet``: every message with sender, receiver, times, size and status.

        Columns that older runs lack are filled in; see :attr:`has_departures`.
        """
        path = tables.MESSAGES.path(self.path)
        return self._known(tables.MESSAGES.whole(self._messages, path), path)

    @property
    def has_departures(self) -> bool:
        """Return whether the run recorded when messages left the uplink; otherwise ``left_s`` is filled in."""
        return "left_s" in self._messages

    @cached_property
    def _messages(self) -> pl.DataFrame:
        return tables.MESSAGES.read(tables.MESSAGES.path(self.path))

    @cached_property
    def activity(self) -> pl.DataFrame:
        """``activity.parquet``: when each node was computing, waiting or down; ``until_s`` is null up to the end."""
        return self._read(tables.ACTIVITY)

    @cached_property
    def releases(self) -> pl.DataFrame:
        """``releases.parquet``: releases as a graph of linear combinations."""
        return self._read(tables.RELEASES)

    @cached_property
    def privacy(self) -> pl.DataFrame:
        """``privacy.parquet``: ε of every (victim, observers) pair at every checkpoint, per basis."""
        frame = self._read(tables.PRIVACY)
        if not frame["basis"].is_in(_BASES).all():
            raise StorageError(
                f"{tables.PRIVACY.path(self.path)}: basis: expected {', '.join(_BASES)}; the file is damaged, "
                "restore it or run the scenario again"
            )
        return frame

    def _read(self, table: TableFormat) -> pl.DataFrame:
        path = table.path(self.path)
        return self._known(table.whole(table.read(path), path), path)

    def _known(self, frame: pl.DataFrame, path: Path) -> pl.DataFrame:
        """Return a table after checking that the run has the nodes that it names."""
        nodes = self.manifest["topology"]["nodes"]
        for name, least in _NODES.items():
            if name in frame and frame.filter(~pl.col(name).is_between(least, nodes - 1)).height:
                raise StorageError(
                    f"{path}: {name}: names a node that is none of the run's, 0 to {nodes - 1}; the file is damaged, "
                    "restore it or run the scenario again"
                )
        return frame

    @cached_property
    def outages(self) -> tuple[Outage, ...]:
        """Return outages, earliest first: as recorded, or as scheduled in the scenario of an older run."""
        if self.has("activity"):
            down = self.activity.filter(pl.col("state") == "down").sort("from_s", "node")
            return tuple(map(Outage._make, down.select("node", "from_s", "until_s").iter_rows()))
        faults = self.manifest["scenario"].get("fault") or []
        where = self.path / "manifest.json"
        try:
            found = [
                Outage(
                    int(fault["node"]),
                    parse(fault["down_at"], DURATIONS, "12 s"),
                    None if fault.get("up_at") is None else parse(fault["up_at"], DURATIONS, "12 s"),
                )
                for fault in faults
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageError(f"{where}: scenario.fault cannot be understood ({error})") from error
        return tuple(sorted(found, key=lambda outage: (outage.down_s, outage.node)))


@dataclass(frozen=True)
class Study:
    """Sweep or what-if: a folder of run folders with one table of all summaries.

    Args:
        path: the study folder.
    """

    path: Path

    @cached_property
    def description(self) -> dict[str, Any]:
        """``study.json``. Raises StorageError if missing, damaged or of a newer format."""
        path = self.path / "study.json"
        return forms.checked(_described(path), path, forms.STUDY)

    @property
    def kind(self) -> str:
        """``"sweep"`` or ``"whatif"``."""
        return str(self.description["kind"])

    @property
    def name(self) -> str:
        """Return the scenario's name."""
        return str(self.description["name"])

    @cached_property
    def summaries(self) -> pl.DataFrame:
        """One row per run: ``summaries.parquet``, or collected from the runs while a study is unfinished.

        Numeric columns that an infinity turned into text are numeric again.
        """
        path = self.path / "summaries.parquet"
        frame = read_table(path, frozenset(_PLACE)) if path.exists() else self._gathered()
        expected = _PLACE | dict.fromkeys(SUMMARY_NUMBERS & set(frame.columns), pl.Float64)
        for name, dtype in expected.items():
            found = frame.schema[name]
            if dtype == pl.Float64 and found == pl.String:
                continue  # an infinity turned it into text
            if found not in (dtype, pl.Null) and not (dtype.is_numeric() and found.is_numeric()):
                raise StorageError(f"{path}: {name}: has type {found}, expected {dtype}; the file is damaged")
        try:
            return frame.with_columns(pl.col(name).cast(dtype) for name, dtype in expected.items())
        except pl.exceptions.PolarsError as error:
            raise StorageError(f"{path}: a number cannot be read ({first_line(error)})") from error

    def _gathered(self) -> pl.DataFrame:
        rows: list[dict[str, Any]] = []
        for entry in self.description["runs"]:
            folder = self.path / "runs" / str(entry["id"])
            if not (folder / "summary.json").exists():
                continue
            summary = Run(folder).summary or {}
            swept = {f"set.{key}": value for key, value in (entry.get("set") or {}).items()}
            own = {key: entry.get(key) for key in ("id", "series", "variant", "seed")}
            rows.append({**summary, **own, **swept})
        if not rows:
            raise StorageError(f"{self.path}: no run of this study has finished yet; finish the study first")
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)

    def run(self, identity: str) -> Run:
        """Return one of the study's runs by its ``id``."""
        return read_run(self.path / "runs" / identity)


def is_study(path: Path) -> bool:
    """Return whether ``path`` is a study folder (a sweep or a what-if) rather than a single run."""
    return (Path(path) / "study.json").is_file()


def read_run(path: Path) -> Run:
    """Open a run folder.

    Args:
        path: a folder with a ``manifest.json``.

    Raises:
        StorageError: the folder is missing, is a study, is damaged, or is of a newer format.
    """
    path = Path(path)
    if is_study(path):
        raise StorageError(f"{path}: is a study, not a run; its runs are the folders in {path / 'runs'}")
    run = Run(path)
    _ = run.manifest
    return run


def read_study(path: Path) -> Study:
    """Open a study folder.

    Args:
        path: a folder with a ``study.json``.

    Raises:
        StorageError: the folder is missing, is damaged, or is of a newer format.
    """
    study = Study(Path(path))
    _ = study.description
    return study


def read_inference(path: Path) -> dict[str, Any]:
    """Read ``inference.json``, the results of attacks.

    Raises:
        StorageError: the file is missing or damaged.
    """
    return forms.checked(_json(path), path, forms.INFERENCE)


def _described(path: Path) -> dict[str, Any]:
    found = _json(path)
    version = found.get("format")
    if not isinstance(version, int) or isinstance(version, bool):
        raise StorageError(f'{path}: has no format number; expected "format": {FORMAT}')
    if version > FORMAT:
        raise StorageError(
            f"{path}: format {version} is newer than this version reads ({FORMAT}); upgrade sottovoce"
        )
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StorageError(f"{path}: is missing; is {path.parent} a folder written by sottovoce?") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a NUL character
        raise StorageError(f"{path}: cannot be read ({error})") from error
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise StorageError(f"{path}: is not whole JSON (line {error.lineno}: {error.msg})") from error
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise StorageError(f"{path}: is not JSON that sottovoce wrote ({first_line(error)})") from error
    if not isinstance(found, dict):
        raise StorageError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found


def _number(value: Any) -> Any:
    return {"inf": math.inf, "-inf": -math.inf}.get(value, value) if isinstance(value, str) else value
