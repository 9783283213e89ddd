"""Tables of a run folder, format 1."""

from __future__ import annotations

import polars as pl

from analysis.formats.columns import Column, TableFormat

FORMAT = 1
"""Run-folder format that is written, and the newest that is read."""

METRICS = TableFormat(
    "metrics",
    "measurements at every evaluation",
    (
        Column("t_s", pl.Float64, "time (s)"),
        Column("round", pl.Int64, "finished rounds of the node; for all nodes, of the slowest"),
        Column("node", pl.Int64, "node number; −1: all honest nodes that are up"),
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
            "time at which its program sent it (s); for a copy made by the network, that of the original",
        ),
        Column(
            "left_s",
            pl.Float64,
            "time at which its last bit left (s), of the first attempt",
            "it never left",
            pl.col("sent_s"),
        ),
        Column("delivered_s", pl.Float64, "time of delivery (s)", "it was not"),
        Column("src", pl.Int64, "sender"),
        Column("dst", pl.Int64, "receiver"),
        Column("kind", pl.String, "kind of message, from its protocol"),
        Column("round", pl.Int64, "of its sender", "older runs", pl.lit(None, dtype=pl.Int64)),
        Column("size_bytes", pl.Int64, "headers included"),
        Column(
            "attempts",
            pl.Int64,
            "number of times it was handed to its sender's uplink",
            "",
            pl.lit(1, dtype=pl.Int64),
        ),
        Column("copy", pl.Boolean, "made by the network or an adversary", "", pl.lit(False)),
        Column("status", pl.String, "outcome, see below"),
    ),
)
ACTIVITY = TableFormat(
    "activity",
    "states of nodes over time; tasks of one node may overlap. Older runs lack the table",
    (
        Column("node", pl.Int64, "which"),
        Column("state", pl.String, "`computing`, `waiting` or `down`"),
        Column("from_s", pl.Float64, "start (s)"),
        Column("until_s", pl.Float64, "end (s)", "until the end of the run"),
    ),
)
RELEASES = TableFormat(
    "releases",
    "the record of releases; what `id`, `parents` and `coefs` hold depends on `kind`, see below",
    (
        Column("kind", pl.String, "of the entry"),
        Column("id", pl.Int64, "state made, sum, or type of release"),
        Column("t_s", pl.Float64, "time (s)"),
        Column("node", pl.Int64, "node that acted or received; −1: the public, −2: a wiretap"),
        Column("round", pl.Int64, "of that node"),
        Column("parents", pl.List(pl.Int64), "states, or nodes"),
        Column("coefs", pl.List(pl.Float64), "factors"),
        Column("sigma", pl.Float64, "standard deviation of the noise per coordinate; 0 without"),
        Column("sensitivity", pl.Float64, "largest change of the clipped sum, ‖·‖₂; 0 without"),
    ),
)
PRIVACY = TableFormat(
    "privacy",
    "privacy loss per victim and set of observers. The last `t_s` is the end of the record: `simulated_s`, or the "
    "last delivery if that came later",
    (
        Column("t_s", pl.Float64, "time up to which releases are counted (s)"),
        Column("victim", pl.Int64, "node whose data are protected"),
        Column("observers", pl.String, 'nodes that pool their views: `"3"`, `"3,7"`, `"public"`, `"wire"`'),
        Column("adjacency", pl.String, "relation of neighbouring data sets"),
        Column("unit", pl.String, "`record` or `node`"),
        Column("mu2", pl.Float64, "Gaussian loss μ²", "the credited noise is not Gaussian"),
        Column("epsilon", pl.Float64, "ε at `delta`"),
        Column("delta", pl.Float64, "δ"),
        Column("basis", pl.String, "`certified`, `open-loop` or `ldp-fallback`"),
        Column(
            "mu2_lower",
            pl.Float64,
            "for open-loop claims, the loss for full shifts in one direction: a lower bound of what μ² bounds from "
            "above; never an ε",
            "of other bases",
            optional=True,
        ),
        Column(
            "reason",
            pl.String,
            "for an infinite ε, the release or assumption that allows no claim",
            "ε is finite",
            optional=True,
        ),
        Column(
            "certified_by",
            pl.String,
            "for certified claims, the enlarged view whose loss it is: `local` (each contribution alone), `sums` "
            "(disjoint sums), `states` (all states at which gradients were taken are public) or `view` (observers "
            "can compute those states themselves); of equal figures the first of `local`, `sums`, `view`, `states`",
            "of other bases",
            optional=True,
        ),
    ),
)
VIEW = TableFormat(
    "views/N",
    "messages and opened sums that curious node N saw, and the models that it sent (`src` = N)",
    (
        Column("t_s", pl.Float64, "time (s)"),
        Column("src", pl.Int64, "sender"),
        Column("kind", pl.String, "of the message, or `opened sum`"),
        Column("round", pl.Int64, "of the sender"),
        Column("size_bytes", pl.Int64, "headers included"),
        Column(
            "values",
            pl.List(pl.Float64),
            "of models, followed by the public numbers sent with them",
            "it could not read them",
        ),
    ),
)
WIRETAP = TableFormat(
    "views/wiretap",
    "messages that a wiretap saw",
    (
        Column("left_s", pl.Float64, "time at which the last bit left (s)"),
        Column("arrived_s", pl.Float64, "time of arrival (s)", "it did not"),
        Column("src", pl.Int64, "sender"),
        Column("dst", pl.Int64, "receiver"),
        Column("size_bytes", pl.Int64, "headers included"),
        Column("kind", pl.String, "of the message", "links are encrypted"),
        Column("round", pl.Int64, "of the sender", "links are encrypted"),
    ),
)
TABLES = (METRICS, MESSAGES, ACTIVITY, RELEASES, PRIVACY, VIEW, WIRETAP)
"""All tables, in the order of docs/formats.md."""
