"""Recorder of metrics, counts and views during a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.formats.tables import METRICS
from analysis.metrics.catalogue import measured, metrics
from analysis.metrics.declared import EVALUATION, Event, Metric, Snapshot, Value
from protocols.learning.evaluate import Evaluator, consensus_distance
from protocols.learning.local_test import LocalEvaluator
from protocols.privacy.lineage import Visible
from simulator.contract.compute import Executor, Handle, Vector, values_of
from simulator.contract.node import Delivery, Message

ALL = -1
"""Value of the column ``node`` for all honest nodes that are up."""
PROGRESS_STEP = 1 / 1000
"""Fraction of the run between two reports of progress, which are slow compared with most events."""


@dataclass
class Tally:
    """Counts of mixes of all nodes.

    Args:
        mixes: number of mixes that waited for neighbours.
        complete: number of those in which all were heard.
        heard: number of messages (or members of sums) that were mixed.
        wanted: number of messages (or members of sums) that were waited for.
    """

    mixes: int = 0
    complete: int = 0
    heard: int = 0
    wanted: int = 0

    def add(self, heard: int, wanted: int) -> None:
        """Count a mix; one that waits for no neighbour is not counted."""
        if wanted:
            self.mixes += 1
            self.complete += heard >= wanted
            self.heard += heard
            self.wanted += wanted


@dataclass
class Recorder:
    """Recorder of one run.

    Args:
        executor: reads the values of models when they are evaluated.
        evaluator: measures accuracy and loss of many models in one call.
        initial: every node's model before its first round.
        honest: the nodes whose models are measured.
        curious: the nodes whose views are recorded.
        total_rounds: nodes x rounds, for progress.
        on_progress: called with (fraction done, text).
        local: measures each node's model on its own test samples; None if nodes keep none.
        probe: measures the success of a backdoor; None without one.
    """

    executor: Executor
    evaluator: Evaluator
    initial: Vector
    honest: frozenset[int]
    curious: frozenset[int]
    total_rounds: int
    on_progress: Callable[[float, str], None]
    local: LocalEvaluator | None = None
    probe: Evaluator | None = None
    down: Callable[[], frozenset[int]] = frozenset
    bytes_sent: Callable[[], int] = int
    counts: Counter[str] = field(default_factory=Counter)
    snapshots: list[Snapshot] = field(default_factory=list)
    finished_s: dict[int, float] = field(default_factory=dict)
    spent_s: dict[int, float] = field(default_factory=dict)
    stop: Callable[[], None] | None = None
    rounds: dict[int, int] = field(default_factory=dict)
    masses: dict[int, float] = field(default_factory=dict)
    mixing: Tally = field(default_factory=Tally)
    opened: Callable[[int, int, Vector], None] | None = None
    _metrics: dict[str, list[Metric]] = field(default_factory=dict)
    _kept: dict[str, Any] = field(default_factory=dict)
    _columns: dict[int, dict[int, float]] = field(default_factory=dict)
    _models: dict[int, Handle | Vector] = field(default_factory=dict)
    _rounds_done: int = 0
    _shown: float = -1.0
    _views: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for metric in metrics().values():
            if metric.event != EVALUATION:
                self._metrics.setdefault(metric.event, []).append(metric)

    def record(self, t_s: float, node: int, kind: str, fields: Mapping[str, Any]) -> None:
        """Record an event that a node reports by ``node.record``."""
        self.counts[kind] += 1
        for metric in self._metrics.get(kind, ()):
            self._kept[metric.name] = metric.folded(self._kept.get(metric.name), Event(t_s, node, fields))
        noted = _NOTED.get(kind)
        if noted is not None:
            noted(self, t_s, node, fields)

    def _model(self, t_s: float, node: int, fields: Mapping[str, Any]) -> None:
        round = fields["round"]
        self._rounds_done += round - self.rounds.get(node, 0)
        self.rounds[node] = round
        self._models[node] = fields["value"]
        self._progress(t_s)

    def _common_model(self, t_s: float, node: int, fields: Mapping[str, Any]) -> None:
        """Store a model that counts as every node's; used by baselines that train a single model."""
        self.rounds = dict.fromkeys(self.honest | {node}, fields["round"])
        self._models = dict.fromkeys(self.rounds, fields["value"])
        self._rounds_done = sum(self.rounds.values())
        self._progress(t_s)

    def _mass(self, t_s: float, node: int, fields: Mapping[str, Any]) -> None:
        self.masses[node] = fields["weight"]

    def _finished(self, t_s: float, node: int, fields: Mapping[str, Any]) -> None:
        self.finished_s[node] = t_s

    def _budget_spent(self, t_s: float, node: int, fields: Mapping[str, Any]) -> None:
        self.spent_s[node] = t_s
        if self.stop is not None:
            self.stop()

    def _mixed(self, t_s: float, node: int, fields: Mapping[str, Any]) -> None:
        self.mixing.add(fields["heard"], fields["of"])
        if "weights" in fields:
            self._note_weights(node, fields["round"], fields["weights"])

    def _opened(self, t_s: float, node: int, fields: Mapping[str, Any]) -> None:
        value = fields["value"]
        if self.opened is not None:
            self.opened(node, fields["round"], value)
        if node in self.curious:
            self._see(node, (t_s, node, "opened sum", fields["round"], 4 * value.size, value))

    def _skipped(self, t_s: float, node: int, fields: Mapping[str, Any]) -> None:
        self.counts[f"skipped: {fields['reason']}"] += 1

    @property
    def column_defect(self) -> float | None:
        """Root mean square deviation from 1 of the column sums of the mixing matrices in effect; None without any.

        Rows always sum to 1. Columns do not if a sum was skipped or opened without a member: the model of a node then
        counts for more or less than it should.
        """
        if not self._columns:
            return None
        nodes = len({node for column in self._columns.values() for node in column})
        total = sum(value * value for column in self._columns.values() for value in column.values())
        return float(np.sqrt(total / (nodes * len(self._columns))))

    def _note_weights(self, node: int, round: int, weights: Mapping[int, float]) -> None:
        column = self._columns.setdefault(round, {})
        for peer, weight in weights.items():
            column[peer] = column.get(peer, 0.0) + weight
            column[node] = column.get(node, 0.0) - weight

    def tap(self, node: int, delivery: Delivery) -> None:
        """Record what a curious node can read of a message that it received."""
        message = delivery.message
        shown = _is_shown(message.release)
        body = message.body if shown else _arrays_in(message.body)
        row = (delivery.delivered_s, delivery.src, message.kind, message.round, message.size_bytes, body)
        self._see(node, row)

    def tap_own(self, t_s: float, node: int, message: Message) -> None:
        """Record a model that a curious node sent, which it knows too."""
        if message.release is not None and _is_shown(message.release):
            self._see(node, (t_s, node, message.kind, message.round, message.size_bytes, message.body))

    def view(self, node: int) -> list[tuple[Any, ...]]:
        """Return the view of a curious node, with the values it could read."""

        def values(body: Any) -> list[float] | None:
            vectors = list(_vectors_in(body))
            if not vectors:
                return None
            return [float(x) for vector in values_of(self.executor, vectors) for x in vector]

        return [(*row[:-1], values(row[-1])) for row in self._views.get(node, [])]

    def evaluate(self, t_s: float) -> Snapshot:
        """Measure every honest node that is up, in one batched call."""
        nodes = tuple(sorted(self.honest - self.down()))
        params = self._parameters(nodes)
        snapshot = Snapshot(
            t_s,
            nodes,
            self.evaluator.evaluate(params),
            consensus_distance(params) if nodes else float("nan"),
            self.bytes_sent(),
            tuple(self.rounds.get(n, 0) for n in nodes),
            None if self.local is None else self.local.evaluate(nodes, params),
            None if self.probe is None else self.probe.evaluate(params).accuracy,
            self._counted(),
        )
        self.snapshots.append(snapshot)
        return snapshot

    def _parameters(self, nodes: Sequence[int]) -> Vector:
        """Return the models of some nodes as rows; the initial model for nodes that have none yet."""
        size = len(self.initial)  # the state of an optimiser may follow the parameters
        params = np.repeat(self.initial[None], len(nodes), axis=0)
        models: dict[int, Any] = {i: self._models[n] for i, n in enumerate(nodes) if n in self._models}
        handles = {i: model for i, model in models.items() if not isinstance(model, np.ndarray)}
        if handles:
            params[list(handles)] = self.executor.stack(list(handles.values()))[:, :size]
        for i in models.keys() - handles.keys():  # models that arrived over real sockets are arrays
            params[i] = models[i][:size]
        return params

    def monitor(self, t_s: float) -> None:
        """Evaluate during the run."""
        self.evaluate(t_s)

    def conclude(self, end_s: float, down: frozenset[int]) -> Snapshot:
        """Make the last evaluation, at ``end_s``, of the nodes not in ``down``; later events are ignored."""
        self.snapshots = [s for s in self.snapshots if s.t_s < end_s]
        self.down = lambda: down
        return self.evaluate(end_s)

    def metrics(self) -> dict[str, list[Any]]:
        """Return the columns of metrics.parquet.

        Raises:
            ConfigurationError: a metric of a plug-in fails.
        """
        rows: list[tuple[float, int, int, str, float]] = []
        for s in self.snapshots:
            done = min(s.rounds, default=0)
            shown = measured(s, lambda metric: metric.over_time)
            for name, value in (found for _, values in shown for found in values.items()):
                if isinstance(value, np.ndarray):
                    each = zip(s.nodes, s.rounds, value.tolist(), strict=True)
                    rows += [(s.t_s, round, node, name, one) for node, round, one in each]
                else:
                    rows.append((s.t_s, done, ALL, name, float(value)))
        return {name: [row[at] for row in rows] for at, name in enumerate(METRICS.dtypes)}

    def at_end(self) -> dict[str, float | None]:
        """Return the metrics at the last evaluation; of metrics of single nodes, the mean.

        Raises:
            ConfigurationError: a metric of a plug-in fails.
        """
        found: dict[str, float | None] = {}
        for metric, values in measured(self.snapshots[-1], lambda metric: metric.at_end):
            for name, value in (values or {metric.name: None}).items():
                found[name] = float(value.mean()) if isinstance(value, np.ndarray) else value
        return found

    def _counted(self) -> dict[str, Value]:
        """Return the values of metrics that are made from events."""
        made = (metric for of_kind in self._metrics.values() for metric in of_kind)
        return {metric.name: metric.counted(self._kept.get(metric.name)) for metric in made}

    def _progress(self, t_s: float) -> None:
        done = self._rounds_done / self.total_rounds
        if done - self._shown >= PROGRESS_STEP or done < self._shown:
            self._shown = done
            self.on_progress(min(1.0, done), f"{t_s:.1f} s simulated")

    def _see(self, node: int, row: tuple[Any, ...]) -> None:
        self._views.setdefault(node, []).append(row)


