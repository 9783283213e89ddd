"""Collects what a run says about itself while it happens: metrics, counts, views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols.learning.evaluate import Evaluator, consensus_distance
from protocols.learning.local_test import LocalEvaluation, LocalEvaluator
from simulator.compute import Executor, Handle, Vector, values_of
from simulator.node import Delivery


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The honest nodes that were up at one evaluation.

    Args:
        t_s: when.
        nodes: who, ascending.
        accuracy, loss: on the common test set, one value per node.
        diverged: whose model holds NaN or infinity (its accuracy counts as chance).
        consensus_distance: root mean square distance to the mean model.
        bytes_sent: by all nodes so far.
        rounds: finished rounds of each node.
        local: the same as accuracy and loss, on the test samples each node keeps of its own; None without any.
    """

    t_s: float
    nodes: tuple[int, ...]
    accuracy: Vector
    loss: Vector
    diverged: Vector
    consensus_distance: float
    bytes_sent: int
    rounds: tuple[int, ...]
    local: LocalEvaluation | None = None


@dataclass
class Recorder:
    """Listens to one run.

    Args:
        executor: reads the values of models when they are evaluated.
        evaluator: accuracy and loss of many models in one call.
        initial: every node's model before its first round.
        honest: the nodes whose models count.
        curious: the nodes whose view is kept.
        total_rounds: nodes x rounds, for progress.
        on_progress: called with (fraction done, what is happening).
        local: accuracy and loss of each node's model on test samples of its own, if nodes keep any.
    """

    executor: Executor
    evaluator: Evaluator
    initial: Vector
    honest: frozenset[int]
    curious: frozenset[int]
    total_rounds: int
    on_progress: Callable[[float, str], None]
    local: LocalEvaluator | None = None
    down: Callable[[], frozenset[int]] = frozenset
    bytes_sent: Callable[[], int] = int
    counts: Counter[str] = field(default_factory=Counter)
    snapshots: list[Snapshot] = field(default_factory=list)
    finished_s: dict[int, float] = field(default_factory=dict)
    rounds: dict[int, int] = field(default_factory=dict)
    opened: Callable[[int, int, Vector], None] | None = None
    _models: dict[int, Handle | Vector] = field(default_factory=dict)
    _views: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)

    def record(self, t_s: float, node: int, kind: str, fields: Mapping[str, Any]) -> None:
        """``node.record`` of any node."""
        self.counts[kind] += 1
        if kind == "model":
            self.rounds[node] = fields["round"]
            self._models[node] = fields["value"]
            self.on_progress(
                min(1.0, sum(self.rounds.values()) / self.total_rounds), f"{t_s:.1f} s simulated"
            )
        elif kind == "finished":
            self.finished_s[node] = t_s
        elif kind == "opened":
            value = fields["value"]
            if self.opened is not None:
                self.opened(node, fields["round"], value)
            if node in self.curious:
                self._see(node, (t_s, node, "opened sum", fields["round"], 4 * value.size, value))
        elif kind == "skipped":
            self.counts[f"skipped: {fields['reason']}"] += 1

    def tap(self, node: int, delivery: Delivery) -> None:
        """A message reached a curious node: keep what that node can read of it."""
        message = delivery.message
        readable = message.kind == "model" or isinstance(message.body, np.ndarray)
        body = message.body if readable else None
        row = (delivery.delivered_s, delivery.src, message.kind, message.round, message.size_bytes, body)
        self._see(node, row)

    def view(self, node: int) -> list[tuple[Any, ...]]:
        """What a curious node saw, with the values it could read."""

        def values(body: Any) -> list[float] | None:
            if body is None:
                return None
            return [float(x) for x in values_of(self.executor, [body])[0]]

        return [(*row[:-1], values(row[-1])) for row in self._views.get(node, [])]

    def evaluate(self, t_s: float) -> Snapshot:
        """Measure every honest node that is up, in one batched call."""
        nodes = tuple(sorted(self.honest - self.down()))
        known = [n for n in nodes if n in self._models]
        values = dict(zip(known, values_of(self.executor, [self._models[n] for n in known]), strict=True))
        params = np.stack([values.get(n, self.initial) for n in nodes]) if nodes else self.initial[None][:0]
        accuracy, loss, diverged = self.evaluator.evaluate(params)
        snapshot = Snapshot(
            t_s,
            nodes,
            accuracy,
            loss,
            diverged,
            consensus_distance(params) if nodes else float("nan"),
            self.bytes_sent(),
            tuple(self.rounds.get(n, 0) for n in nodes),
            None if self.local is None else self.local.evaluate(nodes, params),
        )
        self.snapshots.append(snapshot)
        return snapshot

    def monitor(self, t_s: float) -> None:
        """Evaluate in passing."""
        self.evaluate(t_s)

    def conclude(self, end_s: float, down: frozenset[int]) -> Snapshot:
        """The last evaluation: at ``end_s``, of the nodes not in ``down``; nothing after it counts."""
        self.snapshots = [s for s in self.snapshots if s.t_s < end_s]
        self.down = lambda: down
        return self.evaluate(end_s)

    def metrics(self) -> dict[str, list[Any]]:
        """Columns of metrics.parquet."""
        columns: dict[str, list[Any]] = {"t_s": [], "round": [], "node": [], "metric": [], "value": []}

        def add(snapshot: Snapshot, node: int, round: int, metric: str, value: float) -> None:
            for name, cell in zip(columns, (snapshot.t_s, round, node, metric, float(value)), strict=True):
                columns[name].append(cell)

        for s in self.snapshots:
            for i, node in enumerate(s.nodes):
                add(s, node, s.rounds[i], "accuracy", s.accuracy[i])
                add(s, node, s.rounds[i], "loss", s.loss[i])
                if s.local is not None:
                    add(s, node, s.rounds[i], "local_accuracy", s.local.accuracy[i])
                    add(s, node, s.rounds[i], "local_loss", s.local.loss[i])
            if s.nodes:
                add(s, -1, min(s.rounds), "accuracy_mean", s.accuracy.mean())
                add(s, -1, min(s.rounds), "accuracy_worst", s.accuracy.min())
                add(s, -1, min(s.rounds), "loss_mean", s.loss.mean())
                add(s, -1, min(s.rounds), "consensus_distance", s.consensus_distance)
                if s.local is not None:
                    add(s, -1, min(s.rounds), "local_accuracy_mean", s.local.accuracy.mean())
            add(s, -1, min(s.rounds, default=0), "bytes_sent", s.bytes_sent)
        return columns

    def _see(self, node: int, row: tuple[Any, ...]) -> None:
        self._views.setdefault(node, []).append(row)
