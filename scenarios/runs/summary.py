"""The headline numbers of a run."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, isnan
from statistics import median
from typing import Any

from protocols.aggregation.settling import CONFINED
from protocols.privacy.coalitions import CERTIFIED, LDP_FALLBACK, OPEN_LOOP
from protocols.privacy.ledger import Claim
from scenarios.build import Parts
from scenarios.runs.recent import recent
from scenarios.runs.recorder import Recorder
from scenarios.runs.warnings import rounds_done, run_warnings
from scenarios.schema import Scenario
from simulator.core.records import MessageLog


def summarise(
    scenario: Scenario,
    parts: Parts,
    recorder: Recorder,
    log: MessageLog,
    claims: Sequence[Claim],
    end_s: float,
    status: str,
) -> dict[str, Any]:
    """summary.json without wall time and trace hash.

    ``epsilon_worst`` is the largest over honest victims and observers at the end, on the certified basis, which
    holds for every trace; ``epsilon_worst_open_loop`` is the same on the recorded linear view, and None where some
    observer's view has no such figure (``open_loop_missing`` says why). Without a mechanism, or with all data at one
    place, the loss is infinite.
    """
    last = recorder.snapshots[-1]
    privacy = scenario.privacy
    worst, middle = losses(claims, {CERTIFIED})
    missing = open_loop_missing(claims, parts)
    worst_open, middle_open = (None, None) if missing else losses(claims, {OPEN_LOOP})
    slowest, quickest = rounds_done(parts, recorder)
    latest = recent(recorder.snapshots)
    mixing, sums = recorder.mixing, recorder.counts["sum ended"]
    observers = None if privacy is None else privacy.observers
    reached = next(
        (
            s
            for s in recorder.snapshots
            if s.nodes and s.accuracy.mean() >= scenario.evaluation.target_accuracy
        ),
        None,
    )
    classified = bool(last.nodes) and parts.learning.evaluator.task.classes is not None
    return {
        "format": 1,
        "name": scenario.name,
        "seed": scenario.seed,
        "status": status,
        "warnings": run_warnings(scenario, parts, recorder, log),
        "protocol": f"{scenario.protocol.kind}/{scenario.protocol.exchange}",
        "accuracy_mean": float(last.accuracy.mean()) if classified else None,
        "accuracy_worst": float(last.accuracy.min()) if classified else None,
        "accuracy_worst_node": last.nodes[int(last.accuracy.argmin())] if classified else None,
        "accuracy_worst_recent": None if latest is None else latest.worst,
        "accuracy_lowest_recent": None if latest is None else latest.node_accuracy,
        "accuracy_lowest_recent_node": None if latest is None else latest.node,
        "recent_evaluations": None if latest is None else latest.evaluations,
        "recent_from_s": None if latest is None else latest.from_s,
        "accuracy_by_class": last.found.by_class.mean(axis=0).tolist() if classified else None,
        "disagreement": None if isnan(last.found.disagreement) else last.found.disagreement,
        "loss_mean": float(last.loss.mean()) if last.nodes else None,
        "loss_worst": float(last.loss.max()) if last.nodes else None,
        "local_accuracy_mean": float(last.local.accuracy.mean()) if classified and last.local else None,
        "backdoor_success_mean": None if last.backdoor is None else float(last.backdoor.mean()),
        "consensus_distance": last.consensus_distance,
        "simulated_s": end_s,
        "rounds": scenario.protocol.rounds,
        "rounds_done_min": slowest,
        "rounds_done_max": quickest,
        "messages_sent": len(log),
        **{f"messages_{status.replace('-', '_')}": ended for status, ended in log.counts().items()},
        "bytes_sent": log.bytes_total,
        "epsilon_worst": worst,
        "epsilon_median": middle,
        "epsilon_reason": _why_infinite(scenario, claims, worst),
        "epsilon_worst_open_loop": worst_open,
        "epsilon_median_open_loop": middle_open,
        "open_loop_missing": missing,
        "delta": None if privacy is None else privacy.delta,
        "adjacency": None if privacy is None else privacy.adjacency,
        "unit": None if privacy is None else privacy.unit,
        "basis": CERTIFIED,
        "observers": "each node" if observers is None else observers,
        "noise_sigma": noise_sigma(parts),
        "target_accuracy": scenario.evaluation.target_accuracy,
        "time_to_accuracy_s": None if reached is None else reached.t_s,
        "bytes_to_accuracy": None if reached is None else reached.bytes_sent,
        "mass_held": sum(recorder.masses.values()) / len(parts.neighbors) if recorder.masses else None,
        "unanswered": recorder.counts["unanswered"],
        "stale": recorder.counts["stale"],
        "sums_opened": recorder.counts["opened"],
        "sums_skipped": recorder.counts["skipped"],
        "sums_opened_fraction": recorder.counts["opened"] / sums if sums else None,
        "mixes_complete_fraction": mixing.complete / mixing.mixes if mixing.mixes else None,
        "neighbours_heard_fraction": mixing.heard / mixing.wanted if mixing.wanted else None,
        "lists_refused": recorder.counts["refused"],
        "clip": recorder.clip,
        "budget_spent": sorted(recorder.spent_s),
        "late_answers": recorder.counts["late"],
        "wrong_shares": recorder.counts["wrong_share"],
        "column_defect": recorder.column_defect,
        "withheld": recorder.counts["withheld"],
        "confined": recorder.counts[CONFINED],
        "keys_refused": recorder.counts["key_refused"],
        "malformed": recorder.counts["malformed"],
        "attacks_in_the_dark": recorder.counts["attack in the dark"],
        "nodes_down": sorted(recorder.down()),
        "diverged": bool(last.diverged.any()),
    }


def _why_infinite(scenario: Scenario, claims: Sequence[Claim], worst: float) -> str | None:
    """Why the certified ε of the worst victim is infinite; None if it is not."""
    if not isinf(worst):
        return None
    if scenario.privacy is None:
        return "there is no [privacy] mechanism: models are shared as they are"
    if not claims and scenario.protocol.pools_data:
        return "all data are at one place, and no privacy is claimed for that"
    if not claims:
        return "accounting was interrupted; sottovoce privacy accounts this run again"
    end_s = max(c.t_s for c in claims)
    reasons = (c.reason for c in claims if c.t_s == end_s and c.basis == CERTIFIED and isinf(c.epsilon))
    return next(reasons, "no honest node is left outside the observers")


def noise_sigma(parts: Parts) -> float:
    """The largest standard deviation of the noise that a node adds to each coordinate of its clipped sum.

    Noise of integers is added when an update is encoded, so it is turned back into the units of the clipped sum.
    """
    if parts.law is None:
        return max(parts.learner.sigma)
    return parts.law.member_sigma / parts.learner.gain


def open_loop_missing(claims: Sequence[Claim], parts: Parts) -> str | None:
    """Why the worst open-loop ε at the end is unknown; None if it is known.

    It is known if every victim has such a figure towards every observer: the worst of some would leave out those
    with the larger loss.
    """
    end_s = max((c.t_s for c in claims), default=0.0)
    found: dict[tuple[int, str], set[str]] = {}
    for c in claims:
        if c.t_s == end_s:
            found.setdefault((c.victim, c.observers), set()).add(c.basis)
    lacking = [bases for bases in found.values() if OPEN_LOOP not in bases]
    if not lacking:
        return None
    if parts.law is not None:
        return "noise of integers"
    return "non-linear view" if any(LDP_FALLBACK in bases for bases in lacking) else "too large to compute"


def losses(claims: Sequence[Claim], bases: set[str]) -> tuple[float, float]:
    """(worst, median over victims) of each victim's worst ε at the last time; infinite without any claim."""
    if not claims:
        return float("inf"), float("inf")
    end_s = max(c.t_s for c in claims)
    by_victim: dict[int, float] = {}
    for c in claims:
        if c.t_s == end_s and c.basis in bases:
            by_victim[c.victim] = max(c.epsilon, by_victim.get(c.victim, 0.0))
    if not by_victim:
        return float("inf"), float("inf")
    return max(by_victim.values()), median(by_victim.values())
