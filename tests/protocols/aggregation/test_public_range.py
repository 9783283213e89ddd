"""Where honest vectors are: strides, the public range, and how rarely a vector from there does not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.aggregation.public_range import PublicRange, Stride
from protocols.aggregation.sums import NormProof
from protocols.privacy.failure import refusal_probability
from protocols.sharing.codec import OutOfRange, codec_for, encode_rows
from simulator.errors import ConfigurationError
from simulator.streams import generator

seeds = st.integers(0, 2**32 - 1)


def test_a_stride_is_its_formula() -> None:
    stride = Stride(gain=0.5, step_norm=2.0, sigma=10.0, sigmas=8.0)
    assert stride.coordinate(16) == 0.5 * 16 * 2.0 + 8.0 * 0.5 * 10.0 * 4.0
    assert stride.norm(16, 25) == 0.5 * 16 * 2.0 + (5.0 + 8.0) * 0.5 * 10.0 * 4.0
    assert stride.coordinate(0) == stride.norm(0, 25) == 0.0


@settings(deadline=None, max_examples=50)
@given(seed=seeds, nodes=st.integers(1, 6), rounds=st.integers(1, 12))
def test_without_noise_no_gossip_with_stochastic_rows_leaves_the_range(
    seed: int, nodes: int, rounds: int
) -> None:
    rng = generator(seed)
    gain, step_norm = 0.7, 2.5
    centre = rng.normal(size=3).astype(np.float32)
    x = np.tile(centre.astype(np.float64), (nodes, 1))
    known = PublicRange(centre, Stride(gain, step_norm, 0.0, 8.0).coordinate(rounds))
    for _ in range(rounds):
        # The worst steps: every node pushes outward as far as clipping lets it.
        away = x - centre + 1e-9 * rng.normal(size=x.shape)
        x = x + gain * step_norm * away / np.linalg.norm(away, axis=1, keepdims=True)
        rows = rng.dirichlet(np.full(nodes, 0.3), size=nodes)
        x = np.where(rng.random((nodes, 1)) < 0.2, x, rows @ x)
        assert all(known.holds(row, margin=-1e-9) for row in x)


def test_one_node_pushing_one_way_attains_the_edge() -> None:
    x = np.zeros(2)
    for _ in range(10):
        x = x + 0.5 * np.array([2.0, 0.0])
    assert x[0] == Stride(0.5, 2.0, 0.0, 8.0).coordinate(10)


def test_accumulated_noise_stays_within_its_sigmas() -> None:
    # 10 nodes × 200 coordinates × 25 rounds, each N(0, ≤ 1) after normalising: by a union bound over 5e4
    # values at 8 sigmas it fails wrongly with probability below 5e4 · 1.3e-15 < 1e-10. Fixed seed 11.
    rng = generator(11)
    x = np.zeros((10, 200))
    bound = Stride(0.1, 0.0, 3.0, 8.0).coordinate(25)
    for _ in range(25):
        x = rng.dirichlet(np.full(10, 0.5), size=10) @ (x + 0.1 * 3.0 * rng.normal(size=x.shape))
        assert np.abs(x).max() <= bound


@pytest.mark.parametrize("name", ["gain", "step_norm", "sigma", "sigmas"])
@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_stride_names_the_bad_argument(name: str, bad: float) -> None:
    arguments = {"gain": 1.0, "step_norm": 1.0, "sigma": 1.0, "sigmas": 8.0}
    with pytest.raises(ConfigurationError, match=name):
        Stride(**(arguments | {name: bad}))


extreme = st.one_of(
    st.floats(-1e4, 1e4, width=32), st.sampled_from([math.nan, math.inf, -math.inf, 3e38, -3e38, 0.0])
)


@settings(deadline=None, max_examples=200)
@given(
    vector=st.lists(extreme, min_size=4, max_size=4),
    centre=st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4),
    reach=st.floats(1e-2, 1e3),
    radius=st.sampled_from([math.inf, 1e-2, 1.0, 30.0]),
)
def test_whatever_others_send_what_is_kept_is_in_the_range(
    vector: list[float], centre: list[float], reach: float, radius: float
) -> None:
    known = PublicRange(np.array(centre, np.float32), reach, radius)
    given_ = np.array(vector, np.float32)
    kept = known.nearest(given_)
    assert kept.dtype == np.float32
    assert known.holds(kept)
    assert float(np.abs(kept).max()) <= known.largest
    away = np.abs(kept.astype(np.float64) - known.centre)
    before = np.abs(np.where(np.isnan(given_), known.centre, given_).astype(np.float64) - known.centre)
    assert (away <= before * (1 + 1e-12)).all()


def test_what_is_inside_stays_and_nan_is_never_inside() -> None:
    known = PublicRange(np.ones(3, np.float32), 2.0, 2.5)
    assert known.holds(np.array([3.0, 1.0, -0.4], np.float32))
    assert not known.holds(np.array([3.0, 3.0, 1.0], np.float32))  # too long
    assert not known.holds(np.array([3.1, 1.0, 1.0], np.float32))
    assert not known.holds(np.array([1.0, math.nan, 1.0], np.float32))
    assert not known.holds(np.array([2.9, 1.0, 1.0], np.float32), margin=0.1)
    assert known.largest == 3.0


@pytest.mark.parametrize("sigmas", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_refusals_of_ranges_are_no_more_likely_than_is_said(sigmas: float, start: float) -> None:
    """40,000 vectors from the edge of the range, with the largest update, against the bound.

    The rate may exceed the bound by 6 standard deviations of a binomial; wrongly with probability below 1e-8.
    """
    dimension, trials = 6, 40_000
    stride = Stride(0.3, 2.0, 1.5, sigmas)
    known = PublicRange(np.zeros(dimension, np.float32), 4.0)
    codec = codec_for(known.largest + stride.coordinate(2), 1.0, 3)
    rng = generator(5)
    base = np.full(dimension, start * known.reach)
    update = np.zeros(dimension)
    update[0] = 2 * stride.gain * stride.step_norm
    noise = stride.gain * stride.sigma * rng.normal(size=(2, trials, dimension)).sum(axis=0)
    vectors = base + update + noise
    refused = 0
    for vector in vectors[:2000]:
        try:
            encode_rows(vector, (1.0,), codec, rng)
        except OutOfRange:
            refused += 1
    beyond = np.abs(vectors).max(axis=1) > codec.bound
    assert refused == beyond[:2000].sum()
    bound = refusal_probability(1, dimension, sigmas, proven=False)
    assert beyond.mean() <= bound + 6 * math.sqrt(bound / trials)
    if start == 1.0 and bound < 0.5:  # not idle: each coordinate at the edge leaves it on one side
        assert beyond.mean() > bound / 20


@pytest.mark.parametrize("sigmas", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dimension", [1, 4, 30])
def test_refusals_of_proofs_are_no_more_likely_than_is_said(sigmas: float, dimension: int) -> None:
    """As above, for norms: from the edge of the ball, in the direction of the update."""
    trials = 40_000
    stride = Stride(0.3, 2.0, 1.5, sigmas)
    ball, farthest = 2.0, stride.norm(1, dimension)
    proof = NormProof(np.zeros(dimension, np.float32), ball + farthest, 1, 0.0, 0.0)
    away = np.zeros(dimension)
    away[0] = ball + stride.gain * stride.step_norm
    vectors = away + stride.gain * stride.sigma * generator(7).normal(size=(trials, dimension))
    refused = 1 - np.mean([proof.holds(vector) for vector in vectors])
    tail = math.exp(-sigmas * sigmas / 2)
    assert refused <= tail + 6 * math.sqrt(tail / trials)
    both = refusal_probability(1, dimension, sigmas, proven=True)
    assert both == pytest.approx(min(1.0, dimension * math.erfc(sigmas / math.sqrt(2)) + tail))


def test_probabilities_add_up_over_vectors_and_never_vanish() -> None:
    one = refusal_probability(1, 100, 9.0, proven=False)
    assert one == pytest.approx(100 * math.erfc(9.0 / math.sqrt(2)))
    assert refusal_probability(50, 100, 9.0, proven=False) == pytest.approx(50 * one)
    assert refusal_probability(10**9, 10**9, 1.0, proven=True) == 1.0
    assert 0 < refusal_probability(10, 10, 1000.0, proven=True) < 1e-300
    assert refusal_probability(0, 10, 8.0, proven=True) == 0.0
    with pytest.raises(ConfigurationError, match="at least 0"):
        refusal_probability(-1, 10, 8.0, proven=False)
