"""Fixed point modulo M: exact against Python integers, unbiased, and never out of range in silence."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sharing.codec import (
    Codec,
    OutOfRange,
    codec_for,
    decode,
    encode,
    encode_rows,
    wrap_probability,
)
from protocols.sharing.modulus import P31, P61, Z32, Z64, Modulus
from simulator.errors import ConfigurationError, SottovoceError

M = Z32.value
MODULI = [Modulus(2**8), Modulus(2**20), Z32, P31, Modulus(2**40), P61, Z64]
every_modulus = pytest.mark.parametrize("modulus", MODULI, ids=str)
bounds = st.floats(1e-6, 1e6)
seeds = st.integers(0, 2**32 - 1)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def always_up() -> np.random.Generator:
    """A generator whose numbers are all 0."""
    rng = np.random.Generator(np.random.MT19937(0))
    rng.bit_generator.state = {"bit_generator": "MT19937", "state": {"key": [0] * 624, "pos": 0}}
    return rng


def signed(words: np.ndarray, modulus: int = M) -> list[int]:
    """The oracle's reading of words, in Python integers."""
    assert all(0 <= int(w) < modulus for w in words)
    return [int(w) - modulus if int(w) > (modulus - 1) // 2 else int(w) for w in words]


@st.composite
def neighbourhoods(draw: st.DrawFn) -> tuple[float, list[float], list[np.ndarray], int]:
    """A bound, the members' weights (summing to at most about 1), their vectors, a seed."""
    bound = draw(bounds)
    raw = draw(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
    total = max(sum(raw), 1.0)
    weights = [w / total for w in raw]
    rng = generator(draw(seeds))
    spread = draw(st.sampled_from(["uniform", "tiny", "edges"]))
    vectors = []
    for _ in weights:
        x = rng.uniform(-bound, bound, 5)
        if spread == "tiny":
            x *= 1e-9
        if spread == "edges":
            x = np.sign(x) * bound
        vectors.append(x)
    return bound, weights, vectors, draw(seeds)


@settings(deadline=None)
@given(bound=st.floats(1e-200, 1e200), heaviest=st.floats(1e-3, 4.0), members=st.integers(1, 2000))
def test_scale_is_the_largest_power_of_two_that_cannot_wrap(
    bound: float, heaviest: float, members: int
) -> None:
    codec = codec_for(bound, heaviest, members)
    reach = Fraction(heaviest) * Fraction(bound)
    scale = Fraction(codec.scale)
    assert math.frexp(codec.scale)[0] == 0.5
    assert scale * reach + members < 2**31
    # One word of 2^31 is kept back for float64; 2^-20 words allow for the rounding of reach itself.
    assert 2 * scale * reach + members + 1 > 2**31 - Fraction(1, 2**20)
    assert codec.quantum == 1 / codec.scale
    assert codec.modulus_bits == 32


@pytest.mark.parametrize(
    ("bound", "members", "scale"),
    [
        (2.0**31 - 1 - 1000, 1000, 0.5),  # at scale 1 the sum would reach 2^31 − 1, the word kept back
        (2.0**31 - 2 - 1000, 1000, 1.0),
        (2.0**31 - 500, 1000, 0.5),  # rounding alone, one word per member, would carry the sum over the edge
        (2.0**30, 1, 1.0),
        (1.0, 6, 2.0**30),
    ],
)
def test_scale_at_the_edge_of_the_ring(bound: float, members: int, scale: float) -> None:
    assert codec_for(bound, 1.0, members).scale == scale


def test_the_fullest_neighbourhood_does_not_wrap() -> None:
    bound, members = 2.0**31 - 502 - 1000, 1000
    codec = codec_for(bound, 1.0, members)
    # Every share is rounded up for certain: the generator's numbers are all 0.
    values = np.full(1, bound)
    total = np.zeros(1, np.uint32)
    for _ in range(members):
        total += encode(values, 1 / members, codec, always_up())
    assert codec.scale == 1.0
    assert bound < decode(total, codec)[0] < 2**31


@settings(deadline=None)
@given(neighbourhoods())
def test_sums_never_wrap_and_decode_within_one_quantum_per_member(
    case: tuple[float, list[float], list[np.ndarray], int],
) -> None:
    bound, weights, vectors, seed = case
    heaviest = sum(weights)
    if heaviest * bound < 1e-12:
        return
    codec = codec_for(bound, heaviest, len(weights))
    shares = [
        encode(x, w, codec, generator(seed + k))
        for k, (x, w) in enumerate(zip(vectors, weights, strict=True))
    ]
    exact = [sum(column) for column in zip(*(signed(share) for share in shares), strict=True)]
    assert all(-(2**31) <= total < 2**31 for total in exact)
    total = np.add.reduce(shares, dtype=np.uint32)
    decoded = decode(total, codec)
    assert [Fraction(value) * Fraction(codec.scale) for value in decoded] == exact
    # decode is exact; what is left is less than one word per member, and the rounding of float64 products.
    for coordinate, value in enumerate(decoded):
        truth = sum(
            Fraction(float(x[coordinate])) * Fraction(w) for x, w in zip(vectors, weights, strict=True)
        )
        words_off = abs(Fraction(float(value)) - truth) * Fraction(codec.scale)
        assert words_off < len(weights) * (1 + Fraction(1, 2**20))


@settings(deadline=None)
@given(
    value=st.floats(-1.0, 1.0),
    weight=st.floats(0.0, 1.0),
    exponent=st.integers(0, 29),
    seed=seeds,
)
def test_each_word_is_a_neighbouring_integer(value: float, weight: float, exponent: int, seed: int) -> None:
    codec = Codec(2.0**exponent, 1.0)
    target = value * codec.scale * weight
    words = encode(np.full(50, value), weight, codec, generator(seed))
    assert words.dtype == np.uint32
    assert set(signed(words)) <= {math.floor(target), math.ceil(target)}


@settings(deadline=None)
@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20), st.integers(-40, 40))
def test_decode_reads_twos_complement(numbers: list[int], exponent: int) -> None:
    codec = Codec(2.0**exponent, 1.0)
    words = np.array([number % M for number in numbers], dtype=np.uint32)
    assert decode(words, codec).tolist() == [number / codec.scale for number in numbers]


