"""What papers and their code show, where it is quick: exact equalities, orderings, breaking points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from analysis.inference.elimination import PRIME
from analysis.inference.reconstruction import reach
from protocols.attacks import directions
from protocols.privacy.accounting import epsilon_of
from protocols.privacy.integer_accounting import ORDERS, Curve, rdp_epsilon, skellam_rdp, variance_for
from protocols.privacy.removable_noise import part_variances, removable
from protocols.robust import weighted
from protocols.sharing.rounding import rounded_norm, vector_sensitivity
from scenarios.load import resolve
from scenarios.run import run
from tests.support.matrix import covering
from tests.support.rational import rational_weights


def training(protocol: dict[str, Any], topology: dict[str, Any]) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "same",
            "topology": topology,
            "network": {"latency": {"kind": "constant", "value": "20 ms"}},
            "data": {"kind": "digits"},
            "partition": {"kind": "iid", "samples": 40},
            "model": {"kind": "softmax"},
            "training": {"step": 2.0, "divisor": 40},
            "protocol": protocol | {"rounds": 20, "exchange": "plain", "timeout": "5 s"},
        }
    )


def test_gossip_on_a_complete_graph_is_a_server(tmp_path: Path) -> None:
    """D-PSGD with equal weights and FedAvg of equal shares train the same model: node 0 serves, and trains too."""
    gossip = run(training({"kind": "dsgd"}, {"kind": "complete", "nodes": 8}), tmp_path / "gossip")
    server = run(
        training({"kind": "fedavg", "inner_train": True}, {"kind": "star", "nodes": 8}), tmp_path / "server"
    )
    assert gossip["consensus_distance"] < 1e-6
    assert gossip["accuracy_mean"] == server["accuracy_mean"]
    assert gossip["loss_mean"] == pytest.approx(server["loss_mean"], rel=1e-5)


@pytest.mark.parametrize(
    ("nodes", "free", "epsilon"), [(10, 1, 4.653), (10, 2, 4.983), (10, 5, 6.573), (10, 9, 17.857)]
)
def test_noise_free_riders_cost_what_is_missing(nodes: int, free: int, epsilon: float) -> None:
    """k of n leave out their share of the noise of a sum: μ √(n / (n − k)), from μ = 1 at δ = 10^-5."""
    assert epsilon_of(nodes / (nodes - free), 1e-5) == pytest.approx(epsilon, abs=2e-3)


def two_worlds(side: int, bridges: int) -> np.ndarray:
    """Two cliques, each node of one linked to ``bridges`` of the other: unit weights."""
    half = side // 2
    links = np.zeros((side, side))
    links[:half, :half] = links[half:, half:] = 1.0
    for i in range(half):
        for k in range(bridges):
            j = half + (i + k) % half
            links[i, j] = links[j, i] = 1.0
    np.fill_diagonal(links, 0.0)
    return links


RULES = {"mean": None, "gts": weighted.trimmed_sum, "cs+": weighted.clipped_sum}


@pytest.mark.parametrize(
    ("rule", "holds", "breaks"),
    covering(
        [("mean", (), (2, 4)), ("gts", (1, 2), (6, 8)), ("cs+", (1, 2, 3), (8, 10))],
        lambda case: case[0] == "mean",
    ),
)
def test_consensus_breaks_down_where_the_graph_says(
    rule: str, holds: tuple[int, ...], breaks: tuple[int, ...]
) -> None:
    """Two worlds of 13 nodes with 8 links each across (μ2 = 16), b spectral Byzantine neighbours each, 60 steps.

    Relative error of the honest mean square: no rule survives b ≥ μ2 / 2 = 8 (Gaucher, Dieuleveut, Hendrikx 2025).
    """
    links = two_worlds(26, 8)
    laplacian = np.diag(links.sum(axis=1)) - links
    assert np.linalg.eigvalsh(laplacian)[1] == pytest.approx(16.0)
    step = 1.0 / np.linalg.eigvalsh(laplacian)[-1]
    mode = directions.fiedler(links)
    for byzantine in (*holds, *breaks):
        error = _consensus_error(links, step, mode, rule, byzantine)
        assert (error < 0.05) == (byzantine in holds), (byzantine, error)


def _consensus_error(links: np.ndarray, step: float, mode: np.ndarray, rule: str, byzantine: int) -> float:
    drawn = np.random.Generator(np.random.PCG64(1))
    x = drawn.standard_normal((26, 5)) + 3.0 * np.sign(mode)[:, None]
    wanted, start = x.mean(axis=0), np.mean((x - x.mean(axis=0)) ** 2)
    near = [np.flatnonzero(row) for row in links]
    apply = RULES[rule]

    @jax.jit
    def mixed(rows: Any, w: Any) -> Any:
        return w @ rows if apply is None else apply(rows, w, step * byzantine)

    for _ in range(60):
        along = mode @ x
        after = x.copy()
        for i in range(26):
            best, found = x[i], -1.0
            for factor in (0.5, 2.0, 8.0, 32.0) if apply is not None else (32.0,):
                sent = x[i] + factor * mode[i] * along
                rows = np.vstack([x[i : i + 1], x[near[i]], np.tile(sent, (byzantine, 1))])
                w = np.full(len(rows), step)
                w[0] = 1.0 - step * (len(rows) - 1)
                moved = np.asarray(mixed(jnp.asarray(rows), jnp.asarray(w)))
                # The Byzantine nodes know the rule and send what leaves the target furthest on its side.
                gained = float(np.sign(mode[i] * along.sum()) * (moved - wanted).sum())
                if found == -1.0 or gained > found:
                    best, found = moved, gained
            after[i] = best
        x = np.clip(after, -1e12, 1e12)
    return float(np.mean((x - wanted) ** 2) / start)


def test_random_graphs_are_reconstructed_more_the_denser_they_are() -> None:
    """Erdős–Rényi, 40 nodes, plain gossip as long as El Mrini et al. 2024 look: most of a graph at degree 6."""
    shares = {}
    for degree in (3, 6):
        found = []
        for seed in range(8):
            graph = nx.erdos_renyi_graph(40, degree / 40, seed=seed)
            if not nx.is_connected(graph):
                graph = graph.subgraph(max(nx.connected_components(graph), key=len))
                graph = nx.convert_node_labels_to_integers(graph)
            *_, last = reach(rational_weights(graph, "metropolis"), {0}, 6 * degree, "plain", PRIME)
            found.append(len(last.nodes) / len(graph))
        shares[degree] = np.mean(found)
    assert shares[3] < shares[6]
    assert shares[6] > 0.5


@pytest.mark.parametrize(
    ("members", "dimension", "clip", "delta", "rounds", "target", "published"),
    [
        (100, 1_018_174, 1.0, 1e-3, 50, 6.00, (6.00, 6.39, 6.88, 7.50, 8.33)),
        (16, 11_183_562, 3.0, 1e-2, 150, 5.99, (5.99, 6.30, 7.03, 7.35, 8.17)),
    ],
    ids=["femnist", "cifar"],
)
def test_noise_that_dropouts_take_along(
    members: int,
    dimension: int,
    clip: float,
    delta: float,
    rounds: int,
    target: float,
    published: tuple[float, ...],
) -> None:
    """Skellam noise in 20 bits, sized for all members: ε at 0 to 40 % dropouts (Jiang et al. 2024, Dordis, figure 8).

    A share that is not a whole number of members is rounded down.
    """
    scale = 2.0**19 / (
        3.0 * 7.0 * clip
    )  # three standard deviations of a sum with multiplier 7 fill half of 20 bits
    norm = rounded_norm(scale * clip, dimension, "conditional")
    change = vector_sensitivity(norm, dimension, 1.0)

    def cost(variance: float) -> Curve:
        return skellam_rdp(ORDERS, change.l2, change.l1, variance)

    variance = variance_for(target, delta, rounds, cost)
    assert 3 * np.sqrt(variance) < 2**19
    for tenths, expected in enumerate(published):
        present = members - members * tenths // 10
        epsilon = rdp_epsilon(rounds * cost(variance * present / members), delta)
        assert epsilon == pytest.approx(expected, abs=6e-3)
        # Sized for the fewest, the surplus of those who stayed removed: the same law, whoever drops out.
        tolerated = members * 4 // 10
        parts = part_variances(variance / (members - tolerated), members - tolerated, tolerated)
        surplus = removable(members - present, len(parts))
        kept = present * sum(part for k, part in enumerate(parts) if k not in surplus)
        assert kept == pytest.approx(variance, rel=1e-12)
        assert rdp_epsilon(rounds * cost(kept), delta) == pytest.approx(target, abs=1e-6)
