"""Collects what a run says about itself while it happens: metrics, counts, views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols.learning.evaluate import Evaluation, Evaluator, consensus_distance
from protocols.learning.local_test import LocalEvaluation, LocalEvaluator
from protocols.privacy.lineage import Visible
from simulator.contract.compute import Executor, Handle, Vector, values_of
from simulator.contract.node import Delivery, Message

PROGRESS_STEP = 1 / 1000
"""Progress is told in steps of this, as telling it costs more than most of what happens in between."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The honest nodes that were up at one evaluation.

    Args:
        t_s: when.
        nodes: who, ascending.
        found: on the common test set, one value per node.
        consensus_distance: root mean square distance to the mean model.
        bytes_sent: by all nodes so far.
        rounds: finished rounds of each node.
        local: the same as accuracy and loss, on the test samples each node keeps of its own; None without any.
        backdoor: how often a trigger makes each model say what the attacker wants; None without a backdoor.
    """

    t_s: float
    nodes: tuple[int, ...]
    found: Evaluation
    consensus_distance: float
    bytes_sent: int
    rounds: tuple[int, ...]
    local: LocalEvaluation | None = None
    backdoor: Vector | None = None

    @property
    def accuracy(self) -> Vector:
        """Of each node's model; NaN in regression."""
        return self.found.accuracy

    @property
    def loss(self) -> Vector:
        """Of each node's model."""
        return self.found.loss

    @property
    def diverged(self) -> Vector:
        """Whose model holds NaN or infinity (its accuracy counts as chance)."""
        return self.found.diverged


