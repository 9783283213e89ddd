"""Fabricates run folders and studies in run-folder format 1, without running anything.

The numbers are smooth curves plus seeded noise: plausible enough to look at, simple enough to know what a table
or a figure must show.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import polars as pl

DELTA = 1e-5

MESSAGES: Mapping[str, Any] = {
    "sent_s": pl.Float64,
    "left_s": pl.Float64,
    "delivered_s": pl.Float64,
    "src": pl.Int64,
    "dst": pl.Int64,
    "kind": pl.String,
    "round": pl.Int64,
    "size_bytes": pl.Int64,
    "attempts": pl.Int64,
    "copy": pl.Boolean,
    "status": pl.String,
}
ACTIVITY: Mapping[str, Any] = {
    "node": pl.Int64,
    "state": pl.String,
    "from_s": pl.Float64,
    "until_s": pl.Float64,
}


def make_summary(**changes: Any) -> dict[str, Any]:
    """A finished secure run's summary; infinities as floats, written as ``"inf"`` by :func:`write_json`."""
    summary: dict[str, Any] = {
        "status": "finished",
        "name": "made-up",
        "seed": 1,
        "protocol": "dsgd/secure",
        "accuracy_mean": 0.873,
        "accuracy_worst": 0.812,
        "consensus_distance": 0.0312,
        "simulated_s": 40.0,
        "rounds": 40,
        "messages_sent": 2000,
        "messages_lost": 20,
        "bytes_sent": 10 * 2**20,
        "epsilon_worst": 4.38,
        "epsilon_median": 3.9,
        "epsilon_worst_open_loop": 1.25,
        "epsilon_median_open_loop": 0.9,
        "delta": DELTA,
        "adjacency": "add-remove",
        "unit": "record",
        "basis": "certified",
        "observers": "each node",
        "sums_opened": 600,
        "sums_skipped": 7,
        "lists_refused": 0,
        "withheld": 3,
        "nodes_down": [4],
        "diverged": False,
        "time_to_accuracy_s": 18.5,
        "bytes_to_accuracy": 5 * 2**20,
        "target_accuracy": 0.8,
        "series": None,
        "variant": None,
        "wall_s": 3.21,
        "trace_hash": "0123456789abcdef0123456789abcdef",
    }
    return summary | changes


def make_run(
    path: Path,
    *,
    nodes: int = 16,
    seed: int = 1,
    topology: Mapping[str, Any] | None = None,
    infinite_from_s: float | None = None,
    finished: bool = True,
    **changes: Any,
) -> Path:
    """One run folder with every table.

    Args:
        path: the folder to make.
        nodes: at least 8 (node 5 is Byzantine, 7 curious, 4 goes down and stays down, 3 goes and returns).
        seed: of the noise.
        topology: the scenario's table; default a random regular graph of degree 4.
        infinite_from_s: from when on the certified ε is infinite.
        finished: whether there is a summary.
        **changes: to the summary.
    """
    path.mkdir(parents=True, exist_ok=True)
    shape = dict(topology or {"kind": "regular", "nodes": nodes, "degree": 4})
    graph = _graph(shape, nodes)
    scenario = {
        "format": 1,
        "name": "made-up",
        "description": "a <made-up> run & nothing more",
        "topology": shape,
        "fault": [
            {"node": 4, "down_at": "22 s"},
            {"node": 3, "down_at": "8 s", "up_at": "14500 ms"},
        ],
        "training": {"step": 2.0},
    }
    summary = make_summary(seed=seed, **changes)
    write_json(
        path / "manifest.json",
        {
            "format": 1,
            "name": "made-up",
            "scenario": scenario,
            "scenario_sha256": sha256(json.dumps(scenario, sort_keys=True).encode()).hexdigest(),
            "seed": seed,
            "mode": "simulation",
            "versions": {"sottovoce": "0.1.0", "numpy": np.__version__},
            "trace_hash": summary["trace_hash"],
            "wall_s": summary["wall_s"],
            "peak_mib": 210.0,
            "status": "finished" if finished else "interrupted",
            "topology": {"nodes": nodes, "edges": [[int(i), int(j)] for i, j in graph.edges]},
            "byzantine": [5],
            "curious": [7],
            "down_at_end": [4],
            "mixing": {
                "symmetric": True,
                "doubly_stochastic": True,
                "spectral_gap": 0.31,
                "connected": True,
            },
        },
    )
    if finished:
        write_json(path / "summary.json", summary)
    rng = np.random.default_rng(seed)
    _metrics(nodes, rng).write_parquet(path / "metrics.parquet")
    _messages(graph, rng).write_parquet(path / "messages.parquet")
    _activity(nodes).write_parquet(path / "activity.parquet")
    _releases().write_parquet(path / "releases.parquet")
    _privacy(nodes, rng, infinite_from_s).write_parquet(path / "privacy.parquet")
    return path


