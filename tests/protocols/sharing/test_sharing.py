"""Secret sharing of vectors and scalars: published numbers, laws, and what fewer shares say."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import chdtri

from protocols.sharing import additive, packed, scalars, shamir
from protocols.sharing.decoding import TooManyErrors, errors_in, wrong_shares
from protocols.sharing.field import combine, dot, lagrange, multiply, random_words
from protocols.sharing.modulus import P31, P61, Z32, Z64, Modulus
from protocols.sharing.streams import uniform_words
from simulator.errors import ConfigurationError

FIELDS = [P31, P61]
KEY = bytes(range(32))
fields = st.sampled_from(FIELDS)
seeds = st.integers(0, 2**32 - 1)


def elements(modulus: Modulus, count: int, seed: int) -> Any:
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = rng.integers(0, modulus.value, count, dtype=np.uint64).astype(modulus.dtype)
    for place, edge in zip(range(count), (0, 1, modulus.value - 1), strict=False):
        drawn[place] = edge
    return drawn


# ---------------------------------------------------------------- fields


@given(fields, st.integers(1, 50), seeds, seeds)
def test_products_are_those_of_python(modulus: Modulus, count: int, one: int, two: int) -> None:
    a, b = elements(modulus, count, one), elements(modulus, count, two)[::-1].copy()
    expected = [int(x) * int(y) % modulus.value for x, y in zip(a, b, strict=True)]
    found = multiply(modulus, a, b)
    assert found.dtype == modulus.dtype
    assert found.tolist() == expected


@settings(max_examples=30, deadline=None)
@given(fields, st.integers(1, 4), st.integers(1, 9), st.integers(1, 2000), seeds)
def test_linear_combinations_are_those_of_python(
    modulus: Modulus, outputs: int, inputs: int, size: int, seed: int
) -> None:
    rows = np.stack([elements(modulus, size, seed + i) for i in range(inputs)])
    factors = [elements(modulus, inputs, seed + 100 + i).tolist() for i in range(outputs)]
    found = combine(modulus, factors, rows)
    ints = rows.astype(object)
    for row, weights in zip(found, factors, strict=True):
        expected = sum(weight * ints[i] for i, weight in enumerate(weights)) % modulus.value
        assert row.tolist() == expected.tolist()
    assert dot(modulus, rows, rows[0]) == [int((row * ints[0]).sum() % modulus.value) for row in ints]


def test_vectors_longer_than_a_block() -> None:
    for modulus in FIELDS:
        rows = np.stack([elements(modulus, 70_001, i) for i in range(3)])
        found = combine(modulus, [[3, modulus.value - 2, 5]], rows)[0]
        ints = rows.astype(object)
        assert found.tolist() == ((3 * ints[0] - 2 * ints[1] + 5 * ints[2]) % modulus.value).tolist()


@pytest.mark.parametrize("modulus", [P31, P61, Z32, Z64, Modulus(2**26)])
def test_uniform_words_are_uniform(modulus: Modulus) -> None:
    words = uniform_words(modulus, KEY, 64_000)
    assert words.dtype == modulus.dtype
    assert int(words.max()) < modulus.value
    counts = np.bincount((words >> np.uint64(modulus.bits - 6)).astype(int), minlength=64)
    assert ((counts - 1000) ** 2 / 1000).sum() < chdtri(63, 1e-7)
    assert np.array_equal(uniform_words(modulus, KEY, 10), words[:10])


def test_rings_are_no_fields() -> None:
    with pytest.raises(ConfigurationError, match="prime field"):
        multiply(Z32, np.zeros(1, np.uint32), np.zeros(1, np.uint32))
    with pytest.raises(ConfigurationError, match="32"):
        random_words(P31, b"short", 3)


# ---------------------------------------------------------------- published numbers


@pytest.mark.parametrize(
    ("modulus", "shares", "weights"),
    [
        (
            P31,
            [1666666665, 26020357, 1643968806, 78061071, 1770748093],
            [1879048193, 1610612734, 805306368],
        ),
        (
            P61,
            [1666666665, 4320987651, 8086419747, 12962962953, 18950617269],
            [2017612633061982209, 1729382256910270462, 864691128455135232],
        ),
    ],
)
def test_a_polynomial_worked_by_hand(modulus: Modulus, shares: list[int], weights: list[int]) -> None:
    """123456789 + 987654321 x + 555555555 x² at 1 … 5; computed independently with Python integers."""
    powers = [[pow(x, i, modulus.value) for i in range(3)] for x in range(1, 6)]
    coefficients = np.array([[123456789], [987654321], [555555555]], modulus.dtype)
    assert combine(modulus, powers, coefficients)[:, 0].tolist() == shares
    assert lagrange(modulus.value, [1, 3, 5], [0]) == [weights]
    chosen = np.array([[shares[0]], [shares[2]], [shares[4]]], modulus.dtype)
    assert shamir.recover(modulus, [1, 3, 5], chosen, 3).tolist() == [123456789]


def test_a_packed_polynomial_worked_by_hand() -> None:
    """Secrets 11 and 22 at −1 and −2, the random value 333 at −3."""
    weights = lagrange(P31.value, [-1, -2, -3], range(1, 6))
    found = combine(P31, weights, np.array([[11], [22], [333]], np.uint32))[:, 0]
    assert found.tolist() == [889, 1778, 2967, 4456, 6245]
    three = np.array([[889], [1778], [6245]], np.uint32)
    assert packed.recover(P31, [1, 2, 5], three, 2, 1, 2).tolist() == [11, 22]


def test_a_codeword_with_errors_worked_by_hand() -> None:
    """42 + 7 x + 9 x² at 1 … 7: two errors are found, three are not corrected."""
    right, points = [58, 92, 144, 214, 302, 408, 532], list(range(1, 8))
    assert errors_in(P31.value, points, right, 3) == ()
    assert errors_in(P31.value, points, [58, 97, 144, 214, 77, 408, 532], 3) == (1, 4)
    with pytest.raises(TooManyErrors):
        errors_in(P31.value, points, [58, 97, 144, 215, 77, 408, 532], 3)


CASE = {  # a sum of three sharings over 2^61 − 1, n = 5 holders, 3 of them recover, and a wrong share of holder 1
    "shares": [
        [
            901527620383434176,
            2145951380747149287,
            1307213976899265199,
            691158418053475863,
            297784704209781279,
        ],
        [
            1148753333223721303,
            785569406743836524,
            804177796500158834,
            1204578502492688233,
            1986771524721424721,
        ],
        [485032884119905347, 1574635689999132096, 754757153783466222, 331240284686601676, 304085082708538458],
    ],
    "secret": 1565307026321106914,
    "delta": 964239345433405275,
    "wrong": 2152182053407628788,
}


def test_a_sum_with_a_corrupted_share() -> None:
    summed = [sum(column) % P61.value for column in zip(*CASE["shares"], strict=True)]
    rows = np.array(summed, np.uint64)[:, None]
    assert shamir.recover(P61, [1, 2, 3], rows[:3], 3).tolist() == [CASE["secret"]]
    rows[0, 0] = (summed[0] + CASE["delta"]) % P61.value
    assert shamir.recover(P61, [1, 2, 3], rows[:3], 3).tolist() == [CASE["wrong"]]
    assert wrong_shares(P61, [1, 2, 3, 4, 5], rows, 3, KEY) == (0,)
    correct = sum(
        shamir.recover(P61, subset, rows[[x - 1 for x in subset]], 3).tolist() == [CASE["secret"]]
        for subset in combinations(range(1, 6), 3)
    )
    assert correct == 4


# ---------------------------------------------------------------- laws


@st.composite
def sharings(draw: st.DrawFn) -> tuple[Modulus, int, int, list[int], int, int]:
    holders = draw(st.integers(1, 8))
    threshold = draw(st.integers(1, holders))
    points = draw(st.permutations(range(1, holders + 1)))
    return draw(fields), holders, threshold, points, draw(st.integers(1, 30)), draw(seeds)


@settings(max_examples=40, deadline=None)
@given(sharings())
def test_any_threshold_of_shares_recovers_sums(case: tuple[Modulus, int, int, list[int], int, int]) -> None:
    modulus, holders, threshold, points, size, seed = case
    one, two = elements(modulus, size, seed), elements(modulus, size, seed + 1)
    shares = shamir.deal(modulus, one, threshold, points, KEY)
    for mine, theirs in zip(shares, shamir.deal(modulus, two, threshold, points, KEY[::-1]), strict=True):
        modulus.add(mine, theirs)
    chosen = list(range(holders))[-threshold:]
    found = shamir.recover(modulus, [points[i] for i in chosen], shares[chosen], threshold)
    assert found.tolist() == [(int(a) + int(b)) % modulus.value for a, b in zip(one, two, strict=True)]


@settings(max_examples=40, deadline=None)
@given(fields, st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 40), seeds)
def test_packed_shares_recover_sums(
    modulus: Modulus, packing: int, privacy: int, spare: int, size: int, seed: int
) -> None:
    points = list(range(1, packing + privacy + spare + 1))
    one, two = elements(modulus, size, seed), elements(modulus, size, seed + 1)
    shares = packed.deal(modulus, one, packing, privacy, points, KEY)
    assert shares.shape == (len(points), -(-size // packing))
    for mine, theirs in zip(
        shares, packed.deal(modulus, two, packing, privacy, points, KEY[::-1]), strict=True
    ):
        modulus.add(mine, theirs)
    chosen = list(range(len(points)))[spare:]
    found = packed.recover(modulus, [points[i] for i in chosen], shares[chosen], packing, privacy, size)
    assert found.tolist() == [(int(a) + int(b)) % modulus.value for a, b in zip(one, two, strict=True)]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([P31, P61, Z32, Z64, Modulus(2**20)]), st.integers(2, 6), seeds)
def test_additive_shares_recover_sums(modulus: Modulus, holders: int, seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    one, two = (rng.integers(0, modulus.value, 9, dtype=np.uint64).astype(modulus.dtype) for _ in range(2))
    shares = additive.deal(modulus, one, holders, KEY)
    for mine, theirs in zip(shares, additive.deal(modulus, two, holders, KEY[::-1]), strict=True):
        modulus.add(mine, theirs)
    found = additive.recover(modulus, list(shares))
    assert found.tolist() == [(int(a) + int(b)) % modulus.value for a, b in zip(one, two, strict=True)]
    with pytest.raises(ConfigurationError):
        additive.deal(modulus, one, 1, KEY)


@pytest.mark.parametrize("modulus", FIELDS)
def test_fewer_shares_than_the_threshold_are_uniform(modulus: Modulus) -> None:
    """The secret is constant; two of three shares, and their difference, are spread evenly over 64 bins."""
    secret = np.full(64_000, 7, modulus.dtype)
    for shares in (
        shamir.deal(modulus, secret, 3, [1, 2, 3], KEY)[:2],
        packed.deal(modulus, secret, 1, 2, [1, 2, 3], KEY)[:2],
        additive.deal(modulus, secret, 3, KEY)[1:],
    ):
        for words in (*shares, modulus.subtract(shares[0].copy(), shares[1])):
            counts = np.bincount((words >> np.uint64(modulus.bits - 6)).astype(int), minlength=64)
            expected = words.size / 64
            assert ((counts - expected) ** 2 / expected).sum() < chdtri(63, 1e-8)


@settings(max_examples=60, deadline=None)
@given(fields, st.integers(1, 5), st.integers(0, 6), st.integers(0, 4), seeds, st.data())
def test_decoding_corrects_half_of_the_spare_shares(
    modulus: Modulus, threshold: int, spare: int, errors: int, seed: int, data: st.DataObject
) -> None:
    holders = threshold + spare
    assume(errors <= holders)
    points = list(range(1, holders + 1))
    shares = shamir.deal(modulus, elements(modulus, 7, seed), threshold, points, KEY)
    wrong = data.draw(st.sets(st.integers(0, holders - 1), min_size=errors, max_size=errors))
    for i in wrong:
        shares[i, seed % 7] = (int(shares[i, seed % 7]) + 1 + seed) % modulus.value
    if errors <= spare // 2:
        assert wrong_shares(modulus, points, shares, threshold, KEY) == tuple(sorted(wrong))
    elif errors <= spare:
        # Too many to correct: noticed, unless another polynomial happens to be as near.
        try:
            found = wrong_shares(modulus, points, shares, threshold, KEY)
        except TooManyErrors:
            return
        assert len(found) <= spare // 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 5), seeds, st.data())
def test_scalars(threshold: int, spare: int, seed: int, data: st.DataObject) -> None:
    points = list(range(1, threshold + spare + 1))
    secret = scalars.scalar_from(seed.to_bytes(32, "big"))
    assert int.from_bytes(scalars.to_bytes(secret), "big") == secret
    shares = scalars.deal(secret, threshold, points, KEY)
    assert scalars.recover_robust(points, shares, threshold) == (secret, ())
    errors = spare // 2
    wrong = data.draw(st.sets(st.sampled_from(points), min_size=errors, max_size=errors))
    spoilt = [share + 5 * (x in wrong) for x, share in zip(points, shares, strict=True)]
    assert scalars.recover_robust(points, spoilt, threshold) == (secret, tuple(sorted(wrong)))


@pytest.mark.parametrize("points", [[0, 1, 2], [1, 1, 2], [1, 2, P31.value], [1, 2]])
def test_points_that_would_show_the_secret_are_refused(points: list[int]) -> None:
    secret = elements(P31, 4, 1)
    with pytest.raises(ConfigurationError):
        shamir.deal(P31, secret, 3, points, KEY)
    with pytest.raises(ConfigurationError):
        scalars.deal(5, 3, [p if p != P31.value else scalars.ORDER for p in points], KEY)


@pytest.mark.parametrize(("packing", "privacy"), [(0, 1), (1, 0), (2, 3)])
def test_packing_that_hides_or_recovers_nothing_is_refused(packing: int, privacy: int) -> None:
    with pytest.raises(ConfigurationError):
        packed.deal(P31, elements(P31, 4, 1), packing, privacy, [1, 2, 3, 4], KEY)
    with pytest.raises(ConfigurationError):
        packed.deal(P31, elements(P31, 4, 1), 1, 1, [P31.value - 1, 2, 3], KEY)
