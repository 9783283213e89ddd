"""Small worlds that a battery runs kinds in, and what happened there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.format.kind import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from protocols.privacy.entries import Entry
    from scenarios.build import Parts
    from scenarios.runs.recorder import Recorder
    from scenarios.schema import Scenario
    from simulator.contract.node import Message
    from simulator.faults.plan import Fault

NODES, ROUNDS = 6, 3
LONGEST_S = 3600.0
"""Virtual seconds after which a world is stopped."""
PRIVACY = {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "noise_multiplier": 2.0}
WORLD: Mapping[str, Any] = {
    "format": 1,
    "name": "conformance",
    "topology": {"kind": "complete", "nodes": NODES},
    "network": {"latency": {"kind": "lognormal", "median": "20 ms", "sigma": 0.3}, "uplink": "10 Mbit/s"},
    "data": {"kind": "blobs", "samples": 240, "features": 6, "classes": 2},
    "model": {"kind": "softmax"},
    "training": {"step": 0.5, "divisor": 40, "step_cost": "5 ms"},
    "protocol": {"kind": "dsgd", "rounds": ROUNDS, "exchange": "plain"},
}


@dataclass
class Outcome:
    """What happened in a world.

    Args:
        scenario: of the world.
        parts: that it was built of.
        recorder: what nodes recorded.
        trace: hash of all events.
        ended_s: virtual seconds.
        stopped: nodes that had not finished although they were up.
        sent: (node, message) of everything that was sent, in order.
        models: last model of each node.
        entries: the record of releases.
        events: (seconds, node, kind, fields) of everything that nodes recorded.
        states: what came out of each local update, by its state.
    """

    scenario: Scenario
    parts: Parts
    recorder: Recorder
    trace: str
    ended_s: float
    stopped: frozenset[int]
    sent: list[tuple[int, Message]]
    models: dict[int, NDArray[np.floating[Any]]]
    entries: list[Entry]
    events: list[tuple[float, int, str, Mapping[str, Any]]] = field(default_factory=list)
    states: dict[int, NDArray[np.floating[Any]]] = field(default_factory=dict)

    @property
    def kinds(self) -> set[str]:
        """Kinds of message that were sent."""
        return {message.kind for _, message in self.sent}


def scenario_of(**tables: Any) -> Scenario:
    """Return the scenario of a world, checked as a file would be.

    Args:
        tables: in place of its own: plain ones as in a file, or kinds, which need not be installed and are put in
            their place after the check.
    """
    from scenarios.load import resolve

    plain = {name: table for name, table in tables.items() if not isinstance(table, Kind)}
    made = resolve({**WORLD, **plain})
    return made.model_copy(update={name: table for name, table in tables.items() if isinstance(table, Kind)})


def run(scenario: Scenario, base: Path, faults: Sequence[Fault] = ()) -> Outcome:
    """Run a world to its end in virtual time.

    Args:
        scenario: of the world.
        base: folder that relative file names start at.
        faults: besides those of the scenario.
    """
    from protocols.learning.executor import BatchedExecutor
    from scenarios.build import build
    from scenarios.run import assemble, listener
    from simulator.contract.compute import values_of
    from simulator.runtime.virtual import Kernel

    executor = BatchedExecutor()
    parts, made = _traced(scenario, build(scenario, executor, base))
    recorder = listener(scenario, parts, executor)
    world = assemble(scenario, parts, executor, recorder)
    sent: list[tuple[int, Message]] = []
    models: dict[int, Any] = {}
    events: list[tuple[float, int, str, Mapping[str, Any]]] = []

    def record(t_s: float, node: int, kind: str, told: Mapping[str, Any]) -> None:
        recorder.record(t_s, node, kind, told)
        events.append((t_s, node, kind, told))
        if kind == "model":
            models[node] = told["value"]

    adversary = replace(
        world.adversary,
        curious=frozenset(range(len(parts.neighbors))),
        tap=lambda node, delivery: None,
        tap_own=lambda t_s, node, message: sent.append((node, message)),
    )
    world = replace(world, adversary=adversary, record=record, faults=(*world.faults, *faults))
    kernel = Kernel(world, parts.link, parts.program)
    ending = kernel.run(LONGEST_S)
    return Outcome(
        scenario=scenario,
        parts=parts,
        recorder=recorder,
        trace=kernel.log.trace_hash,
        ended_s=ending.t_s,
        stopped=ending.unfinished,
        sent=sent,
        models=dict(zip(models, values_of(executor, list(models.values())), strict=True)),
        entries=parts.learner.lineage.record(),
        events=events,
        states=dict(zip(made, values_of(executor, list(made.values())), strict=True)),
    )


def _traced(scenario: Scenario, parts: Parts) -> tuple[Parts, dict[int, Any]]:
    """Return the parts with a learner that keeps what came out of every local update, and where it keeps it."""
    from protocols.gossip.learner import Learner, Model
    from scenarios.assembly.protocol import build_program
    from simulator.contract.node import Node

    made: dict[int, Any] = {}

    class Traced(Learner):
        async def merge_update(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
            result = await super().merge_update(node, round, terms)
            made[result.state] = result.params
            return result

    learner = Traced(**{one.name: getattr(parts.learner, one.name) for one in fields(Learner)})
    learning = replace(parts.learning, learner=learner)
    built = build_program(scenario, learning, parts.network.overlay, learning.bank.counts, parts.cast)
    return replace(parts, learning=learning, program=built.program), made


def values(outcome: Outcome) -> dict[int, NDArray[np.floating[Any]]]:
    """Return what each state must be by the record of releases, from what came out of local updates alone.

    States whose record does not say what they are (opaque ones and what follows from them) are left out.
    """
    import numpy as np

    from protocols.privacy.entries import Combination, Contribution
    from protocols.privacy.lineage import ORIGIN

    found: dict[int, Any] = {ORIGIN: np.asarray(outcome.parts.learning.initial, np.float64)}
    for entry in outcome.entries:
        if isinstance(entry, Contribution) and entry.state in outcome.states:
            found[entry.state] = np.asarray(outcome.states[entry.state], np.float64)
        elif isinstance(entry, Combination) and all(parent in found for parent in entry.parents):
            terms = zip(entry.coefs, entry.parents, strict=True)
            found[entry.state] = sum(
                (coef * found[parent] for coef, parent in terms), np.zeros_like(found[ORIGIN])
            )
    return found
