"""Keys of summary.json and manifest.json, and the other files of a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Key:
    """One key of a JSON file.

    Args:
        name: of the key.
        doc: meaning, with its unit.
        null: when it is null; "" if it never is.
        number: whether it is a number, to be converted where infinity made it text.
    """

    name: str
    doc: str
    null: str = ""
    number: bool = False


def _number(name: str, doc: str, null: str = "") -> Key:
    return Key(name, doc, null, number=True)


NO_SUMS = "without secure sums"
NO_PRIVACY = "without a mechanism"
NOBODY_UP = "no node is up"
NO_CLASSES = "no node is up, or the data have no classes"

SUMMARY = (
    Key("format", "of the folder"),
    Key("name", "of the scenario"),
    Key("seed", "of the run"),
    Key("status", "`finished`, `diverged`, `interrupted` or `failed`"),
    Key("warnings", "problems found in the run, in sentences; empty if there are none"),
    Key("protocol", "kind / exchange"),
    _number(
        "accuracy_mean",
        "mean test accuracy of honest nodes up at the last evaluation",
        NO_CLASSES,
    ),
    _number("accuracy_worst", "lowest of these", NO_CLASSES),
    Key("accuracy_worst_node", "node with that accuracy", NO_CLASSES),
    _number(
        "accuracy_worst_recent",
        "mean of the lowest node accuracy over the last evaluations (at most five, of the last quarter of the run)",
        NO_CLASSES,
    ),
    _number(
        "accuracy_lowest_recent",
        "mean over them of the node, among those up at all of them, for which it is lowest",
        "no node was up at all of them",
    ),
    Key("accuracy_lowest_recent_node", "that node", "no node was up at all of them"),
    Key("recent_evaluations", "number of these evaluations", NO_CLASSES),
    _number("recent_from_s", "time of the first of them (s)", NO_CLASSES),
    Key("accuracy_by_class", "mean accuracy on the test samples of each class", NO_CLASSES),
    _number(
        "disagreement",
        "chance that two different models predict different classes for a test sample",
        "fewer than two models, or no classes",
    ),
    _number("loss_mean", "mean test loss", NOBODY_UP),
    _number("loss_worst", "largest test loss", NOBODY_UP),
    _number(
        "local_accuracy_mean",
        "mean accuracy of the same nodes, each on its own test samples",
        "without `local_test`, and as `accuracy_mean`",
    ),
    _number(
        "backdoor_success_mean",
        "fraction of triggered samples to which a model assigns the target class",
        "no backdoor",
    ),
    _number("consensus_distance", "root mean square distance of honest models to their mean", NOBODY_UP),
    _number(
        "simulated_s",
        "end of the run: when the last program finished, or when it was stopped (s)",
    ),
    Key("rounds", "planned"),
    Key(
        "rounds_done_min",
        "the last round that the slowest honest node finished, nodes that are down included; nodes that fall behind "
        "skip rounds",
    ),
    Key("rounds_done_max", "the same for the fastest honest node"),
    Key("messages_sent", "number of messages, copies included; the next five keys count them by status"),
    Key("messages_in_flight", "the run ended first"),
    Key("messages_delivered", "delivered"),
    Key("messages_lost", "lost by the link"),
    Key("messages_dropped", "dropped"),
    Key("messages_expired", "abandoned by a reliable transport"),
    _number("bytes_sent", "sum of `size_bytes` × `attempts` over messages"),
    _number(
        "epsilon_worst", "certified ε at the end: largest over honest victims of each one's worst observer"
    ),
    _number("epsilon_median", "median over these victims"),
    Key("epsilon_reason", "why `epsilon_worst` is infinite", "it is finite"),
    _number(
        "epsilon_worst_open_loop",
        "the same on the recorded linear view; not a bound",
        "see next",
    ),
    _number("epsilon_median_open_loop", "median over victims", "see next"),
    Key(
        "open_loop_missing",
        "why some observer's view has no open-loop figure at the end: `non-linear view`, `noise of integers` or "
        "`too large to compute`",
        "there are such figures",
    ),
    _number("delta", "δ", NO_PRIVACY),
    Key("adjacency", "relation of neighbouring data sets", NO_PRIVACY),
    Key("unit", "`record` or `node`", NO_PRIVACY),
    Key("basis", "of `epsilon_worst`"),
    Key(
        "certified_by",
        "enlarged view that certifies `epsilon_worst`, as in privacy.parquet",
        "there is no claim",
    ),
    Key("observers", "sets of nodes that pool their views, or `each node`"),
    _number(
        "noise_sigma",
        "largest standard deviation of the noise that a node adds itself to each coordinate of its clipped sum; "
        "noise of integers, added when an update is encoded, in the same units; with adaptive clipping at the first "
        "norm; without noise that cancels",
    ),
    _number("target_accuracy", "of the scenario"),
    _number("time_to_accuracy_s", "first evaluation at which the mean is `target_accuracy` (s)", "never"),
    _number("bytes_to_accuracy", "sent by then", "never"),
    _number(
        "mass_held", "push-sum weights that nodes hold at the end, as a fraction of all", "other protocols"
    ),
    Key("unanswered", "offers of `ad-psgd` without an answer in time"),
    Key("stale", "models discarded by their age"),
    Key("sums_opened", "secure sums that were opened"),
    Key("sums_skipped", "attempts that failed"),
    _number("sums_opened_fraction", "opened sums / ended sums, each counted once over its attempts", NO_SUMS),
    _number(
        "mixes_complete_fraction",
        "fraction of mixes that received a message from every neighbour, or asked client, that was waited for; of "
        "`ad-psgd`, fraction of offers that were answered",
        "no node waits: `push`, `pull`, `push-pull` and the baselines",
    ),
    _number(
        "neighbours_heard_fraction",
        "fraction of the neighbours waited for that were heard",
        "as the one before",
    ),
    Key("lists_refused", "requests refused by members"),
    _number("clip", "the last norm of adaptive clipping", "without it"),
    Key("budget_spent", "nodes that have spent their budget"),
    Key("late_answers", "answers that came after their sum had ended"),
    Key("wrong_shares", "shares that were corrected, their senders named in the run's records"),
    _number(
        "column_defect",
        "root mean square deviation from 1 of the column sums of the mixing matrices of the run",
        "no mix recorded its weights",
    ),
    Key("withheld", "vectors out of range"),
    Key("confined", "models that were outside the public range"),
    Key("keys_refused", "public keys with a wrong proof or signature"),
    Key("malformed", "messages that could not be read"),
    Key("attacks_in_the_dark", "attacks that had no honest model in view"),
    Key("nodes_down", "nodes that are down at the end"),
    Key("diverged", "whether a model holds NaN or infinity"),
    Key("mode", "`simulation` or `live`"),
    Key("trace_hash", "of all events", "a live run"),
    _number("wall_s", "wall-clock time of the run (s)"),
    Key("series", "place in a sweep", "none"),
    Key("variant", "place in a what-if", "none"),
)
"""Keys of summary.json, in the order in which they are written."""

MANIFEST = (
    Key("format", "of the folder"),
    Key("name", "of the scenario"),
    Key("scenario", "resolved, without study tables and keys that are not set"),
    Key("scenario_sha256", "of that"),
    Key("seed", "of the run"),
    Key("mode", "`simulation` or `live`"),
    Key("trace_repeats_on", "machines on which the same scenario gives the same trace hash"),
    Key("versions", "of sottovoce, the libraries it computes with, and Python"),
    Key("topology", "`nodes`, `edges`, and whether they are `fixed`"),
    Key(
        "network",
        "facts of the graph, its mixing weights and its files; for delays between places the `places` of the nodes "
        "and, where they are known, their `coordinates_deg` (latitude, longitude)",
    ),
    Key("data", "`train_samples`, `test_samples`, `shape` of a sample, names of its `classes` or null"),
    Key("samples_per_node", "number of training samples"),
    Key("labels_per_node", "the same by class", "without classes"),
    Key("local_test_per_node", "samples that nodes keep for testing", "without"),
    Key("users_per_node", "users whose data a node holds", "unknown"),
    Key(
        "integer_noise", "law, scale, dimension, norm and standard deviation of noise of integers", "without"
    ),
    Key(
        "failure_probability",
        "at most, that any honest member's vector makes it refuse; 0 where none can, see [privacy.md](privacy.md)",
    ),
    Key("parameters", "of the model"),
    Key("byzantine", "nodes"),
    Key("curious", "nodes"),
    Key("mixing", "properties of the mixing matrix"),
    Key("trace_hash", "of all events", "a live run"),
    Key("wall_s", "wall-clock time of the run (s)"),
    Key("status", "`running`, `finished`, `diverged`, `interrupted` or `failed`"),
    Key("peak_mib", "largest memory of the process (MiB)"),
    Key("down_at_end", "nodes"),
)
"""Keys of manifest.json; the last five appear when the run has ended. `metrics`, package and version of metrics of
plug-ins, is there if there are any."""

FILES = (
    (
        "inference.json",
        "results of `sottovoce infer`: `coalition`, and per finding `attack`, `victim` (null: all honest nodes "
        "outside the coalition, or all senders), `measure`, `unit` (of what a fraction is one), `value`, and beside "
        'it the ledger\'s `epsilon`, `delta` and `basis` for that victim and coalition (`"inf"`, null and why, '
        "where it says nothing)",
    ),
    ("trace.json.gz, plots/*, report.html", "on request; pictures are PNG, PDF or SVG files"),
)
"""Further files, and their content."""

SUMMARY_NUMBERS = frozenset(key.name for key in SUMMARY if key.number)
"""Keys of summary.json that are numbers."""


def summary_row(found: Mapping[str, Any]) -> dict[str, Any]:
    """Order the entries of a summary as in :data:`SUMMARY`; undeclared ones (metrics of plug-ins) follow.

    Raises:
        KeyError: a declared key is missing.
    """
    own = {key.name: found[key.name] for key in SUMMARY}
    return own | {name: value for name, value in found.items() if name not in own}
