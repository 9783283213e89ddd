"""The simulated network against theory, end to end: programs on virtual time, times read off the message log.

``python -m tests.simulator.test_theory_network`` prints the table of what theory says and what came out.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from simulator import streams
from simulator.contract.node import Message, Node
from simulator.network.latency import constant, exponential, gamma, given, lognormal
from simulator.network.links import LinkModel, Transport
from simulator.network.packet_loss import Bursts
from simulator.topology import graphs
from tests.support.matrix import covering
from tests.support.networks import PAIR, Played, complete, play

S = 1_000_000_000
FIVE = 5.0
"""Standard errors allowed: a right program fails once in 1.7 million."""

TABLE: list[tuple[str, float, float, float]] = []
"""What was compared: (quantity, expected, measured, tolerance)."""


def agrees(quantity: str, expected: float, measured: float, tolerance: float) -> None:
    """Assert, and remember for the table."""
    TABLE.append((quantity, expected, measured, tolerance))
    assert abs(measured - expected) <= tolerance, (quantity, expected, measured, tolerance)


# ---------------------------------------------------------------- rounds in step


def cycle_mean(weights: NDArray[np.float64]) -> float:
    """Largest mean weight of a cycle of a strongly connected graph (Karp, Discrete Mathematics 23, 1978)."""
    nodes = len(weights)
    best = np.full((nodes + 1, nodes), -np.inf)
    best[0, 0] = 0.0
    for k in range(nodes):
        best[k + 1] = (best[k][:, None] + weights).max(axis=0)
    lengths = nodes - np.arange(nodes)
    with np.errstate(invalid="ignore"):
        means = np.where(np.isfinite(best[:-1]), (best[-1] - best[:-1]) / lengths[:, None], np.inf)
    return float(means.min(axis=0)[np.isfinite(best[-1])].max())


@pytest.mark.slow
@pytest.mark.parametrize("seed", covering(range(3), {0}))
@pytest.mark.parametrize("uplink_bps", [None, 8e6])
def test_a_round_takes_the_largest_cycle_mean(seed: int, uplink_bps: float | None) -> None:
    """Nodes that compute, tell all and wait for all: x(k + 1) = A ⊗ x(k) in max-plus algebra, so the time of a round
    tends to A's eigenvalue, the largest cycle mean (Baccelli, Cohen, Olsder and Quadrat 1992). After the transient
    it is periodic; over K rounds the mean is off by less than the spread of the potentials, 1 s / K here, and by a
    nanosecond of rounding a step."""
    rng = np.random.default_rng(seed)
    neighbors = graphs.neighborhoods(graphs.regular(8, 3, streams.generator(seed, "t")))
    compute_s = rng.uniform(0.01, 0.1, 8)
    delay_s = {(i, j): float(rng.uniform(0.005, 0.2)) for i, around in enumerate(neighbors) for j in around}
    rounds, size = 600, 1000

    async def program(node: Node) -> None:
        for r in range(rounds):
            await node.sleep(float(compute_s[node.id]))
            node.multicast(node.neighbors, Message("model", r, None, size))
            await node.gather("model", r, node.neighbors)
            node.record("round", value=node.now_s)

    link = LinkModel(constant(0.0), uplink_bps or float("inf"), base_s=given(delay_s))
    played = play(program, link, neighbors)
    each_s = 8 * size / uplink_bps if uplink_bps else 0.0
    a = np.full((8, 8), -np.inf)
    for i, around in enumerate(neighbors):
        a[i, i] = compute_s[i]
        for place, j in enumerate(around):
            a[i, j] = compute_s[i] + (place + 1) * each_s + delay_s[i, j]
    expected = cycle_mean(a)
    ends = [max(played.values("round", node)[k] for node in range(8)) for k in (99, 599)]
    name = f"round of barrier gossip, graph {seed}{', FIFO uplinks' if uplink_bps else ''} (s)"
    agrees(name, expected, (ends[1] - ends[0]) / 500, 1.0 / 500)
    # From one multiple of the period to another it is exact.
    times = [round(max(played.values("round", n)[k] for n in range(8)) * S) for k in range(300, 600)]
    periods = [p for p in range(1, 13) if len({b - a for a, b in zip(times, times[p:], strict=False)}) <= 2]
    assert periods
    period = periods[0]
    exact = (times[-1] - times[-1 - 20 * period]) / (20 * period) / S
    agrees(f"{name}, exact", expected, exact, 30e-9)


# ---------------------------------------------------------------- the first k of n answers


@pytest.mark.parametrize("k", [1, 5, 9, 10])
def test_k_of_n_answers_under_an_exponential_law(k: int) -> None:
    """(H_n − H_{n−k})/λ, with its variance Σ 1/(λ·i)² (Rényi's representation of order statistics)."""
    n, mean_s, rounds = 10, 0.05, 2000

    async def program(node: Node) -> None:
        for r in range(rounds):
            if node.id:
                await node.sleep(10.0 * (r + 1) - node.now_s)
                node.send(0, Message("share", r, None, 0))
        if node.id == 0:
            for r in range(rounds):
                for _ in range(k):
                    await node.receive(lambda d, r=r: d.message.round == r)
                node.record("waited", value=node.now_s - 10.0 * (r + 1))
                await node.sleep(5.0)
                while await node.receive(timeout_s=0) is not None:
                    pass

    waits = play(program, LinkModel(exponential(mean_s)), complete(n + 1)).values("waited")
    steps = [mean_s / i for i in range(n - k + 1, n + 1)]
    error = sqrt(sum(s * s for s in steps) / rounds)
    agrees(f"{k} of {n} answers, Exp(20/s) (s)", sum(steps), float(np.mean(waits)), FIVE * error)


# ---------------------------------------------------------------- uplinks


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_wait_for_an_uplink_with_poisson_arrivals(load: float) -> None:
    """M/D/1: ρ/(2μ(1 − ρ)) (Pollaczek and Khinchine). The error is estimated from 50 batches."""
    service_s, messages = 0.01, 40_000

    async def program(node: Node) -> None:
        if node.id == 0:
            gaps = node.rng("gaps").exponential(service_s / load, messages)
            for r, gap in enumerate(gaps):
                await node.sleep(float(gap))
                node.send(1, Message("job", r, None, 1250))

    columns = play(program, LinkModel(constant(0.0), 1e6)).columns
    wait_s = (columns["left_ns"] - columns["sent_ns"]) / S - service_s
    wait_s = wait_s[columns["left_ns"] >= 0][2000:]
    batches = [float(batch.mean()) for batch in np.array_split(wait_s, 50)]
    error = float(np.std(batches, ddof=1)) / sqrt(50)
    expected = load * service_s / (2 * (1 - load))
    agrees(f"M/D/1 wait at load {load} (s)", expected, float(np.mean(wait_s)), FIVE * error)
    assert error < 0.1 * expected


def completions(link: LinkModel, sends: Sequence[tuple[int, int, int]]) -> list[float]:
    """When messages (from, to, bytes) among four nodes, all sent at once, arrive, in the order given."""

    async def program(node: Node) -> None:
        for i, (src, dst, size) in enumerate(sends):
            if src == node.id:
                node.send(dst, Message("bulk", i, None, size))
        await node.sleep(100.0)

    columns = play(program, link, complete(4)).columns
    by_round = dict(zip(columns["round"].tolist(), columns["delivered_ns"].tolist(), strict=True))
    return [by_round[i] / S for i in range(len(sends))]


def test_fair_shares_of_one_uplink() -> None:
    """Sizes 1, 2 and 3 together: each a third until the first ends after 3, then halves until 5, then 6."""
    link = LinkModel(constant(0.0), 8e6, sharing="fair")
    found = completions(link, [(0, 1, 10**6), (0, 2, 2 * 10**6), (0, 3, 3 * 10**6)])
    for size, expected, measured in zip((1, 2, 3), (3.0, 5.0, 6.0), found, strict=True):
        agrees(f"fair share of an uplink, size {size} (s)", expected, measured, 2e-9)


def test_max_min_shares_of_uplinks_and_downlinks() -> None:
    """0 → 2 and 1 → 2 get half of 2's downlink; 0 → 3 what they leave of 0's uplink, three times as much."""
    link = LinkModel(constant(0.0), 16e6, downlink_bps=(1e9, 1e9, 8e6, 1e9), sharing="fair")
    found = completions(link, [(0, 2, 10**6), (1, 2, 10**6), (0, 3, 3 * 10**6)])
    for name, measured in zip(("0 to 2", "1 to 2", "0 to 3"), found, strict=True):
        agrees(f"max-min share, {name} (s)", 2.0, measured, 2e-9)


# ---------------------------------------------------------------- losses and what is sent again


def test_delays_of_a_reliable_transport() -> None:
    """Attempt k arrives after latency + Σ_{i<k} timeout·backoff^i with probability p^(k−1)(1 − p); chi-square at
    1e-6. Expired: p^attempts."""
    loss, timeout_s, backoff, attempts, messages = 0.3, 0.2, 2.0, 5, 20_000

    async def program(node: Node) -> None:
        if node.id == 0:
            for r in range(messages):
                node.send(1, Message("word", r, None, 0))
            await node.sleep(100.0)

    transport = Transport(timeout_s, backoff, attempts, ordered=False)
    columns = play(program, LinkModel(constant(0.05), loss=loss, transport=transport)).columns
    arrived = columns["status"] == "delivered"
    delay_ns = (columns["delivered_ns"] - columns["sent_ns"])[arrived]
    steps = [0.05 + sum(timeout_s * backoff**i for i in range(k)) for k in range(attempts)]
    counts = [int((delay_ns == round(step * S)).sum()) for step in steps]
    assert sum(counts) == len(delay_ns), "a delay off the lattice"
    shares = [loss**k * (1 - loss) for k in range(attempts)] + [loss**attempts]
    counts.append(int((columns["status"] == "expired").sum()))
    assert stats.chisquare(counts, [messages * share for share in shares]).pvalue > 1e-6
    for k, share in enumerate(shares):
        name = f"sent {k + 1} times" if k < attempts else f"expired after {attempts}"
        error = sqrt(share * (1 - share) / messages)
        agrees(f"reliable transport at 30 % loss, {name}", share, counts[k] / messages, FIVE * error)


def one_way(link: LinkModel, messages: int, gap_s: float = 0.01) -> Played:
    """A stream of messages from node 0 to node 1."""

    async def program(node: Node) -> None:
        if node.id == 0:
            for r in range(messages):
                node.send(1, Message("word", r, None, 0))
                await node.sleep(gap_s)
            await node.sleep(10.0)

    return play(program, link, PAIR)


def test_independent_loss() -> None:
    lost = (one_way(LinkModel(constant(0.01), loss=0.05), 40_000).columns["status"] == "lost").mean()
    agrees("independent loss", 0.05, float(lost), FIVE * sqrt(0.05 * 0.95 / 40_000))


@pytest.mark.slow
def test_loss_in_bursts() -> None:
    """Gilbert–Elliott: stationary share of bad time, and mean length of a run of losses, that of the two-state chain
    sampled at every 10 ms."""
    good_s, bad_s, gap_s, messages = 0.9, 0.1, 0.01, 60_000
    columns = one_way(LinkModel(constant(0.01), bursts=Bursts(good_s, bad_s)), messages, gap_s).columns
    lost = columns["status"] == "lost"
    share = bad_s / (good_s + bad_s)
    # Samples of a two-state chain are correlated over 1/(1/good + 1/bad): that many are worth one.
    rate = 1 / good_s + 1 / bad_s
    stays = np.exp(-rate * gap_s)
    error = sqrt(share * (1 - share) / messages * (1 + stays) / (1 - stays))
    agrees("loss in bursts, stationary", share, float(lost.mean()), FIVE * error)
    leave = (1 - share) * (1 - stays)  # from lost to not lost in one gap
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(int), [0]]))))[::2]
    spread = sqrt(1 - leave) / leave
    agrees(
        "loss in bursts, mean run of losses", 1 / leave, float(runs.mean()), FIVE * spread / sqrt(len(runs))
    )


