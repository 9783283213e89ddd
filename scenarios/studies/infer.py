"""Attacks on the views that curious nodes recorded in a finished run, beside the ledger's bounds.

Attacks use the views of their coalition and public facts: links, weights, protocol, model, step size and initial
model, all rebuilt from the scenario. The private data are rebuilt only to measure the success of an attack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.formats.tables import WIRETAP
from analysis.inference import inversion, membership, reconstruction, traffic
from analysis.inference.elimination import PRIME
from analysis.store import Run, read_run
from analysis.tables.estimate import estimate
from analysis.tables.summary import number, upper
from analysis.views import Views
from protocols.learning.executor import BatchedExecutor
from protocols.learning.layers import Dense
from protocols.privacy.ledger import Claim
from scenarios.build import Parts, build
from scenarios.load import resolve
from scenarios.objects import refuse_objects
from scenarios.reading.packages import check_installed
from scenarios.schema import Scenario
from scenarios.studies.reaccount import claims_about
from simulator import streams
from simulator.errors import ConfigurationError, StorageError

FORMAT = 1
SMALL = 24
"""Largest number of nodes for which reconstruction sets are computed in fractions; above, modulo a large prime."""
SINGLE = 1e-8
"""Approximate relative accuracy of differences of models in single precision."""
CLEAR_DB = 20.0
"""Peak signal-to-noise ratio, in dB, above which a reconstructed sample counts as recognised."""

FRACTION_OF_OTHERS = "fraction of honest nodes outside the coalition"
FRACTION_OF_SAMPLES = "fraction of the victim's samples"
FRACTION_OF_MEMBERS = "fraction of the members tried"
FRACTION_OF_SENDERS = "fraction of senders seen"
COSINE, RELATIVE, AUC = "cosine, −1 to 1", "ratio, 0 is exact", "AUC, 0.5 is guessing"

NO_MECHANISM = "no mechanism"
NOT_ACCOUNTED = "not accounted for an observer of the wire alone"
METADATA = "metadata: not protected"
"""Reasons why the ledger has no bound for a finding."""

Floats: TypeAlias = NDArray[np.float64]
Sent: TypeAlias = Mapping[tuple[int, int], Floats]


@dataclass(frozen=True)
class Finding:
    """Result of an attack: one number.

    Args:
        attack: name of the attack.
        victim: the attacked node; None for all of them.
        measure: name of the measure.
        unit: unit of the value; of a fraction, its denominator. Both count the same nodes or samples.
        value: the number.
        epsilon: the ledger's loss of the victim (the worst one for all) towards this coalition; infinite if it has
            none.
        delta: of this loss; None if the ledger has none.
        basis: of this loss, or the reason why the ledger has none.
    """

    attack: str
    victim: int | None
    measure: str
    unit: str
    value: float
    epsilon: float
    delta: float | None
    basis: str


@dataclass(frozen=True)
class _Case:
    """A run as its attackers see it, with the private data to measure their success."""

    run: Run
    scenario: Scenario
    parts: Parts
    views: Views
    shadow_models: int

    @property
    def victims(self) -> list[int]:
        """Honest nodes outside the coalition; fractions of nodes have their number as denominator."""
        return sorted(self.parts.honest - set(self.views.coalition))

    @property
    def sent(self) -> Sent:
        """Map (sender, round) to the model sent, for models that the coalition saw."""
        protocol = self.scenario.protocol
        kinds = () if protocol.exchange == "secure" else protocol.messages
        return self.views.models(kinds, self.parts.learner.operations.task.size)

    @property
    def weights(self) -> Floats:
        return np.asarray(self.parts.weights.toarray(), float)

    def samples(self, node: int) -> tuple[NDArray[Any], NDArray[Any]]:
        bank = self.parts.bank
        real = bank.mask[node]
        return bank.x[node, real], bank.y[node, real]


def infer(
    run: Path,
    *,
    coalition: Sequence[int] | None,
    shadow_models: int,
    on_progress: Callable[[float, str], None],
    base: Path | None = None,
) -> list[Finding]:
    """Carry out every attack that the views allow, and write inference.json into the run folder.

    Args:
        run: a finished run with curious nodes.
        coalition: curious nodes that pool their views; None: all.
        shadow_models: number of shadow models of likelihood-ratio attacks; 0: these attacks are left out.
        on_progress: called with (fraction done, text).
        base: the folder that relative file names of the scenario start at.

    Raises:
        ConfigurationError: the run has no curious nodes, or not all that are asked for.
        StorageError: the folder cannot be read or written.
    """
    folder = read_run(run)
    curious = folder.manifest["curious"]
    chosen = sorted(set(curious if coalition is None else coalition))
    tapped = (run / "views" / "wiretap.parquet").exists()
    if not (chosen or tapped) or not set(chosen) <= set(curious):
        if not curious:
            raise ConfigurationError(
                f"{run}: no node was curious in this run, so no views were recorded; run it again with "
                "[adversary.curious]"
            )
        raise ConfigurationError(
            f"{run}: coalition must be curious nodes of this run ({', '.join(map(str, curious))}), got "
            f"{', '.join(map(str, chosen)) or 'none'}; views of other nodes were not recorded"
        )
    if not folder.finished:
        raise ConfigurationError(
            f"{run} is not finished, so its views are not written; run the scenario to its end"
        )
    refuse_objects(folder.manifest, run)
    check_installed(folder.manifest, run)
    scenario = resolve(folder.manifest["scenario"], base)
    parts = build(scenario, BatchedExecutor(), base or Path.cwd())
    case = _Case(folder, scenario, parts, Views(folder, chosen), shadow_models)
    privacy = scenario.privacy
    claims = [] if privacy is None or not chosen else claims_about(run, ",".join(map(str, chosen)))
    silent = NO_MECHANISM if privacy is None else NOT_ACCOUNTED
    findings = []
    attacks: tuple[Callable[[_Case], _Found], ...] = (_wire,)
    if chosen:
        attacks = (_reach, _updates, _samples, _members, _marginal_members, _traffic, _wire)
    for i, attack in enumerate(attacks):
        on_progress(i / len(attacks), attack.__name__.strip("_").replace("_", " "))
        findings += [_beside(claims, silent, *found) for found in attack(case)]
    on_progress(1.0, "done")
    _write(run / "inference.json", chosen, findings)
    return findings


def _beside(
    claims: Sequence[Claim],
    silent: str,
    attack: str,
    victim: int | None,
    measure: str,
    unit: str,
    value: float,
) -> Finding:
    """Return a finding with the certified loss of its victim; ``silent`` is the reason if there are no claims."""
    about = [c for c in claims if c.basis == "certified" and (victim is None or c.victim == victim)]
    if unit == FRACTION_OF_SENDERS:  # outages do not depend on the data, and no noise hides them
        about, silent = [], METADATA
    if not about:
        return Finding(attack, victim, measure, unit, value, float("inf"), None, silent)
    worst = max(about, key=lambda claim: claim.epsilon)
    return Finding(attack, victim, measure, unit, value, worst.epsilon, worst.delta, worst.basis)


_Found: TypeAlias = Iterator[tuple[str, int | None, str, str, float]]


def _reach(case: _Case) -> _Found:
    """Find the victims whose values are determined if gossiped values never change."""
    linear = case.scenario.protocol.mixes_linearly
    if not case.victims or not case.parts.network.overlay.fixed or not linear:
        return
    count = len(case.parts.neighbors)
    view: reconstruction.View = "sums" if case.scenario.protocol.exchange == "secure" else "plain"
    weights = reconstruction.rational(case.weights)
    prime = None if count <= SMALL else PRIME
    *_, last = reconstruction.reach(weights, case.views.coalition, count, view, prime)
    measure = "others whose value is determined if it never changes"
    determined = len(set(last.nodes) & set(case.victims))
    yield "linear reconstruction", None, measure, FRACTION_OF_OTHERS, determined / len(case.victims)


def _updates(case: _Case) -> _Found:
    """Reconstruct the mean update of every victim from models in the clear."""
    sent, coalition = case.sent, set(case.views.coalition)
    solvable = case.scenario.protocol.shows_mix_and_update
    if not solvable or not sent or not case.parts.network.overlay.fixed:
        return
    rounds = max(round for _, round in sent)
    own = {key: value for key, value in sent.items() if key[0] in coalition}
    shown = {key: value for key, value in sent.items() if key[0] not in coalition}
    if not shown or any((a, t) not in own for a in coalition for t in range(rounds + 1)):
        return
    start = np.asarray(case.parts.learning.initial, float)
    sigma = max(case.parts.learner.sigma) * case.parts.learner.gain
    found = reconstruction.solve_updates(case.weights, coalition, shown, own, start, sigma, SINGLE)
    for node, update in zip(found.nodes, found.updates, strict=True):
        if node in case.victims:
            truth = _first_update(case, node)
            angle, apart = _alike(update, truth)
            yield "update reconstruction", node, "likeness to its first update", COSINE, angle
            yield "update reconstruction", node, "relative error", RELATIVE, apart
            yield from _inverted(case, node, update, "inversion of reconstructed updates")


def _alike(update: Floats, truth: Floats) -> tuple[float, float]:
    """Return cosine and relative distance between a found and the true update; 0 and infinity if models diverged."""
    if not (np.isfinite(update).all() and np.isfinite(truth).all()):
        return 0.0, float("inf")
    size = float(np.linalg.norm(truth))
    angle = float(update @ truth) / max(float(np.linalg.norm(update)) * size, 1e-300)
    return angle, float(np.linalg.norm(update - truth)) / max(size, 1e-300)


def _samples(case: _Case) -> _Found:
    """Invert the first update of victims whose models were seen."""
    sent, start = case.sent, np.asarray(case.parts.learning.initial, float)
    for node in case.victims:
        if (node, 0) in sent:
            yield from _inverted(case, node, sent[node, 0] - start, "gradient inversion")


def _inverted(case: _Case, node: int, update: Floats, attack: str) -> _Found:
    """Find samples from quotients of an update's first dense layer, clipped to the bounds of the data format.

    Errors are measured relative to the width of the bounds or, without bounds, of the training data.
    """
    network = case.parts.learner.operations.task.network
    if network is None or not network.layers or not isinstance(network.layers[0], Dense):
        return
    units = network.layers[0].units
    x, _ = case.samples(node)
    truth = x.reshape(len(x), -1).astype(float)
    features = truth.shape[1]
    head = -update[: (features + 1) * units]
    weights, bias = head[: features * units].reshape(features, units), head[features * units :]
    dataset = case.parts.learning.shares.dataset
    box = dataset.bounds
    width = float(np.ptp(dataset.train_x)) if box is None else box[1] - box[0]
    found = inversion.best_psnr(inversion.first_layer(weights, bias, box=box), truth, width)
    measure = f"samples found above {CLEAR_DB:g} dB"
    yield attack, node, measure, FRACTION_OF_SAMPLES, float((found > CLEAR_DB).mean())


def _members(case: _Case) -> _Found:
    """Infer membership by loss and by likelihood ratio on the last model that was seen of each victim."""
    task = case.parts.learner.operations.task
    if task.classes is None:
        return
    sent, sums = case.sent, case.views.sums()
    for node in case.victims:
        rounds = [round for v, round in sent if v == node]
        if rounds:
            yield from _tested(case, node, sent[node, max(rounds)], "")
    if sums:  # nobody's model was seen, but a member's own next one holds its neighbours' sum
        for node in case.victims:
            near = [a for a in case.views.coalition if node in case.parts.neighbors[a]]
            ends = [(round, a) for a, round in sums if a in near]
            if ends:
                round, member = max(ends)
                total = sum(w for v, w in enumerate(case.weights[member]) if v != member)
                yield from _tested(case, node, sums[member, round] / total, " from sums")


def _marginal_members(case: _Case) -> _Found:
    """Infer membership on the victim's model without its neighbours' part, if all of that was seen."""
    if not case.scenario.protocol.shows_mix_and_update or case.parts.learner.operations.task.classes is None:
        return
    sent, weights = case.sent, case.weights
    for node in case.victims:
        rounds = sorted((round for v, round in sent if v == node), reverse=True)
        updates = ((round, membership.marginalised(weights, node, sent, round)) for round in rounds)
        known = next(((round, update) for round, update in updates if update is not None), None)
        if known is not None and weights[node, node] > 0:
            round, update = known
            alone = sent[node, round - 1] + update / weights[node, node]
            yield from _tested(case, node, alone, " on the marginalised model", likelihoods=False)


def _traffic(case: _Case) -> _Found:
    """Infer outages from messages that the coalition received."""
    frame = case.views.frame
    seen = frame.filter(~frame["src"].is_in(case.views.coalition)).with_columns(pl.col("member").alias("dst"))
    yield from _absences(case, seen, "traffic analysis")


def _wire(case: _Case) -> _Found:
    """Infer outages from sizes and times of messages on tapped links, encrypted or not."""
    tapped = WIRETAP.path(case.run.path)
    if tapped.exists():
        seen = WIRETAP.whole(WIRETAP.read(tapped), tapped).rename({"left_s": "t_s"})
        yield from _absences(case, seen, "traffic analysis on the wire")


def _absences(case: _Case, seen: pl.DataFrame, attack: str) -> _Found:
    """Compare inferred outages with the recorded activity of the nodes."""
    down = {outage.node for outage in case.run.outages}
    guesses = {habit.node: habit.missing for habit in traffic.habits(seen)}
    if guesses:
        right = sum(guess == (node in down) for node, guess in guesses.items())
        measure = "senders whose outage, or lack of one, is guessed"
        yield attack, None, measure, FRACTION_OF_SENDERS, right / len(guesses)


def _tested(case: _Case, node: int, model: Floats, where: str, *, likelihoods: bool = True) -> _Found:
    """Measure membership inference on equally many samples of the victim and of the test set in every class."""
    task, dataset = case.parts.learner.operations.task, case.parts.learning.shares.dataset
    x, y = case.samples(node)
    rng = streams.generator(case.scenario.seed, "membership", node)
    inside, outside = _paired(y, dataset.test_y, rng)
    count = len(inside)
    if not count or not np.isfinite(model).all():
        return
    pool_x = np.concatenate([x[inside], dataset.test_x[outside]])
    pool_y = np.concatenate([y[inside], dataset.test_y[outside]])
    loss = membership.losses(task, model[None], pool_x, pool_y)[0]
    scores = {"membership by loss": membership.yeom(loss)}
    if likelihoods and case.shadow_models:
        scores["membership by likelihood ratio"] = _ratio(case, rng, pool_x, pool_y, loss)
    for name, score in scores.items():
        result = membership.success(score[:count], score[count:])
        yield name + where, node, "members scored above others", AUC, result.auc
        yield name + where, node, "members found at 1 % false alarms", FRACTION_OF_MEMBERS, result.tpr


def _paired(
    members: NDArray[Any], others: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return indices of equally many samples of both in every class, so that the class alone says nothing."""
    inside, outside = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for label in np.unique(members):
        mine, theirs = (rng.permutation(np.flatnonzero(y == label)) for y in (members, others))
        count = min(len(mine), len(theirs))
        inside.append(mine[:count])
        outside.append(theirs[:count])
    return np.concatenate(inside), np.concatenate(outside)


