"""Empirical lower bounds on what a coalition learns from its view of whole runs, beside the ledger's figures.

The game: the scenario is run as it is (its protocol, masks, links, faults and noise) many times, each time under a
seed of the trial's own. Only the victim has data: with or without a canary whose contribution has the clipping norm,
in one direction and with a sign for each round. The open-loop figure holds the updates of all other nodes fixed, and
an attacker who knows them could subtract them, so they are left out. The attacker has the values that members of the
coalition really read (models in the clear and opened sums), subtracts the noise that members added themselves, and
applies the best linear test for the recorded map of that run.

A loss above the open-loop figure means that noise is missing, repeated, known to the coalition, or not where the
record says. Data-dependent training can lose more than the open-loop figure without any bug (docs/privacy.md), which
this game does not test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from protocols.learning.executor import BatchedExecutor
from protocols.privacy.accounting import epsilon_of, shift_factor
from protocols.privacy.coalitions import CERTIFIED, OPEN_LOOP
from protocols.privacy.entries import Entry
from protocols.privacy.ledger import Claim, account
from protocols.privacy.lower_bound import GaussianClaim
from protocols.privacy.question import Question
from scenarios.audits.canaries import AGAINST, NOTHING
from scenarios.audits.verdict import Trials, judge
from scenarios.audits.view_trial import Look, Table, Trial
from scenarios.build import Parts, build
from scenarios.facts.training import has_integer_noise, has_mechanism, is_full_batch
from scenarios.load import Loaded
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

TOGETHER = 16
"""Number of trials whose mathematics are carried out together."""
WORTH_PROCESSES = 64
"""Number of trials from which several processes are faster."""


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
        loaded: the scenario; of its [data] only the number of samples is used.
        coalition: nodes that pool what they see and know.
        trials: runs of each arm; half choose the threshold, half are counted.
        on_progress: called with (fraction done, text).
        victim: the node with the canary; by default the node that loses most.
        jobs: number of processes.

    Returns:
        Quantity -> value, for a table: the ledger's figures for the coalition and the victim, the lower bounds, the
        noise that would have been noticed, and the verdict.

    Raises:
        ConfigurationError: the scenario cannot be audited.

    Guarantees:
        Threat model: the members are curious, pool everything and know their own noise. The verdict is about the
        open-loop figure, for gradients that do not depend on models; a true figure is called violated with
        probability at most 5 %.
    """
    scenario, members = loaded.scenario, frozenset(coalition)
    parts = build(scenario, BatchedExecutor(), loaded.path.parent)
    _check(loaded, parts, members, victim)
    privacy = scenario.privacy
    assert privacy is not None
    somebody = min(parts.honest - members) if victim is None else victim
    pilot = Trial.play(Table.of(scenario, parts, members, somebody), "pilot", 0, [NOTHING])
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
    """Check that the scenario has a linear view and no Byzantine nodes.

    Raises:
        ConfigurationError: it does not; the message says which keys to change.
    """
    scenario, where = loaded.scenario, loaded.path
    privacy, nodes = scenario.privacy, len(parts.neighbors)
    if privacy is None or not has_mechanism(scenario) or scenario.protocol.pools_data:
        raise ConfigurationError(
            f"{where}: there is nothing to audit without noise, since epsilon is infinite; add [privacy] and use "
            'exchange = "ldp" or "secure"'
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
                f"{where}: the audit of views needs noise that is independent in each node and round, and a fixed "
                f"clipping norm; leave out privacy.{key}"
            )
    if not is_full_batch(scenario.training):
        raise ConfigurationError(
            f"{where}: the audit of views needs full batches, since the open-loop figure is not amplified by "
            "sampling; remove training.batch and training.rate"
        )
    if parts.cast.corrupt or any(table.enabled for table in scenario.adversary.tamper):
        raise ConfigurationError(
            f"{where}: the audit of views needs honest runs; switch off adversary.byzantine, sybil and tamper"
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
    """Return the ledger's claims at the end of a run, by basis and victim.

    Raises:
        ConfigurationError: there are no open-loop figures.
    """
    privacy = scenario.privacy
    assert privacy is not None
    found: dict[str, dict[int, Claim]] = {CERTIFIED: {}, OPEN_LOOP: {}}
    question = Question(
        victims=sorted(parts.honest - members),
        observers=[tuple(sorted(members))],
        unit=privacy.unit,
        adjacency=privacy.adjacency,
        delta=privacy.delta,
        times_s=[max(entry.t_s for entry in entries)],
    )
    for claim in account(entries, question):
        found.setdefault(claim.basis, {})[claim.victim] = claim
    if not found[OPEN_LOOP]:
        raise ConfigurationError(
            "the ledger has no open-loop figure for this coalition: its view is not linear, or the run is too large; "
            "audit fewer rounds, or single updates (without --view)"
        )
    return found


def _trials(looks: Sequence[Look], present: bool, adjacency: str) -> Trials:
    """Return all trials of one arm; with ``replace`` the two arms are one clipping norm to either side of zero."""
    scores = np.array([[look.score] for look in looks])
    size = np.array([[look.canary] for look in looks]) * shift_factor(adjacency)
    if adjacency == "replace":
        scores = scores + size / 2
    return Trials(size * present, scores - size * present, size)


@dataclass(frozen=True)
class _Game:
    """Game that is sent to processes.

    Args:
        scenario: the scenario.
        base: the folder of its files.
        members: the coalition.
        victim: the node with the canary.
        signs: of the canary, by round.
    """

    scenario: Scenario
    base: Path
    members: frozenset[int]
    victim: int
    signs: Sequence[int]

    def play(self, parts: Parts, trials: range, present: bool) -> list[Look]:
        """Play some trials of one arm, with their mathematics carried out together."""
        adjacency = self.scenario.privacy.adjacency  # type: ignore[union-attr]
        factor = 1 if present else AGAINST if adjacency == "replace" else NOTHING
        table = Table.of(self.scenario, parts, self.members, self.victim)
        signs = [sign * factor for sign in self.signs]
        played = [Trial.play(table, int(present), trial, signs) for trial in trials]
        return [trial.look(self.victim, self.signs) for trial in played]


def _in_process(game: _Game, blocks: Sequence[range], present: bool) -> list[Look]:
    parts = build(game.scenario, BatchedExecutor(), game.base)
    return [look for block in blocks for look in game.play(parts, block, present)]
