"""Noise of integers in a server's sums: what is opened, how much noise is in it, and what the ledger says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.aggregation.encoding import NoisedIntegers
from protocols.privacy.integer_accounting import ORDERS
from protocols.privacy.removable_noise import part_variances, removable
from protocols.privacy.sum_law import SumLaw
from protocols.sharing.codec import OutOfRange, codec_for
from protocols.sharing.modulus import P31, Z32, Modulus
from scenarios.load import resolve
from scenarios.run import run
from scenarios.studies.reaccount import reaccount
from simulator import streams

SIZE, CLIP = 100, 2.0


class Stub:
    """As much of a node as encoding needs."""

    def __init__(self, number: int) -> None:
        self.id = number

    def rng(self, purpose: str, *key: int) -> np.random.Generator:
        return streams.generator(1, purpose, self.id, *key)


def encoding(law: Any, sigma: float, modulus: Modulus = Z32, whole: bool = True, members: int = 5) -> Any:
    codec = codec_for(CLIP, members, members, modulus, sigma)
    return NoisedIntegers(codec, law, sigma, SIZE, b"context", whole=whole)


def opened(encoded: Any, vectors: list[Any], round: int = 0) -> Any:
    modulus = encoded.modulus
    total = np.zeros(encoded.size(SIZE), modulus.dtype)
    for i, vector in enumerate(vectors):
        modulus.add(total, encoded.encode(vector, [1.0], Stub(i), round)[0])
    return encoded.decode(total, round)


def vectors(count: int, norm: float = CLIP) -> list[Any]:
    drawn = np.random.Generator(np.random.PCG64(3)).standard_normal((count, SIZE))
    return [(norm * row / np.linalg.norm(row)).astype(np.float32) for row in drawn]


@pytest.mark.parametrize("modulus", [Z32, P31, Modulus(2**20)])
@pytest.mark.parametrize("whole", [True, False])
def test_without_noise_a_sum_is_off_by_rounding_alone(modulus: Modulus, whole: bool) -> None:
    made, terms = encoding("skellam", 0.0, modulus, whole), vectors(5)
    assert made.size(SIZE) == 128
    np.testing.assert_allclose(opened(made, terms), np.sum(terms, axis=0), atol=20 / made.codec.scale + 2e-6)


@pytest.mark.parametrize("law", ["skellam", "discrete-gaussian"])
@pytest.mark.parametrize("survivors", [5, 4, 3])
def test_the_noise_of_a_sum_is_that_of_its_survivors(law: str, survivors: int) -> None:
    """Variance of 100 coordinates in 60 rounds: 6,000 numbers, off by a tenth with probability below 1e-7."""
    sigma = 0.05
    made, terms = encoding(law, sigma), vectors(survivors)
    errors = [opened(made, terms, round) - np.sum(terms, axis=0) for round in range(60)]
    assert np.var(errors) == pytest.approx(survivors * sigma**2, rel=0.1)
    assert abs(np.mean(errors)) < 6 * sigma * np.sqrt(survivors / 6000)


def test_every_round_has_noise_and_a_rotation_of_its_own() -> None:
    made, vector = encoding("skellam", 0.05), vectors(1)[0]
    node = Stub(0)
    first, again, later = (made.encode(vector, [1.0], node, round)[0] for round in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, later)


def test_a_vector_beyond_its_norm_is_refused() -> None:
    made = encoding("skellam", 0.05)
    with pytest.raises(OutOfRange):
        made.encode(vectors(1, 1.01 * CLIP)[0], [1.0], Stub(0), 0)
    with pytest.raises(OutOfRange):
        made.encode(vectors(1)[0], [0.5], Stub(0), 0)
    # A norm that float32 has rounded up is not.
    made.encode(vectors(1, CLIP * (1 + 1e-7))[0], [1.0], Stub(0), 0)


def test_a_finer_scale_costs_less() -> None:
    """Towards the continuous Gaussian: α shift² / (2 variance)."""
    gauss = ORDERS * CLIP**2 / (2 * 9.0)
    found = [
        SumLaw("skellam", scale, 128, CLIP, 1.0, "node").curve(CLIP, 9.0, "node", "zero-out")
        for scale in (2.0, 16.0, 1024.0)
    ]
    for coarse, fine in pairwise(found):
        assert (coarse >= fine).all()
    assert (found[-1] >= gauss).all()
    np.testing.assert_allclose(found[-1], gauss, rtol=2e-2)


def test_no_noise_and_no_clipping_cost_everything() -> None:
    law = SumLaw("skellam", 1024.0, 128, CLIP, 1.0, "node")
    assert np.isinf(law.curve(CLIP, 0.0, "node", "zero-out")).all()
    assert np.isinf(law.curve(np.inf, 1.0, "node", "zero-out")).all()
    assert (law.curve(0.0, 1.0, "node", "zero-out") == 0).all()
    # A record moves two vectors that are rounded independently; a replaced node moves twice as far.
    node = law.curve(CLIP, 9.0, "node", "zero-out")
    assert (law.curve(2 * CLIP, 9.0, "node", "replace") > 3 * node).all()
    assert (law.curve(CLIP, 9.0, "record", "add-remove") >= node).all()


def star(**privacy: Any) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "star",
            "topology": {"kind": "star", "nodes": 9},
            "network": {"latency": {"kind": "constant", "value": "20 ms"}},
            "data": {"kind": "blobs", "samples": 300, "features": 6, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 30, "step_cost": "5 ms"},
            "protocol": {
                "kind": "fedavg",
                "rounds": 4,
                "exchange": "secure",
                "timeout": "500 ms",
                "inner_train": False,
            },
            "secure": {"aggregation": {"kind": "bonawitz"}, "tolerated_dropouts": 2},
            "privacy": {
                "unit": "node",
                "adjacency": "zero-out",
                "clip": 1.0,
                "noise_multiplier": 2.0,
                "observers": [[0], [1], [0, 1, 2]],
            }
            | privacy,
        }
    )


@pytest.mark.slow
def test_a_run_is_accounted_by_the_law_of_its_noise(tmp_path: Path) -> None:
    """Server and clients see the same sums; more of them know more of the noise. Accounting again says the same."""
    scenario = star()
    assert scenario.privacy.law == "skellam"
    summary = run(scenario, tmp_path / "skellam")
    assert summary["basis"] == "certified"
    assert summary["sums_opened"] == 4
    assert (summary["epsilon_worst_open_loop"], summary["open_loop_missing"]) == (None, "noise of integers")
    again = reaccount(
        tmp_path / "skellam", observers=["0", "1", "0,1,2"], unit=None, adjacency=None, delta=None
    )
    rows = {row["observers"]: row["epsilon (worst victim)"] for row in again}
    assert rows["0,1,2"] == summary["epsilon_worst"]
    assert rows["0"] < rows["1"] < rows["0,1,2"]
    gauss = run(star(law="gaussian"), tmp_path / "gauss")
    # Eight clients, two of whom may drop out: each adds what six of them need.
    assert summary["noise_sigma"] == pytest.approx(gauss["noise_sigma"]) == pytest.approx(2.0 / 6**0.5)
    # Rényi accounting is a little looser than the exact conversion of Gaussians, and rounding costs a little.
    assert gauss["epsilon_worst"] < summary["epsilon_worst"] < 1.25 * gauss["epsilon_worst"]


@pytest.mark.parametrize("law", ["skellam", "discrete-gaussian"])
@pytest.mark.parametrize("noise", ["sum", "member"])
def test_a_target_is_met_and_not_by_far(tmp_path: Path, law: str, noise: str) -> None:
    scenario = star(law=law, noise=noise, noise_multiplier=None, target_epsilon=3.0, observers=[[0]])
    summary = run(scenario, tmp_path / "run")
    assert summary["epsilon_worst"] <= 3.0
    # With everybody there, a sum has the noise of eight clients where six (or one) were counted on.
    assert summary["epsilon_worst"] > (2.3 if noise == "sum" else 0.7)


@given(st.integers(1, 20), st.integers(0, 10), st.integers(0, 5), st.floats(0, 1e6))
def test_parts_leave_exactly_what_is_needed(
    counted: int, tolerated: int, colluders: int, variance: float
) -> None:
    """After every number of dropouts the honest members that stay have the variance that was asked for."""
    parts = part_variances(variance, counted, tolerated)
    assert len(parts) == tolerated + 1
    assert sum(parts) == pytest.approx(variance)
    for dropouts in range(tolerated + 1):
        honest = counted + tolerated - dropouts
        kept = set(range(len(parts))).difference(removable(dropouts, len(parts)))
        assert honest * sum(parts[i] for i in kept) == pytest.approx(variance * counted)
        assert list(removable(dropouts, len(parts))) == list(range(dropouts + 1, tolerated + 1))
    assert list(removable(-3, len(parts))) == list(range(1, tolerated + 1))


class Keeping(Stub):
    """A stub with a disk and secrets."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.disk: dict[str, Any] = {}

    def secret(self, purpose: str, size: int) -> bytes:
        return streams.digest(1, "secret", self.id, purpose, size=size)


