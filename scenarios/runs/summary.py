"""Summary of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf
from statistics import median
from typing import Any

from analysis.formats.keys import summary_row
from analysis.formats.tables import FORMAT
from protocols.privacy.coalitions import CERTIFIED, LDP_FALLBACK, OPEN_LOOP
from protocols.privacy.ledger import Claim
from scenarios.build import Parts
from scenarios.runs.recent import recent
from scenarios.runs.recorder import Recorder
from scenarios.runs.unreached import unreached
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
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of summary.json; ``about`` holds mode, wall time, trace hash and place in a study.

    ``epsilon_worst`` is the largest over honest victims and observers at the end, on the certified basis, which
    holds for every trace; ``epsilon_worst_open_loop`` is the same on the recorded linear view, and None if some
    observer's view has no such figure (``open_loop_missing`` says why). Without a mechanism, or with pooled data, the
    loss is infinite.
    """
    found = (
        recorder.at_end()
        | _run(scenario, parts, recorder, log, end_s, status, losses(claims, {CERTIFIED})[0])
        | _accuracy(scenario, parts, recorder)
        | _privacy(scenario, parts, claims)
        | _mixes(parts, recorder)
        | dict(about)
    )
    return summary_row(found)


def _run(
    scenario: Scenario,
    parts: Parts,
    recorder: Recorder,
    log: MessageLog,
    end_s: float,
    status: str,
    epsilon: float,
) -> dict[str, Any]:
    """Return keys about the run itself, its rounds and its traffic; ``epsilon`` is the certified loss at the end."""
    slowest, quickest = rounds_done(parts, recorder)
    late = unreached(parts.faults, end_s)
    return {
        "format": FORMAT,
        "name": scenario.name,
        "seed": scenario.seed,
        "status": status,
        "warnings": run_warnings(scenario, parts, recorder, log, epsilon) + ([] if late is None else [late]),
        "protocol": f"{scenario.protocol.kind}/{scenario.protocol.exchange}",
        "simulated_s": end_s,
        "rounds": scenario.protocol.rounds,
        "rounds_done_min": slowest,
        "rounds_done_max": quickest,
        "messages_sent": len(log),
        **{f"messages_{ending.replace('-', '_')}": count for ending, count in log.counts().items()},
        "bytes_sent": log.bytes_total,
        "budget_spent": sorted(recorder.spent_s),
        "nodes_down": sorted(recorder.down()),
        "diverged": bool(recorder.snapshots[-1].diverged.any()),
    }


def _accuracy(scenario: Scenario, parts: Parts, recorder: Recorder) -> dict[str, Any]:
    """Return keys about accuracy at the last evaluations and the time to the target accuracy."""
    last, latest = recorder.snapshots[-1], recent(recorder.snapshots)
    target = scenario.evaluation.target_accuracy
    reached = next((s for s in recorder.snapshots if s.nodes and s.accuracy.mean() >= target), None)
    classified = bool(last.nodes) and parts.learning.evaluator.task.classes is not None
    return {
        "accuracy_worst_node": last.nodes[int(last.accuracy.argmin())] if classified else None,
        "accuracy_worst_recent": None if latest is None else latest.worst,
        "accuracy_lowest_recent": None if latest is None else latest.node_accuracy,
        "accuracy_lowest_recent_node": None if latest is None else latest.node,
        "recent_evaluations": None if latest is None else latest.evaluations,
        "recent_from_s": None if latest is None else latest.from_s,
        "accuracy_by_class": last.found.by_class.mean(axis=0).tolist() if classified else None,
        "target_accuracy": target,
        "time_to_accuracy_s": None if reached is None else reached.t_s,
        "bytes_to_accuracy": None if reached is None else reached.bytes_sent,
    }


def _privacy(scenario: Scenario, parts: Parts, claims: Sequence[Claim]) -> dict[str, Any]:
    """Return keys about the privacy loss at the end and its terms."""
    privacy = scenario.privacy
    worst, middle = losses(claims, {CERTIFIED})
    missing = open_loop_missing(claims, parts)
    worst_open, middle_open = (None, None) if missing else losses(claims, {OPEN_LOOP})
    return {
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
        "certified_by": _certified_by(claims),
        "observers": "each node" if privacy is None else privacy.observers,
        "noise_sigma": noise_sigma(parts),
    }


def _mixes(parts: Parts, recorder: Recorder) -> dict[str, Any]:
    """Return keys about mixes and secure sums."""
    mixing, sums = recorder.mixing, recorder.counts["sum ended"]
    return {
        "mass_held": sum(recorder.masses.values()) / len(parts.neighbors) if recorder.masses else None,
        "sums_opened_fraction": recorder.counts["opened"] / sums if sums else None,
        "mixes_complete_fraction": mixing.complete / mixing.mixes if mixing.mixes else None,
        "neighbours_heard_fraction": mixing.heard / mixing.wanted if mixing.wanted else None,
        "column_defect": recorder.column_defect,
    }


def _why_infinite(scenario: Scenario, claims: Sequence[Claim], worst: float) -> str | None:
    """Return the reason why the certified ε of the worst victim is infinite; None if it is not."""
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


def _certified_by(claims: Sequence[Claim]) -> str | None:
    """Return what certifies the largest ε at the end; None without claims."""
    end_s = max((c.t_s for c in claims), default=0.0)
    last = [c for c in claims if c.t_s == end_s and c.basis == CERTIFIED]
    return max(last, key=lambda c: c.epsilon).certified_by if last else None


def noise_sigma(parts: Parts) -> float:
    """Return the largest standard deviation of the noise that a node adds to each coordinate of its clipped sum.

    Integer noise is added to encoded updates, so it is converted to the units of the clipped sum.
    """
    if parts.law is None:
        return max(parts.learner.sigma)
    return parts.law.member_sigma / parts.learner.gain


def open_loop_missing(claims: Sequence[Claim], parts: Parts) -> str | None:
    """Return the reason why the worst open-loop ε at the end is unknown; None if it is known.

    It is known if every victim has such a figure towards every observer: the worst of only some could be too small.
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
    """Return worst and median, over victims, of each victim's worst ε at the last time; infinite without claims."""
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