LAWS: dict[str, tuple[Any, Any]] = {
    "log-normal": (lognormal(0.05, 0.5), stats.lognorm(0.5, scale=0.05)),
    "gamma": (gamma(0.05, 2.0), stats.gamma(2.0, scale=0.025)),
    "exponential": (exponential(0.05), stats.expon(scale=0.05)),
}


@pytest.mark.parametrize("name", LAWS)
def test_latencies_follow_their_law(name: str) -> None:
    """Kolmogorov and Smirnov over 20,000 messages: the distance is above 0.02 with probability below 1e-6."""
    law, expected = LAWS[name]
    columns = one_way(LinkModel(law), 20_000).columns
    delay_s = (columns["delivered_ns"] - columns["left_ns"]) / S
    distance = stats.kstest(delay_s[columns["delivered_ns"] >= 0], expected.cdf).statistic
    limit = sqrt(log(2 / 1e-6) / (2 * 20_000))
    agrees(f"latency, {name}: KS distance", 0.0, float(distance), limit)


def main() -> None:
    """Run every comparison once and print the table."""
    here = sys.modules[__name__]
    for name, test in inspect.getmembers(here, inspect.isfunction):
        if name.startswith("test_"):
            _all_cases(test)
    lines = ["| quantity | theory | measured | tolerance |", "|---|---|---|---|"]
    lines += [f"| {what} | {a:.9g} | {b:.9g} | {off:.2g} |" for what, a, b, off in TABLE]
    sys.stdout.write("\n".join(lines) + "\n")


def _all_cases(test: Callable[..., None]) -> None:
    cases: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        name, values = mark.args
        cases = [case | {name: value} for case in cases for value in values]
    for case in cases:
        test(**case)


if __name__ == "__main__":
    main()