@dataclass
class Tally:
    """How mixes went, of all nodes together.

    Args:
        mixes: that waited for anybody.
        complete: in which everybody waited for was heard.
        heard: messages (or members of sums) that mixes were made of.
        wanted: as many as they waited for.
    """

    mixes: int = 0
    complete: int = 0
    heard: int = 0
    wanted: int = 0

    def add(self, heard: int, wanted: int) -> None:
        """Count one mix; what waits for nobody is none."""
        if wanted:
            self.mixes += 1
            self.complete += heard >= wanted
            self.heard += heard
            self.wanted += wanted


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
        probe: how often a backdoor works, where there is one.
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
    clip: float | None = None
    rounds: dict[int, int] = field(default_factory=dict)
    masses: dict[int, float] = field(default_factory=dict)
    mixing: Tally = field(default_factory=Tally)
    opened: Callable[[int, int, Vector], None] | None = None
    _columns: dict[int, dict[int, float]] = field(default_factory=dict)
    _models: dict[int, Handle | Vector] = field(default_factory=dict)
    _rounds_done: int = 0
    _shown: float = -1.0
    _views: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)

    def record(self, t_s: float, node: int, kind: str, fields: Mapping[str, Any]) -> None:
        """``node.record`` of any node."""
        self.counts[kind] += 1
        if kind == "model":
            round = fields["round"]
            self._rounds_done += round - self.rounds.get(node, 0)
            self.rounds[node] = round
            self._models[node] = fields["value"]
            self._progress(t_s)
        elif kind == "common model":  # of a yardstick that trains one model for everybody
            self.rounds = dict.fromkeys(self.honest | {node}, fields["round"])
            self._models = dict.fromkeys(self.rounds, fields["value"])
            self._rounds_done = sum(self.rounds.values())
            self._progress(t_s)
        elif kind == "mass":
            self.masses[node] = fields["weight"]
        elif kind == "finished":
            self.finished_s[node] = t_s
        elif kind == "clip":
            self.clip = fields["value"]
        elif kind == "budget spent":
            self.spent_s[node] = t_s
            if self.stop is not None:
                self.stop()
        elif kind == "mixed":
            self.mixing.add(fields["heard"], fields["of"])
            if "weights" in fields:
                self._note_weights(node, fields["round"], fields["weights"])
        elif kind == "opened":
            value = fields["value"]
            if self.opened is not None:
                self.opened(node, fields["round"], value)
            if node in self.curious:
                self._see(node, (t_s, node, "opened sum", fields["round"], 4 * value.size, value))
        elif kind == "skipped":
            self.counts[f"skipped: {fields['reason']}"] += 1

    @property
    def column_defect(self) -> float | None:
        """By how much columns of the mixing matrices that really happened miss 1, root mean square; None without any.

        Rows always sum to 1. A column does not where a sum was skipped or opened without somebody: its node's model
        counts for less, or more, than it should.
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
        """A message reached a curious node: keep what that node can read of it."""
        message = delivery.message
        shown = _is_shown(message.release)
        body = message.body if shown else _arrays_in(message.body)
        row = (delivery.delivered_s, delivery.src, message.kind, message.round, message.size_bytes, body)
        self._see(node, row)

    def tap_own(self, t_s: float, node: int, message: Message) -> None:
        """A curious node shows a model of its own, which it knows too."""
        if message.release is not None and _is_shown(message.release):
            self._see(node, (t_s, node, message.kind, message.round, message.size_bytes, message.body))

    def view(self, node: int) -> list[tuple[Any, ...]]:
        """What a curious node saw, with the values it could read."""

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
        )
        self.snapshots.append(snapshot)
        return snapshot

    def _parameters(self, nodes: Sequence[int]) -> Vector:
        """The models of some nodes as rows; of nodes that have none yet, the initial one."""
        size = len(self.initial)  # the state of an optimiser may travel behind the parameters
        params = np.repeat(self.initial[None], len(nodes), axis=0)
        models: dict[int, Any] = {i: self._models[n] for i, n in enumerate(nodes) if n in self._models}
        handles = {i: model for i, model in models.items() if not isinstance(model, np.ndarray)}
        if handles:
            params[list(handles)] = self.executor.stack(list(handles.values()))[:, :size]
        for i in models.keys() - handles.keys():  # what handles become on a real wire
            params[i] = models[i][:size]
        return params

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
            each = {"accuracy": s.accuracy, "loss": s.loss} | s.found.others
            if s.local is not None:
                each |= {"local_accuracy": s.local.accuracy, "local_loss": s.local.loss}
            if s.backdoor is not None:
                each["backdoor_success"] = s.backdoor
            for metric, values in each.items():
                if not np.isnan(values).all():  # no accuracy in regression
                    for node, round, value in zip(s.nodes, s.rounds, values.tolist(), strict=True):
                        add(s, node, round, metric, value)
            done = min(s.rounds, default=0)
            for metric, value in self._of_all(s):
                if not np.isnan(value):
                    add(s, -1, done, metric, value)
            add(s, -1, done, "bytes_sent", s.bytes_sent)
        return columns

    def _of_all(self, s: Snapshot) -> Iterator[tuple[str, float]]:
        """What is said of all honest nodes together."""
        if not s.nodes:
            return
        yield "accuracy_mean", s.accuracy.mean()
        yield "accuracy_worst", s.accuracy.min()
        yield "loss_mean", s.loss.mean()
        yield "loss_worst", s.loss.max()
        yield "consensus_distance", s.consensus_distance
        yield "disagreement", s.found.disagreement
        for label in range(s.found.by_class.shape[1]):
            yield f"accuracy_class_{label}", s.found.by_class[:, label].mean()
        if s.local is not None:
            yield "local_accuracy_mean", s.local.accuracy.mean()
        if s.backdoor is not None:
            yield "backdoor_success_mean", s.backdoor.mean()

    def _progress(self, t_s: float) -> None:
        done = self._rounds_done / self.total_rounds
        if done - self._shown >= PROGRESS_STEP or done < self._shown:
            self._shown = done
            self.on_progress(min(1.0, done), f"{t_s:.1f} s simulated")

    def _see(self, node: int, row: tuple[Any, ...]) -> None:
        self._views.setdefault(node, []).append(row)


def _vectors_in(body: Any) -> Iterator[Any]:
    """The vectors and numbers of a message that its receiver can read, in order; bytes (flags, keys) one by one."""
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
    """What numbers there are in a protected message; masked they may be, but a curious node has them."""
    if isinstance(body, tuple) and len(body) == 2:
        body = body[1]
    return body if isinstance(body, np.ndarray) else None


def _is_shown(release: Any) -> bool:
    """Whether a message shows its receiver what is in it."""
    parts = release if isinstance(release, tuple) else (release,)
    return all(isinstance(part, Visible) for part in parts)
