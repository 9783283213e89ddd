"""Benchmark of exact accounting: losses of all nodes towards one observer, by the filter and by dense algebra.

One JSON line per case::

    python benchmarks/ledger.py

Gossip with fresh noise in every round on random regular graphs, and asynchronous gossip with lost messages.
``filter`` follows the recorded states (full shifts in one direction for every victim at once); ``all rounds`` bounds
the loss for any shifts in all rounds, which needs a column for every contribution; ``dense`` is the tests' oracle.
Growth exponents compare neighbouring sizes. ``ratio`` is dense over filter where both were run.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np

from protocols.privacy.exposure import Exposure, expose
from protocols.privacy.innovations import follow
from protocols.privacy.lineage import ORIGIN, Lineage, Opened, Visible
from protocols.privacy.linear_view import sight_rows, state_rows, whiten
from protocols.privacy.open_loop import open_loop_losses
from protocols.privacy.record import Record, read_record

EVER = np.array([np.inf])


def synchronous(nodes: int, rounds: int, secure: bool, degree: int = 6) -> Record:
    """D-PSGD on a random regular graph; observer 0 sees messages, or sums."""
    graph = nx.random_regular_graph(degree, nodes, seed=0)
    lineage, models = Lineage(), [ORIGIN] * nodes
    weight = 1.0 / (degree + 1)
    for t in range(rounds):
        models = [
            lineage.contribute(t, v, t, models[v], gain=1.0, sigma=1.0, sensitivity=1.0) for v in range(nodes)
        ]
        if secure:
            lineage.delivered(t + 0.5, 0, t, Opened(tuple((weight, models[w]) for w in sorted(graph[0]))))
        else:
            for w in sorted(graph[0]):
                lineage.delivered(t + 0.5, 0, t, Visible(models[w]))
        models = [
            lineage.combine(t + 0.7, v, t, [(weight, models[w]) for w in (v, *sorted(graph[v]))])
            for v in range(nodes)
        ]
    return read_record(lineage.record())


def asynchronous(nodes: int, events: int, degree: int = 6) -> Record:
    """One node at a time updates, and sends to a neighbour, which averages; every tenth message is lost."""
    graph = nx.random_regular_graph(degree, nodes, seed=0)
    drawn = np.random.Generator(np.random.PCG64(1))
    lineage, models = Lineage(), [ORIGIN] * nodes
    for event in range(events):
        v = int(drawn.integers(nodes))
        w = int(drawn.choice(sorted(graph[v])))
        models[v] = lineage.contribute(event, v, event, models[v], gain=1.0, sigma=1.0, sensitivity=1.0)
        if drawn.random() < 0.1:
            continue
        if w == 0:
            lineage.delivered(event + 0.5, 0, event, Visible(models[v]))
        models[w] = lineage.combine(event + 0.7, w, event, [(0.5, models[w]), (0.5, models[v])])
    return read_record(lineage.record())


def exposure_of(record: Record) -> Exposure:
    """What observer 0 saw."""
    return expose(record, frozenset({0}), 1.0)


def filtered(record: Record, nodes: int) -> tuple[float, float]:
    """Seconds, and the largest loss."""
    begun = time.perf_counter()
    exposure = exposure_of(record)
    shift = np.where(record.owner == 0, 0.0, exposure.shift)
    moves = follow(record, exposure.sights, record.owner == 0).along(shift, nodes).shifts
    return time.perf_counter() - begun, float((moves**2).sum(axis=0).max(initial=0.0))


def all_rounds(record: Record, nodes: int) -> float:
    """Seconds for the bound over all rounds."""
    begun = time.perf_counter()
    losses = open_loop_losses(record, exposure_of(record), EVER, nodes, 10, 1e13)
    assert losses.upper is not None
    return time.perf_counter() - begun


def dense(record: Record) -> float | None:
    """Seconds of the oracle, where its rows take less than a gigabyte."""
    if len(record.kinds) * len(record.owner) > 120_000_000:
        return None
    begun = time.perf_counter()
    exposure = exposure_of(record)
    hidden = np.flatnonzero(record.owner != 0)
    whiten(sight_rows(state_rows(record, 10**9)[:, hidden], exposure.sights), record.sigma[hidden])
    return time.perf_counter() - begun


def cases(small: bool) -> Iterator[tuple[dict[str, Any], Record, bool]]:
    """Sizes, records, and whether to bound all rounds."""
    grid = (
        [(24, 10, True), (48, 10, False)]
        if small
        else [(100, 50, True), (100, 200, False), (100, 1000, False), (300, 100, False), (1000, 100, False)]
    )
    for secure in (False, True):
        for nodes, rounds, fully in grid:
            label = {"case": "secure sums" if secure else "messages", "nodes": nodes, "rounds": rounds}
            yield label, synchronous(nodes, rounds, secure), fully
    for nodes, events in [(40, 500)] if small else [(100, 10_000), (1000, 20_000)]:
        yield {"case": "asynchronous", "nodes": nodes, "events": events}, asynchronous(nodes, events), False


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="sizes that take a second in all")
    asked = parser.parse_args()
    last: dict[str, tuple[int, int, float]] = {}
    for label, record, fully in cases(asked.small):
        took_s, worst = filtered(record, label["nodes"])
        tracemalloc.start()
        filtered(record, label["nodes"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        line = label | {"filter_s": took_s, "filter_mib": peak / 2**20, "largest_loss": worst}
        size = (label["nodes"], label.get("rounds") or label["events"])
        if label["case"] in last:
            n, steps, before_s = last[label["case"]]
            if (n == size[0]) != (steps == size[1]):
                grown = size[0] / n if n != size[0] else size[1] / steps
                which = "exponent_nodes" if n != size[0] else "exponent_rounds"
                line[which] = math.log(took_s / before_s) / math.log(grown)
        last[label["case"]] = (*size, took_s)
        if fully:
            line["all_rounds_s"] = all_rounds(record, label["nodes"])
        dense_s = dense(record)
        if dense_s is not None:
            line |= {"dense_s": dense_s, "ratio": dense_s / took_s}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
