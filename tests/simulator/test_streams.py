"""Streams: keyed draws that are the same bits in any order and any shape, and look random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from simulator import streams

WORD = 2**64


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
    assert len({int(streams.root(*key)) for key in keys}) == len(keys)
    assert streams.Prefix(9, "u").uniforms(1, "v") == streams.Prefix(9, "u", 1).uniforms("v")
    pairs = np.array([streams.Prefix(9, "u").uniforms(i) for i in range(20_000)])
    assert ((pairs > 0) & (pairs < 1)).all()
    # KS at 1e-6 for each column; the correlation of 20,000 independent pairs exceeds 0.04 with probability below 1e-6
    assert all(stats.kstest(column, "uniform").pvalue > 1e-6 for column in pairs.T)
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.04


# ---------------------------------------------------------------- the arithmetic


def splitmix64(seed: int, number: int) -> int:
    """Output ``number`` (from 1) of SplitMix64, written from its definition."""
    z = (seed + number * 0x9E3779B97F4A7C15) % WORD
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def test_absorbing_gives_the_published_outputs_of_splitmix64() -> None:
    """The first five outputs for seed 1234567, from Rosetta Code's "Pseudo-random numbers/Splitmix64"."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert streams.absorb(np.uint64(1234567), np.arange(1, 6)).tolist() == published
    assert [streams.absorb_one(1234567, i) for i in range(1, 6)] == published
    assert [splitmix64(1234567, i) for i in range(1, 6)] == published


words = st.integers(-(2**63), WORD - 1)


@given(seed=st.integers(0, 2**32), key=st.lists(words, min_size=1, max_size=4))
def test_all_callers_get_the_bits_of_the_reference(seed: int, key: list[int]) -> None:
    start = streams.root(seed, "a stream")
    expected = plain = int(start)
    scalar, lone, padded = start, np.array([start]), np.array([[7, start], [start, 9]], np.uint64)
    for word in key:
        expected = splitmix64(expected, word)
        plain = streams.absorb_one(plain, word)
        scalar = streams.absorb(scalar, word)
        lone = streams.absorb(lone, np.array([word % WORD], np.uint64))
        padded = streams.absorb(padded, np.array([[1, word % WORD], [word % WORD, 2]], np.uint64))
    assert {expected} == {plain, int(scalar), int(lone[0]), int(padded[0, 1]), int(padded[1, 0])}
    number = ((expected >> 12) + 0.5) * 2.0**-52
    drawn = [streams.unit_one(plain), streams.unit(scalar), streams.unit(lone)[0], streams.unit(padded)[0, 1]]
    assert {float(u) for u in drawn} == {number}


@given(word=st.integers(-(2**63), 2**63 - 1))
def test_signed_words_count_modulo_2_to_the_64(word: int) -> None:
    h = streams.root(1, "a")
    signed, unsigned = np.array([word], np.int64), np.array([word % WORD], np.uint64)
    assert streams.absorb(h, signed) == streams.absorb(h, unsigned) == streams.absorb(h, word)


def test_arguments_are_left_alone_and_shapes_broadcast() -> None:
    h = streams.absorb(streams.root(1, "a"), np.arange(10))
    rounds = np.arange(16, dtype=np.uint64)[:, None]
    before = h.copy(), rounds.copy()
    grid = streams.absorb(h, rounds)
    draws = streams.unit(grid)
    assert (grid.shape, draws.shape, draws.dtype) == ((16, 10), (16, 10), np.float64)
    assert (h == before[0]).all()
    assert (rounds == before[1]).all()
    assert grid[3, 4] == streams.absorb(h[4], 3)
    assert (grid == streams.absorb(h, rounds)).all()
    assert streams.absorb(h, rounds[:0]).shape == (0, 10)


@pytest.mark.parametrize("h", [0, 1, WORD - 1])
def test_numbers_stay_inside_the_open_interval(h: int) -> None:
    assert 0 < streams.unit_one(h) < 1
    assert streams.unit(np.array([h], np.uint64))[0] == streams.unit_one(h)