def _ratio(case: _Case, rng: np.random.Generator, x: NDArray[Any], y: NDArray[Any], loss: Floats) -> Floats:
    """Return online likelihood-ratio scores from shadow models, each trained on half of the candidates."""
    task, training = case.parts.learner.operations.task, case.scenario.training
    kept = membership.halves(case.shadow_models, len(x), rng)
    starts = np.tile(np.asarray(case.parts.learning.initial, float), (case.shadow_models, 1))
    models = membership.shadows(task, x, y, kept, case.scenario.protocol.rounds, training.step, starts)
    shadow = membership.confidence(membership.losses(task, models, x, y))
    return membership.online(
        membership.confidence(loss), np.where(kept, shadow, np.nan), np.where(kept, np.nan, shadow)
    )


def _first_update(case: _Case, node: int) -> Floats:
    """Return the node's true first local update, without noise."""
    executor, operations = BatchedExecutor(), case.parts.learner.operations
    initial, recipe = case.parts.learning.initial, operations.recipe
    inputs: list[Any] = [case.parts.learner.start.params, node]
    if recipe.noised:
        inputs.append(np.zeros_like(case.parts.learner.noise(node, np.random.default_rng(0))))
    handle = executor.submit(
        operations.update(1), [np.asarray(initial), *inputs[1:]], node=node, size=len(initial)
    )
    return np.asarray(executor.read([handle])[0], float) - initial


