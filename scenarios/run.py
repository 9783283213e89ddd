"""Run a scenario, simulated or live, and write its run folder."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from json import dumps
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

from analysis.formats.tables import FORMAT
from analysis.metrics.catalogue import of_plugins, packages
from protocols.learning.executor import BatchedExecutor
from protocols.privacy.entries import record_end_s
from protocols.privacy.ledger import Claim, account
from protocols.privacy.question import Question, RunFacts
from scenarios.assembly.adversary import build_adversary
from scenarios.build import Parts, build
from scenarios.facts.training import sampling_rate
from scenarios.format.observers import observers_from
from scenarios.kinds.studies import STUDY_TABLES
from scenarios.objects import NOTHING, Objects
from scenarios.reading.packages import packages_in
from scenarios.runs.folder import RunFolder
from scenarios.runs.recorder import Recorder
from scenarios.runs.summary import summarise
from scenarios.schema import Scenario
from simulator.contract.compute import Executor
from simulator.core.clock import to_ns
from simulator.core.records import ActivityLog
from simulator.errors import ConfigurationError
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import Ending, World
from simulator.topology import mixing

if TYPE_CHECKING:
    from simulator.runtime.real import Live

CHECKPOINTS = 12
"""Points in time at which the ledger states the privacy loss so far."""
VALUE_DEPENDENT = "machines with the same floats: members withhold what is beyond the encoded range"
"""Machines on which a secure run's trace is the same; in other runs no event depends on a computed value."""
LIBRARIES = ("sottovoce", "jax", "numpy", "scipy", "simpy", "networkx", "cryptography", "polars", "optax")


def _quiet(fraction: float, text: str) -> None:
    """Show no progress."""


def run(
    scenario: Scenario,
    out: Path,
    *,
    base: Path | None = None,
    live: bool = False,
    series: str | None = None,
    variant: str | None = None,
    on_progress: Callable[[float, str], None] | None = None,
    executor: Executor | None = None,
    objects: Objects = NOTHING,
) -> dict[str, Any]:
    """Run a scenario and write its folder.

    Args:
        scenario: the scenario to run; its study tables are ignored.
        out: the folder, which must be empty or absent.
        base: the folder that relative file names in the scenario start at; the working directory by default.
        live: run on real sockets and in real time instead of virtual time.
        series, variant: the run's place in a study, for its summary.
        on_progress: called with (fraction done, text).
        executor: carries out model mathematics; deferred and in batches by default.
        objects: replace tables of the scenario; the manifest describes them.

    Returns:
        The content of summary.json.

    Raises:
        ConfigurationError: the scenario cannot be built.
        StorageError: the folder cannot be written.
        ProgramError: a protocol failed; what was recorded until then is in the folder.
        KeyboardInterrupt: the user stopped the run; what was recorded until then is in the folder.
    """
    began = time.perf_counter()
    if live and scenario.secure is not None and scenario.secure.crypto == "ideal":
        raise ConfigurationError(
            'crypto must be "real" in a live run, got "ideal": an ideal sum has no messages; use "real"',
            "secure.crypto",
        )
    objects.check(scenario, live=live)
    executor = executor or BatchedExecutor()
    parts = build(scenario, executor, base or Path.cwd(), objects=objects)
    folder = RunFolder(out)
    recorder = listener(scenario, parts, executor, on_progress or _quiet)
    world = assemble(scenario, parts, executor, recorder)
    engine = _engine(world, parts, live)
    if scenario.privacy is not None and scenario.privacy.when_spent == "run":
        recorder.stop = engine.stop
    recorder.down = lambda: frozenset(engine.down)
    recorder.bytes_sent = lambda: engine.log.bytes_total
    manifest = _manifest(scenario, parts, "live" if live else "simulation")
    folder.json("manifest", manifest | {"status": "running"})
    underway = _Underway(folder, scenario, parts, recorder, engine, manifest, began)
    status, ending = "failed", None
    try:
        ending = engine.run(scenario.stop_after)
        status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        summary = underway.conclude(status, ending, {"series": series, "variant": variant})
    return summary


def listener(
    scenario: Scenario, parts: Parts, executor: Executor, on_progress: Callable[[float, str], None] = _quiet
) -> Recorder:
    """Return the recorder of a run."""
    return Recorder(
        executor=executor,
        evaluator=parts.learning.evaluator,
        local=parts.learning.local,
        probe=parts.probe,
        initial=parts.learning.initial,
        honest=parts.honest,
        curious=parts.cast.curious,
        total_rounds=len(parts.neighbors) * scenario.protocol.rounds,
        on_progress=on_progress,
    )


def assemble(scenario: Scenario, parts: Parts, executor: Executor, recorder: Recorder) -> World:
    """Return the world that a scenario's programs run in, with its recorder attached."""
    return World(
        seed=scenario.seed,
        neighbors=parts.neighbors,
        weights=parts.weights,
        executor=executor,
        faults=parts.faults,
        overlay=parts.network.overlay,
        speeds=parts.speeds,
        detector=parts.detector,
        adversary=build_adversary(
            scenario.adversary,
            parts.cast,
            parts.substitutions,
            recorder.tap,
            recorder.tap_own,
            parts.learner.lineage.overheard,
        ),
        tie_seed=scenario.tie_seed,
        record=recorder.record,
        released=parts.learner.lineage.delivered,
        monitor=recorder.monitor,
        monitor_s=scenario.evaluation.every,
    )


