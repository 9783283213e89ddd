"""Account a finished run again, from its record of releases: other observers, units, adjacencies, deltas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from typing import Any

import networkx as nx
from msgspec.structs import replace

from analysis.store import Run, read_run
from protocols.privacy.accounting import epsilon_of, mu2_of, shift_factor
from protocols.privacy.coalitions import Progress
from protocols.privacy.entries import Contribution, Entry, Row, entries_of, record_end_s
from protocols.privacy.exposure import expose
from protocols.privacy.failure import remaining_delta
from protocols.privacy.ledger import Claim, account, label_of
from protocols.privacy.lineage import PUBLIC, WIRE
from protocols.privacy.linear_view import MAX_CELLS
from protocols.privacy.published import as_if_fresh
from protocols.privacy.question import Limits, Question, RunFacts
from protocols.privacy.record import read_record
from protocols.privacy.sum_law import SumLaw
from scenarios.format.observers import NOTHING_PUBLIC, observers_from
from scenarios.kinds.partitions import Partition
from simulator.errors import ConfigurationError, ContractError, StorageError

_WHY = "why infinite"


def reaccount(
    run: Path,
    *,
    observers: list[str] | None,
    unit: str | None,
    adjacency: str | None,
    delta: float | None,
    jobs: int = 1,
    target: float | None = None,
    per_message: bool = False,
    on_progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """The ledger's claims about a run, one row per observer set and basis: its worst and median victim.

    Args:
        run: the run folder.
        observers: sets that pool what they see, as :mod:`scenarios.format.observers` has them; every single node if
            None.
        unit, adjacency, delta: in place of the run's own.
        jobs: processes among which observers are divided.
        per_message: add what a sum over messages, each as if its noise were fresh, would say; no bound.
        target: an ε; rows then say with which noise_multiplier the worst victim would lose just that. The trace does
            not depend on the noise, and Gaussian losses fall with its square, so nothing has to be run for it.
        on_progress: called with (fraction done, text).

    Raises:
        ConfigurationError: the run has no mechanism, or an observer is not one of its nodes.
        StorageError: the folder is not readable.

    Guarantees:
        As the ledger's. A run clipped per record is asked about whole nodes by group privacy over |D_i| records
        (public); a run clipped per node is asked about records with the bound 2C that clipping leaves.
    """
    told = _retold(run, observers, unit, adjacency, delta)
    claims, multiplier = told.claims(jobs, on_progress), told.asked.get("noise_multiplier")
    if not claims:
        raise ConfigurationError(
            f"{run}: every honest node is among the observers; leave out one to ask about"
        )
    rows = _rows(claims, multiplier, target, told.failure_probability)
    if per_message:
        losses = _per_message(told)
        for row in rows:
            row["per message (no bound)"] = losses[row["observers"]]
    return rows


def claims_about(run: Path, observers: str) -> list[Claim]:
    """What the ledger says at the end of a run about one set of observers, in the run's own terms.

    Args:
        run: the run folder.
        observers: as for :func:`reaccount`.

    Raises:
        ConfigurationError, StorageError: as :func:`reaccount`.
    """
    return _retold(run, [observers], None, None, None).claims(1)


@dataclass(frozen=True)
class _Retold:
    """A finished run's record, ready to be accounted."""

    folder: Run
    entries: list[Entry]
    sets: list[tuple[int, ...]]
    unit: str
    adjacency: str
    delta: float

    @property
    def asked(self) -> Any:
        """The run's own [privacy] table."""
        return self.folder.manifest["scenario"]["privacy"]

    @property
    def byzantine(self) -> frozenset[int]:
        """Whose noise is not credited."""
        return frozenset(self.folder.manifest["byzantine"])

    @property
    def failure_probability(self) -> float:
        """As the run was built; of runs of secure sums that do not say, nothing better than 1 is known."""
        manifest = self.folder.manifest
        unknown = float(manifest["scenario"]["protocol"].get("exchange") == "secure")
        return float(manifest.get("failure_probability", unknown))

    @property
    def honest(self) -> list[int]:
        """Whose loss is asked for."""
        return [n for n in range(self.folder.manifest["topology"]["nodes"]) if n not in self.byzantine]

    def claims(self, jobs: int, on_progress: Progress | None = None) -> list[Claim]:
        """The ledger's, at the end of the run."""
        manifest, summary = self.folder.manifest, self.folder.summary
        rate = manifest["scenario"]["training"].get("rate")
        end_s = record_end_s(self.entries, summary["simulated_s"] if summary else 0.0)
        question = Question(self.honest, self.sets, self.unit, self.adjacency, self.delta, [end_s])
        facts = RunFacts(
            uncredited=self.byzantine,
            law=SumLaw(**manifest["integer_noise"]) if manifest.get("integer_noise") else None,
            rate=float(rate or 1.0) if self.asked["unit"] == "record" else 1.0,
            failure_probability=self.failure_probability,
        )
        return account(self.entries, question, facts, Limits(jobs=jobs), on_progress)


def _retold(
    run: Path, observers: list[str] | None, unit: str | None, adjacency: str | None, delta: float | None
) -> _Retold:
    folder = read_run(run)
    manifest = folder.manifest
    asked = manifest["scenario"].get("privacy")
    if asked is None:
        raise ConfigurationError(f"{run} has no privacy mechanism; its loss is infinite")
    if manifest["scenario"]["protocol"]["kind"] == "centralised":
        raise ConfigurationError(f"{run} was made with all data at one place; no privacy is claimed for it")
    sets = _observers(run, manifest, observers)
    unit, adjacency = unit or asked["unit"], adjacency or asked["adjacency"]
    if unit == "record":
        _records_can_be_followed(run, manifest["scenario"], adjacency)
    entries = in_unit(_entries(folder), asked["unit"], unit, adjacency, manifest["samples_per_node"])
    return _Retold(folder, entries, sets, unit, adjacency, asked["delta"] if delta is None else delta)


