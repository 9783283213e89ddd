"""Empirical lower bounds on what a coalition learns from all it sees in whole runs, beside the ledger's figures.

The game: the scenario is run as it is (its protocol, masks, links, faults and noise), again and again, each time
under a seed of the trial's own. Nobody has data but the victim, who has, or has not, a canary whose contribution is
at the clipping norm, in one direction and with a sign for each round. What others learn from their data would move a
view by amounts that the open-loop figure holds fixed, and an attacker who knows them takes off; so they are left out,
and the recorded linear map is all there is to know. The attacker has the values that members of the coalition really
read (models in the clear and opened sums), takes off the noise that members added themselves, weights what is left by
the best linear test for the map of that run, and decides.

A loss above the open-loop figure then means that noise is missing, repeated, known to the coalition, or not where the
record says. Data-dependent training can lose more than the open-loop figure without any bug (docs/privacy.md); this
game says nothing about that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import shown
from protocols.learning.executor import BatchedExecutor
from protocols.learning.operations import Operations
from protocols.privacy.accounting import epsilon_of, shift_factor
from protocols.privacy.ledger import CERTIFIED, OPEN_LOOP, Claim, account
from protocols.privacy.lineage import OPAQUE, ORIGIN, RELEASE, SUM, Entry, Lineage, Visible
from protocols.privacy.linear_view import Floats, Ints, Record, read_record, state_rows
from protocols.privacy.lower_bound import GaussianClaim
from scenarios.build import Parts, build
from scenarios.build_protocol import build_program
from scenarios.canaries import AGAINST, ALONG, NOTHING, operations_with, sign_of
from scenarios.load import Loaded
from scenarios.protocol_tables import CentralisedProtocol
from scenarios.schema import Scenario
from scenarios.training_facts import has_integer_noise, has_mechanism, is_full_batch
from scenarios.verdict import Trials, judge
from simulator import streams
from simulator.adversary import Adversary
from simulator.compute import Vector
from simulator.errors import ConfigurationError
from simulator.kernel import Kernel
from simulator.node import Delivery, Node
from simulator.world import World

ENOUGH = 0.8
"""Of the best loss: signs that find noise used twice are taken if they reach as much."""
TOGETHER = 16
"""Trials whose mathematics are carried out together."""
ROUNDING = 1e-5
"""Rounding of what is seen, relative to the standard deviation of the noisiest sight: no test relies on less."""
WORTH_PROCESSES = 64
"""Trials from which it pays to start processes."""


def audit_view(
    loaded: Loaded,
    coalition: Sequence[int],
    *,
    trials: int,
    on_progress: Callable[[float, str], None],
    victim: int | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Play the game ``trials`` times with and ``trials`` times without the canary.

    Args:
        loaded: the scenario; its [data] say how many samples there are, and nothing else.
        coalition: nodes that pool what they see and know.
        trials: runs of each arm; half choose the threshold, half are counted.
        on_progress: called with (fraction done, text).
        victim: whose canary; by default the node that loses most.
        jobs: processes.

    Returns:
        Quantity -> value, for a table: the ledger's figures for the coalition and the victim, the lower bounds, what
        would have been noticed, and the verdict.

    Raises:
        ConfigurationError: nothing to audit.

    Guarantees:
        Threat model: the members are curious, pool everything and know their own noise. The verdict is about the
        open-loop figure, for gradients that do not depend on models; where it holds it is called violated with
        probability at most 5 %.
    """
    scenario, members = loaded.scenario, frozenset(coalition)
    parts = build(scenario, BatchedExecutor(), loaded.path.parent)
    _check(loaded, parts, members, victim)
    privacy = scenario.privacy
    assert privacy is not None
    somebody = min(parts.honest - members) if victim is None else victim
    pilot = _Trial.play(_Table.of(scenario, parts, members, somebody), "pilot", 0, [NOTHING])
    claims = _claims(scenario, pilot.lineage.record(), members, parts)
    if victim is None:
        victim = max(claims[OPEN_LOOP].items(), key=lambda item: (item[1].mu2 or 0.0, -item[0]))[0]
    claim, certified = claims[OPEN_LOOP][victim], claims[CERTIFIED][victim]
    assert claim.mu2 is not None
    if not 0 < claim.mu2 < np.inf:
        raise ConfigurationError(
            f"{loaded.path}: the open-loop figure of node {victim} towards {claim.observers} is "
            f"{claim.epsilon:g}, which no attack can refute; choose another victim or coalition"
        )
    game = _Game(scenario, loaded.path.parent, members, victim, pilot.signs(victim, scenario.protocol.rounds))
    arms = {}
    for arm in (False, True):
        starts = range(0, trials, TOGETHER)
        blocks = [range(start, min(start + TOGETHER, trials)) for start in starts]
        on_progress(arm / 2, f"{trials} runs {'with' if arm else 'without'} canary")
        if jobs > 1 and 2 * trials >= WORTH_PROCESSES:
            chunks = [blocks[first::jobs] for first in range(min(jobs, len(blocks)))]
            found = Parallel(n_jobs=jobs)(delayed(_in_process)(game, chunk, arm) for chunk in chunks)
            looks = [look for some in found for look in some]
        else:
            looks = []
            for block in blocks:
                looks += game.play(parts, block, arm)
                on_progress((arm + len(looks) / trials) / 2, f"{len(looks)} of {trials} runs of an arm")
        arms[arm] = _trials(looks, arm, privacy.adjacency)
    best = float(np.mean([look.loss for look in looks]))
    factor = shift_factor(privacy.adjacency)
    return {
        "unit": privacy.unit,
        "coalition": claim.observers,
        "victim": victim,
        "delta": privacy.delta,
        f"certified epsilon ({privacy.adjacency})": certified.epsilon,
        f"open-loop epsilon ({privacy.adjacency})": claim.epsilon,
        "epsilon of this attack, if noise is as recorded": epsilon_of(factor**2 * best, privacy.delta),
        "trials per arm (half to choose the threshold)": trials,
        "sights used": looks[0].count,
        **judge(arms[False], arms[True], GaussianClaim(claim.mu2), privacy.delta),
    }


