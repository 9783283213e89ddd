"""Fabricates run folders of barrier-synchronised gossip with churn and loss, for timelines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import polars as pl

from tests.support.synthetic_runs import ACTIVITY, MESSAGES, make_summary, write_json

_DOWN_S = (0.55, 0.93)
_SIZE_BYTES, _UPLINK_BPS, _PATIENCE_S = 26_040, 10e6, 0.25


def make_barrier_run(
    path: Path, *, nodes: int = 8, rounds: int = 4, seed: int = 7, old: bool = False, fair: bool = False
) -> Path:
    """A run folder of barrier-synchronised gossip with churn and loss: manifest, summary, messages, activity.

    Every round each node computes, sends its model to its neighbours over its uplink and waits for theirs, or until
    it gives up. Node 5 is down for about a round; 3 % of the messages are lost.

    Args:
        path: the folder to make.
        nodes: at least 6, on a ring with chords.
        rounds: of gossip.
        seed: of latencies, computing times and losses.
        old: as runs were written before departures and activity were recorded.
        fair: messages share the uplink instead of queueing.
    """
    path.mkdir(parents=True, exist_ok=True)
    graph = nx.circulant_graph(nodes, [1, 3]) if nodes > 6 else nx.cycle_graph(nodes)
    rng = np.random.default_rng(seed)
    messages, activity, end_s = _barrier(graph, rounds, rng, fair)
    down_s, up_s = _DOWN_S
    manifest = {
        "format": 1,
        "name": "barrier",
        "scenario": {
            "name": "barrier",
            "fault": [{"node": 5, "down_at": f"{down_s} s", "up_at": f"{up_s} s"}],
        },
        "seed": seed,
        "mode": "simulation",
        "status": "finished",
        "topology": {"nodes": nodes, "edges": [[int(i), int(j)] for i, j in graph.edges]},
    }
    write_json(path / "manifest.json", manifest)
    write_json(path / "summary.json", make_summary(name="barrier", seed=seed, simulated_s=end_s))
    table = pl.DataFrame(messages, schema=MESSAGES, orient="row")
    if old:
        table = table.drop("left_s", "round", "attempts", "copy")
    else:
        pl.DataFrame(activity, schema=ACTIVITY, orient="row").write_parquet(path / "activity.parquet")
    table.write_parquet(path / "messages.parquet")
    return path


def make_tiny_run(
    path: Path, messages: Sequence[tuple[Any, ...]], activity: Sequence[tuple[Any, ...]], nodes: int = 2
) -> Path:
    """A run folder of given rows, one second long; a message is (sent, left, delivered, src, dst, kind, status)."""
    path.mkdir(parents=True, exist_ok=True)
    topology = {"nodes": nodes, "edges": [[0, 1]]}
    manifest = {
        "format": 1,
        "name": "tiny",
        "seed": 3,
        "scenario": {},
        "status": "finished",
        "topology": topology,
    }
    write_json(path / "manifest.json", manifest)
    write_json(path / "summary.json", make_summary(simulated_s=1.0))
    rows = [(*m[:6], 0, 100, 1, False, m[6]) for m in messages]
    pl.DataFrame(rows, schema=dict(MESSAGES), orient="row").write_parquet(path / "messages.parquet")
    pl.DataFrame(activity, schema=dict(ACTIVITY), orient="row").write_parquet(path / "activity.parquet")
    return path


def _barrier(
    graph: nx.Graph, rounds: int, rng: np.random.Generator, fair: bool
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], float]:
    nodes = range(graph.number_of_nodes())
    ready = dict.fromkeys(nodes, 0.0)
    speed = 0.8 + 0.5 * rng.random(len(nodes))
    transmission_s = _SIZE_BYTES * 8 / _UPLINK_BPS
    messages: list[tuple[Any, ...]] = []
    activity: list[tuple[Any, ...]] = [(5, "down", *_DOWN_S)]

    def up(node: int, t_s: float) -> bool:
        return node != 5 or not _DOWN_S[0] <= t_s < _DOWN_S[1]

    def active(node: int, state: str, from_s: float, until_s: float) -> None:
        if node == 5 and from_s < _DOWN_S[0] < until_s:
            until_s = _DOWN_S[0]
        if up(node, from_s) and until_s > from_s:
            activity.append((node, state, _whole(from_s), _whole(until_s)))

    for round in range(rounds):
        arrivals: dict[int, list[float]] = {node: [] for node in nodes}
        told: dict[int, float] = {}
        for node in nodes:
            computed = ready[node] + 0.09 * float(speed[node]) * float(0.9 + 0.3 * rng.random())
            active(node, "computing", ready[node], computed)
            told[node] = computed
            peers = [int(peer) for peer in graph.neighbors(node)]
            if not up(node, computed):
                continue
            for index, peer in enumerate(peers):
                queue = len(peers) if fair else index + 1
                left = computed + queue * transmission_s
                latency = 0.04 * math.exp(0.5 * float(rng.standard_normal()))
                lost = rng.random() < 0.03
                status = "lost" if lost else "delivered" if up(peer, left + latency) else "dropped"
                arrival = _whole(left + latency) if status == "delivered" else None
                if arrival is not None:
                    arrivals[peer].append(arrival)
                row = (_whole(computed), _whole(left), arrival, node, peer, "model", round, _SIZE_BYTES, 1)
                messages.append((*row, False, status))
        for node in nodes:
            complete = len(arrivals[node]) == graph.degree(node)
            last = max(arrivals[node], default=0.0)
            until = max(told[node], last) if complete else max(told[node] + _PATIENCE_S, last)
            since = told[node]
            for arrival in [*sorted(a for a in arrivals[node] if a > since), until]:
                active(node, "waiting", since, arrival)
                since = max(since, arrival)
            ready[node] = until
        others = sorted(ready[node] for node in nodes if node != 5)
        if not up(5, ready[5]) or not up(5, told[5]):
            ready[5] = max(_DOWN_S[1], others[0])
    return messages, activity, _whole(max(ready.values()))


def _whole(t_s: float) -> float:
    """Rounded to a nanosecond, as the engine's clock is."""
    return round(t_s * 1e9) / 1e9
