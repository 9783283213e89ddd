"""Empirical lower bounds on the loss of opened sums, from attacks on the noise and encoding of their members.

The game: the fewest honest members that a sum may have train from the public start in every round, and encode their
noised updates as in a run. Each is a node of the simulator with the run's learner, and draws from streams of the
run's names under the trial's seed. Only one of them has data: with or without a canary whose contribution has the
clipping norm, in a fixed direction and with a sign that changes from round to round (so that noise used twice is
found). The attacker sees the opened sums, and sums their projections on the canary. The game can also be played once
with many canaries, each in a direction of its own and present with probability 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from protocols.gossip.excess_noise import ExcessNoise
from protocols.gossip.learner import Learner, Model
from protocols.learning.executor import BatchedExecutor
from protocols.privacy.accounting import shift_factor
from protocols.privacy.entries import Entry
from protocols.privacy.lineage import ORIGIN, PUBLIC, Lineage, Opened
from protocols.privacy.lower_bound import epsilon_one_run
from protocols.sharing.modulus import Words
from scenarios.assembly.secure import Security, build_security, build_terms
from scenarios.audits.audit import claim_of
from scenarios.audits.canaries import AGAINST, ALONG, NOTHING, operations_with, sign_of
from scenarios.audits.verdict import CONSISTENT, VERDICT, VIOLATED, Trials, judge
from scenarios.build import Parts, build
from scenarios.facts.training import is_full_batch, sums_per_round
from scenarios.load import Loaded
from scenarios.schema import Scenario
from simulator import streams
from simulator.contract.compute import Vector
from simulator.contract.node import Node
from simulator.errors import ConfigurationError, ContractError
from simulator.network.latency import constant
from simulator.network.links import LinkModel
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import World

T = TypeVar("T")


@dataclass
class Pipeline:
    """Computations of members and aggregator in one sum; tests replace them by faulty ones.

    Args:
        parts: of the run.
        scenario: of the run.
        security: rules and encoding.
        members: the members that are counted on, the one with the canary first.
        weights: of the members.
        executor: of all trials.
        lineage: of the current trial.
    """

    parts: Parts
    scenario: Scenario
    security: Security
    members: Sequence[int]
    weights: Sequence[float]
    executor: BatchedExecutor = field(default_factory=BatchedExecutor)
    lineage: Lineage = field(default_factory=Lineage)

    @cached_property
    def learners(self) -> dict[int, Learner]:
        """Learners of members by sign of the canary, without a lineage."""
        privacy, learner = self.scenario.privacy, self.parts.learner
        assert privacy is not None
        start = Model(self.executor.constant(self.parts.learning.initial), ORIGIN)
        return {
            sign: replace(
                learner,
                operations=operations_with(
                    learner.operations, self.members[0], "gradient", sign, privacy, alone=True
                ),
                lineage=Lineage(),
                start=start,
                step_cost_s=0.0,
                allowance=None,
            )
            for sign in (ALONG, AGAINST, NOTHING)
        }

    def learner(self, node: Node, sign: int, round: int) -> Learner:
        """Return the learner of a member in a round."""
        return replace(self.learners[sign], lineage=self.lineage)

    async def update(self, node: Node, sign: int, round: int) -> Model:
        """Return a member's noised update, which it adds to its sum."""
        learner = self.learner(node, sign, round)
        after = await learner.local_update(node, learner.start, round)
        change = await learner.combine(node, round, [(1.0, after), (-1.0, learner.start)])
        return ExcessNoise(node, learner, self.security.rules).noised(round, change)

    def said(self, node: Node, weight: float, values: Vector, round: int) -> Words:
        """Return the encoded vector that a member adds to the sum."""
        words: Words = self.security.rules.encoding.encode(values, [weight], node, round)[0]
        return words

    def shown(self, words: Sequence[Words], round: int) -> Vector:
        """Return the opened sum that the aggregator sees."""
        modulus = self.security.rules.encoding.modulus
        total = np.zeros_like(words[0])
        for one in words:
            modulus.add(total, one)
        return self.security.rules.encoding.decode(total, round)

    def nodes(self, trial: tuple[str | int, ...]) -> list[Node]:
        """Return the members as nodes of a world with the trial's seed."""
        count = max(self.members) + 1
        seed = int.from_bytes(streams.digest(self.scenario.seed, "audit", *trial, size=8), "little")
        world = World(
            seed=seed, neighbors=[()] * count, weights=csr_array(np.eye(count)), executor=self.executor
        )
        kernel = Kernel(world, LinkModel(constant(0.0), 1e9), _nothing)
        return [kernel.nodes[member] for member in self.members]


