"""Empirical lower bounds on a scenario's ε, from attacks on the very update its nodes run.

The game: one honest node trains on its own data for all rounds, with or without a canary, and every model it
sends is seen (the view of LDP gossip, which certified ε is about). The attacker knows all other data, predicts
each update without the canary, and adds up how far the real one leans towards the canary's own contribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from protocols.learning.bank import Bank
from protocols.learning.executor import BatchedExecutor
from protocols.privacy.accounting import epsilon_of, shift_factor
from protocols.privacy.lower_bound import epsilon_from_errors, epsilon_if_gaussian
from scenarios.attack_errors import errors
from scenarios.build import build
from scenarios.build_learner import Learning
from scenarios.load import Loaded
from scenarios.privacy_tables import Privacy
from scenarios.schema import Scenario
from scenarios.training_facts import is_full_batch, sums_in_all
from simulator import streams
from simulator.compute import Vector
from simulator.errors import ConfigurationError, SottovoceError

CANARY_SCALE = 100.0
"""A canary's features are this large, so that its gradient is clipped at every model on the way."""
BLOCK = 64
"""Trials carried through the rounds together."""


def audit(loaded: Loaded, *, trials: int, on_progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Play the game ``trials`` times with and ``trials`` times without the canary.

    Args:
        loaded: the scenario; it needs a [privacy] table and noise.
        trials: runs of each arm; half choose the threshold, half are counted.
        on_progress: called with (fraction done, text).

    Returns:
        Quantity -> value, for a table: the claimed ε, the two lower bounds, and the attack's error rates.

    Raises:
        ConfigurationError: nothing to audit.
        SottovoceError: a lower bound exceeds the claim: implementation and accounting contradict each other.
    """
    scenario = loaded.scenario
    privacy = scenario.privacy
    if privacy is None or scenario.protocol.exchange == "plain":
        raise ConfigurationError(
            f"{loaded.path}: nothing to audit: without [privacy] and noise epsilon is infinite"
        )
    if scenario.training.optimizer_state != "fresh":
        raise ConfigurationError(
            f'{loaded.path}: the audit follows single updates; it needs training.optimizer_state = "fresh"'
        )
    if privacy.bands is not None or privacy.adaptive_clip is not None:
        raise ConfigurationError(
            f"{loaded.path}: the audit follows noise that forgets and a norm that stays; leave out privacy.bands and "
            "privacy.adaptive_clip"
        )
    if not is_full_batch(scenario.training) or scenario.training.schedule is not None:
        raise ConfigurationError(
            f"{loaded.path}: the audit knows full batches and constant step sizes alone; leave out training.batch, "
            "training.rate and training.schedule"
        )
    parts = build(scenario, BatchedExecutor(), loaded.path.parent)
    node = min(parts.honest)
    scores = {
        arm: _play(scenario, privacy, parts.learning, node, arm, trials, on_progress) for arm in (False, True)
    }
    tallies = {
        bound: errors(scores[False], scores[True], partial(bound, delta=privacy.delta))
        for bound in (epsilon_from_errors, epsilon_if_gaussian)
    }
    mu2 = sums_in_all(scenario) * (shift_factor(privacy.adjacency) * privacy.clip) ** 2
    claimed = epsilon_of(mu2 / parts.learner.sigma[node] ** 2, privacy.delta)
    general, gaussian = (bound(counts, privacy.delta) for bound, counts in tallies.items())
    counts = tallies[epsilon_if_gaussian]
    lower = max(general, gaussian)
    found = {
        "unit": privacy.unit,
        "audited relation": "zero-out" if privacy.unit == "node" else "add-remove",
        "claimed epsilon (certified, " + privacy.adjacency + ")": claimed,
        "lower bound, any mechanism (95 %)": general,
        "lower bound, Gaussian trade-off (95 %)": gaussian,
        "delta": privacy.delta,
        "trials per arm (half to choose the threshold)": trials,
        "false positive rate (Gaussian)": counts.false_positives / counts.negatives,
        "false negative rate (Gaussian)": counts.false_negatives / counts.positives,
        "node": node,
    }
    if lower > claimed:
        raise SottovoceError(
            f"the audit contradicts the ledger: an attack proves epsilon >= {lower:.3f} with 95 % confidence, "
            f"the claim is {claimed:.3f}; one audit in twenty errs by chance, so repeat it with another --seed"
        )
    return found


def _play(
    scenario: Scenario,
    privacy: Privacy,
    learning: Learning,
    node: int,
    present: bool,
    trials: int,
    on_progress: Callable[[float, str], None],
) -> Vector:
    """The attacker's score in each trial of one arm."""
    executor, learner, initial = BatchedExecutor(), learning.learner, learning.initial
    with_it, without = _arms(privacy, learning.bank, node)
    built = [replace(learner.operations, bank=arm, _built={}).update() for arm in (without, with_it)]
    none = np.zeros_like(learner.noise(node, np.random.default_rng(0)))
    scores = np.zeros(trials)
    rounds = scenario.protocol.rounds
    for first in range(0, trials, BLOCK):
        block = range(first, min(first + BLOCK, trials))
        models = [initial] * len(block)
        for round in range(rounds):
            noises = [
                learner.noise(node, streams.generator(scenario.seed, "audit", int(present), trial, round))
                for trial in block
            ]

            def submit(arm: int, i: int, noise: Vector, models: list[Vector] = models) -> Any:
                return executor.submit(built[arm], [models[i], 0, noise], node=node, size=learner.size)

            expected = executor.read([submit(0, i, none) for i in range(len(block))])
            leaning = executor.read([submit(1, i, none) for i in range(len(block))])
            models = executor.read([submit(int(present), i, noise) for i, noise in enumerate(noises)])
            for i, trial in enumerate(block):
                canary = (leaning[i] - expected[i]).astype(np.float64)
                scores[trial] += float((models[i] - expected[i]).astype(np.float64) @ canary)
        done = (present + (block.stop / trials)) / 2
        on_progress(done, f"{block.stop} of {trials} trials {'with' if present else 'without'} canary")
    return scores


def _arms(privacy: Privacy, bank: Bank, node: int) -> tuple[Bank, Bank]:
    """The node's data with and without what is to be detected: a canary record, or all of it."""
    own = slice(node, node + 1), slice(0, int(bank.mask[node].sum()))
    x, y, mask = bank.x[own], bank.y[own], bank.mask[own]
    if privacy.unit == "node":
        return Bank(x, y, mask), Bank(x, y, np.zeros_like(mask))
    x, y = (np.concatenate([a, np.zeros_like(a[:, :1])], axis=1) for a in (x, y))
    x[0, -1] = CANARY_SCALE
    present, absent = (np.concatenate([mask, np.full((1, 1), here)], axis=1) for here in (True, False))
    return Bank(x, y, present), Bank(x, y, absent)
