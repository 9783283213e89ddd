"""Empirical lower bounds on a scenario's ε, from attacks on the local updates of its nodes.

The game: one honest node trains for all rounds, with or without a canary among its data, and the attacker sees every
model it makes (the view of LDP gossip, which certified ε bounds). A trial is a run in a world of its own: the node is
a node of the simulator, calls the run's learner, and draws noise and batches from streams of the run's names under
the trial's seed, so a bug in any of these also affects the trial.

The attacker knows all other data, predicts each update with and without the canary, and sums the projections of the
real updates on the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from protocols.gossip.learner import Learner, Model
from protocols.learning.batches import NOBODY, Batches
from protocols.learning.executor import BatchedExecutor
from protocols.learning.operations import Operations
from protocols.privacy.accounting import shift_factor
from protocols.privacy.coalitions import CERTIFIED
from protocols.privacy.entries import Contribution, Entry
from protocols.privacy.ledger import account
from protocols.privacy.lineage import PUBLIC, Lineage, Visible
from protocols.privacy.lower_bound import DELTAS, GaussianClaim, ProfileClaim, Tested
from protocols.privacy.question import Question, RunFacts
from scenarios.audits.canaries import NOTHING, Canary, operations_with, sign_of
from scenarios.audits.verdict import Trials, judge, total
from scenarios.build import Parts, build
from scenarios.facts.training import (
    clips_whole_updates,
    has_integer_noise,
    has_mechanism,
    is_linear,
    sampling_rate,
    sums_per_round,
)
from scenarios.load import Loaded
from scenarios.schema import Scenario
from simulator import streams
from simulator.contract.compute import Vector
from simulator.contract.node import Node
from simulator.errors import ConfigurationError
from simulator.network.latency import constant
from simulator.network.links import LinkModel
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import World

BLOCK_CELLS = 20_000_000
"""Largest number of model parameters kept at a time; it limits how many trials are played together."""
MOST_TOGETHER = 64
AT_NORM = 0.99
"""Norm of a canary's contribution, in clipping norms, from which it counts as clipped."""


def audit(
    loaded: Loaded, *, trials: int, on_progress: Callable[[float, str], None], canary: Canary = "gradient"
) -> dict[str, Any]:
    """Play the game ``trials`` times with and ``trials`` times without the canary.

    Args:
        loaded: the scenario; it needs a [privacy] table and noise.
        trials: runs of each arm; half choose the threshold, half are counted.
        on_progress: called with (fraction done, text).
        canary: kind of canary.

    Returns:
        Quantity -> value, for a table: the ledger's ε for a node whose every model is seen, the lower bounds, how
        often the canary was at the clipping norm, the noise that would have been noticed, and the verdict.

    Raises:
        ConfigurationError: the scenario cannot be audited.

    Guarantees:
        Lower bounds hold with 95 % confidence, each for itself; the Gaussian one if the mechanism is Gaussian. A true
        claim is called violated with probability at most 5 %.
    """
    scenario = loaded.scenario
    _check(loaded)
    privacy = scenario.privacy
    assert privacy is not None
    game = _Game.of(scenario, build(scenario, BatchedExecutor(), loaded.path.parent), canary)
    played = {arm: game.play(arm, trials, on_progress) for arm in (False, True)}
    entries = played[True].entries
    claimed, tested = claim_of(scenario, game.parts, game.node, entries)
    present = played[True]
    sigma = game.parts.learner.sigma[game.node] * sums_per_round(scenario) ** 0.5
    rate = sampling_rate(scenario.training)
    secret = rate < 1 and privacy.unit == "record"
    # Without amplification in the claim, the attacker may know who was in a batch.
    looks = {
        arm: Trials(
            seen.size * seen.took_part * arm, seen.noise, seen.size if secret else seen.size * seen.took_part
        )
        for arm, seen in played.items()
    }
    score = partial(likelihood, sigma=sigma, rate=rate) if secret and sums_per_round(scenario) == 1 else total
    found = judge(looks[False], looks[True], tested, privacy.delta, score)
    taken = present.took_part > 0
    norms = present.size[taken] / (shift_factor(privacy.adjacency) * privacy.clip * sums_per_round(scenario))
    measured = is_linear(scenario.training) or clips_whole_updates(scenario)
    single = measured and sums_per_round(scenario) == 1
    return {
        "unit": privacy.unit,
        "canary": canary,
        "node": game.node,
        f"claimed epsilon (certified, {privacy.adjacency})": claimed,
        "delta": privacy.delta,
        "trials per arm (half to choose the threshold)": trials,
        "fraction of rounds with the canary": float(taken.mean()),
        "fraction of these at the clipping norm": float((norms > AT_NORM).mean())
        if single
        else "not measured",
        "mean norm, in clipping norms": float(norms.mean()) if measured else "not measured",
        **found,
    }


