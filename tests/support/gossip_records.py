"""Records of gossip on small graphs, and the losses that the ledger finds in them."""

from __future__ import annotations

import numpy as np

from protocols.privacy.entries import Entry
from protocols.privacy.ledger import account
from protocols.privacy.lineage import ORIGIN, Lineage, Share, Visible
from protocols.privacy.question import Limits, Question, RunFacts

END_S = 1e6


def metropolis(edges: list[tuple[int, int]], nodes: int) -> np.ndarray:
    degree = np.zeros(nodes, dtype=int)
    for pair in edges:
        for node in pair:
            degree[node] += 1
    weights = np.zeros((nodes, nodes))
    for i, j in edges:
        weights[i, j] = weights[j, i] = 1 / (1 + max(degree[i], degree[j]))
    return weights + np.diag(1 - weights.sum(axis=1))


def ring(nodes: int) -> np.ndarray:
    return metropolis([(i, (i + 1) % nodes) for i in range(nodes)], nodes)


def torus(side: int) -> np.ndarray:
    edges = []
    for i in range(side):
        for j in range(side):
            edges.append((side * i + j, side * i + (j + 1) % side))
            edges.append((side * i + j, side * ((i + 1) % side) + j))
    return metropolis(edges, side * side)


def complete(nodes: int) -> np.ndarray:
    return np.full((nodes, nodes), 1 / nodes)


def hypercube(dimension: int) -> np.ndarray:
    nodes = 2**dimension
    return metropolis(
        [(i, i ^ (1 << k)) for i in range(nodes) for k in range(dimension) if i < i ^ (1 << k)], nodes
    )


GRAPHS = {
    "ring8": ring(8),
    "ring16": ring(16),
    "complete8": complete(8),
    "torus4x4": torus(4),
    "hypercube4": hypercube(4),
    "hypercube16": hypercube(4),
}


def gossip(
    weights: np.ndarray,
    rounds: int,
    *,
    secure: bool,
    sigma: float = 1.0,
    gain: float = 1.0,
    contributes=lambda node, round: True,
    delivered=lambda src, dst, round: True,
) -> list[Entry]:
    """Synchronous gossip D-SGD: contribute, tell the neighbours, average over what arrived."""
    nodes = len(weights)
    lineage = Lineage()
    models = [ORIGIN] * nodes
    for round in range(rounds):
        for v in range(nodes):
            if contributes(v, round):
                models[v] = lineage.contribute(
                    round, v, round, models[v], gain=gain, sigma=sigma, sensitivity=1.0
                )
        mixed = []
        for v in range(nodes):
            neighbours = [w for w in range(nodes) if w != v and weights[v, w] > 0]
            heard = [w for w in neighbours if delivered(w, v, round)]
            for w in heard:
                tag = (
                    Share((v, round, 0), w, frozenset(neighbours), models[w], weights[v, w])
                    if secure
                    else Visible(models[w])
                )
                lineage.delivered(round + 0.5, v, round, tag)
            if secure and heard != neighbours:
                heard = []
            own = 1 - sum(weights[v, w] for w in heard)
            terms = [(own, models[v])] + [(weights[v, w], models[w]) for w in heard]
            mixed.append(lineage.combine(round + 0.5, v, round, terms))
        models = mixed
    return lineage.entries


def figures(
    entries: list[Entry], group: tuple[int, ...], basis: str, *, nodes: int, uncredited=frozenset(), **options
) -> dict[int, float]:
    """Loss μ² by victim at the end."""
    adjacency, t_s = options.pop("adjacency", "zero-out"), options.pop("t_s", END_S)
    question = Question(range(nodes), [group], "node", adjacency, 1e-5, [t_s])
    claims = account(entries, question, RunFacts(uncredited), Limits(**options))
    return {claim.victim: claim.mu2 for claim in claims if claim.basis == basis}
