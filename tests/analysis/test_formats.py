"""What is declared about run folders: the page made from it, what is written, what is read."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from analysis.formats import tables
from analysis.formats.columns import Column, TableFormat
from analysis.formats.keys import MANIFEST, SUMMARY
from analysis.formats.markdown import markdown
from analysis.formats.tables import TABLES
from analysis.metrics.catalogue import metrics
from protocols.privacy.entries import KINDS, Row
from scenarios.load import resolve
from scenarios.run import run
from simulator.errors import StorageError

REPOSITORY = Path(__file__).parents[2]
WORLD = {
    "format": 1,
    "name": "declared",
    "seed": 1,
    "topology": {"kind": "complete", "nodes": 4},
    "network": {"latency": {"kind": "constant", "value": "10 ms"}},
    "data": {"kind": "blobs", "samples": 200, "features": 8, "classes": 2},
    "partition": {"kind": "iid", "min_samples": 2},
    "model": {"kind": "softmax"},
    "training": {"step": 0.5, "divisor": 50, "step_cost": "100 ms"},
    "protocol": {"kind": "dsgd", "rounds": 2, "exchange": "ldp", "timeout": "200 ms"},
    "privacy": {
        "unit": "record",
        "adjacency": "replace",
        "clip": 1.0,
        "noise_multiplier": 1.0,
        "delta": 1e-5,
    },
    "adversary": {"curious": {"nodes": [1]}, "wiretap": {}},
}


def test_the_page_says_what_is_declared() -> None:
    """Repair: paste what ``analysis.formats.markdown.markdown()`` returns over the section about run folders."""
    page = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    start, end = page.index("## Run folder, format"), page.index("## Study, format")
    assert page[start:end] == markdown() + "\n\n"


def test_the_record_has_the_columns_that_its_entries_are_read_from() -> None:
    assert tuple(tables.RELEASES.dtypes) == Row._fields
    assert all(kind.__doc__ and len(kind.holds) == 4 for kind in KINDS)


def test_a_run_folder_holds_what_is_declared(tmp_path: Path) -> None:
    run(resolve(WORLD), tmp_path / "run")
    for table in TABLES:
        file = table.path(tmp_path / "run", 1)
        frame = pl.read_parquet(file)
        assert dict(frame.schema) == {name: _instance(dtype) for name, dtype in table.dtypes.items()}, file
        assert not frame.is_empty(), file
        nulls = {column.name for column in table.columns if column.null}
        assert {name for name in frame.columns if frame[name].null_count()} <= nulls, file
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert list(summary)[: len(SUMMARY)] == [key.name for key in SUMMARY]
    assert set(list(summary)[len(SUMMARY) :]) <= {name for name, metric in metrics().items() if metric.at_end}
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert set(manifest) == {key.name for key in MANIFEST}
    nulls = {key.name for key in SUMMARY + MANIFEST if key.null}
    assert {name for found in (summary, manifest) for name, value in found.items() if value is None} <= nulls


TABLE = TableFormat(
    "things",
    "what there is",
    (
        Column("a", pl.Int64, "old"),
        Column("b", pl.Float64, "new", stand_in=pl.lit(0.5)),
        Column("c", pl.String, "newer", optional=True),
    ),
)


def test_what_older_runs_lack_is_filled_in_or_left_out(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "things.parquet")
    found = TABLE.whole(TABLE.read(TABLE.path(tmp_path)), tmp_path)
    assert found.to_dict(as_series=False) == {"a": [1, 2], "b": [0.5, 0.5]}
    pl.DataFrame({"b": [1.0]}).write_parquet(tmp_path / "things.parquet")
    with pytest.raises(StorageError, match=r"things\.parquet: lacks the columns a"):
        TABLE.read(TABLE.path(tmp_path))


def test_what_is_not_declared_is_not_written() -> None:
    with pytest.raises(StorageError, match=r"things\.parquet has the columns a, b, c, not a"):
        TABLE.frame({"a": [1]})
    with pytest.raises(StorageError, match="not a, b, c, d"):
        TABLE.frame({"a": [1], "b": [1.0], "c": ["x"], "d": [1]})
    assert TABLE.frame({"c": ["x"], "b": [None], "a": [1]}).columns == ["a", "b", "c"]


def _instance(dtype: object) -> object:
    return dtype() if isinstance(dtype, type) else dtype