def claim_of(scenario: Scenario, parts: Parts, node: int, entries: list[Entry]) -> tuple[float, Tested]:
    """Return the ledger's ε of a node in a record, and the claim that error rates can refute.

    Args:
        scenario: has unit, adjacency, δ and sampling.
        parts: of the run.
        node: the node whose data are protected.
        entries: the record.
    """
    privacy = scenario.privacy
    assert privacy is not None

    facts = RunFacts(parts.cast.corrupt, parts.law, sampling_rate(scenario.training))

    def claims(delta: float) -> Any:
        end_s = max(entry.t_s for entry in entries)
        question = Question([node], [(PUBLIC,)], privacy.unit, privacy.adjacency, delta, [end_s])
        found = account(entries, question, facts)
        return next(claim for claim in found if claim.basis == CERTIFIED)

    claim = claims(privacy.delta)
    if claim.mu2 is not None:
        return claim.epsilon, GaussianClaim(claim.mu2)
    return claim.epsilon, ProfileClaim.of(lambda delta: claims(delta).epsilon, [privacy.delta, *DELTAS])


def likelihood(seen: Vector, size: Vector, *, sigma: float, rate: float) -> Vector:
    """Return the log-likelihood ratio of looks with and without a canary that is sampled with some probability.

    Args:
        seen: (trials, looks) projections of updates on the canary.
        size: (trials, looks) shifts of the projections by a canary that takes part.
        sigma: standard deviation of the noise in each.
        rate: probability that the canary takes part.
    """
    exponent = (seen * size - size * size / 2) / sigma**2
    return np.asarray(np.logaddexp(np.log1p(-rate), np.log(rate) + exponent).sum(axis=1))


def _check(loaded: Loaded) -> None:
    """Check that updates of the scenario can be audited.

    Raises:
        ConfigurationError: they cannot; the message says which keys to change.
    """
    scenario = loaded.scenario
    privacy = scenario.privacy
    if privacy is None or not has_mechanism(scenario):
        raise ConfigurationError(
            f"{loaded.path}: there is nothing to audit without noise, since epsilon is infinite; add [privacy] and "
            "use "
            'exchange = "ldp" or "secure"'
        )
    if has_integer_noise(scenario):
        raise ConfigurationError(
            f'{loaded.path}: privacy.law = "{privacy.law}" adds noise to sums, not to updates; audit the sums '
            "(--sums)"
        )
    if scenario.training.optimizer_state != "fresh":
        raise ConfigurationError(
            f'{loaded.path}: training.optimizer_state must be "fresh" in audits, which predict single updates, got '
            f'"{scenario.training.optimizer_state}"; use "fresh"'
        )
    if privacy.bands is not None or privacy.adaptive_clip is not None:
        raise ConfigurationError(
            f"{loaded.path}: audits need independent noise in each round and a fixed clipping norm; leave out "
            "privacy.bands and privacy.adaptive_clip"
        )


@dataclass(frozen=True)
class _Played:
    """All trials of one arm, as (trials, rounds) arrays in units of the clipped sum.

    Args:
        size: distance between the updates with and without the canary.
        took_part: fraction of a round's steps with the canary, or its replacement, in their batch.
        noise: projection of the real update on the canary's direction, without the canary's own contribution.
        entries: the record of the first trial.
    """

    size: Vector
    took_part: Vector
    noise: Vector
    entries: list[Entry]