def _check(loaded: Loaded, parts: Parts, members: frozenset[int], victim: int | None) -> None:
    """Refuse what has no linear view, or is not honest.

    Raises:
        ConfigurationError: with what to change.
    """
    scenario, where = loaded.scenario, loaded.path
    privacy, nodes = scenario.privacy, len(parts.neighbors)
    if privacy is None or not has_mechanism(scenario) or isinstance(scenario.protocol, CentralisedProtocol):
        raise ConfigurationError(
            f"{where}: nothing to audit: without [privacy] and noise epsilon is infinite"
        )
    if has_integer_noise(scenario):
        raise ConfigurationError(
            f'{where}: privacy.law = "{privacy.law}" has no linear view; audit its sums (--sums)'
        )
    for key, used in (
        ("correlated", privacy.correlated),
        ("bands", privacy.bands),
        ("adaptive_clip", privacy.adaptive_clip),
    ):
        if used is not None:
            raise ConfigurationError(
                f"{where}: the audit of views follows noise that each node draws for itself, afresh in every round, "
                f"and a norm that stays; leave out privacy.{key}"
            )
    if not is_full_batch(scenario.training):
        raise ConfigurationError(
            f"{where}: training.batch and training.rate leave the canary out of updates by chance, and the open-loop "
            "figure does not count on it; audit views with full batches"
        )
    if parts.cast.dishonest or any(table.enabled for table in scenario.adversary.tamper):
        raise ConfigurationError(
            f"{where}: the audit of views is for honest runs; switch adversary.byzantine, sybil and tamper off"
        )
    strangers = sorted(node for node in {*members, *(() if victim is None else (victim,))} if node >= nodes)
    if strangers:
        raise ConfigurationError(
            f"{where}: node {strangers[0]} does not exist; this scenario has {nodes} nodes"
        )
    if victim in members or len(members) == nodes:
        raise ConfigurationError(
            f"--victim: node {victim} is in the coalition, which knows its data; choose a node outside it"
        )


