"""Delay laws by their distributions; base delays by what they may depend on."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from simulator import streams
from simulator.errors import ConfigurationError
from simulator.network import latency
from simulator.streams import Law

DRAWS = streams.unit(streams.absorb(streams.root(1, "test of the laws"), np.arange(5000)))

LAWS = [
    (latency.lognormal(0.05, 0.4), lambda t: stats.lognorm.cdf(t, 0.4, scale=0.05)),
    (latency.uniform(0.02, 0.08), lambda t: stats.uniform.cdf(t, 0.02, 0.06)),
    (latency.normal(0.01, 0.01), lambda t: stats.truncnorm.cdf(t, -1.0, np.inf, 0.01, 0.01)),
    (latency.normal(0.05, 0.01), lambda t: stats.truncnorm.cdf(t, -5.0, np.inf, 0.05, 0.01)),
    (latency.gamma(0.05, 2.0), lambda t: stats.gamma.cdf(t, 2.0, scale=0.025)),
    (latency.pareto(0.03, 2.5), lambda t: stats.pareto.cdf(t, 2.5, scale=0.03)),
    (latency.exponential(0.05), lambda t: stats.expon.cdf(t, scale=0.05)),
    (latency.weibull(0.05, 0.6), lambda t: stats.weibull_min.cdf(t, 0.6, scale=0.05)),
    (latency.weibull(0.05, 3.0), lambda t: stats.weibull_min.cdf(t, 3.0, scale=0.05)),
]

SHAPED = [law for law, _ in LAWS] + [latency.constant(0.05), latency.empirical([0.3, 0.1, 0.2])]

EDGES = np.array([2**-53, 0.5, 1 - 2**-53])


@pytest.mark.parametrize(("law", "cdf"), LAWS)
def test_draws_follow_their_law(law: Law, cdf: Callable[[float], float]) -> None:
    """Kolmogorov–Smirnov on 5,000 draws; fails by chance with probability 1e-6."""
    assert stats.kstest(law(DRAWS), cdf).pvalue > 1e-6


@pytest.mark.parametrize("law", SHAPED)
def test_a_law_keeps_the_shape_and_draws_each_number_by_itself(law: Law) -> None:
    for shape in [(), (1,), (7,), (3, 4), (0,)]:
        u = DRAWS[: int(np.prod(shape))].reshape(shape)
        drawn = law(u)
        assert drawn.shape == shape
        assert drawn.dtype == np.float64
        # The last bits may depend on how numpy splits an array; whole nanoseconds may not.
        one_by_one = [law(np.asarray(x)) for x in u.ravel()]
        np.testing.assert_allclose(drawn.ravel(), one_by_one, rtol=1e-14)


@pytest.mark.parametrize("law", SHAPED)
def test_a_law_is_monotone_and_finite_to_its_ends(law: Law) -> None:
    drawn = law(np.concatenate([EDGES, np.linspace(0.001, 0.999, 999)]))
    assert np.isfinite(drawn).all()
    assert (drawn >= 0).all()
    assert (np.diff(drawn[3:]) >= 0).all()
    assert drawn[0] <= drawn.min()
    assert drawn[2] >= drawn.max()


@pytest.mark.parametrize(
    "law",
    [
        latency.pareto(1e-3, 0.01),
        latency.lognormal(1e9, 5.0),
        latency.weibull(1.0, 0.001),
        latency.gamma(1e9, 0.01),
    ],
)
def test_a_tail_however_heavy_ends_within_64_bits_of_nanoseconds(law: Law) -> None:
    assert 0.99e9 < law(EDGES)[2] <= 1.000001e9


def test_laws_take_reference_values() -> None:
    at = np.asarray
    assert latency.lognormal(0.05, 0.4)(at(0.5)) == pytest.approx(0.05)
    assert latency.lognormal(0.05, 0.4)(at(0.8413447460685429)) == pytest.approx(exp(log(0.05) + 0.4))
    assert latency.uniform(1.0, 3.0)(at(0.25)) == 1.5
    assert latency.exponential(2.0)(at(0.5)) == pytest.approx(2 * log(2))
    assert latency.weibull(2.0, 1.0)(at(0.3)) == pytest.approx(float(latency.exponential(2.0)(at(0.3))))
    assert latency.gamma(2.0, 1.0)(at(0.3)) == pytest.approx(float(latency.exponential(2.0)(at(0.3))))
    assert latency.pareto(2.0, 1.0)(at(0.75)) == pytest.approx(8.0)
    assert (latency.constant(0.05)(DRAWS) == 0.05).all()


def test_an_empirical_law_draws_each_sample_equally_often() -> None:
    law = latency.empirical([0.3, 0.1, 0.2, 0.2])
    draws = law((np.arange(400) + 0.5) / 400).tolist()
    assert {d: draws.count(d) for d in set(draws)} == {0.1: 100, 0.2: 200, 0.3: 100}
    assert law(np.asarray(1 - 2**-53)) == 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: latency.constant(-0.1), "value must be a finite number, at least 0, got -0.1"),
        (lambda: latency.uniform(2.0, 1.0), "high must be a finite number, at least 2, got 1"),
        (lambda: latency.pareto(0.0, 1.0), "minimum must be a finite number, above 0, got 0"),
        (lambda: latency.weibull(1.0, float("inf")), "shape must be a finite number, above 0, got inf"),
        (lambda: latency.exponential(float("nan")), "mean must be a finite number, above 0, got nan"),
        (lambda: latency.empirical([]), "an empirical law needs at least one sample"),
        (lambda: latency.empirical([0.1, -0.2]), "samples must be a finite number, at least 0, got -0.2"),
        (
            lambda: latency.given({(1, 2): -1.0}),
            "the latency of link 1-2 must be a finite number, at least 0",
        ),
    ],
)
def test_a_law_that_is_none_is_refused_in_one_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- base delays

links = st.tuples(st.integers(0, 10_000), st.integers(0, 10_000))


@given(link=links, others=st.lists(st.integers(0, 10_000), max_size=20))
def test_a_links_base_delay_depends_on_the_link_alone(link: tuple[int, int], others: list[int]) -> None:
    base = latency.per_link(latency.uniform(0.01, 0.02), 7, symmetric=False)
    src, dst = link
    asked = np.array([*others, dst], np.int64)
    assert base(src, asked)[-1] == base(src, np.array([dst], np.int64))[0]


@given(link=links)
def test_both_directions_are_alike_if_asked_for(link: tuple[int, int]) -> None:
    a, b = link
    there, back = np.array([b], np.int64), np.array([a], np.int64)
    law = latency.uniform(0.01, 0.02)
    alike, apart = (latency.per_link(law, 7, symmetric=symmetric) for symmetric in (True, False))
    assert alike(a, there) == alike(b, back)
    assert a == b or apart(a, there) != apart(b, back)


def test_base_delays_follow_their_law_over_the_links() -> None:
    """Kolmogorov–Smirnov on 5,000 links; fails by chance with probability 1e-6. Another seed draws others."""
    law = latency.exponential(0.05)
    everybody = np.arange(100)
    of_seed = [
        np.concatenate([latency.per_link(law, s, symmetric=False)(i, everybody) for i in range(50)])
        for s in (1, 2)
    ]
    assert all(stats.kstest(drawn, stats.expon(scale=0.05).cdf).pvalue > 1e-6 for drawn in of_seed)
    assert not np.intersect1d(*of_seed).size


def test_given_delays_replace_and_sums_add() -> None:
    peers = np.array([1, 2, 3], np.int64)
    own = latency.given({(0, 2): 0.5, (1, 3): 0.7})
    assert own(0, peers).tolist() == [0, 0.5, 0]
    assert own(2, peers).tolist() == [0, 0, 0]
    rest = latency.per_link(latency.constant(0.1), 1, symmetric=True)
    assert latency.given({(0, 2): 0.5}, rest)(0, peers).tolist() == [0.1, 0.5, 0.1]
    assert latency.together(own, rest)(0, peers).tolist() == [0.1, 0.6, 0.1]
    assert latency.no_delay(0, peers).tolist() == [0, 0, 0]
    for base in (own, rest, latency.together(own, rest), latency.no_delay):
        assert base(0, peers[:0]).shape == (0,)
        assert base(0, peers).dtype == np.float64
