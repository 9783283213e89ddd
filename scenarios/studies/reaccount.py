"""Account a finished run again, from its record of releases: other observers, units, adjacencies, deltas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from typing import Any

import networkx as nx
from msgspec.structs import replace
from pydantic import ValidationError

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
from scenarios.reading.packages import check_installed
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
    """Return the ledger's claims about a run, one row per observer set and basis, with worst and median victim.

    Args:
        run: the run folder.
        observers: sets that pool what they see, in the form of :mod:`scenarios.format.observers`; every single node
            if None.
        unit, adjacency, delta: in place of the run's own.
        jobs: number of processes.
        per_message: add a sum over messages that treats the noise of each as fresh, as some papers do; it is no
            bound.
        target: an ε; rows then also have the noise_multiplier with which the worst victim would lose just that. The
            trace does not depend on the noise, and the square of Gaussian losses falls with the square of the noise,
            so nothing is run again.
        on_progress: called with (fraction done, text).

    Raises:
        ConfigurationError: the run has no mechanism, or an observer is not one of its nodes.
        StorageError: the folder is not readable.

    Guarantees:
        Those of the ledger. If the run clipped records, losses of whole nodes follow by group privacy over |D_i|
        records (public); if it clipped nodes, losses of records follow from the bound 2C on a clipped sum.
    """
    told = _retold(run, observers, unit, adjacency, delta)
    with _readable(run):
        claims, multiplier = told.claims(jobs, on_progress), told.asked.get("noise_multiplier")
    if not claims:
        raise ConfigurationError(
            f"{run}: observers include every honest node, so no victim is left; name fewer nodes"
        )
    rows = _rows(claims, multiplier, target, told.failure_probability)
    if per_message:
        with _readable(run):
            losses = _per_message(told)
        for row in rows:
            row["per message (no bound)"] = losses[row["observers"]]
    return rows


def claims_about(run: Path, observers: str) -> list[Claim]:
    """Return the ledger's claims at the end of a run for one set of observers, in the run's own terms.

    Args:
        run: the run folder.
        observers: one set, as for :func:`reaccount`.

    Raises:
        ConfigurationError, StorageError: as :func:`reaccount`.
    """
    with _readable(run):
        return _retold(run, [observers], None, None, None).claims(1)


@contextmanager
def _readable(run: Path) -> Iterator[None]:
    """Tell what is wrong with the record of releases as damage of its file.

    Raises:
        StorageError: entries of the record contradict each other.
    """
    try:
        yield
    except ContractError as error:
        raise StorageError(f"{run / 'releases.parquet'}: is damaged ({error})") from error


@dataclass(frozen=True)
class _Retold:
    """Record of a finished run, ready to be accounted."""

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
        """Nodes whose noise is not credited."""
        return frozenset(self.folder.manifest["byzantine"])

    @property
    def failure_probability(self) -> float:
        """Failure probability in the manifest; 1 for runs of secure sums whose manifest has none."""
        manifest = self.folder.manifest
        unknown = float(manifest["scenario"]["protocol"].get("exchange") == "secure")
        return float(manifest.get("failure_probability", unknown))

    @property
    def honest(self) -> list[int]:
        """Nodes whose loss is computed."""
        return [n for n in range(self.folder.manifest["topology"]["nodes"]) if n not in self.byzantine]

    def claims(self, jobs: int, on_progress: Progress | None = None) -> list[Claim]:
        """Return the ledger's claims at the end of the run."""
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
        raise ConfigurationError(
            f"{run} has no privacy mechanism, so its loss is infinite; run it with [privacy]"
        )
    if manifest["scenario"]["protocol"]["kind"] == "centralised":
        raise ConfigurationError(
            f"{run} pooled all data at one node, so no privacy is claimed; use another protocol"
        )
    sets = _observers(run, manifest, observers)
    unit, adjacency = unit or asked["unit"], adjacency or asked["adjacency"]
    if unit == "record":
        check_installed(manifest, run, "partition")
        _records_can_be_followed(run, manifest["scenario"], adjacency)
    entries = in_unit(_entries(folder), asked["unit"], unit, adjacency, manifest["samples_per_node"])
    return _Retold(folder, entries, sets, unit, adjacency, asked["delta"] if delta is None else delta)


