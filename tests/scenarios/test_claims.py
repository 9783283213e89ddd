"""What the shipped scenarios say they show, at full size. Slow: `make test-all`."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest

from scenarios.load import load
from scenarios.run import run

pytestmark = pytest.mark.slow


def test_the_quickstart_shows_what_it_expects(tmp_path: Path) -> None:
    summary = run(load(Path("quickstart")).scenario, tmp_path / "run")
    assert summary["accuracy_mean"] > 0.82
    assert summary["accuracy_worst"] > 0.7
    assert 4.2 < summary["epsilon_worst"] < 4.4
    assert 2.4 < summary["epsilon_worst_open_loop"] < 3.6
    assert summary["basis"] == "certified"
    assert summary["nodes_down"] == [3]
    assert summary["withheld"] == 0


def test_secure_gossip_lies_above_ldp_gossip_at_equal_open_loop_loss(tmp_path: Path) -> None:
    """At ε close to 1 the same accuracy costs secure gossip less than LDP gossip: paired over four seeds."""
    settings = {
        "ldp": ["protocol.exchange=ldp", "privacy.noise_multiplier=36.0"],
        "secure": ["protocol.exchange=secure", "privacy.noise_multiplier=25.5"],
    }
    found = {}
    for name, sets in settings.items():
        found[name] = [
            run(load(Path("tradeoff"), sets, seed, studies=False).scenario, tmp_path / f"{name}{seed}")
            for seed in range(1, 5)
        ]
    losses = {name: mean(r["epsilon_worst_open_loop"] for r in runs) for name, runs in found.items()}
    assert losses["secure"] < losses["ldp"]
    gains = [
        secure["accuracy_mean"] - ldp["accuracy_mean"]
        for secure, ldp in zip(found["secure"], found["ldp"], strict=True)
    ]
    assert min(gains) > 0
    assert mean(gains) > 0.05


def test_the_complete_graph_is_certified_far_above_ldp(tmp_path: Path) -> None:
    sets = [
        'topology={kind="complete", nodes=16}',
        "network.loss=0",
        "privacy.noise=sum",
        "secure.tolerated_dropouts=0",
        "privacy.noise_multiplier=36.0",
    ]
    summary = run(load(Path("tradeoff"), sets, studies=False).scenario, tmp_path / "run")
    assert summary["epsilon_worst"] == pytest.approx(1.0399310797086672, rel=1e-6)  # T/z² = 100/36²
    assert summary["accuracy_mean"] > 0.85
