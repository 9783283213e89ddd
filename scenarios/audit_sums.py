"""Empirical lower bounds on what opened sums say, from attacks on the very noise and encoding their members run.

The game: the fewest honest members that a sum may have contribute their noise, encoded as in a run, in every round;
one of them contributes, or does not, a canary of the largest size that clipping allows, in a direction the attacker
chose and with a sign that changes from round to round (so that noise used twice gives itself away). The attacker sees
the opened sums, and adds up how far they lean towards the canary. It can also play once with many canaries, each in a
direction of its own and there with probability 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.learning.executor import BatchedExecutor
from protocols.privacy.accounting import epsilon_of, shift_factor
from protocols.privacy.lower_bound import epsilon_from_errors, epsilon_if_gaussian, epsilon_one_run
from protocols.sharing.modulus import Words
from scenarios.attack_errors import errors
from scenarios.build import Parts, build
from scenarios.build_learner import update_weights
from scenarios.build_secure import Security, build_security
from scenarios.load import Loaded
from scenarios.protocol_tables import FedavgProtocol
from scenarios.schema import Scenario
from scenarios.secure_facts import asked, per_position
from scenarios.training_facts import has_integer_noise, sums_in_all
from simulator import streams
from simulator.compute import Vector
from simulator.errors import ConfigurationError, SottovoceError


@dataclass
class Clerk:
    """As much of a node as encoding needs, in one trial.

    Args:
        id: which member.
        seed: of the scenario.
        trial: names the trial.
    """

    id: int
    seed: int
    trial: tuple[object, ...]
    disk: dict[Any, Any] = field(default_factory=dict)

    def rng(self, purpose: str, *key: int) -> np.random.Generator:
        """A stream of this trial."""
        return streams.generator(self.seed, "audit", str(self.trial), self.id, purpose, *key)

    def secret(self, purpose: str, size: int) -> bytes:
        """Secret bytes of this trial."""
        return self.rng(f"secret {purpose}").bytes(size)


@dataclass(frozen=True)
class Pipeline:
    """What members and their aggregator do in one sum; tests break it on purpose.

    Args:
        parts: of the run.
        security: rules and encoding.
        members: who counts, the canary's first.
        weights: theirs.
    """

    parts: Parts
    security: Security
    members: Sequence[int]
    weights: Sequence[float]

    def noise(self, clerk: Clerk, round: int) -> Vector:
        """A member's noise as it enters its vector, none if the encoding adds it."""
        learner = self.parts.learner
        drawn = learner.noise(clerk.id, clerk.rng("noise", round))
        summed: Vector = drawn if drawn.ndim == 1 else drawn.sum(axis=0)
        return np.float32(learner.gain) * summed

    def said(self, clerk: Clerk, weight: float, canary: Vector, round: int) -> Words:
        """What a member adds to the sum."""
        values = self.noise(clerk, round) + canary
        words: Words = self.security.rules.encoding.encode(values, [weight], clerk, round)[0]  # type: ignore[arg-type]
        return words

    def shown(self, words: Sequence[Words], round: int, clerk: Clerk) -> Vector:
        """What the aggregator sees."""
        modulus = self.security.rules.encoding.modulus
        total = np.zeros_like(words[0])
        for one in words:
            modulus.add(total, one)
        return self.security.rules.encoding.decode(total, round)


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
        SottovoceError: a lower bound exceeds the claim.
    """
    scenario = loaded.scenario
    privacy, secure = scenario.privacy, scenario.secure
    if privacy is None or secure is None or scenario.protocol.exchange != "secure":
        raise ConfigurationError(f'{loaded.path}: opened sums are audited with exchange = "secure" alone')
    parts = build(scenario, BatchedExecutor(), loaded.path.parent)
    pipeline = _pipeline(scenario, parts, made_of)
    rounds = sums_in_all(scenario)
    norm = parts.learner.gain * privacy.clip
    claimed = claim(scenario, parts, pipeline, 1 if one_run else rounds)
    if one_run:
        found = _once(scenario, pipeline, norm, trials, on_progress)
    else:
        found = _often(scenario, pipeline, norm, trials, rounds, on_progress)
    lower = max(value for key, value in found.items() if key.startswith("lower bound"))
    table = {
        "unit": privacy.unit,
        "audited relation": "zero-out",
        "members counted on": len(pipeline.members),
        "rounds": 1 if one_run else rounds,
        f"claimed epsilon ({privacy.adjacency})": claimed,
        **found,
        "delta": privacy.delta,
    }
    if lower > claimed:
        raise SottovoceError(
            f"the audit contradicts the mechanism: an attack on opened sums proves epsilon >= {lower:.3f} with 95 % "
            f"confidence, the noise is to give {claimed:.3f}; one audit in "
            "twenty errs by chance, so repeat it with another --seed"
        )
    return table


def claim(scenario: Scenario, parts: Parts, pipeline: Pipeline, rounds: int) -> float:
    """ε of the sums as the scenario sizes their noise, not as it was drawn."""
    privacy = scenario.privacy
    assert privacy is not None
    factor, weights = shift_factor(privacy.adjacency), np.array(pipeline.weights)
    shift = factor * parts.learner.gain * privacy.clip * weights[0]
    law = pipeline.security.law
    if law is not None:
        variance = law.member_sigma**2 * float(weights @ weights)
        curve = law.curve(shift, variance, privacy.unit, privacy.adjacency)
        return law.epsilon(rounds * curve, privacy.delta)
    if privacy.noise == "sum" and privacy.noise_multiplier is not None:
        return epsilon_of(rounds * (factor / privacy.noise_multiplier) ** 2, privacy.delta)
    sigma = np.array([parts.learner.sigma[member] for member in pipeline.members]) * parts.learner.gain
    return epsilon_of(rounds * shift**2 / float((weights**2) @ sigma**2), privacy.delta)


def _pipeline(scenario: Scenario, parts: Parts, made_of: type[Pipeline]) -> Pipeline:
    """The sum with the least honest noise that its rules allow, at the server or at the first honest node."""
    secure, protocol = scenario.secure, scenario.protocol
    assert secure is not None
    overlay, bank = parts.network.overlay, parts.bank
    shares: Sequence[float] = ()
    if isinstance(protocol, FedavgProtocol):
        shares = update_weights(protocol, bank.counts)
        weights = dict(enumerate(shares))
        del weights[0]
    else:
        links = overlay.links(min(parts.honest), 0)
        weights = dict(zip(links.sources, [links.weights[v] for v in links.sources], strict=True))
    security = build_security(scenario, parts.learning, overlay, max(bank.counts), shares, frozenset())
    counted = per_position(secure, asked(scenario, len(weights))) - secure.colluders
    # The canary is in the heaviest vector, the noise in the lightest ones.
    ordered = sorted(weights, key=lambda v: (weights[v], v))
    members = [ordered[-1], *ordered[: counted - 1]]
    return made_of(parts, security, members, [weights[v] for v in members])


def _sum(
    scenario: Scenario, pipeline: Pipeline, trial: tuple[object, ...], round: int, canary: Vector
) -> Vector:
    """One opened sum."""
    none = np.zeros_like(canary)
    clerks = [Clerk(member, scenario.seed, trial) for member in pipeline.members]
    words = [
        pipeline.said(clerk, weight, canary if at == 0 else none, round)
        for at, (clerk, weight) in enumerate(zip(clerks, pipeline.weights, strict=True))
    ]
    return pipeline.shown(words, round, clerks[0])


def _often(
    scenario: Scenario,
    pipeline: Pipeline,
    norm: float,
    trials: int,
    rounds: int,
    on_progress: Callable[[float, str], None],
) -> dict[str, Any]:
    privacy = scenario.privacy
    assert privacy is not None
    direction = _directions(scenario, pipeline, 1)[0]
    scores = {}
    for arm in (False, True):
        scores[arm] = np.zeros(trials)
        for trial in range(trials):
            for round in range(rounds):
                sign = 1.0 if round % 2 == 0 else -1.0
                canary = np.float32(sign * norm * arm) * direction
                seen = _sum(scenario, pipeline, (arm, trial), round, canary.astype(np.float32))
                scores[arm][trial] += sign * float(seen.astype(np.float64) @ direction)
            if trial % 16 == 0:
                on_progress((arm + trial / trials) / 2, f"{trial} of {trials} trials of an arm")
    found: dict[str, Any] = {"trials per arm (half to choose the threshold)": trials}
    bounds = {"any mechanism": epsilon_from_errors}
    if not has_integer_noise(scenario):
        bounds["Gaussian trade-off"] = epsilon_if_gaussian
    for name, bound in bounds.items():
        counts = errors(scores[False], scores[True], partial(bound, delta=privacy.delta))
        found[f"lower bound, {name} (95 %)"] = bound(counts, privacy.delta)
        found[f"false positive and negative rates, {name}"] = (
            f"{counts.false_positives / counts.negatives:.3g}, {counts.false_negatives / counts.positives:.3g}"
        )
    return found


def _once(
    scenario: Scenario,
    pipeline: Pipeline,
    norm: float,
    canaries: int,
    on_progress: Callable[[float, str], None],
) -> dict[str, Any]:
    """One sum with many canaries: each is what one record or node would add, in a direction of its own."""
    privacy = scenario.privacy
    assert privacy is not None
    directions = _directions(scenario, pipeline, canaries)
    drawn = streams.generator(scenario.seed, "audit", "canaries").random(canaries) < 0.5
    # Added to the opened sum, which is linear in what members say: nobody's own range has room for all of them.
    seen = _sum(scenario, pipeline, ("once", 0), 0, np.zeros(directions.shape[1], np.float32))
    size = norm * pipeline.weights[0]
    leaning = directions @ seen.astype(np.float64) + size * drawn - size / 2
    on_progress(1.0, f"{canaries} canaries")
    # How many to guess is fixed beforehand: the surest tenth, which is about best for one to a few of mu.
    guessed = np.argsort(-np.abs(leaning))[: max(1, canaries // 10)]
    right = int(((leaning[guessed] > 0) == drawn[guessed]).sum())
    return {
        "lower bound, one run (95 %)": epsilon_one_run(canaries, len(guessed), right, privacy.delta),
        "canaries": canaries,
        "guesses": len(guessed),
        "right guesses": right,
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
