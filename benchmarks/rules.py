"""Benchmark of robust rules, batched over receivers, compared with one numpy partition of the same data.

One JSON line per rule::

    python benchmarks/rules.py

1,000 receivers compare 20 vectors of 10,000 parameters each. ``ratio_to_partition`` is the time of a rule over that
of ``numpy.partition`` at the middle, along the vectors; ``ratio_to_copy`` is over one copy of the data. Rules go
through the data in blocks of receivers, as an executor's batches do; compilation is not counted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from protocols.robust import rules, weighted

F = 4


def cases(count: int) -> dict[str, Callable[[jax.Array], jax.Array]]:
    """Every rule over ``count`` rows."""
    w = jnp.full(count, 1.0 / count)
    budget = F / count
    return {
        "mean": rules.mean,
        "median": rules.median,
        "trimmed mean": partial(rules.trimmed_mean, f=F),
        "mean around median": partial(rules.mean_around_median, f=F),
        "multi-krum": partial(rules.krum, f=F, chosen=F),
        "geometric median": rules.geometric_median,
        "nearest mean": partial(rules.nearest_mean, f=F, pivot=0),
        "centred clipping": lambda x: rules.centred_clipping(x, x[0], 1.0, 1),
        "nearest mixing, trimmed mean": lambda x: rules.trimmed_mean(rules.nearest_mixed(x, F), F),
        "clipped gossip": lambda x: weighted.clipped_gossip(x, w, 1.0),
        "clipped sum": lambda x: weighted.clipped_sum(x, w, budget),
        "trimmed sum": lambda x: weighted.trimmed_sum(x, w, budget),
        "outlier scissor": lambda x: weighted.outliers_cut(x, w, F),
    }


def best(run: Callable[[], Any], repeats: int) -> float:
    """The shortest of some runs, seconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--receivers", type=int, default=1000)
    parser.add_argument("--vectors", type=int, default=20)
    parser.add_argument("--parameters", type=int, default=10_000)
    parser.add_argument("--block", type=int, default=50, help="receivers of one call")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rules", nargs="*", help="names; all if absent")
    asked = parser.parse_args()
    shape = (asked.receivers, asked.vectors, asked.parameters)
    data = np.random.Generator(np.random.PCG64(1)).standard_normal(shape, dtype=np.float32)
    blocks = [slice(at, at + asked.block) for at in range(0, asked.receivers, asked.block)]
    partition_s = best(
        lambda: [np.partition(data[b], asked.vectors // 2, axis=1) for b in blocks], asked.repeats
    )
    copy_s = best(lambda: [data[b].copy() for b in blocks], asked.repeats)
    for name, rule in cases(asked.vectors).items():
        if asked.rules and name not in asked.rules:
            continue
        batched = rules.batched(rule)
        for size in {data[b].shape[0] for b in blocks}:
            batched(data[:size]).block_until_ready()
        spent_s = best(lambda batched=batched: [np.asarray(batched(data[b])) for b in blocks], asked.repeats)
        line = {
            "rule": name,
            "receivers": asked.receivers,
            "vectors": asked.vectors,
            "parameters": asked.parameters,
            "ratio_to_partition": spent_s / partition_s,
            "ratio_to_copy": spent_s / copy_s,
            "seconds": spent_s,
            "device": jax.devices()[0].platform,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