@dataclass(frozen=True)
class _Game:
    """Game about one node that trains alone.

    Args:
        scenario: seed, rounds and rules.
        parts: of the run.
        node: the node that trains.
        arms: operations it trains with, by (present, sign).
        sampled: whether a canary may be left out of a batch.
        last: index of the record that the canary replaces.
    """

    scenario: Scenario
    parts: Parts
    node: int
    arms: dict[tuple[bool, int], Operations]
    last: int

    @classmethod
    def of(cls, scenario: Scenario, parts: Parts, kind: Canary) -> _Game:
        """Return the game about the first honest node."""
        privacy = scenario.privacy
        assert privacy is not None
        node = min(parts.honest)
        operations = parts.learner.operations
        signs = (1, -1) if kind == "gradient" else (1,)
        other = -1 if privacy.adjacency == "replace" else NOTHING
        made = {
            sign: operations_with(operations, node, kind, sign, privacy)
            for sign in {*signs, *(s * other for s in signs)}
        }
        arms = {(True, sign): made[sign] for sign in signs} | {
            (False, sign): made[sign * other] for sign in signs
        }
        return cls(scenario, parts, node, arms, int(operations.bank.mask[node].sum()) - 1)

    def play(self, present: bool, trials: int, on_progress: Callable[[float, str], None]) -> _Played:
        """Play all trials of one arm."""
        rounds, size = self.scenario.protocol.rounds, self.parts.learner.operations.task.size
        together = min(MOST_TOGETHER, max(1, BLOCK_CELLS // (3 * rounds * size)))
        shape = (trials, rounds)
        found = _Played(np.zeros(shape), np.zeros(shape), np.zeros(shape), [])
        executor = BatchedExecutor()
        start = executor.constant(self.parts.learning.initial)
        for first in range(0, trials, together):
            block = range(first, min(first + together, trials))
            tables = [_Table(self, executor, Model(start, 0), present) for _ in block]
            for trial, table in zip(block, tables, strict=True):
                table.run(trial)
            for trial, table in zip(block, tables, strict=True):
                for round, (size_, part, noise) in enumerate(table.read()):
                    found.size[trial, round], found.took_part[trial, round] = size_, part
                    found.noise[trial, round] = noise
            if first == 0:
                found.entries.extend(tables[0].lineage.record())
            done = (present + block.stop / trials) / 2
            on_progress(done, f"{block.stop} of {trials} trials {'with' if present else 'without'} canary")
        return found


@dataclass(frozen=True)
class _Always:
    """Batches of a run, extended so that each contains one given record.

    Args:
        drawn: the run's batches.
        record: index of the record among the node's.
    """

    drawn: Batches
    record: int

    def draw(self, node: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Draw a batch as the run does, and append the record if it is missing."""
        rows = self.drawn.draw(node, rng)
        missing = ~(rows == self.record).any(axis=1)
        return np.column_stack([rows, np.where(missing, self.record, NOBODY)]).astype(np.int32)


def _always(operations: Operations, record: int) -> Operations:
    """Return operations whose batches all contain the record."""
    if not operations.recipe.sampled:
        return operations
    return replace(operations, batches=_Always(operations.batches, record), _built=operations._built)  # type: ignore[arg-type]


class _Table:
    """One trial."""

    def __init__(self, game: _Game, executor: BatchedExecutor, start: Model, present: bool) -> None:
        self.lineage = Lineage()
        self._game = game
        self._executor = executor
        self._start = start
        self._present = present
        learner = game.parts.learner
        self._real = {
            sign: replace(learner, operations=operations, lineage=self.lineage, start=start)
            for (arm, sign), operations in game.arms.items()
            if arm == present
        }
        # The same learner without noise predicts the update; it takes no virtual time, and its record is discarded.
        self._expected = {
            key: replace(
                learner,
                operations=_always(operations, game.last) if key[0] else operations,
                lineage=Lineage(),
                sigma=[0.0] * len(learner.sigma),
                step_cost_s=0.0,
                allowance=None,
            )
            for key, operations in game.arms.items()
        }
        self._seen: list[tuple[Any, Any, Any]] = []
        self._parts: list[float] = []

    def run(self, trial: int) -> None:
        """Train for all rounds in a world with the trial's seed."""
        game = self._game
        nodes = game.node + 1
        seed = int.from_bytes(
            streams.digest(game.scenario.seed, "audit", int(self._present), trial, size=8), "little"
        )
        world = World(
            seed=seed,
            neighbors=[()] * nodes,
            weights=csr_array(np.eye(nodes)),
            executor=self._executor,
        )
        Kernel(world, LinkModel(constant(0.0), 1e9), self._program).run()

    async def _program(self, node: Node) -> None:
        if node.id != self._game.node:
            return
        model, alternates = self._start, len(self._real) > 1
        for round in range(self._game.scenario.protocol.rounds):
            sign = sign_of(round) if alternates else 1
            after = await self._real[sign].local_update(node, model, round)
            if after is model:  # its budget is spent
                return
            with_it, without = [
                await self._expected[arm, sign].local_update(node, model, round) for arm in (True, False)
            ]
            self.lineage.delivered(node.now_s, PUBLIC, round, Visible(after.state))
            self._seen.append((after.params, with_it.params, without.params))
            self._parts.append(self._taken(node, self._real[sign], round))
            model = after

    def _taken(self, node: Node, learner: Learner, round: int) -> float:
        """Return the fraction of a round's steps whose batch contained the canary."""
        operations = learner.operations
        if not operations.recipe.sampled or self._game.scenario.privacy.unit == "node":  # type: ignore[union-attr]
            return 1.0
        batches = operations.batches.draw(node.id, node.rng("batch", round))
        return float((batches == self._game.last).any(axis=1).mean())

    def read(self) -> list[tuple[float, float, float]]:
        """Return, for each round, the distance of its two predictions, the fraction with canary, and the noise."""
        gains: dict[int, list[float]] = {}
        for entry in self.lineage.entries:
            if isinstance(entry, Contribution):
                gains.setdefault(entry.round, []).append(abs(entry.gain))
        found = []
        values = [v.astype(np.float64) for v in self._executor.read([v for seen in self._seen for v in seen])]
        for round in range(len(self._seen)):
            after, with_it, without = values[3 * round : 3 * round + 3]
            gain = float(np.sqrt(np.mean(np.square(gains[round]))))
            canary = with_it - without
            size = float(np.linalg.norm(canary))
            along = float((after - without) @ canary) / size if size > 0 else 0.0
            own = size * self._parts[round] * self._present
            found.append((size / gain, self._parts[round], (along - own) / gain))
        return found