def _observers(run: Path, manifest: Mapping[str, Any], asked: Sequence[str] | None) -> list[tuple[int, ...]]:
    """Return the sets of observers asked for; every single node if none were."""
    nodes = manifest["topology"]["nodes"]
    if not asked:
        return [(node,) for node in range(nodes)]
    graph = nx.Graph(map(tuple, manifest["topology"]["edges"]))
    graph.add_nodes_from(range(nodes))
    sets = [observers_from(text, graph, manifest["seed"]) for text in asked]
    wiretap = manifest["scenario"]["adversary"].get("wiretap")
    if any(WIRE in members for members in sets) and not (wiretap and wiretap.get("enabled", True)):
        raise ConfigurationError(f'{run}: the observer "wire" needs a wiretap, which this run did not have')
    secure = manifest["scenario"]["protocol"]["exchange"] == "secure"
    if any(PUBLIC in members for members in sets) and not secure:
        raise ConfigurationError(f"{run}: {NOTHING_PUBLIC}")
    return sets


def _records_can_be_followed(run: Path, scenario: Mapping[str, Any], adjacency: str) -> None:
    """Check that losses of single records can be computed: records have no copies, and batches no fixed size."""
    if _copies(run, scenario.get("partition")):
        raise ConfigurationError(
            f"{run}: several nodes may hold the same record, whose copies the ledger does not add up; ask for whole "
            "nodes: --unit node"
        )
    if adjacency == "add-remove" and scenario["training"].get("batch") is not None:
        raise ConfigurationError(
            f"{run}: in batches of fixed size an added record replaces another one; ask for --adjacency replace or "
            "zero-out"
        )


def _copies(run: Path, partition: Mapping[str, Any] | None) -> bool:
    """Return whether several nodes may hold the same sample, according to [partition]."""
    if not partition:
        return False
    file, kind = run / "manifest.json", Partition.kinds().get(partition["kind"])
    if kind is None:
        raise StorageError(
            f"{file}: scenario.partition: the kind {partition['kind']!r} is not installed, and the file names no "
            "package of it; install that package"
        )
    try:
        return kind.model_validate(partition).copies
    except ValidationError as error:
        raise StorageError(
            f"{file}: scenario.partition: {error.errors()[0]['msg']}; restore the file"
        ) from error


def in_unit(
    entries: Sequence[Entry], clipped: str, unit: str, adjacency: str, samples: Sequence[int]
) -> list[Entry]:
    """Convert the sensitivity of each contribution in a record to another unit of privacy."""
    if clipped == unit:
        return list(entries)
    if unit == "node":  # group privacy: every record of the node moves by up to C
        factors = [float(count) for count in samples]
    else:  # one record can change a clipped sum by at most 2C, with any adjacency
        factors = [1.0 if adjacency == "replace" else 2.0] * len(samples)
    return [
        replace(e, sensitivity=e.sensitivity * factors[e.node]) if isinstance(e, Contribution) else e
        for e in entries
    ]


def _entries(folder: Run) -> list[Entry]:
    with _readable(folder.path):
        entries = entries_of(folder.releases.select(Row._fields).iter_rows())
        if any(entry.node < 0 for entry in entries if isinstance(entry, Contribution)):
            raise ContractError("node: a contribution has no node")
    return entries


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
    """Return the row of one set of observers and basis: its worst and median victim."""
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
    """Return the noise with which the worst claim would be the target; "–" if there is none, or it is unknown.

    It is also unknown if nothing was lost, since without a release the record does not depend on noise.
    """
    delta = remaining_delta(claims[0].delta, failures, target)
    losses = [claim.mu2 for claim in claims if claim.mu2 is not None]
    key = f"noise_multiplier for epsilon {target:g}"
    if multiplier is None:  # the run's noise was computed from its own target
        key, multiplier = f"noise for epsilon {target:g}, times the run's", 1.0
    if len(losses) < len(claims) or not 0 < max(losses) < inf or delta <= 0:
        return {key: "–"}
    return {key: multiplier * sqrt(max(losses) / mu2_of(target, delta))}


def _per_message(told: _Retold) -> dict[str, float]:
    """Return ε of each set's worst victim if the noise of every message were independent."""
    record, honest = read_record(told.entries), told.honest
    found = {}
    for members in told.sets:
        coalition = frozenset(members) | told.byzantine
        exposure = expose(record, coalition, shift_factor(told.adjacency))
        losses = as_if_fresh(record, exposure, max(honest) + 1, MAX_CELLS)
        worst = max((losses[victim] for victim in honest if victim not in coalition), default=0.0)
        found[label_of(members)] = epsilon_of(float(worst), told.delta)
    return found