def make_sweep(
    path: Path, *, levels: Sequence[float] = (0.5, 1, 2, 4, 8), seeds: int = 8, folders: bool = False
) -> Path:
    """A sweep: three private series over noise levels, plain gossip without ε."""
    rows: list[dict[str, Any]] = []
    series = [
        ("secure, sparse", "dsgd/secure", 1.4, 16.0, 2.6, 1.0),
        ("secure, complete", "dsgd/secure", 1.4, 4.0, None, 1.5),
        ("LDP gossip", "dsgd/ldp", 5.0, 16.0, 11.0, 0.9),
        ("plain gossip", "dsgd/plain", 0.0, None, None, 0.8),
    ]
    for index, (name, protocol, harm, certified, open_loop, slow) in enumerate(series):
        for level in levels if harm else [None]:
            for seed in range(1, seeds + 1):
                rng = np.random.default_rng([index, seed, int(10 * (level or 0))])
                noise = level or 0.0
                mean = 0.93 - 0.012 * harm * noise + 0.008 * rng.standard_normal()
                mean = float(max(mean, 0.12 + 0.02 * rng.random()))
                reached = mean > 0.8
                rows.append(
                    make_summary(
                        name="trade-off",
                        series=name,
                        seed=seed,
                        protocol=protocol,
                        accuracy_mean=mean,
                        accuracy_worst=float(max(mean - 0.04 - 0.015 * harm * noise / 4, 0.08)),
                        epsilon_worst=math.inf if certified is None else certified / noise,
                        epsilon_worst_open_loop=None
                        if open_loop is None
                        else open_loop / noise * float(1 + 0.06 * rng.standard_normal()),
                        epsilon_median=None,
                        epsilon_median_open_loop=None,
                        simulated_s=40.0 * slow,
                        bytes_sent=int(10 * 2**20 * slow),
                        time_to_accuracy_s=12 * slow * (1 + 0.04 * harm * noise) + float(rng.random())
                        if reached
                        else None,
                        bytes_to_accuracy=None,
                        nodes_down=None,
                    )
                    | {"set.privacy.noise_multiplier": level}
                )
    return _study(path, "sweep", "trade-off", rows, folders)


