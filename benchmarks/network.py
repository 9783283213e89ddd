"""Benchmark of the network in virtual time, as multiples of a bare SimPy timeout measured in the same process.

Every node of a 10-regular graph multicasts a 1000-byte message to its neighbours and gathers theirs, round after
round, over uplinks of 10 Mbit/s, log-normal latencies and 1 % loss. One JSON line per case and size::

    python benchmarks/network.py                      # fifo, fair, fifo with receive; 100, 1,000, 10,000 nodes
    python benchmarks/network.py --case fifo --profile
    python benchmarks/network.py --big                # 10,000 nodes x 10 neighbours x 20 rounds, memory and all

Keys: ``us_per_message``: processor time of the run (building it excluded) over messages sent, the median of
several runs. ``ratio_to_bare_timeout``: that over ``bare_us``, one SimPy timeout of one generator.
``ratio_to_bare_many``: over ``bare_many_us``, one timeout with as many generators as there are nodes, the cost of
SimPy itself at this size. ``growth``: against the first size. ``bytes_per_node``: memory still
allocated when the run is over, over nodes, without the record of messages (tracemalloc, in a run of its own).
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import simpy

from simulator import streams
from simulator.conformance.harness import ImmediateExecutor
from simulator.contract.node import Message, Node, Program
from simulator.network import latency
from simulator.network.links import LinkModel
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import World
from simulator.topology import graphs
from simulator.topology.mixing import metropolis

DEGREE = 10
SIZE_BYTES = 1000
TIMEOUT_S = 0.5
US = 1e6
CASES = ("fifo", "fair", "fifo-receive")


def bare(generators: int, timeouts: int) -> float:
    """Microseconds of processor time per timeout."""
    env = simpy.Environment()

    def ticking(offset: float) -> Iterator[simpy.Event]:
        yield env.timeout(offset)
        for _ in range(timeouts // generators):
            yield env.timeout(1)

    for i in range(generators):
        env.process(ticking(i / generators))
    return _timed(env.run) / timeouts * US


def gossip(rounds: int) -> Program:
    """Multicast to all neighbours, then gather theirs."""

    async def program(node: Node) -> None:
        peers = node.neighbors
        for r in range(rounds):
            node.multicast(peers, Message("model", r, None, SIZE_BYTES))
            await node.gather("model", r, peers, timeout_s=TIMEOUT_S)

    return program


def gossip_one_by_one(rounds: int) -> Program:
    """The same with a send and a receive for every message."""

    async def program(node: Node) -> None:
        for r in range(rounds):
            for peer in node.neighbors:
                node.send(peer, Message("model", r, None, SIZE_BYTES))
            missing = set(node.neighbors)
            deadline_s = node.now_s + TIMEOUT_S
            while missing:
                delivery = await node.receive(
                    lambda d, r=r: d.message.round == r, timeout_s=deadline_s - node.now_s
                )
                if delivery is None:
                    break
                missing.discard(delivery.src)

    return program


def build(case: str, nodes: int, rounds: int) -> Kernel:
    """Build a run."""
    graph = graphs.regular(nodes, DEGREE, streams.generator(1, "benchmark"))
    neighbors = graphs.neighborhoods(graph)
    world = World(1, neighbors, metropolis(neighbors), ImmediateExecutor())
    link = LinkModel(
        latency.lognormal(0.05, 0.4), 10e6, 0.01, 40, sharing="fair" if case == "fair" else "fifo"
    )
    return Kernel(world, link, gossip_one_by_one(rounds) if case == "fifo-receive" else gossip(rounds))


def measure(case: str, nodes: int, rounds: int, repeats: int) -> dict[str, Any]:
    """One line, without growth."""
    costs, ones, manys, messages = [], [], [], 0
    for _ in range(repeats):
        ones.append(bare(1, 300_000))
        manys.append(bare(nodes, max(300_000, 10 * nodes)))
        kernel = build(case, nodes, rounds)
        spent_s = _timed(kernel.run)
        messages = len(kernel.log)
        costs.append(spent_s / messages * US)
    cost, one, many = median(costs), median(ones), median(manys)
    return {
        "case": case,
        "nodes": nodes,
        "degree": DEGREE,
        "rounds": rounds,
        "messages": messages,
        "us_per_message": round(cost, 3),
        "bare_us": round(one, 3),
        "ratio_to_bare_timeout": round(cost / one, 2),
        "bare_many_us": round(many, 3),
        "ratio_to_bare_many": round(cost / many, 2),
        "bytes_per_node": standing(case, nodes),
    }


def standing(case: str, nodes: int, rounds: int = 5) -> int:
    """Bytes per node that a run still holds at its end, its message log and what it was built from excluded."""
    gc.collect()
    tracemalloc.start()
    kernel = build(case, nodes, rounds)
    kernel.run()
    whole, _ = tracemalloc.get_traced_memory()
    del kernel.log, kernel.network._log
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held <= whole
    return held // nodes


def big(nodes: int = 10_000, rounds: int = 20) -> dict[str, Any]:
    """A whole large run: wall time and peak memory of the process, and of building the topology."""
    began = time.perf_counter()
    graphs.regular(nodes, DEGREE, streams.generator(1, "benchmark"))
    topology_s = time.perf_counter() - began
    began = time.perf_counter()
    kernel = build("fifo", nodes, rounds)
    built_s = time.perf_counter() - began
    began = time.perf_counter()
    kernel.run()
    ran_s = time.perf_counter() - began
    return {
        "case": "big",
        "nodes": nodes,
        "rounds": rounds,
        "messages": len(kernel.log),
        "ended": {status: count for status, count in kernel.log.counts().items() if count},
        "topology_s": round(topology_s, 2),
        "build_s": round(built_s, 2),
        "run_s": round(ran_s, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def profile(case: str, nodes: int, rounds: int) -> None:
    """Profile a run by function; the profiler overstates the cost of calls."""
    kernel = build(case, nodes, rounds)
    profiler = cProfile.Profile()
    profiler.runcall(kernel.run)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def _timed(work: Callable[[], Any]) -> float:
    """Seconds of processor time, without the garbage collector, whose cost depends on what else is in memory."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()


def main() -> None:
    """Print the lines that were asked for."""
    parser = argparse.ArgumentParser(description="What the network in virtual time costs.")
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--messages", type=int, default=400_000, help="messages of a run, at least 20 rounds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--big", action="store_true")
    asked = parser.parse_args()
    if asked.big:
        print(json.dumps(big()), flush=True)
        return
    for case in asked.case:
        first = 0.0
        for nodes in asked.nodes:
            rounds = max(20, asked.messages // (nodes * DEGREE))
            if asked.profile:
                profile(case, nodes, rounds)
                continue
            line = measure(case, nodes, rounds, asked.repeats)
            first = first or line["us_per_message"]
            print(json.dumps(line | {"growth": round(line["us_per_message"] / first, 2)}), flush=True)


if __name__ == "__main__":
    main()