def _observers(run: Path, manifest: Mapping[str, Any], asked: Sequence[str] | None) -> list[tuple[int, ...]]:
    """Sets of observers as they were asked for; every single node if none were."""
    nodes = manifest["topology"]["nodes"]
    if not asked:
        return [(node,) for node in range(nodes)]
    graph = nx.Graph(map(tuple, manifest["topology"]["edges"]))
    graph.add_nodes_from(range(nodes))
    sets = [observers_from(text, graph, manifest["seed"]) for text in asked]
    wiretap = manifest["scenario"]["adversary"].get("wiretap")
    if any(WIRE in members for members in sets) and not (wiretap and wiretap.get("enabled", True)):
        raise ConfigurationError(f"{run}: nobody listened on the wire of this run")
    secure = manifest["scenario"]["protocol"]["exchange"] == "secure"
    if any(PUBLIC in members for members in sets) and not secure:
        raise ConfigurationError(f"{run}: {NOTHING_PUBLIC}")
    return sets


def _records_can_be_followed(run: Path, scenario: Mapping[str, Any], adjacency: str) -> None:
    """Refuse to ask about single records of a run that copies them, or adds one in place of another."""
    if _copies(scenario.get("partition")):
        raise ConfigurationError(
            f"{run}: nodes of this run may hold the same record, and the ledger does not follow its copies; ask for "
            "whole nodes: --unit node"
        )
    if adjacency == "add-remove" and scenario["training"].get("batch") is not None:
        raise ConfigurationError(
            f"{run}: batches of this run have a fixed size, so a record that is added takes another one's place; ask "
            "for --adjacency replace or zero-out"
        )


def _copies(partition: Mapping[str, Any] | None) -> bool:
    """Whether several nodes may hold one sample, by the scenario's table of the partition."""
    if not partition:
        return False
    return Partition.kinds()[partition["kind"]].model_validate(partition).copies


def in_unit(
    entries: Sequence[Entry], clipped: str, unit: str, adjacency: str, samples: Sequence[int]
) -> list[Entry]:
    """The record with each contribution's sensitivity expressed for another unit of privacy."""
    if clipped == unit:
        return list(entries)
    if unit == "node":  # group privacy: every record of the node moves by up to C
        factors = [float(count) for count in samples]
    else:  # one record can turn a clipped sum around: 2C, whatever the adjacency
        factors = [1.0 if adjacency == "replace" else 2.0] * len(samples)
    return [
        replace(e, sensitivity=e.sensitivity * factors[e.node]) if isinstance(e, Contribution) else e
        for e in entries
    ]


def _entries(folder: Run) -> list[Entry]:
    try:
        return entries_of(folder.releases.select(Row._fields).iter_rows())
    except ContractError as error:
        raise StorageError(f"{folder.path / 'releases.parquet'}: is damaged ({error})") from error


def _rows(
    claims: Sequence[Claim], multiplier: float | None, target: float | None, failures: float
) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        groups.setdefault((claim.observers, claim.basis), []).append(claim)
    rows = []
    for group in groups.values():
        row = _row(group)
        if target is not None:
            row |= _needed(group, multiplier, target, failures)
        rows.append(row)
    if any(_WHY in row for row in rows):
        rows = [row | {_WHY: row.get(_WHY, "–")} for row in rows]
    return rows


def _row(group: Sequence[Claim]) -> dict[str, Any]:
    """The worst and the median victim of one set of observers on one basis."""
    ordered = sorted(group, key=lambda c: c.epsilon)
    worst = ordered[-1]
    row = {
        "observers": worst.observers,
        "basis": worst.basis,
        "epsilon (worst victim)": worst.epsilon,
        "worst victim": worst.victim,
        "epsilon (median victim)": ordered[len(ordered) // 2].epsilon,
        "delta": worst.delta,
        "adjacency": worst.adjacency,
        "unit": worst.unit,
    }
    return row if worst.reason is None else row | {_WHY: worst.reason}


def _needed(
    claims: Sequence[Claim], multiplier: float | None, target: float, failures: float
) -> dict[str, Any]:
    """The noise with which the worst of some claims would be the target; "–" where none would, or none is known.

    Nor is any known where nothing was lost: without a release the record says nothing about noise.
    """
    delta = remaining_delta(claims[0].delta, failures, target)
    losses = [claim.mu2 for claim in claims if claim.mu2 is not None]
    key = f"noise_multiplier for epsilon {target:g}"
    if multiplier is None:  # the run's noise was found from its own target
        key, multiplier = f"noise for epsilon {target:g}, times the run's", 1.0
    if len(losses) < len(claims) or not 0 < max(losses) < inf or delta <= 0:
        return {key: "–"}
    return {key: multiplier * sqrt(max(losses) / mu2_of(target, delta))}


def _per_message(told: _Retold) -> dict[str, float]:
    """ε of each set's worst victim, if every message had noise of its own."""
    record, honest = read_record(told.entries), told.honest
    found = {}
    for members in told.sets:
        coalition = frozenset(members) | told.byzantine
        exposure = expose(record, coalition, shift_factor(told.adjacency))
        losses = as_if_fresh(record, exposure, max(honest) + 1, MAX_CELLS)
        worst = max((losses[victim] for victim in honest if victim not in coalition), default=0.0)
        found[label_of(members)] = epsilon_of(float(worst), told.delta)
    return found