def _claims(
    scenario: Scenario, entries: list[Entry], members: frozenset[int], parts: Parts
) -> dict[str, dict[int, Claim]]:
    """By basis and victim, what the ledger says at the end of a run.

    Raises:
        ConfigurationError: it has no open-loop figures.
    """
    privacy = scenario.privacy
    assert privacy is not None
    found: dict[str, dict[int, Claim]] = {CERTIFIED: {}, OPEN_LOOP: {}}
    for claim in account(
        entries,
        victims=sorted(parts.honest - members),
        observers=[tuple(sorted(members))],
        uncredited=frozenset(),
        unit=privacy.unit,
        adjacency=privacy.adjacency,
        delta=privacy.delta,
        times_s=[max(entry.t_s for entry in entries)],
    ):
        found.setdefault(claim.basis, {})[claim.victim] = claim
    if not found[OPEN_LOOP]:
        raise ConfigurationError(
            "the ledger has no open-loop figure for this coalition: something non-linear lies between, or the run is "
            "too large; audit fewer rounds, or single updates (without --view)"
        )
    return found


@dataclass(frozen=True)
class _Look:
    """What the attacker makes of one trial.

    Args:
        score: in units of its own standard deviation, if noise is as recorded.
        canary: by how much a canary of one clipping norm would move it.
        loss: μ² of the attack on these terms.
        count: sights used.
    """

    score: float
    canary: float
    loss: float
    count: int


def _trials(looks: Sequence[_Look], present: bool, adjacency: str) -> Trials:
    """All trials of one arm; with ``replace`` neighbours stand a clipping norm to either side of nothing."""
    scores = np.array([[look.score] for look in looks])
    size = np.array([[look.canary] for look in looks]) * shift_factor(adjacency)
    if adjacency == "replace":
        scores = scores + size / 2
    return Trials(size * present, scores - size * present, size)


@dataclass(frozen=True)
class _Game:
    """What processes need to play.

    Args:
        scenario: what is run.
        base: where its files are.
        members: the coalition.
        victim: whose canary.
        signs: of the canary, by round.
    """

    scenario: Scenario
    base: Path
    members: frozenset[int]
    victim: int
    signs: Sequence[int]

    def play(self, parts: Parts, trials: range, present: bool) -> list[_Look]:
        """Some trials of one arm, their mathematics together."""
        adjacency = self.scenario.privacy.adjacency  # type: ignore[union-attr]
        factor = 1 if present else AGAINST if adjacency == "replace" else NOTHING
        table = _Table.of(self.scenario, parts, self.members, self.victim)
        signs = [sign * factor for sign in self.signs]
        played = [_Trial.play(table, int(present), trial, signs) for trial in trials]
        return [trial.look(self.victim, self.signs) for trial in played]


def _in_process(game: _Game, blocks: Sequence[range], present: bool) -> list[_Look]:
    parts = build(game.scenario, BatchedExecutor(), game.base)
    return [look for block in blocks for look in game.play(parts, block, present)]


@dataclass(frozen=True)
class Noted(Learner):
    """A learner that keeps the noise that it draws, for those who know it.

    Args:
        drawn: by node, its draws in order.
    """

    drawn: dict[int, list[Vector]] = field(default_factory=dict)

    def noise(self, node: int, rng: np.random.Generator) -> Vector:
        """As every learner."""
        vector = super().noise(node, rng)
        self.drawn.setdefault(node, []).append(vector)
        return vector