def test_whole_numbers_are_not_rounded() -> None:
    codec = Codec(4.0, 100.0)
    values = np.array([-100.0, -0.25, 0.0, 0.25, 99.75])
    for seed in range(200):
        words = encode(values, 1.0, codec, generator(seed))
        assert signed(words) == [-400, -1, 0, 1, 399]


def test_rounding_is_unbiased() -> None:
    # Hoeffding: a mean of n draws in [0, 1] is off by t with probability at most 2 exp(−2 n t²). With 10
    # cases and t = sqrt(ln(4e8) / 2n) it fails wrongly with probability at most 20 / 4e8 = 5e-8. Seed 20240.
    draws = 400_000
    tolerance = math.sqrt(math.log(4e8) / (2 * draws))
    rng = generator(20240)
    codec = Codec(2.0**10, 8.0)
    cases = [(v, w) for v in (1e-6, -1e-6, 0.12345, -7.99999, 3 / 1024) for w in (1 / 3, 0.9)]
    for value, weight in cases:
        words = encode(np.full(draws, value), weight, codec, rng)
        mean = decode(words, codec).mean() * codec.scale
        assert abs(mean - value * weight * codec.scale) < tolerance


def test_rounding_of_two_coordinates_is_independent() -> None:
    # The product of two ±1/2 errors has mean 0 and lies in [−1/4, 1/4]: Hoeffding gives 2 exp(−8 n t²) = 1e-8
    # for the t below. Fixed seed 7.
    draws = 200_000
    words = encode(np.full((draws, 2), 0.5), 1.0, Codec(1.0, 1.0), generator(7))
    errors = words.astype(np.float64) - 0.5
    assert abs(np.mean(errors[:, 0] * errors[:, 1])) < math.sqrt(math.log(2e8) / (8 * draws))


