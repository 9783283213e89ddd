"""Links: serialisation, loss, latency laws."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from scipy import stats

from simulator import latency, streams
from simulator.clock import to_ns, to_s
from simulator.kernel import Kernel
from simulator.mixing import metropolis
from simulator.network import LinkModel
from simulator.node import Message, Node
from simulator.records import LOST
from simulator.testing import ImmediateExecutor
from simulator.world import World


def sending(messages: int, size: int, link: LinkModel, *, extra: int = 0, seed: int = 1) -> Kernel:
    """Node 0 sends a burst to node 1; node 2 sends ``extra`` messages of its own."""
    neighbors: list[tuple[int, ...]] = [(1, 2), (0, 2), (0, 1)]

    async def program(node: Node) -> None:
        if node.id == 0:
            for i in range(messages):
                node.send(1, Message("burst", i, None, size))
        if node.id == 2:
            for i in range(extra):
                node.send(1, Message("noise", i, None, size))
        await node.sleep(1000)

    made = Kernel(World(seed, neighbors, metropolis(neighbors), ImmediateExecutor()), link, program)
    made.run()
    return made


def test_an_uplink_sends_one_message_after_another_to_the_nanosecond() -> None:
    made = sending(5, 1000, LinkModel(latency.constant(0.05), 10e6, header_bytes=40))
    each_ns = 1040 * 8 * 100  # at 10 Mbit/s a bit takes 100 ns
    assert list(made.log.delivered_ns) == [50_000_000 + (i + 1) * each_ns for i in range(5)]
    assert set(made.log.size_bytes) == {1040}


def test_loss_has_its_frequency() -> None:
    """20,000 messages at 5 %: outside 1000 ± 160 with probability below 1e-6 (5.2 standard deviations)."""
    made = sending(20_000, 1, LinkModel(latency.constant(0.001), 1e9, loss=0.05))
    assert abs(made.log.count(LOST) - 1000) < 160


@pytest.mark.parametrize(
    ("law", "cdf"),
    [
        (latency.lognormal(0.05, 0.4), lambda t: stats.lognorm.cdf(t, 0.4, scale=0.05)),
        (latency.uniform(0.02, 0.08), lambda t: stats.uniform.cdf(t, 0.02, 0.06)),
        (latency.normal(0.01, 0.01), lambda t: stats.truncnorm.cdf(t, -1.0, np.inf, 0.01, 0.01)),
        (latency.gamma(0.05, 2.0), lambda t: stats.gamma.cdf(t, 2.0, scale=0.025)),
        (latency.pareto(0.03, 2.5), lambda t: stats.pareto.cdf(t, 2.5, scale=0.03)),
    ],
)
def test_latencies_follow_their_law(law: latency.Latency, cdf: object) -> None:
    """Kolmogorov–Smirnov on 5,000 messages; fails by chance with probability 1e-6."""
    made = sending(5000, 0, LinkModel(law, 1e15))
    flights = np.array(made.log.delivered_ns) - np.array(made.log.sent_ns)
    assert stats.kstest(flights / 1e9, cdf).pvalue > 1e-6


def test_laws_are_monotone_maps_of_a_uniform() -> None:
    law = latency.lognormal(0.05, 0.4)
    assert law(0.5) == pytest.approx(0.05)
    assert law(0.8413447460685429) == pytest.approx(exp(log(0.05) + 0.4))
    assert latency.uniform(1.0, 3.0)(0.25) == 1.5


def test_other_traffic_shifts_nobodys_latency_or_loss() -> None:
    link = LinkModel(latency.lognormal(0.05, 0.5), 10e6, loss=0.1)
    alone, crowded = sending(200, 100, link), sending(200, 100, link, extra=500)

    def fates(made: Kernel) -> list[tuple[int, str]]:
        return [
            (t, status)
            for t, status, kind in zip(made.log.delivered_ns, made.log.status, made.log.kind, strict=True)
            if kind == "burst"
        ]

    assert fates(alone) == fates(crowded)


def test_streams_are_independent_of_order_and_of_each_other() -> None:
    assert streams.generator(1, "a", 2).random() == streams.generator(1, "a", 2).random()
    keys = [
        (1, "a"),
        (1, "b"),
        (2, "a"),
        (1, "a", 0),
        (1, "a", "0"),
        (1, "a0"),
        (1, "node", 1, 12),
        (1, "node", 11, 2),
    ]
    assert len({streams.digest(*key) for key in keys}) == len(keys)
    assert streams.Prefix(9, "u").uniforms(1, "v") == streams.Prefix(9, "u", 1).uniforms("v")
    pairs = np.array([streams.Prefix(9, "u").uniforms(i) for i in range(20_000)])
    assert ((pairs > 0) & (pairs < 1)).all()
    # KS at 1e-6 for each column; the correlation of 20,000 independent pairs exceeds 0.04 with probability below 1e-6
    assert all(stats.kstest(column, "uniform").pvalue > 1e-6 for column in pairs.T)
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.04


def test_times_round_trip() -> None:
    assert to_ns(1.5) == 1_500_000_000
    assert to_s(to_ns(0.123456789)) == 0.123456789


def test_an_empirical_law_draws_each_sample_equally_often() -> None:
    law = latency.empirical([0.3, 0.1, 0.2, 0.2])
    draws = [law((i + 0.5) / 400) for i in range(400)]
    assert {d: draws.count(d) for d in set(draws)} == {0.1: 100, 0.2: 200, 0.3: 100}
    assert law(1 - 2**-60) == 0.3