def _write(path: Path, coalition: Sequence[int], findings: Sequence[Finding]) -> None:
    rows = [asdict(finding) for finding in findings]
    for row in rows:
        row.update({key: str(row[key]) for key in ("value", "epsilon") if np.isinf(row[key])})
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(
            json.dumps({"format": FORMAT, "coalition": list(coalition), "findings": rows}, indent=2) + "\n"
        )
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error}; what was written before is intact") from error


def table(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return a row per attack and measure: mean and worst victim with their unit, beside the ledger's worst ε."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.attack, finding.measure), []).append(finding)
    rows = []
    for (attack, measure), group in groups.items():
        worst = (min if group[0].unit == RELATIVE else max)(group, key=lambda finding: finding.value)
        loss = max(group, key=lambda finding: finding.epsilon)
        rows.append(
            {
                "attack": attack,
                "measure": measure,
                "unit": group[0].unit,
                "victims": "all together" if group[0].victim is None else len(group),
                "mean": number(estimate(finding.value for finding in group).mean),
                "worst": number(worst.value),
                "worst victim": "–" if worst.victim is None else worst.victim,
                "ε": upper(loss.epsilon),
                "δ": "–" if loss.delta is None else f"{loss.delta:g}",
                "basis": loss.basis,
            }
        )
    return rows


def terms(run: Path, coalition: Sequence[int] | None) -> str:
    """Describe the ε beside the findings in a sentence.

    Args:
        run: the run folder.
        coalition: as for :func:`infer`.
    """
    manifest = read_run(run).manifest
    nodes = sorted(set(manifest["curious"] if coalition is None else coalition))
    privacy = manifest["scenario"].get("privacy")
    if privacy is None or not nodes:
        return "ε: infinite, since the ledger has no bound here; the column basis says why."
    watching = "node" if len(nodes) == 1 else "nodes"
    return (
        f"ε: certified loss of the worst of these victims towards {watching} {', '.join(map(str, nodes))} together, "
        f"unit {privacy['unit']}, adjacency {privacy['adjacency']}."
    )