@dataclass(frozen=True)
class WithCanary(Learner):
    """How nodes train when nobody has data but the victim, who has a canary.

    Args:
        by_sign: by sign of the canary, the learner.
        victim: who has it.
        signs: of it, by round; repeated when they are used up.
    """

    by_sign: Mapping[int, Learner] = field(default_factory=dict)
    victim: int = -1
    signs: Sequence[int] = ()

    async def merge_update(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
        """As the learner of the round's sign."""
        sign = self.signs[round % len(self.signs)] if node.id == self.victim else NOTHING
        return await self.by_sign[sign].merge_update(node, round, terms)


@dataclass(frozen=True)
class _Table:
    """What trials share whose mathematics are carried out together.

    Args:
        scenario: what is run.
        parts: of it.
        members: the coalition.
        victim: whose canary.
        clip: the clipping norm.
        operations: by sign of the canary.
        executor: of all.
    """

    scenario: Scenario
    parts: Parts
    members: frozenset[int]
    victim: int
    clip: float
    operations: Mapping[int, Operations]
    executor: BatchedExecutor

    @classmethod
    def of(cls, scenario: Scenario, parts: Parts, members: frozenset[int], victim: int) -> _Table:
        """A new one."""
        privacy = scenario.privacy
        assert privacy is not None
        operations = {
            sign: operations_with(parts.learner.operations, victim, "gradient", sign, privacy, alone=True)
            for sign in (ALONG, AGAINST, NOTHING)
        }
        return cls(scenario, parts, members, victim, privacy.clip, operations, BatchedExecutor())


@dataclass(frozen=True)
class _Trial:
    """One run, and what the coalition saw in it.

    Args:
        lineage: its record.
        drawn: every node's noise, in order; only that of members is looked at.
        members: the coalition.
        initial: the public start.
        seen: (value, coefficient by state) of every sight whose value a member has.
        clip: the clipping norm.
        executor: has the values.
    """

    lineage: Lineage
    drawn: dict[int, list[Vector]]
    members: frozenset[int]
    initial: Vector
    seen: list[tuple[Any, dict[int, float]]]
    clip: float
    executor: BatchedExecutor

    @classmethod
    def play(cls, table: _Table, arm: str | int, trial: int, signs: Sequence[int]) -> _Trial:
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
        """A member reads a message that shows models."""
        release = delivery.message.release
        tags = release if isinstance(release, tuple) else (release,)
        if all(isinstance(tag, Visible) for tag in tags):
            self.seen.extend((model.params, {model.state: 1.0}) for model in shown(delivery.message))

    def _sums(self, opened: Mapping[tuple[int, int], list[Vector]]) -> None:
        """Sums that members have opened, with what the record says was in them.

        Where several of one aggregator and round were opened, or could have been, it is not known which is which, and
        none is looked at.
        """
        released: dict[tuple[int, int], list[Entry]] = {}
        for entry in self.lineage.entries:
            if entry.kind == RELEASE and entry.id == SUM and entry.node in self.members:
                released.setdefault((entry.node, entry.round), []).append(entry)
        for key, values in opened.items():
            entries = released.get(key, [])
            if len(values) == len(entries) == 1:
                terms: dict[int, float] = {}
                for state, coef in zip(entries[0].parents, entries[0].coefs, strict=True):
                    terms[state] = terms.get(state, 0.0) + coef
                self.seen.append((values[0], terms))

    def look(self, victim: int, signs: Sequence[int]) -> _Look:
        """The best linear test on what was seen."""
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
        return _Look(float(weights @ along) / deviation, moved, moved**2, len(kept))

    def signs(self, victim: int, rounds: int) -> list[int]:
        """The signs of a canary, by round.

        Those that find noise used twice (:func:`~scenarios.canaries.sign_of`), unless others move the test by far
        more: then the best that flipping single ones leads to.
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
        found = max((_climbed(gram, start) for start in starts), key=lambda s: float(s @ gram @ s))
        if alternating @ gram @ alternating >= ENOUGH * float(found @ gram @ found):
            found = alternating
        return [ALONG if sign > 0 else AGAINST for sign in found.tolist()]

    def _rows(self, record: Record) -> Floats:
        """How every contribution enters every sight: [sights, columns]."""
        if OPAQUE in record.kinds:
            raise ConfigurationError(
                "the record of this run has non-linear steps, and the audit of views follows linear ones; audit "
                "single updates (without --view)"
            )
        states = state_rows(record)
        found = np.zeros((len(self.seen), len(record.owner)))
        for row, (_, terms) in zip(found, self.seen, strict=True):
            for state, coef in terms.items():
                row += coef * states[state]
        return found

    def _origin(self, record: Record) -> Floats:
        """How strongly the public start enters every sight."""
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
    """Of the noise in sights, and of their rounding."""
    scaled = rows * sigma
    covariance = scaled @ scaled.T
    return np.asarray(covariance + ROUNDING**2 * covariance.diagonal().max() * np.eye(len(rows)))


def _climbed(gram: Floats, signs: Floats) -> Floats:
    """Flip the sign that raises sᵀ G s most until none does."""
    signs = signs.copy()
    while True:
        gains = gram.diagonal() - signs * (gram @ signs)
        best = int(np.argmax(gains))
        if not gains[best] > 1e-9 * float(gram.trace()):
            return signs
        signs[best] *= -1
