"""Messages and bytes of every protocol for secure sums: what a run sends is what the formulas say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from protocols.aggregation import cost
from protocols.aggregation.double_masks import Graph
from protocols.aggregation.double_secrets import SHARE_BYTES
from protocols.aggregation.keys import KEY_BYTES
from protocols.aggregation.members import split_proof_threshold
from protocols.aggregation.secagg_graph import partners
from protocols.aggregation.sums import SUM_BYTES
from protocols.aggregation.vector_shares import SharingPlan
from protocols.gossip.federation import FederationPlan, Place
from protocols.gossip.secure_fedavg import secure_fedavg
from protocols.sharing.modulus import P31, Z32, Modulus
from tests.support.matrix import covering
from tests.support.meddling import mute
from tests.support.suites import TABLES, modulus_of
from tests.support.worlds import Lab

FEDERATION = ("task", "final", "done", "key", "keys")
HEADER_BYTES = 40
DROPPING = [(8, 8, 8, 7), (8, 8, 6, 5), (8, 7, 6, 6), (9, 7, 6, 5)]
"""Members that are listed, deal, send a vector, and answer the last request."""
SUMS = ("masks", "trusted", "correlated", "recover", "bonawitz", "active", "sharing", "packed", "light")
PACKED = ("packed", "light")
"""Sums that need a polynomial of more than one element, so at least four members."""
STEPS = {
    "recover": ("dealt", "masked", "revealed"),
    "bonawitz": ("dealt", "masked", "revealed"),
    "active": ("dealt", "masked", "revealed"),
    "sharing": ("dealt", "dealt", "summed"),
    "light": ("dealt", "masked", "summed"),
}


@dataclass
class Sized(Lab):
    """A lab that knows the sizes of what was sent, by kind."""

    sizes: dict[str, list[int]] = field(default_factory=dict)


def star(members: int) -> list[tuple[int, ...]]:
    return [tuple(range(1, members + 1)), *[(0,)] * members]


def one_sum(
    kind: str, members: int, wrap: Any = lambda node: node, **options: Any
) -> tuple[Sized, cost.Traffic, cost.Traffic]:
    """One round on a star: the lab, the cost of its sum, the cost of its key agreement."""
    lab = Sized(star(members), sigma=1.0)
    shop = lab.workshop(suite=kind, tolerated_dropouts=members - 3)
    places = [Place(None, tuple(range(1, members + 1)), 1), *[Place(0, (), 0)] * members]
    plan = FederationPlan(places, 1, 1, 1, 1.0, [1.0] * (members + 1), False, 0.5)
    kernel, _ = lab.run(
        lambda node: secure_fedavg(
            wrap(node), lab.learner, plan, shop.rules, shop.make(kind, wrap(node), **options)
        )
    )
    columns = kernel.log.columns()
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for kind_, size in zip(columns["kind"].tolist(), columns["size_bytes"].tolist(), strict=True):
        counts[kind_] += 1
        sizes[kind_] += size - HEADER_BYTES
        lab.sizes.setdefault(kind_, []).append(size - HEADER_BYTES)
    of_sum = [k for k in counts if k not in FEDERATION]
    of_setup = [k for k in counts if k in ("key", "keys")]
    return (
        lab,
        cost.Traffic(sum(counts[k] for k in of_sum), sum(sizes[k] for k in of_sum)),
        cost.Traffic(sum(counts[k] for k in of_setup), sum(sizes[k] for k in of_setup)),
    )


@pytest.mark.parametrize(
    ("kind", "members"),
    covering(
        [(kind, members) for kind in SUMS for members in (3, 4, 7, 12) if members > 3 or kind not in PACKED],
        lambda case: case[1] in (3, 7),
    ),
)
def test_a_sum_costs_what_its_formula_says(kind: str, members: int) -> None:
    options = {"threshold": (members - 1.5) / members} if kind == "packed" else {}
    lab, found, setup = one_sum(kind, members, **options)
    assert len(lab.of_kind("opened")) == 1
    size, turnout, modulus = lab.learner.size, cost.full(members), modulus_of(kind)
    table = TABLES[kind].model_copy(update=options)
    plan = SharingPlan(
        P31, lambda holders: table.recovering(holders, 0) or 0, lambda holders: table.packed(holders, 0)
    )
    expected = {
        "masks": lambda: cost.single_masks(turnout, size, modulus),
        "trusted": lambda: cost.trusted(turnout, size, modulus),
        "correlated": lambda: cost.gopa(turnout, size),
        "recover": lambda: cost.double_masks(turnout, size, modulus, signed=True),
        "bonawitz": lambda: cost.double_masks(turnout, size, modulus),
        "active": lambda: cost.double_masks(turnout, size, modulus, signed=True, active=True),
        "sharing": lambda: cost.vector_sharing(turnout, size, plan),
        "packed": lambda: cost.vector_sharing(turnout, size, plan),
        "light": lambda: cost.lightsecagg(turnout, size, plan),
    }[kind]()
    assert found == expected
    keyed = kind in ("masks", "correlated", "sharing", "packed", "light")
    assert setup == (cost.setup(members) if keyed else cost.Traffic(0, 0))


@pytest.mark.parametrize(("members", "degree"), [(8, 4), (12, 6), (20, 12)])
def test_a_sparse_graph_costs_what_its_formula_says(members: int, degree: int) -> None:
    def graph(sum: Any, listed: tuple[int, ...]) -> Graph:
        return Graph(partners(listed, degree, b"key"), degree // 2 + 1)

    lab, found, _ = one_sum("bonawitz", members, graph=graph)
    assert len(lab.of_kind("opened")) == 1
    assert found == cost.secagg_plus(members, degree, lab.learner.size, Z32)


@pytest.mark.parametrize("members", [4, 7])
def test_verifiable_seeds_cost_what_their_formula_says(members: int) -> None:
    lab, found, _ = one_sum("verified", members)
    assert len(lab.of_kind("opened")) == 1
    committed = split_proof_threshold(members, 0)
    turnout = cost.full(members)
    assert found == cost.double_masks(turnout, lab.learner.size, Z32, signed=True, committed=committed)


@pytest.mark.parametrize("fraction", [0.2, 0.6, 1.0])
def test_sparsified_masks_cost_what_their_formula_says(fraction: float) -> None:
    lab, found, _ = one_sum("sparse", 8, fraction=fraction)
    assert lab.of_kind("opened")
    size = lab.learner.size
    index = min(4 * round(fraction * size), -(-size // 8))
    sent = [(bytes_ - SUM_BYTES) // 4 for bytes_ in lab.sizes["masked"]]
    assert len(sent) == 8
    assert all(0 < words <= round(fraction * size) for words in sent)
    if fraction == 1.0:
        assert sent == [size] * 8
    assert found == cost.cesar(8, index, sent, Z32)


@pytest.mark.parametrize("fraction", [0.2, 0.6])
def test_sizes_of_sparsified_masks_say_nothing_about_choices_that_depend_on_models(fraction: float) -> None:
    """Few of the chosen positions are shared by enough members; what is seen on a link is all that were chosen."""
    lab, found, _ = one_sum("sparse", 8, fraction=fraction, choice="largest")
    assert lab.of_kind("opened")
    size = lab.learner.size
    chosen = round(fraction * size)
    assert lab.sizes["masked"] == [SUM_BYTES + 4 * chosen] * 8
    assert found == cost.cesar(8, min(4 * chosen, -(-size // 8)), [chosen] * 8, Z32)


@pytest.mark.parametrize("kind", ["recover", "bonawitz", "active", "sharing", "light"])
@pytest.mark.parametrize(("listed", "dealt", "sent", "answered"), DROPPING)
def test_dropouts_cost_what_the_formulas_say(
    kind: str, listed: int, dealt: int, sent: int, answered: int
) -> None:
    """Members that go silent before a sub-round: requests to them are still sent."""
    steps = STEPS[kind]
    if kind == "sharing":
        sent = dealt
        answered = min(answered, sent)
    kinds = {}
    for member in range(1, listed + 1):
        silent = [step for step, left in zip(steps, (dealt, sent, answered), strict=True) if member > left]
        if silent:
            kinds[member] = silent
    lab, found, _ = one_sum(kind, listed, mute(kinds))
    size, turnout = lab.learner.size, cost.Turnout(listed, dealt, sent, answered)
    plan = SharingPlan(P31, lambda holders: holders // 2 + 1, lambda holders: TABLES[kind].packed(holders, 0))
    expected = {
        "recover": lambda: cost.double_masks(turnout, size, Z32, signed=True),
        "bonawitz": lambda: cost.double_masks(turnout, size, Z32),
        "active": lambda: cost.double_masks(turnout, size, Z32, signed=True, active=True),
        "sharing": lambda: cost.vector_sharing(turnout, size, plan),
        "light": lambda: cost.lightsecagg(turnout, size, plan),
    }[kind]()
    assert found == expected
    opened = lab.of_kind("opened")
    assert len(opened) == (answered >= listed // 2 + 1)
    if opened:
        assert opened[0][2]["members"] == tuple(range(1, sent + 1))


@pytest.mark.parametrize(("clients", "size", "factor"), [(2**10, 2**20, 1.73), (2**14, 2**24, 1.98)])
def test_expansion_factors_of_bonawitz(clients: int, size: int, factor: float) -> None:
    """Against sending 16-bit inputs in the clear; the paper's abstract says 1.73x and 1.98x."""
    bits = Modulus(2 ** (clients * (2**16 - 1)).bit_length()).bits
    # Two keys sent and those of all received; two shares to and from each other client, one of each revealed.
    keys, shares = 2 * KEY_BYTES * clients, SHARE_BYTES * (4 * (clients - 1) + clients)
    ratio = (8 * (keys + shares) + bits * size) / (16 * size)
    assert round(ratio, 2) == factor
