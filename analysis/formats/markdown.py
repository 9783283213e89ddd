"""Section of docs/formats.md on run folders, generated from declarations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import cleandoc

import polars as pl

from analysis.formats.columns import Column, TableFormat
from analysis.formats.keys import FILES, MANIFEST, SUMMARY, Key
from analysis.formats.tables import FORMAT, TABLES
from analysis.metrics.catalogue import OWN
from analysis.metrics.declared import EVALUATION, Metric
from protocols.privacy.entries import KINDS

_TYPES = {pl.Int64: "integer", pl.Float64: "float", pl.String: "text", pl.Boolean: "true or false"}

_STATUS = """\
A message's `status` is `delivered`, `lost` (by the link), `dropped` (the sender was down or the link cut before
it left, the receiver was down when it arrived, or an adversary dropped it), `expired` (a reliable transport
abandoned it) or `in-flight` (the run ended first); each message is counted once, and the counts are in the summary.
A message handed to an uplink counts in `bytes_sent`, whether or not its last bit leaves; every attempt of a reliable
transport counts; copies made by the network or by an attacker on a link, and messages that an adversary drops at
their sender, do not enter an uplink and have 0 `attempts`. Copies that a Byzantine node sends itself have 1."""

_TIMELINE = """\
### Timeline

`sottovoce trace RUN` writes `trace.json.gz` for ui.perfetto.dev, one group of tracks per node
(computing, sending, waiting, down, received, lost; true lengths, arrows from the end of a sending to the
delivery) and `plots/timeline.png`, a static picture of the same. `--from`, `--until` and `--nodes` select a
window; above 200,000 messages a window is required. `--format pdf` or `svg` writes the picture for a paper. It shows
at most 24 nodes and 400 arrows, and by default two to four rounds of as many nodes as can be followed. The
same run gives the same bytes. Runs of earlier versions, which recorded neither departures nor activity, are shown
with sendings as instants."""


def markdown() -> str:
    """Return the section about run folders, without a line break at its end."""
    files = [
        ("manifest.json", "what was run, keys below"),
        ("summary.json", "main results, keys below"),
        *((f"{table.name}.parquet", table.doc) for table in TABLES),
        *FILES,
    ]
    parts = [
        f"## Run folder, format {FORMAT}",
        'Every file is written atomically. Infinity in JSON is the string `"inf"`; NaN does not occur.',
        _table(("file", "content"), ((_files(name), doc) for name, doc in files)),
        *(f"### {table.name}.parquet\n\n{_columns(table)}" for table in TABLES),
        _STATUS,
        _entries(),
        "### Metrics in metrics.parquet\n\nThose of plug-ins (entry points `sottovoce.metrics`) follow.\n\n"
        + _metrics(metric for metric in OWN if metric.over_time),
        f"### summary.json\n\n{_keys(SUMMARY)}",
        "Metrics of plug-ins follow under their names.",
        f"### manifest.json\n\n{_keys(MANIFEST)}",
        "Absent where there are none: `metrics` names the package and version of each metric of a plug-in; `plugins` "
        'those of each kind of a plug-in, by the key at which the scenario has it (`"network.latency": '
        '"others 1.2"`); `objects` what was given in memory in place of tables ([python.md](python.md)).',
        _TIMELINE,
    ]
    return "\n\n".join(parts)


def _files(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def _columns(table: TableFormat) -> str:
    rows = ((f"`{c.name}`", _type(c), _doc(c.doc, c.null) + _older(c)) for c in table.columns)
    return _table(("column", "type", "meaning"), rows)


def _older(column: Column) -> str:
    return "" if column.required else "; older runs lack it"


def _type(column: Column) -> str:
    inner = getattr(column.dtype, "inner", None)
    return f"list of {_TYPES[inner]}" if inner is not None else _TYPES[column.dtype]


def _entries() -> str:
    rows = (
        (f"`{kind.kind}`", *(cell or "–" for cell in kind.holds), _first_paragraph(kind.__doc__ or ""))
        for kind in KINDS
    )
    return (
        "### Kinds of entries in releases.parquet\n\nState 0 is the public initial model; sums have numbers of their "
        "own.\n\n" + _table(("kind", "`id`", "`node`", "`parents`", "`coefs`", "meaning"), rows)
    )


def _first_paragraph(text: str) -> str:
    return " ".join(cleandoc(text).partition("\n\n")[0].split()).replace("``", "`")


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = (
        (f"`{m.name}`", m.unit or "–", "evaluation" if m.event == EVALUATION else f"`{m.event}`", m.doc)
        for m in metrics
    )
    return _table(("metric", "unit", "made at", "meaning"), rows)


def _keys(keys: Iterable[Key]) -> str:
    return _table(("key", "meaning"), ((f"`{key.name}`", _doc(key.doc, key.null)) for key in keys))


def _doc(doc: str, null: str) -> str:
    return f"{doc} (null: {null})" if null else doc


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
