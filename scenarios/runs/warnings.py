"""Warnings about a finished run, as sentences for readers of its summary."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx
import numpy as np

from analysis.metrics.catalogue import unrecorded
from scenarios.build import Parts
from scenarios.format.kind import plugin_of
from scenarios.kinds.mixing import Mixing
from scenarios.runs.recorder import Recorder
from scenarios.schema import Scenario
from simulator.core.records import DELIVERED, MessageLog

FAILED = 1 / 5
"""Fraction of sums that were not opened, or of neighbours that were not heard, above which a warning is given."""


ROUNDING = 1e-6
"""Relative excess over a target that is none: noise is found for a target by numbers."""


def run_warnings(
    scenario: Scenario, parts: Parts, recorder: Recorder, log: MessageLog, epsilon: float
) -> list[str]:
    """Return sentences about likely problems of a run; none if it went as planned.

    Args:
        scenario, parts, recorder, log: of the run.
        epsilon: certified privacy loss of the worst victim at the end.
    """
    given = parts.objects.warning()
    return [
        *([] if given is None else [given]),
        *_unused(scenario),
        *_privacy(scenario, epsilon),
        *_training(scenario, parts, recorder),
        *_communication(scenario, parts, recorder, log),
        *_data(parts, recorder),
        *unrecorded(recorder.counts),
    ]


def rounds_done(parts: Parts, recorder: Recorder) -> tuple[int, int]:
    """Return the last round that the slowest and the fastest honest node finished, counted from 1; 0: none."""
    done = [recorder.rounds.get(node, 0) for node in sorted(parts.honest)]
    return min(done, default=0), max(done, default=0)


def _unused(scenario: Scenario) -> Iterator[str]:
    """Yield tables that change nothing in this run."""
    mixing, protocol = scenario.mixing, scenario.protocol
    if mixing is not None and not protocol.takes_weights and mixing.kind != Mixing.usual:
        yield f"[mixing] has no effect: {protocol.kind} has weights of its own."


def _privacy(scenario: Scenario, epsilon: float) -> Iterator[str]:
    """Yield promises that the loss exceeds, and kinds from outside that it depends on."""
    privacy = scenario.privacy
    if privacy is None:
        return
    for key, most in (("target_epsilon", privacy.target_epsilon), ("budget", privacy.budget)):
        if most is not None and not epsilon <= most * (1 + ROUNDING):
            yield (
                f"The privacy loss of the worst node is {epsilon:.4g} at the end, above privacy.{key} = {most:g}: "
                "more was released, or released otherwise, than it allows. The claims in privacy.parquet hold."
            )
    secure = scenario.secure
    for key, kind in (
        ("protocol", scenario.protocol),
        ("secure.aggregation", None if secure is None else secure.aggregation),
        ("privacy.correlated", privacy.correlated),
    ):
        package = None if kind is None else plugin_of(type(kind))
        if kind is not None and package is not None:
            yield (
                f'Privacy losses depend on {key} "{kind.kind}" of {" ".join(package)} to declare what its messages '
                "reveal."
            )


def _training(scenario: Scenario, parts: Parts, recorder: Recorder) -> Iterator[str]:
    planned = scenario.protocol.rounds
    least, most = rounds_done(parts, recorder)
    if most == 0:
        yield "No honest node finished a round: all numbers are those of the initial model."
    elif most < planned:
        stop_s = scenario.stop_after
        stopped = stop_s is not None and recorder.snapshots[-1].t_s >= stop_s
        why = f", at stop_after = {stop_s:g} s" if stopped else ""
        finished = str(most) if least == most else f"{least} to {most}"
        yield f"The run ended early{why}: of {planned} rounds, honest nodes finished {finished}."
    elif least == 0:
        idle = [node for node in sorted(parts.honest) if not recorder.rounds.get(node, 0)]
        yield f"These honest nodes never finished a round: {', '.join(map(str, idle))}."


def _communication(scenario: Scenario, parts: Parts, recorder: Recorder, log: MessageLog) -> Iterator[str]:
    counts, mixing = recorder.counts, recorder.mixing
    if not scenario.protocol.messages:
        return
    if not len(log):
        yield "Nobody sent a message."
    elif not log.count(DELIVERED):
        yield f"None of the {len(log)} messages was delivered: every node trained alone."
    ended = counts["sum ended"]
    if ended and counts["opened"] < (1 - FAILED) * ended:
        reasons = {k.removeprefix("skipped: "): n for k, n in counts.items() if k.startswith("skipped: ")}
        reason = max(reasons, key=lambda word: reasons[word], default="")
        yield (
            f"{ended - counts['opened']} of {ended} secure sums stayed closed"
            + (f" (most often: {reason})" if reason else "")
            + "; their nodes went on without their neighbours. Is protocol.timeout long enough for every sub-round?"
        )
    elif mixing.wanted and mixing.heard < (1 - FAILED) * mixing.wanted:
        missing = 1 - mixing.heard / mixing.wanted
        yield (
            f"{100 * missing:.0f} % of the neighbours that nodes waited for were not heard in time; mixes went on "
            "without them. Is protocol.timeout longer than a message takes?"
        )
    if parts.network.overlay.fixed:
        graph = nx.Graph((v, peer) for v, around in enumerate(parts.neighbors) for peer in around)
        graph.add_nodes_from(range(len(parts.neighbors)))
        pieces = sorted(map(len, nx.connected_components(graph)), reverse=True)
        if len(pieces) > 1:
            sizes = ", ".join(map(str, pieces[:8])) + (", ..." if len(pieces) > 8 else "")
            yield f"The graph is in {len(pieces)} pieces (of {sizes} nodes), which never hear of one another."


def _data(parts: Parts, recorder: Recorder) -> Iterator[str]:
    dataset, held = parts.learning.shares.dataset, parts.learning.shares.holdings.train
    if dataset.classes is None:
        return
    present = np.bincount(dataset.test_y, minlength=dataset.classes)
    trained = np.zeros(dataset.classes, np.int64)
    for node in parts.honest:
        trained += np.bincount(dataset.train_y[held[node]], minlength=dataset.classes)
    unknown = np.flatnonzero((present > 0) & (trained == 0))
    if len(unknown):
        names = ", ".join(str(dataset.class_names[label]) for label in unknown)
        share = present[unknown].sum() / present.sum()
        yield (
            f"No honest node has training samples of {names}, which {100 * share:.1f} % of the test samples are."
        )
    last = recorder.snapshots[-1]
    commonest = present.max() / present.sum()
    if last.nodes and last.accuracy.mean() <= commonest:
        yield (
            f"Mean accuracy is no better than always naming the commonest class of the test set "
            f"({100 * commonest:.1f} %)."
        )