def end_of(ending: Ending, finished_s: Mapping[int, float]) -> float:
    """Return the time at which the last program finished, or at which the run was stopped if one had not."""
    if ending.unfinished - finished_s.keys():
        return ending.t_s
    return max(finished_s.values(), default=ending.t_s)


def _engine(world: World, parts: Parts, live: bool) -> Kernel | Live:
    if not live:
        return Kernel(world, parts.link, parts.program)
    from simulator.runtime.real import Live  # simulated runs need no sockets

    return Live(world, parts.program)


@dataclass(frozen=True)
class _Underway:
    """A run that has started; its results are written however it ends."""

    folder: RunFolder
    scenario: Scenario
    parts: Parts
    recorder: Recorder
    engine: Kernel | Live
    manifest: dict[str, Any]
    began: float

    def conclude(self, status: str, ending: Ending | None, place: dict[str, str | None]) -> dict[str, Any]:
        """Write everything that was recorded, the smallest and most important files first."""
        end_s = self.engine.now_s if ending is None else end_of(ending, self.recorder.finished_s)
        down = self.engine.activity.who(ActivityLog.DOWN, to_ns(end_s))
        last = self.recorder.conclude(end_s, down)
        if status == "finished" and last.diverged.any():
            status = "diverged"
        stopped: KeyboardInterrupt | None = None
        try:
            claims = claim(self.scenario, self.parts, end_s, self.recorder.on_progress)
        except KeyboardInterrupt as error:  # the record is written nevertheless, and can be accounted later
            claims, stopped, status = [], error, "interrupted"
        log = self.engine.log
        facts = {
            "trace_hash": log.trace_hash if isinstance(self.engine, Kernel) else None,
            "wall_s": time.perf_counter() - self.began,
        }
        about = {"mode": self.manifest["mode"]} | facts | place
        summary = summarise(self.scenario, self.parts, self.recorder, log, claims, end_s, status, about)
        written = "failed"
        try:
            self.folder.json("summary", summary)
            self.folder.metrics(self.recorder.metrics())
            self.folder.privacy(claims)
            self.folder.messages(log)
            self.folder.activity(self.engine.activity)
            self.folder.releases(self.parts.learner.lineage.record())
            for node in sorted(self.parts.cast.curious):
                self.folder.view(node, self.recorder.view(node))
            if self.engine.world.adversary.wires is not None:
                self.folder.wiretap(self.engine.world.adversary.wires)
            written = status
        finally:
            ended = {"status": written, "peak_mib": _peak_mib(), "down_at_end": sorted(down)}
            self.folder.json("manifest", self.manifest | facts | ended)
        if stopped is not None:
            raise stopped
        return summary


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def claim(
    scenario: Scenario, parts: Parts, end_s: float, on_progress: Callable[[float, str], None] | None = None
) -> list[Claim]:
    """Return the ledger's claims about this run; none if all data were pooled at one place.

    Claims are made at evenly spaced times. The last one is the end of the record, so messages delivered after the
    last program had finished are counted too.
    """
    privacy = scenario.privacy
    if privacy is None or scenario.protocol.pools_data:
        return []
    observers: list[tuple[int, ...]] = [(node,) for node in range(len(parts.neighbors))]
    if privacy.observers != "each node":
        observers = [observers_from(asked, parts.graph, scenario.seed) for asked in privacy.observers]
    entries = parts.learner.lineage.record()
    until_s = record_end_s(entries, end_s)
    question = Question(
        victims=sorted(parts.honest),
        observers=observers,
        unit=privacy.unit,
        adjacency=privacy.adjacency,
        delta=privacy.delta,
        times_s=[*(until_s * (i / CHECKPOINTS) for i in range(1, CHECKPOINTS)), until_s],
    )
    facts = RunFacts(
        uncredited=parts.cast.corrupt,
        law=parts.law,
        rate=sampling_rate(scenario.training),
        failure_probability=parts.failure_probability,
    )
    return account(entries, question, facts, on_progress=on_progress)


def _manifest(scenario: Scenario, parts: Parts, mode: str) -> dict[str, Any]:
    resolved = scenario.model_dump(mode="json", exclude=set(STUDY_TABLES), exclude_none=True)
    return {
        "format": FORMAT,
        "name": scenario.name,
        "scenario": resolved,
        "scenario_sha256": sha256(dumps(resolved, sort_keys=True).encode()).hexdigest(),
        "seed": scenario.seed,
        "mode": mode,
        "trace_repeats_on": VALUE_DEPENDENT if scenario.protocol.exchange == "secure" else "any machine",
        "versions": {name: version(name) for name in LIBRARIES} | {"python": python_version()},
        "topology": {
            "nodes": len(parts.neighbors),
            "edges": sorted((min(i, j), max(i, j)) for i, j in parts.graph.edges),
            "fixed": parts.network.overlay.fixed,
        },
        "network": dict(parts.network.notes),
        **parts.learning.shares.facts(),
        "integer_noise": None if parts.law is None else parts.law.facts(),
        "failure_probability": parts.failure_probability,
        "parameters": parts.learner.operations.task.size,
        "byzantine": sorted(parts.cast.corrupt),
        "curious": sorted(parts.cast.curious),
        "mixing": mixing.properties(parts.weights),
        **({"objects": parts.objects.facts()} if parts.objects else {}),
        **({"metrics": packages()} if of_plugins() else {}),
        **({"plugins": dict(used)} if (used := packages_in(scenario)) else {}),
    }
