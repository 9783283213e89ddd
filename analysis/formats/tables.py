"""The tables of a run folder, format 1."""

from __future__ import annotations

import polars as pl

from analysis.formats.columns import Column, TableFormat

FORMAT = 1
"""The run-folder format that is written, and the newest that is read."""

METRICS = TableFormat(
    "metrics",
    "what was measured at every evaluation",
    (
        Column("t_s", pl.Float64, "when (s)"),
        Column("round", pl.Int64, "finished rounds of the node; of all, of the slowest"),
        Column("node", pl.Int64, "whose; −1: of all honest nodes that are up"),
        Column("metric", pl.String, "name of the metric"),
        Column("value", pl.Float64, "in the metric's unit"),
    ),
)
MESSAGES = TableFormat(
    "messages",
    "one row per message, in the order of `sent_s`",
    (
        Column(
            "sent_s",
            pl.Float64,
            "when its program sent it (s); of a copy that the network makes, that message",
        ),
        Column(
            "left_s",
            pl.Float64,
            "when its last bit left (s), of several attempts the first",
            "it never left",
            pl.col("sent_s"),
        ),
        Column("delivered_s", pl.Float64, "when it was delivered (s)", "it was not"),
        Column("src", pl.Int64, "sender"),
        Column("dst", pl.Int64, "receiver"),
        Column("kind", pl.String, "what its protocol calls it"),
        Column("round", pl.Int64, "of its sender", "older runs", pl.lit(None, dtype=pl.Int64)),
        Column("size_bytes", pl.Int64, "headers included"),
        Column(
            "attempts",
            pl.Int64,
            "how often it was handed to its sender's uplink",
            "",
            pl.lit(1, dtype=pl.Int64),
        ),
        Column("copy", pl.Boolean, "made by the network or an adversary", "", pl.lit(False)),
        Column("status", pl.String, "how it ended, see below"),
    ),
)
ACTIVITY = TableFormat(
    "activity",
    "what nodes were busy with; tasks of one node may overlap. Older runs lack the table",
    (
        Column("node", pl.Int64, "which"),
        Column("state", pl.String, "`computing`, `waiting` or `down`"),
        Column("from_s", pl.Float64, "since when (s)"),
        Column("until_s", pl.Float64, "until when (s)", "until the end"),
    ),
)
RELEASES = TableFormat(
    "releases",
    "the record of releases; what `id`, `parents` and `coefs` hold depends on `kind`, see below",
    (
        Column("kind", pl.String, "of the entry"),
        Column("id", pl.Int64, "state made, sum, or sort of release"),
        Column("t_s", pl.Float64, "when (s)"),
        Column("node", pl.Int64, "who did or received it; −1: the public, −2: a wiretap"),
        Column("round", pl.Int64, "of that node"),
        Column("parents", pl.List(pl.Int64), "states, or nodes"),
        Column("coefs", pl.List(pl.Float64), "factors"),
        Column("sigma", pl.Float64, "standard deviation of the noise per coordinate; 0 without"),
        Column("sensitivity", pl.Float64, "most by which the clipped sum moves, ‖·‖₂; 0 without"),
    ),
)
PRIVACY = TableFormat(
    "privacy",
    "privacy loss per victim and set of observers. The last `t_s` is the end of the record: `simulated_s`, or the "
    "last delivery if that came later",
    (
        Column("t_s", pl.Float64, "up to when releases are counted (s)"),
        Column("victim", pl.Int64, "whose data"),
        Column("observers", pl.String, 'who look, together: `"3"`, `"3,7"`, `"public"`, `"wire"`'),
        Column("adjacency", pl.String, "what neighbouring data sets are"),
        Column("unit", pl.String, "`record` or `node`"),
        Column("mu2", pl.Float64, "Gaussian loss μ²", "what counts is no Gaussian noise"),
        Column("epsilon", pl.Float64, "ε at `delta`"),
        Column("delta", pl.Float64, "δ"),
        Column("basis", pl.String, "`certified`, `open-loop` or `ldp-fallback`"),
        Column(
            "mu2_lower",
            pl.Float64,
            "beside an open-loop μ² the loss for full shifts in one direction: a lower bound of what μ² bounds from "
            "above; never an ε",
            "of other bases",
            optional=True,
        ),
        Column(
            "reason",
            pl.String,
            "of an infinite ε, which release or assumption leaves nothing to claim",
            "ε is finite",
            optional=True,
        ),
    ),
)
VIEW = TableFormat(
    "views/N",
    "what curious node N saw, and the models that it sent itself (`src` = N)",
    (
        Column("t_s", pl.Float64, "when (s)"),
        Column("src", pl.Int64, "sender"),
        Column("kind", pl.String, "of the message, or `opened sum`"),
        Column("round", pl.Int64, "of the sender"),
        Column("size_bytes", pl.Int64, "headers included"),
        Column(
            "values",
            pl.List(pl.Float64),
            "of models, with the public numbers sent along behind them",
            "it could not read them",
        ),
    ),
)
WIRETAP = TableFormat(
    "views/wiretap",
    "what a wiretap saw",
    (
        Column("left_s", pl.Float64, "when the last bit left (s)"),
        Column("arrived_s", pl.Float64, "when it arrived (s)", "it did not"),
        Column("src", pl.Int64, "sender"),
        Column("dst", pl.Int64, "receiver"),
        Column("size_bytes", pl.Int64, "headers included"),
        Column("kind", pl.String, "of the message", "links are encrypted"),
        Column("round", pl.Int64, "of the sender", "links are encrypted"),
    ),
)
TABLES = (METRICS, MESSAGES, ACTIVITY, RELEASES, PRIVACY, VIEW, WIRETAP)
"""All of them, in the order of docs/formats.md."""