def test_same_stream_same_words() -> None:
    codec = codec_for(1.0, 1.0, 6)
    values = np.linspace(-1, 1, 100)
    assert np.array_equal(encode(values, 0.3, codec, generator(5)), encode(values, 0.3, codec, generator(5)))
    assert not np.array_equal(
        encode(values, 0.3, codec, generator(5)), encode(values, 0.3, codec, generator(6))
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_itself_is_in_range_and_the_input_is_untouched(dtype: type) -> None:
    codec = codec_for(2.0, 1.0, 1)
    values: np.ndarray = np.array([[2.0, -2.0], [0.0, 1.0]], dtype=dtype)
    kept = values.copy()
    words = encode(values, 1.0, codec, generator(0))
    assert words.shape == values.shape
    assert np.array_equal(values, kept)
    assert np.max(np.abs(decode(words, codec) - values)) <= codec.quantum


def test_an_empty_vector_is_an_empty_vector() -> None:
    assert encode(np.zeros(0), 0.5, Codec(1.0, 1.0), generator(0)).shape == (0,)


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, -math.inf, math.nextafter(2.0, 3.0), -math.nextafter(2.0, 3.0), 1e300]
)
@pytest.mark.parametrize("weight", [0.0, 1e-12, 0.5])
def test_out_of_range_is_refused_whatever_the_weight(bad: float, weight: float) -> None:
    codec = codec_for(2.0, 1.0, 4)
    with pytest.raises(OutOfRange) as refused:
        encode(np.array([0.1, bad, -0.1]), weight, codec, generator(0))
    assert refused.value.bound == 2.0
    assert refused.value.largest == abs(bad) or (math.isnan(bad) and math.isnan(refused.value.largest))
    assert "withhold" in str(refused.value)


def test_out_of_range_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(OutOfRange(3.0, 2.0)))
    assert isinstance(error, OutOfRange)
    assert isinstance(error, SottovoceError)
    assert (error.largest, error.bound) == (3.0, 2.0)


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, 2.1])
def test_weights_the_codec_was_not_sized_for_are_refused(weight: float) -> None:
    with pytest.raises(ConfigurationError, match="weight"):
        encode(np.zeros(3), weight, codec_for(1.0, 1.0, 1), generator(0))


@pytest.mark.parametrize("total", [np.zeros(2, np.int64), np.zeros(2, np.int32), np.zeros(2)])
def test_only_words_are_decoded(total: np.ndarray) -> None:
    with pytest.raises(ConfigurationError, match="uint32"):
        decode(total, Codec(1.0, 1.0))


@pytest.mark.parametrize(
    "arguments",
    [
        (0.0, 1.0, 3),
        (-1.0, 1.0, 3),
        (math.inf, 1.0, 3),
        (math.nan, 1.0, 3),
        (1.0, 0.0, 3),
        (1.0, math.inf, 3),
        (1.0, 1.0, 0),
        (1.0, 1.0, 2**20 + 1),
        (1e-290, 1.0, 3),
        (1e290, 1.0, 3),
    ],
)
def test_a_codec_that_makes_no_sense_is_refused(arguments: tuple[float, float, int]) -> None:
    with pytest.raises(ConfigurationError):
        codec_for(*arguments)


@pytest.mark.parametrize(
    ("scale", "bound"), [(3.0, 1.0), (0.0, 1.0), (-2.0, 1.0), (2.0, 0.0), (2.0, math.inf)]
)
def test_a_codec_must_have_a_power_of_two_and_a_range(scale: float, bound: float) -> None:
    with pytest.raises(ConfigurationError):
        Codec(scale, bound)


@every_modulus
@settings(deadline=None, max_examples=40)
@given(
    bound=bounds, members=st.integers(1, 60), seed=seeds, up=st.booleans(), sign=st.sampled_from([-1.0, 1.0])
)
def test_sums_of_every_modulus_decode_to_the_sum(
    modulus: Modulus, bound: float, members: int, seed: int, up: bool, sign: float
) -> None:
    """All members at the bound, or anywhere; rounded fairly, or always up."""
    rng = generator(seed)
    raw = rng.uniform(0.1, 1.0, members)
    weights = raw / raw.sum()
    heaviest = float(weights.sum())
    codec = codec_for(bound, heaviest, members, modulus)
    total = np.zeros(4, modulus.dtype)
    truth, integers = [Fraction(0)] * 4, [0] * 4
    for weight in weights:
        x = np.array([bound, rng.uniform(0, bound), rng.uniform(-bound, bound), 0.0]) * sign
        words = encode(x, weight, codec, always_up() if up else rng)
        assert modulus.holds(words)
        integers = [a + b for a, b in zip(integers, signed(words, modulus.value), strict=True)]
        truth = [a + Fraction(float(b)) * Fraction(float(weight)) for a, b in zip(truth, x, strict=True)]
        total = modulus.add(total, words)
    assert max(map(abs, integers)) <= modulus.largest
    assert signed(total, modulus.value) == integers
    decoded = decode(total, codec)
    assert decoded.tolist() == [float(integer) / codec.scale for integer in integers]
    slack = Fraction(modulus.value, 2**50) + Fraction(1, 2**20)  # float64 products, and decoding beyond 2^53
    for value, exact in zip(decoded, truth, strict=True):
        assert abs(Fraction(float(value)) - exact) * Fraction(codec.scale) < members + slack