@pytest.mark.parametrize("survivors", [(0, 1, 2, 3, 4), (0, 1, 2, 3), (1, 2, 4), (0, 3, 4)])
def test_what_is_left_of_the_noise_is_what_was_asked_for(survivors: tuple[int, ...]) -> None:
    """Five members, at most two drop out: 6,000 numbers, off by a tenth with probability below 1e-7."""
    target, members, tolerated = 0.05, 5, 2
    parts = part_variances(target**2 / 3, 3, tolerated)
    codec = codec_for(CLIP, members, members, Z32, 0.05)
    made = NoisedIntegers(codec, "skellam", sum(parts) ** 0.5, SIZE, b"c", whole=True, parts=parts)
    terms = vectors(members)
    nodes = [Keeping(i) for i in range(members)]
    errors = []
    for round in range(60):
        total = np.zeros(made.size(SIZE), np.uint32)
        for i in survivors:
            made.modulus.add(total, made.encode(terms[i], [1.0], nodes[i], round)[0])
        surplus = removable(members - len(survivors), len(parts))
        revealed = [(k, made.seed(nodes[i], round, k)) for i in survivors for k in surplus]
        value = made.without(made.decode(total, round), round, revealed)
        errors.append(value - np.sum([terms[i] for i in survivors], axis=0))
    assert np.var(errors) == pytest.approx(target**2, rel=0.1)


def test_removed_noise_is_not_credited(tmp_path: Path) -> None:
    """The server has seen it, and everybody else sees what it made of it."""
    kept = run(star(), tmp_path / "kept")
    removed = run(star(surplus="remove"), tmp_path / "removed")
    exact = run(star(noise_multiplier=2.0 * (6 / 8) ** 0.5), tmp_path / "exact")
    assert kept["epsilon_worst"] < removed["epsilon_worst"]
    # Nobody dropped out: what is left is what eight members would have added if none were expected to.
    ours = {c: e for c, e in worst(tmp_path / "removed").items() if c == "0"}
    theirs = {c: e for c, e in worst(tmp_path / "exact").items() if c == "0"}
    assert ours["0"] == pytest.approx(theirs["0"], rel=1e-3)
    assert exact["sums_opened"] == removed["sums_opened"] == 4


def worst(folder: Path) -> dict[str, float]:
    rows = reaccount(folder, observers=["0", "1"], unit=None, adjacency=None, delta=None)
    return {row["observers"]: row["epsilon (worst victim)"] for row in rows}
