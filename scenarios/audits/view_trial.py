"""A trial of the audit of views: a run in which only the victim has data, and the best linear test on its view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import shown
from protocols.learning.executor import BatchedExecutor
from protocols.learning.operations import Operations
from protocols.privacy.entries import OPAQUE, Release
from protocols.privacy.lineage import ORIGIN, Lineage, Visible
from protocols.privacy.linear_view import state_rows
from protocols.privacy.record import Floats, Ints, Record, read_record
from scenarios.assembly.protocol import build_program
from scenarios.audits.canaries import AGAINST, ALONG, NOTHING, operations_with, sign_of
from scenarios.build import Parts
from scenarios.schema import Scenario
from simulator import streams
from simulator.adversary.coalition import Adversary
from simulator.contract.compute import Vector
from simulator.contract.node import Delivery, Node
from simulator.errors import ConfigurationError
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import World

ENOUGH = 0.8
"""Fraction of the best loss that signs which find noise used twice must reach to be chosen."""
ROUNDING = 1e-5
"""Assumed rounding of seen values, relative to the standard deviation of the noisiest; no test relies on less."""


@dataclass(frozen=True)
class Look:
    """Result of the attack on one trial.

    Args:
        score: in units of its own standard deviation, if noise is as recorded.
        canary: shift of the score by a canary of one clipping norm.
        loss: μ² of the attack, if noise is as recorded.
        count: number of seen values used.
    """

    score: float
    canary: float
    loss: float
    count: int


@dataclass(frozen=True)
class Noted(Learner):
    """A learner that keeps the noise that it draws, since members of the coalition know theirs.

    Args:
        drawn: draws of each node, in order.
    """

    drawn: dict[int, list[Vector]] = field(default_factory=dict)

    def noise(self, node: int, rng: np.random.Generator) -> Vector:
        """Draw noise as every learner does, and keep it."""
        vector = super().noise(node, rng)
        self.drawn.setdefault(node, []).append(vector)
        return vector


@dataclass(frozen=True)
class WithCanary(Learner):
    """Local training when only the victim has data: a canary.

    Args:
        by_sign: learner for each sign of the canary.
        victim: the node with the canary.
        signs: of the canary, by round; repeated when they are used up.
    """

    by_sign: Mapping[int, Learner] = field(default_factory=dict)
    victim: int = -1
    signs: Sequence[int] = ()

    async def merge_update(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
        """Merge and update with the learner of the round's sign."""
        sign = self.signs[round % len(self.signs)] if node.id == self.victim else NOTHING
        return await self.by_sign[sign].merge_update(node, round, terms)


@dataclass(frozen=True)
class Table:
    """State shared by trials whose mathematics are carried out together.

    Args:
        scenario: the scenario.
        parts: of the run.
        members: the coalition.
        victim: the node with the canary.
        clip: the clipping norm.
        operations: by sign of the canary.
        executor: of all trials.
    """

    scenario: Scenario
    parts: Parts
    members: frozenset[int]
    victim: int
    clip: float
    operations: Mapping[int, Operations]
    executor: BatchedExecutor

    @classmethod
    def of(cls, scenario: Scenario, parts: Parts, members: frozenset[int], victim: int) -> Table:
        """Build the shared state of some trials."""
        privacy = scenario.privacy
        assert privacy is not None
        operations = {
            sign: operations_with(parts.learner.operations, victim, "gradient", sign, privacy, alone=True)
            for sign in (ALONG, AGAINST, NOTHING)
        }
        return cls(scenario, parts, members, victim, privacy.clip, operations, BatchedExecutor())