@every_modulus
def test_each_row_is_rounded_for_itself_and_one_row_is_encode(modulus: Modulus) -> None:
    values = generator(1).uniform(-1, 1, 2**14 + 77)  # more than one block, the last one partly filled
    weights = [0.0, 1e-9, 0.3, 0.5]
    codec = codec_for(1.0, 1.0, 4, modulus)
    rows = encode_rows(values, weights, codec, generator(2))
    assert (rows.shape, rows.dtype) == ((4, values.size), modulus.dtype)
    integers = modulus.lift(rows).astype(np.float64)
    for row, weight in zip(integers, weights, strict=True):
        target = values * codec.scale * weight
        assert np.all((row == np.floor(target)) | (row == np.ceil(target)))
    assert not rows[0].any()
    again = encode_rows(values, [0.5, 0.5], codec, generator(2))
    if modulus.bits < 53:  # beyond, these products have no fractions
        assert not np.array_equal(again[0], again[1])
    assert np.array_equal(again[0], encode(values, 0.5, codec, generator(2)))


@every_modulus
def test_rounding_is_unbiased_in_every_modulus(modulus: Modulus) -> None:
    # Hoeffding as below, 7 moduli of 6 cases: wrong with probability at most 84 / 4e9 = 3e-8. Fixed seed 41.
    draws = 200_000
    tolerance = math.sqrt(math.log(4e9) / (2 * draws)) + 2.0**-32
    codec, rng = Codec(1.0, 16.0, modulus), generator(41)
    values = np.array([0.3, -0.3, 3.999, -7.0001, 1e-5, -1e-5])
    columns = np.broadcast_to(values, (draws, 6)).reshape(-1)
    words = encode_rows(columns, [0.7], codec, rng)
    means = modulus.lift(words).reshape(draws, 6).mean(axis=0)
    assert np.max(np.abs(means - 0.7 * values)) < tolerance


def test_the_law_is_exact_to_32_binary_digits() -> None:
    """Every probability of the form j / 2^32: up exactly when the 32 random bits are below j."""
    bits = generator(3).integers(0, 2**64 - 1, 500, dtype=np.uint64, endpoint=True).astype("<u8").view("<u4")
    for modulus in (Z32, Z64):
        for offset in (0, 1, -1):  # the fraction just at, above and below the random bits
            fractions = (bits.astype(np.float64) + offset) / 2**32
            inside = (fractions >= 0) & (fractions < 1)
            assert inside.sum() > 990
            codec = Codec(1.0, 4.0, modulus)
            words = encode(np.where(inside, fractions, 0.0), 1.0, codec, generator(3))
            assert np.array_equal(words[inside], np.full(inside.sum(), int(offset > 0)))
            words = encode(np.where(inside, fractions - 1.0, 0.0), 1.0, codec, generator(3))
            assert np.array_equal(modulus.lift(words[inside]), np.full(inside.sum(), int(offset > 0) - 1))


def test_saturation_is_counted() -> None:
    codec = codec_for(1.0, 1.0, 2)
    values = np.array([0.5, 1.5, -7.0, 1.0, -1.0, 1e300])
    words, moved = encode_rows(values, [0.5, 0.25], codec, generator(0), saturate=True)
    assert moved == 3
    assert decode(words, codec)[0].tolist() == [0.25, 0.5, -0.5, 0.5, -0.5, 0.5]
    assert decode(words, codec)[1].tolist() == [0.125, 0.25, -0.25, 0.25, -0.25, 0.25]
    inside, none = encode_rows(values[[0, 3, 4]], [0.5], codec, generator(1), saturate=True)
    assert none == 0
    assert np.array_equal(inside, encode_rows(values[[0, 3, 4]], [0.5], codec, generator(1)))
    with pytest.raises(OutOfRange):
        encode_rows(values, [0.5], codec, generator(0))


def test_saturation_knows_the_bound_in_float64() -> None:
    """A float32 vector just beyond a bound that float32 cannot hold."""
    bound = 0.1
    above = np.nextafter(np.float32(bound), np.float32(1.0), dtype=np.float32)
    words, moved = encode_rows(np.array([above]), [1.0], Codec(2.0**30, bound), generator(0), saturate=True)
    assert moved == 1
    assert abs(decode(words, Codec(2.0**30, bound))[0, 0] - bound) < 2.0**-30


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_has_diverged_is_refused_even_with_saturation(bad: float) -> None:
    with pytest.raises(OutOfRange):
        encode_rows(np.array([0.0, bad]), [0.5], codec_for(1.0, 1.0, 2), generator(0), saturate=True)


