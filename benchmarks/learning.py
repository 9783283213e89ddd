"""Benchmark of the model side: whole runs compared with eager execution, bare arithmetic and another simulator.

Work W1: digits, 16 samples a node, one step of gradient descent an update, softmax regression (650 parameters), push
gossip on a 20-regular graph with delays uniform up to a tenth of a round, 20 rounds. One JSON line per case::

    python benchmarks/learning.py                                # everything below
    python benchmarks/learning.py --case W1 --nodes 1000 --peer OTHER/bin/python
    python benchmarks/learning.py --case W1 --nodes 1000 --profile

``--peer`` names an interpreter that has gossipy (``pip install gossipy-dfl torch``); it runs the same work beside
ours, with torch's default number of threads and with one.

Keys: ``cpu_s_per_node_round``: processor time of the simulation, evaluations included, over nodes and rounds, the
least of several runs; ``whole_cpu_s_per_node_round``: of the same run with building the world and writing its folder.
Compilation is excluded (a run of the same shapes comes before) and told as ``compile_s``. ``peak_mib``: of this
process so far. ``ratio``: what the case claims, named by ``ratio_of``.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from protocols.learning import data, models, partition
from protocols.learning.bank import Bank
from protocols.learning.batches import Batches
from protocols.learning.eager import EagerExecutor
from protocols.learning.executor import BatchedExecutor
from protocols.learning.gradient import clipped, sample_by_sample, summed
from protocols.learning.local_update import Recipe
from protocols.learning.operations import Operations
from protocols.learning.task import Task
from scenarios.load import resolve
from scenarios.run import run
from scenarios.schema import Scenario
from simulator import streams
from simulator.runtime.virtual import Kernel

SAMPLES = 16
MLP = {"kind": "mlp", "hidden": 64}
CNN = {"kind": "cnn", "channels": [8, 16], "kernel": 3, "hidden": [32], "padding": "same"}
CASES = ("W1", "W1-mlp", "eager", "bound", "clipping", "cnn")


def work(
    nodes: int, *, rounds: int = 20, model: dict[str, Any] | None = None, evaluated: str = "one"
) -> Scenario:
    """W1, or the same with another model."""
    return resolve(
        {
            "format": 1,
            "name": "w1",
            "topology": {"kind": "regular", "nodes": nodes, "degree": min(20, nodes - 1 - nodes % 2)},
            "network": {"latency": {"kind": "uniform", "low": "0 ms", "high": "100 ms"}},
            "data": {"kind": "digits"},
            "partition": {"kind": "iid", "samples": SAMPLES, "with_replacement": True},
            "model": model or {"kind": "softmax"},
            "training": {"step": 0.5, "step_cost": "0 ms"},
            "protocol": {"kind": "push", "rounds": rounds, "exchange": "plain", "period": "1 s"},
            "evaluation": {"every": "1 s" if evaluated == "all" else "1000000 s"},
        }
    )


class _Watch:
    """Processor time of the simulation inside a run."""

    def __enter__(self) -> _Watch:
        self._run = Kernel.run
        watch = self

        def timed(kernel: Kernel, until_s: float | None = None) -> Any:
            began = time.process_time()
            try:
                return self._run(kernel, until_s)
            finally:
                watch.simulation_s = time.process_time() - began

        Kernel.run = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Kernel.run = self._run  # type: ignore[method-assign]


def timed_run(
    scenario: Scenario, executor: type[Any] = BatchedExecutor
) -> tuple[float, float, dict[str, Any]]:
    """(processor time of the simulation, of the whole run, summary)."""
    with tempfile.TemporaryDirectory() as folder, _Watch() as watch:
        began = time.process_time()
        summary = run(scenario, Path(folder) / "run", executor=executor())
        return watch.simulation_s, time.process_time() - began, summary


def simulated(
    case: str, nodes: int, evaluated: str, repeats: int, rounds: int, model: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One size of W1."""
    scenario = work(nodes, rounds=rounds, model=model, evaluated=evaluated)
    first = timed_run(scenario)
    best = min((timed_run(scenario) for _ in range(repeats)), key=lambda timed: timed[0])
    each = nodes * rounds
    return {
        "case": case,
        "nodes": nodes,
        "evaluated": evaluated,
        "rounds": rounds,
        "cpu_s_per_node_round": _short(best[0] / each),
        "whole_cpu_s_per_node_round": _short(best[1] / each),
        "compile_s": _short(first[1] - best[1]),
        "peak_mib": peak_mib(),
        "accuracy": _short(best[2]["accuracy_mean"]),
    }


