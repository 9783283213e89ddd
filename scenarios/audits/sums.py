"""Empirical lower bounds on what opened sums say, from attacks on the very noise and encoding their members run.

The game: the fewest honest members that a sum may have train from the public start, each with the run's learner and
as a node of the simulator that draws from streams of the run's names under the trial's seed, and encode their noised
updates as in a run, in every round. Nobody has data but one of them, who has, or has not, a canary whose contribution
is at the clipping norm, in a fixed direction and with a sign that changes from round to round (so that noise used
twice gives itself away). The attacker sees the opened sums, and adds up how far they lean towards the canary. It can
also play once with many canaries, each in a direction of its own and there with probability 1/2.
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
from scenarios.assembly.secure import Security, build_security
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
    """What members and their aggregator do in one sum; tests break it on purpose.

    Args:
        parts: of the run.
        scenario: whose.
        security: rules and encoding.
        members: who counts, the canary's first.
        weights: theirs.
        executor: of all trials.
        lineage: of the trial under way.
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
        """By sign of the canary, how members train, but for where that is recorded."""
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
        """How a member trains in a round."""
        return replace(self.learners[sign], lineage=self.lineage)

    async def update(self, node: Node, sign: int, round: int) -> Model:
        """What training changes, as a member hands it to its sum."""
        learner = self.learner(node, sign, round)
        after = await learner.local_update(node, learner.start, round)
        change = await learner.combine(node, round, [(1.0, after), (-1.0, learner.start)])
        return ExcessNoise(node, learner, self.security.rules).noised(round, change)

    def said(self, node: Node, weight: float, values: Vector, round: int) -> Words:
        """What a member adds to the sum."""
        words: Words = self.security.rules.encoding.encode(values, [weight], node, round)[0]
        return words

    def shown(self, words: Sequence[Words], round: int) -> Vector:
        """What the aggregator sees."""
        modulus = self.security.rules.encoding.modulus
        total = np.zeros_like(words[0])
        for one in words:
            modulus.add(total, one)
        return self.security.rules.encoding.decode(total, round)

    def nodes(self, trial: tuple[str | int, ...]) -> list[Node]:
        """The members, in a world of the trial's seed."""
        count = max(self.members) + 1
        seed = int.from_bytes(streams.digest(self.scenario.seed, "audit", *trial, size=8), "little")
        world = World(
            seed=seed, neighbors=[()] * count, weights=csr_array(np.eye(count)), executor=self.executor
        )
        kernel = Kernel(world, LinkModel(constant(0.0), 1e9), _nothing)
        return [kernel.nodes[member] for member in self.members]


async def _nothing(node: Node) -> None:
    """No program: members are asked one by one."""


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing.

    Raises:
        ContractError: it waits.
    """
    try:
        work.send(None)
    except StopIteration as over:
        result: T = over.value
        return result
    work.close()
    raise ContractError("a member's update takes virtual time, and nothing moves the clock of an audit")


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
        trials: runs of each arm, half of which choose the threshold; or canaries of the one run.
        on_progress: called with (fraction done, text).
        made_of: the pipeline.
        one_run: play once.

    Returns:
        Quantity -> value, for a table.

    Raises:
        ConfigurationError: nothing to audit, or more canaries than coordinates.

    Guarantees:
        The claim is the ledger's, for the record that the members' learner kept of these very sums. A true one is
        called violated with probability at most 5 %. That of one run is the ledger's for a single round.
    """
    scenario = loaded.scenario
    privacy, secure = scenario.privacy, scenario.secure
    if privacy is None or secure is None or scenario.protocol.exchange != "secure":
        raise ConfigurationError(f'{loaded.path}: opened sums are audited with exchange = "secure" alone')
    if not is_full_batch(scenario.training) and privacy.unit == "record":
        raise ConfigurationError(
            f"{loaded.path}: training.batch and training.rate leave a canary out of sums by chance; the audit of "
            'sums needs full batches, or privacy.unit = "node"'
        )
    if privacy.bands is not None or privacy.adaptive_clip is not None:
        raise ConfigurationError(
            f"{loaded.path}: the audit follows noise that is drawn afresh and a norm that stays; leave out "
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
    """The sum with the least honest noise that its rules allow, at the server or at the first honest node."""
    secure, protocol = scenario.secure, scenario.protocol
    assert secure is not None
    overlay, bank = parts.network.overlay, parts.bank
    aggregators = protocol.aggregators(overlay)
    aggregator = min(parts.honest.intersection(aggregators), default=aggregators[0])
    weights = protocol.members(overlay, bank.counts, aggregator)
    security = build_security(scenario, parts.learning, overlay, bank.counts, frozenset())
    counted = secure.per_position(protocol.asked(len(weights))) - secure.colluders
    # The canary is in the heaviest vector, the noise in the lightest ones.
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
    """What a canary adds to its member's update, (d,): the run's own update without noise, with it less without."""
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
        if privacy.adjacency == "replace":  # the middle between the two is where the attacker looks from
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
    """One sum with many canaries: each is what one record or node would add, in a direction of its own."""
    privacy = scenario.privacy
    assert privacy is not None
    directions = _directions(scenario, pipeline, canaries)
    drawn = streams.generator(scenario.seed, "audit", "canaries").random(canaries) < 0.5
    # Added to the opened sum, which is linear in what members say: nobody's own range has room for all of them.
    (seen,), entries = _sums(pipeline, ("once",), [NOTHING])
    size = pipeline.parts.learner.gain * privacy.clip * pipeline.weights[0]
    leaning = directions @ seen.astype(np.float64) + size * drawn - size / 2
    on_progress(1.0, f"{canaries} canaries")
    # How many to guess is fixed beforehand: the surest tenth, which is about best for one to a few of mu.
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
    """Orthonormal directions: single coordinates, drawn without repetition."""
    size = pipeline.parts.learner.operations.task.size
    if count > size:
        raise ConfigurationError(
            f"one run has room for {size} canaries, one for each parameter; {count} were asked for"
        )
    chosen = streams.generator(scenario.seed, "audit", "directions").choice(size, count, replace=False)
    directions = np.zeros((count, size))
    directions[np.arange(count), chosen] = 1.0
    return directions
