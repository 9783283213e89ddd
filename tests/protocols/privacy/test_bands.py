"""Noise correlated over rounds: what is drawn, and what it is charged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from protocols.privacy.bands import correlate, normalised, square_root_bands
from protocols.privacy.lineage import ORIGIN, Lineage, Visible
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run
from tests.support.gossip_records import figures

ROUNDS, Z = 6, 4.0


class Stub:
    """As much of a node as noise needs."""

    id = 1
    now_s = 0.0

    def __init__(self) -> None:
        self.disk: dict[str, Any] = {}


def toeplitz(coefficients: Any, rounds: int) -> Any:
    matrix = np.zeros((rounds, rounds))
    for k, c in enumerate(coefficients[:rounds]):
        matrix += np.diag(np.full(rounds - k, c), -k)
    return matrix


def test_coefficients() -> None:
    assert square_root_bands(4) == pytest.approx(
        np.array([1, 1 / 2, 3 / 8, 5 / 16]) / np.sqrt(1 + 1 / 4 + 9 / 64 + 25 / 256)
    )
    assert sum(c * c for c in square_root_bands(50)) == pytest.approx(1)
    assert normalised([3, 4]) == (0.6, 0.8)
    squared = toeplitz([1, 1 / 2, 3 / 8, 5 / 16, 35 / 128], 5)
    np.testing.assert_allclose(squared @ squared, np.tril(np.ones((5, 5))))


@pytest.mark.parametrize("bands", [2, 3, 9])
def test_the_noise_is_the_inverse_of_c_times_the_draws(bands: int) -> None:
    node, lineage = Stub(), Lineage()
    c = square_root_bands(bands)
    drawn = np.random.Generator(np.random.PCG64(1)).standard_normal((ROUNDS, 7)).astype(np.float32)
    made = [correlate(node, lineage, t, c, drawn[t], 1.0).vector for t in range(ROUNDS)]  # type: ignore[arg-type]
    np.testing.assert_allclose(np.stack(made), np.linalg.solve(toeplitz(c, ROUNDS), drawn), atol=1e-5)
    assert len(node.disk["noises"]) == min(ROUNDS, bands - 1)


def recorded(c: Any, seen: Any = range(ROUNDS)) -> Any:
    """One node whose updates are seen in some rounds."""
    node, lineage, state = Stub(), Lineage(), ORIGIN
    for t in range(ROUNDS):
        source = correlate(node, lineage, t, c, np.zeros(1, np.float32), Z).state  # type: ignore[arg-type]
        state = lineage.contribute(t, 1, t, state, gain=-0.1, sigma=0.0, sensitivity=1.0, noise=source)
        if t in seen:
            lineage.delivered(t + 0.5, 0, t, Visible(state))
    return lineage.entries


@pytest.mark.parametrize("bands", [2, 4, 9])
def test_all_rounds_cost_what_all_entries_of_the_gram_matrix_add_up_to(bands: int) -> None:
    """Every round moves by up to 1: sum of C^T C, whose entries are positive, over the variance."""
    c = square_root_bands(bands)
    matrix = toeplitz(c, ROUNDS)
    expected = float((matrix.T @ matrix).sum()) / Z**2
    for basis in ("certified", "open-loop"):
        assert figures(recorded(c), (0,), basis, nodes=2)[1] == pytest.approx(expected, rel=1e-9)
    until = figures(recorded(c), (0,), "certified", nodes=2, t_s=2.6)[1]
    part = toeplitz(c, 3)
    assert until == pytest.approx(float((part.T @ part).sum()) / Z**2, rel=1e-9)


def test_seeing_the_last_model_alone_is_certified_like_seeing_all() -> None:
    """And is open-loop one release: the sum of all updates in the sum of all noises."""
    c = square_root_bands(4)
    matrix = toeplitz(c, ROUNDS)
    entries = recorded(c, seen=(ROUNDS - 1,))
    summed = np.ones(ROUNDS) @ np.linalg.inv(matrix)
    assert figures(entries, (0,), "open-loop", nodes=2)[1] == pytest.approx(
        ROUNDS**2 / (Z**2 * summed @ summed)
    )
    assert figures(entries, (0,), "certified", nodes=2)[1] == pytest.approx(
        float((matrix.T @ matrix).sum()) / Z**2
    )


def gossip(**privacy: Any) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "bands",
            "topology": {"kind": "regular", "nodes": 6, "degree": 4},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 300, "features": 5, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 50, "step_cost": "20 ms"},
            "protocol": {"kind": "dsgd", "rounds": ROUNDS, "exchange": "ldp", "timeout": "2 s"},
            "privacy": {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "observers": [[0]]} | privacy,
        }
    )


@pytest.mark.parametrize("bands", [3, [0.7, 0.5, 0.4]])
def test_a_run_with_correlated_noise(bands: Any, tmp_path: Path) -> None:
    summary = run(gossip(noise_multiplier=Z, bands=bands), tmp_path / "run")
    assert summary["status"] == "finished"
    matrix = toeplitz(square_root_bands(bands) if isinstance(bands, int) else normalised(bands), ROUNDS)
    table = pl.read_parquet(tmp_path / "run" / "privacy.parquet").filter(pl.col("basis") == "certified")
    assert table["mu2"].max() == pytest.approx(float((matrix.T @ matrix).sum()) / Z**2, rel=1e-9)


@pytest.mark.parametrize(
    ("privacy", "said"),
    [
        ({"noise_multiplier": 1.0, "bands": 1}, "2 to 1000"),
        ({"noise_multiplier": 1.0, "bands": [0.0, 1.0]}, "the first not 0"),
        ({"target_epsilon": 3.0, "bands": 4}, "one by one"),
    ],
)
def test_bands_that_make_no_sense(privacy: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioErrors, match=said):
        gossip(**privacy)