_NOTED: Mapping[str, Callable[[Recorder, float, int, Mapping[str, Any]], None]] = {
    "model": Recorder._model,
    "common model": Recorder._common_model,
    "mass": Recorder._mass,
    "finished": Recorder._finished,
    "budget spent": Recorder._budget_spent,
    "mixed": Recorder._mixed,
    "opened": Recorder._opened,
    "skipped": Recorder._skipped,
}
"""Handlers of events by kind, beside the metrics that are made from events."""


def _vectors_in(body: Any) -> Iterator[Any]:
    """Yield the vectors and numbers of a message that its receiver can read, in order; bytes as arrays of bytes."""
    if isinstance(body, tuple):
        for part in body:
            yield from _vectors_in(part)
    elif isinstance(body, bool | int | float):
        yield np.atleast_1d(np.float64(body))
    elif isinstance(body, bytes):
        yield np.frombuffer(body, np.uint8)
    elif body is not None and not isinstance(body, str):
        yield body


def _arrays_in(body: Any) -> Any:
    """Return the array in a protected message, masked or not, which a curious node can record."""
    if isinstance(body, tuple) and len(body) == 2:
        body = body[1]
    return body if isinstance(body, np.ndarray) else None


def _is_shown(release: Any) -> bool:
    """Return whether a receiver can read the content of a message with this release."""
    parts = release if isinstance(release, tuple) else (release,)
    return all(isinstance(part, Visible) for part in parts)