async def _nothing(node: Node) -> None:
    """Do nothing: members are called one by one instead of running a program."""


def finished(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits.

    Raises:
        ContractError: the coroutine waits.
    """
    try:
        work.send(None)
    except StopIteration as over:
        result: T = over.value
        return result
    work.close()
    raise ContractError("a member's update must take no virtual time in an audit, whose clock stands still")


def audit_sums(
    loaded: Loaded,
    *,
    trials: int,
    on_progress: Callable[[float, str], None],
    made_of: type[Pipeline] = Pipeline,
    one_run: bool = False,
) -> dict[str, Any]:
    """Play the game ``trials`` times with and ``trials`` times without the canary, or once with ``trials`` canaries.

    Args:
        loaded: a scenario with exchange = "secure".
        trials: runs of each arm, half of which choose the threshold; or number of canaries of the one run.
        on_progress: called with (fraction done, text).
        made_of: the pipeline.
        one_run: play once, with many canaries.

    Returns:
        Quantity -> value, for a table.

    Raises:
        ConfigurationError: the scenario cannot be audited, or there are more canaries than coordinates.

    Guarantees:
        The claim is the ledger's, for the record of these sums. A true claim is called violated with probability at
        most 5 %. With ``one_run`` the claim is for a single round.
    """
    scenario = loaded.scenario
    privacy, secure = scenario.privacy, scenario.secure
    if privacy is None or secure is None or scenario.protocol.exchange != "secure":
        raise ConfigurationError(
            f'{loaded.path}: the audit of sums needs protocol.exchange = "secure"; use it'
        )
    if not is_full_batch(scenario.training) and privacy.unit == "record":
        raise ConfigurationError(
            f"{loaded.path}: the audit of sums needs full batches; remove training.batch and training.rate, or use "
            'privacy.unit = "node"'
        )
    if privacy.bands is not None or privacy.adaptive_clip is not None:
        raise ConfigurationError(
            f"{loaded.path}: audits need independent noise in each round and a fixed clipping norm; leave out "
            "privacy.bands and privacy.adaptive_clip"
        )
    pipeline = _pipeline(scenario, build(scenario, BatchedExecutor(), loaded.path.parent), made_of)
    found = (_once if one_run else _often)(scenario, pipeline, trials, on_progress)
    return {
        "unit": privacy.unit,
        "members counted on": len(pipeline.members),
        "delta": privacy.delta,
        **found,
    }


def _pipeline(scenario: Scenario, parts: Parts, made_of: type[Pipeline]) -> Pipeline:
    """Return the sum with the least honest noise that its rules allow, at the server or the first honest node."""
    secure, protocol = scenario.secure, scenario.protocol
    assert secure is not None
    overlay, bank = parts.network.overlay, parts.bank
    aggregators = protocol.aggregators(overlay)
    aggregator = min(parts.honest.intersection(aggregators), default=aggregators[0])
    weights = protocol.members(overlay, bank.counts, aggregator)
    terms = build_terms(scenario, overlay, bank.counts)
    security = build_security(terms, parts.learning, overlay, bank.counts, frozenset())
    counted = secure.per_position(protocol.asked(len(weights))) - secure.colluders
    # The canary is in the vector of largest weight, the noise in those of smallest weight.
    ordered = sorted(weights, key=lambda v: (weights[v], v))
    members = [ordered[-1], *ordered[: counted - 1]]
    return made_of(parts, scenario, security, members, [weights[v] for v in members])


def _sums(
    pipeline: Pipeline, trial: tuple[str | int, ...], signs: Sequence[int]
) -> tuple[list[Vector], list[Entry]]:
    """The opened sums of a trial's rounds, and the record of them."""
    lineage = pipeline.lineage = Lineage()
    nodes = pipeline.nodes(trial)
    said: list[list[Model]] = []
    for round, sign in enumerate(signs):
        canaries = [sign, *[NOTHING] * (len(nodes) - 1)]
        said.append(
            [finished(pipeline.update(node, own, round)) for node, own in zip(nodes, canaries, strict=True)]
        )
        terms = zip(pipeline.weights, said[-1], strict=True)
        lineage.delivered(0.0, PUBLIC, round, Opened(tuple((weight, model.state) for weight, model in terms)))
    values = iter(pipeline.executor.read([model.params for models in said for model in models]))
    opened = [
        pipeline.shown(
            [
                pipeline.said(node, weight, next(values), round)
                for node, weight in zip(nodes, pipeline.weights, strict=True)
            ],
            round,
        )
        for round in range(len(signs))
    ]
    return opened, lineage.record()


def _canary(pipeline: Pipeline) -> Vector:
    """Return a canary's contribution to its member's update, (d,): the update with it minus that without."""
    nodes = pipeline.nodes(("canary",))
    learners = pipeline.learners
    quiet = [
        replace(learners[sign], sigma=[0.0] * len(learners[sign].sigma), lineage=Lineage())
        for sign in (ALONG, NOTHING)
    ]
    models = [finished(learner.local_update(nodes[0], learner.start, 0)) for learner in quiet]
    with_it, without = pipeline.executor.read([model.params for model in models])
    return with_it.astype(np.float64) - without


def _often(
    scenario: Scenario, pipeline: Pipeline, trials: int, on_progress: Callable[[float, str], None]
) -> dict[str, Any]:
    privacy, rounds = scenario.privacy, scenario.protocol.rounds
    assert privacy is not None
    canary = _canary(pipeline)
    norm = float(np.linalg.norm(canary))
    direction = canary / norm
    signs = [sign_of(round) for round in range(rounds)]
    opposite = AGAINST if privacy.adjacency == "replace" else NOTHING
    size = np.full((trials, rounds), norm * pipeline.weights[0] * shift_factor(privacy.adjacency))
    seen: dict[bool, Trials] = {}
    entries: list[Entry] = []
    for arm in (False, True):
        looks = np.zeros((trials, rounds))
        for trial in range(trials):
            there = [sign * (1 if arm else opposite) for sign in signs]
            sums, record = _sums(pipeline, (int(arm), trial), there)
            entries = entries or record
            looks[trial] = [
                sign * float(s.astype(np.float64) @ direction) for sign, s in zip(signs, sums, strict=True)
            ]
            if trial % 16 == 0:
                on_progress((arm + trial / trials) / 2, f"{trial} of {trials} trials of an arm")
        if privacy.adjacency == "replace":  # scores are measured from the middle between the two arms
            looks += size / 2
        seen[arm] = Trials(size * arm, looks - size * arm, size)
    claimed, tested = claim_of(scenario, pipeline.parts, pipeline.members[0], entries)
    reach = pipeline.parts.learner.gain * privacy.clip * sums_per_round(scenario)
    return {
        "rounds": rounds,
        f"claimed epsilon ({privacy.adjacency})": claimed,
        "trials per arm (half to choose the threshold)": trials,
        "mean norm of the canary, in clipping norms": norm / reach,
        **judge(seen[False], seen[True], tested, privacy.delta),
    }


def _once(
    scenario: Scenario, pipeline: Pipeline, canaries: int, on_progress: Callable[[float, str], None]
) -> dict[str, Any]:
    """Audit one sum with many canaries, each a contribution of one record or node in a direction of its own."""
    privacy = scenario.privacy
    assert privacy is not None
    directions = _directions(scenario, pipeline, canaries)
    drawn = streams.generator(scenario.seed, "audit", "canaries").random(canaries) < 0.5
    # They are added to the opened sum, which is linear in the members' vectors: no member's range has room for all.
    (seen,), entries = _sums(pipeline, ("once",), [NOTHING])
    size = pipeline.parts.learner.gain * privacy.clip * pipeline.weights[0]
    leaning = directions @ seen.astype(np.float64) + size * drawn - size / 2
    on_progress(1.0, f"{canaries} canaries")
    # The number of guesses is fixed beforehand: the surest tenth, which is about best for mu from one to a few.
    guessed = np.argsort(-np.abs(leaning))[: max(1, canaries // 10)]
    right = int(((leaning[guessed] > 0) == drawn[guessed]).sum())
    claimed, _ = claim_of(scenario, pipeline.parts, pipeline.members[0], entries)
    lower = epsilon_one_run(canaries, len(guessed), right, privacy.delta)
    return {
        "rounds": 1,
        f"claimed epsilon ({privacy.adjacency})": claimed,
        "canaries": canaries,
        "guesses": len(guessed),
        "right guesses": right,
        "lower bound, one run (95 %)": lower,
        VERDICT: VIOLATED if lower > claimed else CONSISTENT,
    }


def _directions(scenario: Scenario, pipeline: Pipeline, count: int) -> NDArray[np.float64]:
    """Return orthonormal directions: single coordinates, drawn without repetition."""
    size = pipeline.parts.learner.operations.task.size
    if count > size:
        raise ConfigurationError(
            f"one run has room for {size} canaries, one for each parameter, got {count} trials; use fewer"
        )
    chosen = streams.generator(scenario.seed, "audit", "directions").choice(size, count, replace=False)
    directions = np.zeros((count, size))
    directions[np.arange(count), chosen] = 1.0
    return directions