def against_peer(line: dict[str, Any], python: str) -> Iterator[dict[str, Any]]:
    """The same work by gossipy."""
    script = Path(__file__).with_name("learning_gossipy.py")
    for threads in ("default", "1"):
        asked = [python, str(script), str(line["nodes"]), line["evaluated"], str(line["rounds"]), threads]
        told = subprocess.run(asked, capture_output=True, text=True, check=True)
        peer = json.loads(told.stdout.splitlines()[-1])
        ours, whole = line["cpu_s_per_node_round"], line["whole_cpu_s_per_node_round"]
        yield line | {
            "ratio_of": f"gossipy ({threads} threads) / ours",
            "peer_cpu_s_per_node_round": _short(peer["cpu_s_per_node_round"]),
            "ratio": _short(peer["cpu_s_per_node_round"] / ours),
            "ratio_whole": _short(peer["cpu_s_per_node_round"] / whole),
            "peer_accuracy": peer["accuracy"],
        }


def against_eager(nodes: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Batched against eager dispatch of the same run."""
    for name, model in (("W1", None), ("W1-mlp", MLP)):
        scenario = work(nodes, rounds=rounds, model=model)
        times = {}
        for executor in (BatchedExecutor, EagerExecutor):
            timed_run(scenario, executor)
            times[executor] = timed_run(scenario, executor)
        batched, eager = times[BatchedExecutor], times[EagerExecutor]
        yield {
            "case": f"{name}-eager",
            "nodes": nodes,
            "evaluated": "one",
            "rounds": rounds,
            "cpu_s_per_node_round": _short(batched[0] / nodes / rounds),
            "eager_cpu_s_per_node_round": _short(eager[0] / nodes / rounds),
            "ratio_of": "eager / batched, whole simulation",
            "ratio": _short(eager[0] / batched[0]),
            "peak_mib": peak_mib(),
        }


def learner_of(nodes: int, task: Task) -> Operations:
    """Operations on digits, 16 samples a node."""
    digits = data.digits(0.2, streams.generator(1, "data"))
    parts = partition.draws(len(digits.train_y), nodes, SAMPLES, True, streams.generator(1, "partition"))
    bank = Bank.of(digits.train_x, digits.train_y, parts)
    return Operations(task, bank, Recipe(), Batches(bank.counts), 0.5, SAMPLES)


def against_bound(nodes: int, repeats: int, rounds: int) -> Iterator[dict[str, Any]]:
    """The executor (submitting, batching, rows) against one bare vmapped call a round of the same arithmetic."""
    for name, task in (("W1", models.softmax(64, 10)), ("W1-mlp", models.mlp(64, 64, 10))):
        operations = learner_of(nodes, task)
        update = operations.update()
        start = task.init(streams.generator(1, "initial"))
        shared = tuple(jax.device_put(array) for array in update.shared)
        bare = jax.jit(jax.vmap(update.fn, (0, 0, *[None] * len(shared))))
        index = np.arange(nodes, dtype=np.int32)

        def bare_rounds(
            start: Any = start, bare: Any = bare, shared: Any = shared, index: Any = index
        ) -> None:
            params = np.repeat(start[None], nodes, axis=0)
            for _ in range(rounds):
                params = bare(params, index, *shared)
            np.asarray(params)

        def executed(
            kind: Any, rounds: int, start: Any = start, update: Any = update, size: int = task.size
        ) -> None:
            executor = kind()
            params = [executor.constant(start)] * nodes
            for _ in range(rounds):
                params = [executor.submit(update, (p, i), node=i, size=size) for i, p in enumerate(params)]
            executor.stack(params)

        bound = least(bare_rounds, repeats)
        ours = least(lambda executed=executed: executed(BatchedExecutor, rounds), repeats)
        eager_s = least(lambda executed=executed: executed(EagerExecutor, 2), 3) * rounds / 2
        yield {
            "case": f"{name}-bound",
            "nodes": nodes,
            "evaluated": "one",
            "rounds": rounds,
            "cpu_s_per_node_round": _short(ours / nodes / rounds),
            "bare_cpu_s_per_node_round": _short(bound / nodes / rounds),
            "ratio_of": "bare vmapped call / batched executor",
            "ratio": _short(bound / ours),
            "ratio_eager_to_batched": _short(eager_s / ours),
            "peak_mib": peak_mib(),
        }


def clipping(nodes: int, batch: int, repeats: int) -> Iterator[dict[str, Any]]:
    """A step with per-sample clipping against one without, all nodes in one vmapped call."""
    rng = np.random.default_rng(1)
    for name, task in (
        ("mlp", models.mlp(64, 64, 10)),
        ("cnn", models.cnn((8, 8), 10, (8, 16), 3, (32,), padding="same")),
    ):
        assert task.network is not None
        x = rng.standard_normal((nodes, batch, *task.network.shape)).astype(np.float32)
        y = rng.integers(10, size=(nodes, batch)).astype(np.int32)
        mask = np.ones((nodes, batch), bool)
        params = np.repeat(task.init(rng)[None], nodes, axis=0)
        steps: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
            "plain": (summed(task), ()),
            "layers": (clipped(task, "record"), (np.float32(0.5),)),
            "naive": (sample_by_sample(task), (np.float32(0.5),)),
        }
        times = {}
        for kind, (gradient, clip) in steps.items():

            def step(params: Any, x: Any, y: Any, mask: Any, *clip: Any, gradient: Any = gradient) -> Any:
                return params - 0.01 * gradient(params, x, y, mask, *clip)

            call = jax.jit(jax.vmap(step, (0, 0, 0, 0, *[None] * len(clip))))
            placed = [jax.device_put(array) for array in (params, x, y, mask, *clip)]
            times[kind] = least(lambda call=call, placed=placed: np.asarray(call(*placed)), repeats)
        yield {
            "case": f"dp-{name}",
            "nodes": nodes,
            "evaluated": "one",
            "batch": batch,
            "parameters": task.size,
            "cpu_s_per_node_round": _short(times["layers"] / nodes),
            "plain_cpu_s_per_node_round": _short(times["plain"] / nodes),
            "ratio_of": "clipped by layers / not clipped",
            "ratio": _short(times["layers"] / times["plain"]),
            "ratio_naive": _short(times["naive"] / times["plain"]),
            "peak_mib": peak_mib(),
        }


def least(action: Callable[[], Any], repeats: int) -> float:
    """Least processor time of an action, after one that compiles."""
    action()
    times = []
    for _ in range(max(3, repeats)):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return min(times)


def peak_mib() -> int:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def lines(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines that were asked for."""
    for case in asked.case or CASES:
        if case in ("W1", "W1-mlp", "cnn"):
            model = {"W1": None, "W1-mlp": MLP, "cnn": CNN}[case]
            for nodes in asked.nodes:
                for evaluated in ("one", "all") if case == "W1" else ("one",):
                    line = simulated(case, nodes, evaluated, asked.repeats, asked.rounds, model)
                    yield line
                    if case == "W1" and asked.peer:
                        yield from against_peer(line, asked.peer)
        elif case == "eager":
            yield from against_eager(max(asked.nodes), asked.rounds)
        elif case == "bound":
            yield from against_bound(max(asked.nodes), asked.repeats, asked.rounds)
        else:
            yield from clipping(min(300, max(asked.nodes)), 32, asked.repeats)


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", nargs="+", choices=CASES)
    parser.add_argument("--nodes", nargs="+", type=int, default=[100, 300, 1000])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", help="an interpreter with gossipy")
    parser.add_argument("--profile", action="store_true", help="where the time of the first size of W1 goes")
    asked = parser.parse_args()
    if asked.profile:
        scenario = work(asked.nodes[0], rounds=asked.rounds)
        timed_run(scenario)
        profile = cProfile.Profile()
        profile.runcall(timed_run, scenario)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    for line in lines(asked):
        print(json.dumps({"device": jax.default_backend()} | line), flush=True)


if __name__ == "__main__":
    main()