def make_whatif(path: Path, *, seeds: int = 8, folders: bool = False) -> Path:
    """A what-if: a baseline and three variants, paired by seed; without noise there is no ε."""
    rows: list[dict[str, Any]] = []
    variants: list[tuple[str | None, float, float, float, float]] = [
        (None, 0.0, 4.0, 1.0, 1.0),
        ("one sign flipper", -0.11, 4.0, 1.0, 1.02),
        ("two crashes", -0.02, 4.6, 1.25, 0.93),
        ("no noise", 0.03, math.inf, 1.0, 1.0),
    ]
    for name, gain, epsilon, slow, traffic in variants:
        for seed in range(1, seeds + 1):
            common, own = np.random.default_rng(seed), np.random.default_rng([seed, len(name or "")])
            mean = 0.87 + gain + 0.02 * common.standard_normal() + 0.008 * own.standard_normal()
            rows.append(
                make_summary(
                    name="what-if",
                    variant=name,
                    seed=seed,
                    accuracy_mean=float(mean),
                    accuracy_worst=float(mean - 0.05 + 1.5 * min(gain, 0.0) + 0.01 * own.standard_normal()),
                    epsilon_worst=epsilon,
                    epsilon_worst_open_loop=epsilon / 3 * float(1 + 0.03 * own.standard_normal()),
                    simulated_s=40 * slow + float(own.random()),
                    bytes_sent=int(10 * 2**20 * traffic * (1 + 0.005 * own.random())),
                    nodes_down=None,
                )
            )
    return _study(path, "whatif", "what-if", rows, folders)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON with infinity as the string ``"inf"``."""
    plain = {k: "inf" if isinstance(v, float) and math.isinf(v) else v for k, v in content.items()}
    path.write_text(json.dumps(plain, indent=1), encoding="utf-8")


def _study(path: Path, kind: str, name: str, rows: list[dict[str, Any]], folders: bool) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    entries = []
    for i, row in enumerate(rows):
        row["id"] = f"run{i:03d}"
        swept = {k.removeprefix("set."): v for k, v in row.items() if k.startswith("set.")}
        own = {key: row[key] for key in ("id", "series", "variant", "seed", "status")}
        entries.append(own | {"set": swept})
        if folders:
            folder = path / "runs" / row["id"]
            folder.mkdir(parents=True)
            write_json(folder / "summary.json", row)
            manifest = {"format": 1, "name": name, "scenario": {}, "status": "finished"}
            manifest |= {"topology": {"nodes": 2, "edges": [[0, 1]]}, "versions": {"sottovoce": "0.1.0"}}
            write_json(folder / "manifest.json", manifest)
    description = {"format": 1, "kind": kind, "name": name, "scenario": {"name": name}, "runs": entries}
    write_json(path / "study.json", description)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path / "summaries.parquet")
    return path


def _graph(shape: Mapping[str, Any], nodes: int) -> nx.Graph:
    if shape["kind"] == "ring":
        return nx.cycle_graph(nodes)
    if shape["kind"] == "star":
        return nx.star_graph(nodes - 1)
    if shape["kind"] == "grid":
        return nx.convert_node_labels_to_integers(nx.grid_2d_graph(shape["rows"], shape["columns"]))
    if shape["kind"] == "path":
        return nx.path_graph(nodes)
    return nx.random_regular_graph(int(shape["degree"]), nodes, seed=3)


def _metrics(nodes: int, rng: np.random.Generator) -> pl.DataFrame:
    level = 0.9 - 0.1 * rng.random(nodes)
    speed = 4 + 4 * rng.random(nodes)
    rows: list[tuple[float, int, int, str, float]] = []
    for step in range(21):
        t_s = 2.0 * step
        accuracy = 0.1 + (level - 0.1) * (1 - np.exp(-t_s / speed)) + 0.01 * rng.standard_normal(nodes)
        up = [
            i
            for i in range(nodes)
            if i != 5 and not (i == 4 and t_s >= 22) and not (i == 3 and 8 <= t_s < 14.5)
        ]
        rows += [(t_s, step, i, "accuracy", float(accuracy[i])) for i in up]
        rows += [(t_s, step, i, "loss", float(1 - accuracy[i])) for i in up]
        overall = {
            "accuracy_mean": float(accuracy[up].mean()),
            "accuracy_worst": float(accuracy[up].min()),
            "consensus_distance": float(np.exp(-t_s / 10)),
            "loss_mean": float(1 - accuracy[up].mean()),
            "bytes_sent": step * 0.5 * 2**20,
            "round": float(step),
        }
        rows += [(t_s, step, -1, key, value) for key, value in overall.items()]
    return pl.DataFrame(rows, schema=["t_s", "round", "node", "metric", "value"], orient="row")


def _messages(graph: nx.Graph, rng: np.random.Generator) -> pl.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for step in range(20):
        queued: dict[int, int] = {}
        for i, j in [*graph.edges, *[(j, i) for i, j in graph.edges]]:
            sent_s = 2.0 * step
            status = "lost" if rng.random() < 0.05 else "dropped" if j == 4 and sent_s >= 22 else "delivered"
            arrival = sent_s + 0.05 + 0.02 * float(rng.random()) if status == "delivered" else None
            queued[i] = queued.get(i, 0) + 1
            left_s = sent_s + 0.002 * queued[i]
            rows.append((sent_s, left_s, arrival, int(i), int(j), "share", step, 2640, 1, False, status))
    return pl.DataFrame(rows, schema=dict(MESSAGES), orient="row")


def _activity(nodes: int) -> pl.DataFrame:
    rows: list[tuple[int, str, float, float | None]] = [(4, "down", 22.0, None), (3, "down", 8.0, 14.5)]
    for step in range(20):
        for node in range(nodes):
            if (node == 4 and step >= 11) or (node == 3 and 4 <= step <= 7):
                continue
            rows.append((node, "waiting", 2.0 * step, 2.0 * step + 0.1))
            rows.append((node, "computing", 2.0 * step + 0.1, 2.0 * step + 2))
    return pl.DataFrame(rows, schema=dict(ACTIVITY), orient="row")


def _releases() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "kind": ["contribute", "release"],
            "id": [1, -1],
            "t_s": [0.0, 0.05],
            "node": [0, 1],
            "round": [0, 0],
            "parents": [[0], [1]],
            "coefs": [[1.0], [1.0]],
            "sigma": [17.3, 0.0],
            "sensitivity": [1.0, 0.0],
        }
    )


def _privacy(nodes: int, rng: np.random.Generator, infinite_from_s: float | None) -> pl.DataFrame:
    near = 0.4 + 0.6 * rng.random((nodes, nodes))
    rows: list[tuple[float, int, str, str, str, float | None, float, float, str]] = []
    for step in range(1, 9):
        t_s = 5.0 * step
        growth = math.sqrt(t_s / 40)
        for victim in (v for v in range(nodes) if v != 5):
            certified = 4.38 * growth * (1 - 0.01 * victim)
            if infinite_from_s is not None and t_s >= infinite_from_s:
                certified = math.inf
            rows.append((t_s, victim, "any", "add-remove", "record", None, certified, DELTA, "certified"))
            for observer in (o for o in range(nodes) if o != victim):
                loss = 1.25 * growth * float(near[victim, observer])
                rows.append(
                    (t_s, victim, str(observer), "add-remove", "record", 0.1, loss, DELTA, "open-loop")
                )
    names = ["t_s", "victim", "observers", "adjacency", "unit", "mu2", "epsilon", "delta", "basis"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