def test_rows_refuse_what_is_no_vector_and_every_bad_weight() -> None:
    codec = codec_for(1.0, 1.0, 2)
    with pytest.raises(ConfigurationError, match="one axis"):
        encode_rows(np.zeros((2, 2)), [0.5], codec, generator(0))
    with pytest.raises(ConfigurationError, match="weight"):
        encode_rows(np.zeros(2), [0.5, 2.5], codec, generator(0))
    assert encode_rows(np.zeros(3), [], codec, generator(0)).shape == (0, 3)
    assert encode_rows(np.zeros(0), [0.5, 0.5], codec, generator(0)).shape == (2, 0)


@every_modulus
def test_room_is_left_for_noise(modulus: Modulus) -> None:
    bound, heaviest, members, sigma, k = 0.8, 0.9, 11, 0.3, 4.0
    codec = codec_for(bound, heaviest, members, modulus, sigma, k)
    needed = heaviest * bound + k * sigma * math.sqrt(members)
    half = Fraction(modulus.value, 2)
    assert Fraction(codec.scale) * Fraction(needed) + members < half
    assert 2 * Fraction(codec.scale) * Fraction(needed) + members + 1 > half * (1 - Fraction(1, 2**46))
    assert codec.scale <= codec_for(bound, heaviest, members, modulus).scale
    assert 0.0 < wrap_probability(codec, heaviest, members, sigma) <= math.erfc(k / math.sqrt(2))


def test_wrap_probability_is_the_tail_there_is_room_for() -> None:
    # Of 127 words on either side 1 is kept back, 3 are for rounding and 16 · 0.5 · 4 for the vectors; the noise
    # of three members has a standard deviation of 4 · 5 · sqrt(3) words.
    codec = Codec(4.0, 16.0, Modulus(2**8))
    left = 128 - 1 - 3 - 32
    expected = math.erfc(left / (4 * 5.0 * math.sqrt(3)) / math.sqrt(2))
    assert math.isclose(wrap_probability(codec, 0.5, 3, 5.0), expected, rel_tol=1e-12)
    assert wrap_probability(codec, 0.5, 3, 0.0) == 0.0
    assert wrap_probability(codec, 2.0, 3, 5.0) == 1.0
    # That tail is what happens: a sum at the edge of the vectors' range plus Gaussian noise, rounded.
    # 1e6 draws of probability p: off by 6 standard deviations with probability below 1e-8. Fixed seed 12.
    noise = generator(12).normal(0.0, 4 * 5.0 * math.sqrt(3), 10**6)
    wrapped = np.mean(np.abs(noise) > left)
    assert abs(wrapped - expected) < 6 * math.sqrt(expected / 10**6)


@pytest.mark.parametrize(
    ("noise_sigma", "noise_sigmas", "named"),
    [
        (-1.0, 8.0, "noise_sigma "),
        (math.inf, 8.0, "noise_sigma "),
        (1.0, 0.0, "noise_sigmas"),
        (1.0, math.nan, "noise_sigmas"),
    ],
)
def test_noise_that_makes_no_sense_is_refused(noise_sigma: float, noise_sigmas: float, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        codec_for(1.0, 1.0, 3, Z32, noise_sigma, noise_sigmas)


def test_a_modulus_too_small_for_its_members_is_refused() -> None:
    assert codec_for(1.0, 1.0, 126, Modulus(2**8)).scale < 1.0
    with pytest.raises(ConfigurationError, match="larger modulus"):
        codec_for(1.0, 1.0, 127, Modulus(2**8))


def test_words_of_another_modulus_are_not_decoded() -> None:
    for modulus in (P31, Modulus(2**20), P61, Modulus(2**40)):
        with pytest.raises(ConfigurationError, match="not below"):
            decode(np.array([0, modulus.value], modulus.dtype), Codec(1.0, 1.0, modulus))
    with pytest.raises(ConfigurationError, match="uint64"):
        decode(np.zeros(1, np.uint32), Codec(1.0, 1.0, P61))


def test_a_scale_beyond_float64_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="other units"):
        Codec(2.0**900, 2.0**100)
