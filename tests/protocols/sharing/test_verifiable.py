"""Verifiable sharing: the group, what holders can check, and what a complaint round decides."""

from __future__ import annotations

import pytest
from gmpy2 import is_prime
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sharing import scalars, verifiable
from protocols.sharing.group import ORDER, commit, evaluate, group
from protocols.sharing.verifiable import Share, resolve, verify
from simulator.errors import ConfigurationError

KEY = bytes(range(32))


def test_the_group_is_what_it_says() -> None:
    made = group()
    assert is_prime(ORDER)
    assert not any(is_prime(ORDER + step) for step in range(2, 189, 2))
    assert made.modulus.bit_length() == 2048
    assert is_prime(made.modulus)
    assert (made.modulus - 1) % ORDER == 0
    # The cofactor is the first that works, counting up from the number on the label.
    assert not any(is_prime(made.modulus - 2 * ORDER * step) for step in range(1, 299))
    for generator in (made.g, made.h):
        assert 1 < generator < made.modulus
        assert pow(generator, ORDER, made.modulus) == 1
    assert made.g != made.h


SCALARS = st.one_of(st.sampled_from([0, 1, 255, 256, 2**248, ORDER - 1]), st.integers(0, ORDER - 1))


@settings(max_examples=20)
@given(SCALARS, SCALARS)
def test_a_commitment_is_a_product_of_powers(value: int, blinding: int) -> None:
    """Computed from tables, it equals what Python's own powers give."""
    made = group()
    expected = pow(made.g, value, made.modulus) * pow(made.h, blinding, made.modulus) % made.modulus
    assert commit(value, blinding) == expected


@settings(max_examples=20)
@given(st.lists(st.tuples(SCALARS, SCALARS), min_size=1, max_size=4), st.integers(0, 1000))
def test_commitments_to_coefficients_give_the_commitment_to_a_value(
    coefficients: list[tuple[int, int]], point: int
) -> None:
    value, blinding = (
        sum(pair[i] * point**power for power, pair in enumerate(coefficients)) % ORDER for i in (0, 1)
    )
    commitments = [commit(*pair) for pair in coefficients]
    assert evaluate(commitments, point) == commit(value, blinding)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, ORDER - 1), st.integers(1, 4), st.integers(0, 2))
def test_dealt_shares_verify_and_recover(secret: int, threshold: int, spare: int) -> None:
    points = list(range(1, threshold + spare + 1))
    dealing = verifiable.deal(secret, threshold, points, KEY)
    assert all(verify(point, share, dealing.commitments) for point, share in dealing.shares.items())
    values = [dealing.shares[x].value for x in points[:threshold]]
    assert scalars.recover(points[:threshold], values) == secret
    assert verifiable.commitment_bytes(threshold) == 256 * len(dealing.commitments)


def test_a_changed_share_does_not_verify() -> None:
    dealing = verifiable.deal(5, 3, [1, 2, 3, 4], KEY)
    share = dealing.shares[2]
    for changed in (
        Share(share.value + 1, share.blinding),
        Share(share.value, share.blinding + 1),
        Share(share.blinding, share.value),
        Share(share.value + ORDER, share.blinding),
    ):
        assert not verify(2, changed, dealing.commitments)
    assert not verify(3, share, dealing.commitments)
    assert not verify(2, share, dealing.commitments[::-1])
    assert not verify(2, share, (0, *dealing.commitments[1:]))


def test_commitments_hide_the_secret() -> None:
    """The first commitment fits any secret: for every other one there is a blinding that gives the same."""
    one, two = verifiable.deal(5, 2, [1, 2], KEY), verifiable.deal(5, 2, [1, 2], KEY[::-1])
    assert one.commitments[0] != two.commitments[0]
    made = group()
    assert one.commitments[0] != pow(made.g, 5, made.modulus)


def test_what_a_complaint_round_decides() -> None:
    dealing = verifiable.deal(5, 3, [1, 2, 3, 4, 5], KEY)
    shares = dealing.shares
    assert resolve(dealing.commitments, 3, [], {}) == (False, {})
    assert resolve(dealing.commitments, 3, [2], {2: shares[2]}) == (False, {2: shares[2]})
    assert resolve(dealing.commitments, 3, [2], {}).excluded
    assert resolve(dealing.commitments, 3, [2], {2: shares[3]}).excluded
    assert resolve(dealing.commitments, 3, [2, 2, 2], {2: shares[2]}) == (False, {2: shares[2]})
    # Three complaints would make three shares public: as many as recover.
    assert resolve(dealing.commitments, 3, [1, 2, 3], {x: shares[x] for x in (1, 2, 3)}).excluded
    assert resolve((*dealing.commitments, 1), 3, [], {}).excluded


@pytest.mark.parametrize(("threshold", "points"), [(0, [1]), (3, [1, 2]), (1, [0]), (2, [1, 1 + ORDER])])
def test_bad_dealings_are_refused(threshold: int, points: list[int]) -> None:
    with pytest.raises(ConfigurationError):
        verifiable.deal(5, threshold, points, KEY)