@dataclass(frozen=True)
class Trial:
    """One run, and what the coalition saw in it.

    Args:
        lineage: the record of the run.
        drawn: every node's noise, in order; only that of members is used.
        members: the coalition.
        initial: the public initial model.
        seen: (value, coefficient by state) of every value that a member read.
        clip: the clipping norm.
        executor: computes the values.
    """

    lineage: Lineage
    drawn: dict[int, list[Vector]]
    members: frozenset[int]
    initial: Vector
    seen: list[tuple[Any, dict[int, float]]]
    clip: float
    executor: BatchedExecutor

    @classmethod
    def play(cls, table: Table, arm: str | int, trial: int, signs: Sequence[int]) -> Trial:
        """Run the scenario under the trial's seed."""
        scenario, parts, members, executor = table.scenario, table.parts, table.members, table.executor
        drawn: dict[int, list[Vector]] = {}
        lineage = Lineage()
        given = {f.name: getattr(parts.learner, f.name) for f in fields(parts.learner)}
        given |= {"lineage": lineage, "start": Model(executor.constant(parts.learning.initial), ORIGIN)}
        by_sign = {
            sign: Noted(**(given | {"operations": made}), drawn=drawn)
            for sign, made in table.operations.items()
        }
        given["operations"] = table.operations[NOTHING]
        learner = WithCanary(**given, by_sign=by_sign, victim=table.victim, signs=signs)
        learning = replace(parts.learning, learner=learner)
        overlay = parts.network.overlay
        program = build_program(scenario, learning, overlay, parts.bank.counts, parts.cast).program
        found = cls(lineage, drawn, members, parts.learning.initial, [], table.clip, executor)
        opened: dict[tuple[int, int], list[Vector]] = {}

        def record(t_s: float, node: int, kind: str, told: Mapping[str, Any]) -> None:
            if kind == "opened" and node in members:
                opened.setdefault((node, told["round"]), []).append(told["value"])

        world = World(
            seed=int.from_bytes(streams.digest(scenario.seed, "audit", arm, trial, size=8), "little"),
            neighbors=parts.neighbors,
            weights=parts.weights,
            executor=executor,
            faults=parts.faults,
            overlay=overlay,
            speeds=parts.speeds,
            detector=parts.detector,
            adversary=Adversary(curious=members, tap=found._tap),
            tie_seed=scenario.tie_seed,
            record=record,
            released=lineage.delivered,
        )
        Kernel(world, parts.link, program).run(scenario.stop_after)
        found._sums(opened)
        return found

    def _tap(self, node: int, delivery: Delivery) -> None:
        """Record the models in a message that a member can read."""
        release = delivery.message.release
        tags = release if isinstance(release, tuple) else (release,)
        if all(isinstance(tag, Visible) for tag in tags):
            self.seen.extend((model.params, {model.state: 1.0}) for model in shown(delivery.message))

    def _sums(self, opened: Mapping[tuple[int, int], list[Vector]]) -> None:
        """Add sums that members opened, with their terms in the record.

        If one aggregator opened, or could have opened, several sums in a round, they cannot be told apart, and none
        is used.
        """
        released: dict[tuple[int, int], list[Release]] = {}
        for entry in self.lineage.entries:
            if isinstance(entry, Release) and entry.of_sum and entry.node in self.members:
                released.setdefault((entry.node, entry.round), []).append(entry)
        for key, values in opened.items():
            entries = released.get(key, [])
            if len(values) == len(entries) == 1:
                terms: dict[int, float] = {}
                for state, coef in zip(entries[0].parents, entries[0].coefs, strict=True):
                    terms[state] = terms.get(state, 0.0) + coef
                self.seen.append((values[0], terms))

    def look(self, victim: int, signs: Sequence[int]) -> Look:
        """Apply the best linear test to what was seen."""
        record = read_record(self.lineage.record())
        rows = self._rows(record)
        own = np.isin(record.owner, list(self.members))
        mine = np.flatnonzero(record.owner == victim)
        kept = np.flatnonzero(rows[:, ~own].any(axis=1))
        moves = (
            self.clip
            * rows[np.ix_(kept, mine)]
            @ [float(signs[round % len(signs)]) for round in record.round[mine].tolist()]
        )
        covariance = _covariance(rows[kept][:, ~own], record.sigma[~own])
        weights = np.linalg.solve(covariance, moves)
        deviation = float(np.sqrt(weights @ covariance @ weights))
        direction = np.full(len(self.initial), len(self.initial) ** -0.5)
        values = [v.astype(np.float64) for v in self._values([self.seen[i][0] for i in kept.tolist()])]
        along = np.array([value @ direction for value in values])
        along -= self._origin(record)[kept] * float(self.initial.astype(np.float64) @ direction)
        known = np.zeros(len(record.owner))
        for member in self.members:
            drawn = [draw for noise in self.drawn.get(member, []) for draw in np.atleast_2d(noise)]
            known[record.owner == member] = [float(draw.astype(np.float64) @ direction) for draw in drawn]
        along -= rows[kept] @ known
        moved = float(weights @ moves) / deviation
        return Look(float(weights @ along) / deviation, moved, moved**2, len(kept))

    def signs(self, victim: int, rounds: int) -> list[int]:
        """Return the signs of a canary, by round.

        These are the signs that find noise used twice (:func:`~scenarios.audits.canaries.sign_of`), unless others
        move the test by far more; then the best signs that flipping single ones reaches.
        """
        record = read_record(self.lineage.record())
        rows = self._rows(record)
        own = np.isin(record.owner, list(self.members))
        kept = rows[:, ~own].any(axis=1)
        each = np.zeros((int(kept.sum()), rounds))
        for column in np.flatnonzero(record.owner == victim).tolist():
            each[:, record.round[column]] += rows[kept, column]
        gram = each.T @ np.linalg.solve(_covariance(rows[kept][:, ~own], record.sigma[~own]), each)
        alternating = np.array([float(sign_of(round)) for round in range(rounds)])
        starts = [np.ones(rounds), alternating, np.where(np.linalg.eigh(gram)[1][:, -1] < 0, -1.0, 1.0)]
        found = max((climbed(gram, start) for start in starts), key=lambda s: float(s @ gram @ s))
        if alternating @ gram @ alternating >= ENOUGH * float(found @ gram @ found):
            found = alternating
        return [ALONG if sign > 0 else AGAINST for sign in found.tolist()]

    def _rows(self, record: Record) -> Floats:
        """Return the coefficient of every contribution in every seen value: [values, columns]."""
        if OPAQUE in record.kinds:
            raise ConfigurationError(
                "the audit of views needs linear steps, and the record of this run has others; audit single updates "
                "(without --view)"
            )
        states = state_rows(record)
        found = np.zeros((len(self.seen), len(record.owner)))
        for row, (_, terms) in zip(found, self.seen, strict=True):
            for state, coef in terms.items():
                row += coef * states[state]
        return found

    def _origin(self, record: Record) -> Floats:
        """Return the coefficient of the public initial model in every seen value."""
        share = np.zeros(len(record.kinds))
        share[ORIGIN] = 1.0
        for state in range(1, len(share)):
            parents: Ints = np.array(record.parents[state], np.int64)
            coefs = np.ones(1) if record.column[state] >= 0 else np.asarray(record.coefs[state])
            share[state] = coefs @ share[parents]
        return np.array([sum(coef * share[state] for state, coef in terms.items()) for _, terms in self.seen])

    def _values(self, handles: Sequence[Any]) -> list[Vector]:
        deferred = [i for i, handle in enumerate(handles) if not isinstance(handle, np.ndarray)]
        read = self.executor.read([handles[i] for i in deferred])
        found = list(handles)
        for i, value in zip(deferred, read, strict=True):
            found[i] = value
        return found


def _covariance(rows: Floats, sigma: Floats) -> Floats:
    """Return the covariance of the noise and rounding of seen values."""
    scaled = rows * sigma
    covariance = scaled @ scaled.T
    return np.asarray(covariance + ROUNDING**2 * covariance.diagonal().max() * np.eye(len(rows)))


def climbed(gram: Floats, signs: Floats) -> Floats:
    """Flip the sign that raises sᵀ G s most until no flip raises it."""
    signs = signs.copy()
    while True:
        gains = gram.diagonal() - signs * (gram @ signs)
        best = int(np.argmax(gains))
        if not gains[best] > 1e-9 * float(gram.trace()):
            return signs
        signs[best] *= -1