# ---------------------------------------------------------------- looking random

NODES, ROUNDS = 40, 500


def numbers() -> np.ndarray:
    """(source, destination, round, purpose) uniforms, keyed as messages are: by small consecutive words."""
    h = streams.absorb(streams.root(3, "latency"), np.arange(NODES)[:, None, None, None])
    for word in (np.arange(NODES)[:, None, None], np.arange(ROUNDS)[:, None], np.arange(2)):
        h = streams.absorb(h, word)
    return streams.unit(h)


def test_numbers_of_consecutive_words_are_uniform_along_every_axis() -> None:
    """Kolmogorov–Smirnov on 400 lines of the array and on a million of its numbers: together below 1e-6."""
    u = numbers()
    lines = [u[i, j, :, p] for i in range(10) for j in range(10) for p in range(2)]
    lines += [u[i, :, k, p] for i in range(10) for k in range(10) for p in range(2)]
    p_values = [stats.kstest(line, "uniform").pvalue for line in [*lines, u[:, :25, :, :].ravel()]]
    assert min(p_values) > 1e-6 / len(p_values)


@pytest.mark.parametrize("axis", range(4))
def test_neighbours_along_an_axis_do_not_correlate(axis: int) -> None:
    """
    The correlation of n independent pairs has deviation n^-1/2 (n is at least 800,000, so it is nearly normal);
    beyond 5.3 deviations lie 1.2e-7. Eight are judged, on four axes, for the numbers and their squared deviations.
    """
    u = numbers()
    for values in (u, (u - 0.5) ** 2):
        first, second = (np.delete(values, end, axis).ravel() for end in (-1, 0))
        assert abs(np.corrcoef(first, second)[0, 1]) < 5.3 / np.sqrt(len(first))


def test_pairs_fill_the_square_evenly() -> None:
    """Chi-square of 64 x 64 cells for two purposes of a message, two rounds, two ends exchanged; 1e-6 in all."""
    u = numbers()
    swapped = u.transpose(1, 0, 2, 3)
    upper = np.triu_indices(NODES, 1)
    pairs = [(u[..., 0], u[..., 1]), (u[:, :, ::2], u[:, :, 1::2]), (u[upper], swapped[upper])]
    for first, second in pairs:
        counts, *_ = np.histogram2d(first.ravel(), second.ravel(), bins=64, range=[[0, 1], [0, 1]])
        assert stats.chisquare(counts.ravel()).pvalue > 1e-6 / len(pairs)


def test_no_two_short_keys_collide() -> None:
    """Of 800,000 hashes of 64 bits any two agree by chance with probability 2e-8."""
    h = streams.absorb(streams.root(3, "a"), np.arange(NODES)[:, None, None])
    h = streams.absorb(h, np.arange(NODES)[:, None])
    h = streams.absorb(h, np.arange(ROUNDS))
    assert len(np.unique(h)) == h.size


@pytest.mark.parametrize("which", ["the hash", "the word"])
def test_every_input_bit_flips_half_of_the_output_bits(which: str) -> None:
    """
    Avalanche on 4,096 keys: for each input and output bit the count of flips is binomial(4096, 1/2), deviation 32.
    Beyond 6.5 deviations lie 8e-11; with 2 x 64 x 64 counts the error probability is below 1e-6.
    """
    keys = 4096
    h = streams.absorb(streams.root(5, "avalanche"), np.arange(keys))
    word = np.arange(keys, dtype=np.uint64)
    bits = np.uint64(1) << np.arange(64, dtype=np.uint64)
    flipped_h, flipped_word = (
        (h[:, None] ^ bits, word[:, None]) if which == "the hash" else (h[:, None], word[:, None] ^ bits)
    )
    changed = streams.absorb(h, word)[:, None] ^ streams.absorb(flipped_h, flipped_word)
    flips = np.unpackbits(changed.view(np.uint8).reshape(keys, 64, 8), axis=2, bitorder="little").sum(0)
    assert abs(flips.astype(np.int64) - keys // 2).max() < 6.5 * 32
