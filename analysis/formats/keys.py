"""The keys of summary.json and manifest.json, and the other files of a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Key:
    """One key of a JSON file.

    Args:
        name: of the key.
        doc: what it says, with its unit.
        null: when it is null; "" if it never is.
        number: whether it is a number, to be read as one where infinity made it text.
    """

    name: str
    doc: str
    null: str = ""
    number: bool = False


def _number(name: str, doc: str, null: str = "") -> Key:
    return Key(name, doc, null, number=True)


NO_SUMS = "without secure sums"
NO_PRIVACY = "without a mechanism"
NOBODY_UP = "nobody is up"
NO_CLASSES = "nobody is up, or the data have no classes"

SUMMARY = (
    Key("format", "of the folder"),
    Key("name", "of the scenario"),
    Key("seed", "of the run"),
    Key("status", "`finished`, `diverged`, `interrupted` or `failed`"),
    Key("warnings", "what looks wrong about the run, in sentences; empty if nothing does"),
    Key("protocol", "kind / exchange"),
    _number(
        "accuracy_mean",
        "mean test accuracy of honest nodes up at the last evaluation",
        NO_CLASSES,
    ),
    _number("accuracy_worst", "lowest of these", NO_CLASSES),
    Key("accuracy_worst_node", "whose that is", NO_CLASSES),
    _number(
        "accuracy_worst_recent",
        "mean over the last evaluations (at most five, of the last quarter of the run) of what the worst node "
        "of each had",
        NO_CLASSES,
    ),
    _number(
        "accuracy_lowest_recent",
        "mean over them of the node, among those up at all of them, for which it is lowest",
        "no node was up at all of them",
    ),
    Key("accuracy_lowest_recent_node", "that node", "no node was up at all of them"),
    Key("recent_evaluations", "how many evaluations that are", NO_CLASSES),
    _number("recent_from_s", "when the first of them was (s)", NO_CLASSES),
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
        "how often the trigger makes a model say what the attacker wants",
        "no backdoor",
    ),
    _number("consensus_distance", "root mean square distance of honest models to their mean", NOBODY_UP),
    _number(
        "simulated_s",
        "when the last program finished; when the run was stopped, if programs were still under way (s)",
    ),
    Key("rounds", "planned"),
    Key(
        "rounds_done_min",
        "the last round that the slowest honest node finished, those that are down included; who falls behind passes "
        "over rounds",
    ),
    Key("rounds_done_max", "the same of the quickest"),
    Key("messages_sent", "how many, copies included; the next five say how they ended"),
    Key("messages_in_flight", "the run ended first"),
    Key("messages_delivered", "delivered"),
    Key("messages_lost", "lost by the link"),
    Key("messages_dropped", "dropped"),
    Key("messages_expired", "given up by a reliable transport"),
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
    Key("adjacency", "what neighbouring data sets are", NO_PRIVACY),
    Key("unit", "`record` or `node`", NO_PRIVACY),
    Key("basis", "of `epsilon_worst`"),
    Key("observers", "sets of nodes that pool what they see, or `each node`"),
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
    _number("sums_opened_fraction", "opened / sums that ended, however many attempts they had", NO_SUMS),
    _number(
        "mixes_complete_fraction",
        "mixes in which every neighbour, or client asked, that was waited for was heard, as a fraction of all mixes; "
        "of `ad-psgd`, offers that were answered",
        "nobody waits: `push`, `pull`, `push-pull` and the yardsticks",
    ),
    _number("neighbours_heard_fraction", "of all neighbours that mixes waited for", "as the one before"),
    Key("lists_refused", "requests refused by members"),
    _number("clip", "the last norm of adaptive clipping", "without it"),
    Key("budget_spent", "nodes that have spent their budget"),
    Key("late_answers", "answers that came after their sum was settled"),
    Key("wrong_shares", "shares that were corrected, their senders named in the run's records"),
    _number(
        "column_defect",
        "by how much columns of the mixing matrices that really happened miss 1, root mean square",
        "no mix told its weights",
    ),
    Key("withheld", "vectors out of range"),
    Key("confined", "models that others had led out of the public range"),
    Key("keys_refused", "public keys with a wrong proof or signature"),
    Key("malformed", "messages that could not be read"),
    Key("attacks_in_the_dark", "attacks that had no honest model in view"),
    Key("nodes_down", "at the end"),
    Key("diverged", "whether a model holds NaN or infinity"),
    Key("mode", "`simulation` or `live`"),
    Key("trace_hash", "of all events", "a live run"),
    _number("wall_s", "real time that the run took (s)"),
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
    Key("trace_repeats_on", "where the same scenario has the same trace hash"),
    Key("versions", "of sottovoce, the libraries it computes with, and Python"),
    Key("topology", "`nodes`, `edges`, and whether they are `fixed`"),
    Key("network", "facts of the graph, its mixing weights and its files"),
    Key("data", "`train_samples`, `test_samples`, `shape` of a sample, names of its `classes` or null"),
    Key("samples_per_node", "trained on"),
    Key("labels_per_node", "the same by class", "without classes"),
    Key("local_test_per_node", "samples that nodes keep for testing", "without"),
    Key("users_per_node", "whose data nodes hold", "unknown"),
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
    Key("wall_s", "real time that the run took (s)"),
    Key("status", "`running`, `finished`, `diverged`, `interrupted` or `failed`"),
    Key("peak_mib", "largest memory of the process (MiB)"),
    Key("down_at_end", "nodes"),
)
"""Keys of manifest.json; the last five appear when the run has ended. `metrics`, package and version of metrics of
plug-ins, is there if there are any."""

FILES = (
    (
        "inference.json",
        "what `sottovoce infer` found: `coalition`, and per finding `attack`, `victim` (null: all honest nodes "
        "outside the coalition, or all senders), `measure`, `unit` (of what a fraction is one), `value`, and beside "
        'it the ledger\'s `epsilon`, `delta` and `basis` for that victim and coalition (`"inf"`, null and why, '
        "where it says nothing)",
    ),
    ("trace.json.gz, plots/*.png, report.html", "on request"),
)
"""Further files, and what is in them."""

SUMMARY_NUMBERS = frozenset(key.name for key in SUMMARY if key.number)
"""Keys of summary.json that are numbers."""


def summary_row(found: Mapping[str, Any]) -> dict[str, Any]:
    """Order what a summary says as :data:`SUMMARY` has it; what is not declared (metrics of plug-ins) follows.

    Raises:
        KeyError: a declared key is missing.
    """
    own = {key.name: found[key.name] for key in SUMMARY}
    return own | {name: value for name, value in found.items() if name not in own}
