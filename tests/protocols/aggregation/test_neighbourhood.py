"""Neighbourhood secure aggregation, run: what is opened, refused, skipped, and that masks change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.aggregation.keys import Identity, _payload
from protocols.gossip.dsgd import dsgd
from protocols.gossip.plain_exchange import DirectExchange
from protocols.privacy.entries import Release
from simulator import streams
from simulator.adversary.coalition import Adversary
from simulator.contract.node import Delivery, Message, Node
from simulator.errors import ContractError
from simulator.faults.plan import Outage
from tests.support.meddling import meddle
from tests.support.worlds import Lab, complete, regular

ROUNDS = 5


def run_secure(lab: Lab, *, rounds: int = ROUNDS, run: dict[str, Any] | None = None, **options: Any) -> Any:
    exchange = lab.secure(**options)
    return lab.run(lambda node: dsgd(node, lab.learner, exchange, rounds), **(run or {}))


def opened(lab: Lab) -> dict[tuple[int, int], np.ndarray[Any, Any]]:
    return {(node, f["round"]): f["value"] for _, node, f in lab.of_kind("opened")}


def test_every_neighbourhood_opens_every_round_when_nothing_fails() -> None:
    lab = Lab(regular(10, 4))
    run_secure(lab)
    assert opened(lab).keys() == {(n, r) for n in range(10) for r in range(ROUNDS)}
    assert not lab.of_kind("skipped")
    assert not lab.of_kind("refused")


def test_the_opened_sum_is_the_weighted_sum_of_the_members() -> None:
    """Against the same run with models in the clear: they agree within one quantum per member and round."""
    secure, direct = Lab(regular(10, 4)), Lab(regular(10, 4))
    run_secure(secure)
    direct.run(
        lambda node: dsgd(node, direct.learner, lambda n: DirectExchange(n, direct.learner, 0.5), ROUNDS)
    )
    for node, model in secure.final_models().items():
        np.testing.assert_allclose(model, direct.final_models()[node], atol=2e-5)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    loss=st.sampled_from([0.0, 0.02, 0.1]),
    seed=st.integers(0, 5),
    faults=st.lists(
        st.tuples(st.integers(0, 9), st.floats(0, 2), st.one_of(st.none(), st.floats(0.1, 1.5))),
        max_size=3,
        unique_by=lambda o: o[0],
    ),
)
def test_ideal_crypto_opens_bit_identical_sums_at_the_same_times(loss: float, seed: int, faults: Any) -> None:
    plan = [Outage(n, down, None if up is None else down + up) for n, down, up in faults]
    labs = [Lab(regular(10, 4), seed=seed, sigma=1.0) for _ in range(2)]
    kernels = [
        run_secure(lab, real=real, rounds=4, run={"loss": loss, "faults": plan})[0]
        for lab, real in zip(labs, (True, False), strict=True)
    ]
    real, ideal = (opened(lab) for lab in labs)
    assert real.keys() == ideal.keys()
    assert all(np.array_equal(real[key], ideal[key]) for key in real)
    assert kernels[0].log.trace_hash == kernels[1].log.trace_hash
    assert labs[0].learner.lineage.entries == labs[1].learner.lineage.entries
    strip = [[(t, n, k) for t, n, k, _ in lab.events] for lab in labs]
    assert strip[0] == strip[1]


def test_a_dead_member_is_left_out_of_the_list_and_the_others_go_on() -> None:
    lab = Lab(regular(10, 4))
    run_secure(lab, rounds=12, run={"faults": [Outage(2, 0.6)]})
    late = [f for _, node, f in lab.of_kind("opened") if f["round"] == 11]
    assert late
    assert all(2 not in f["members"] for f in late)
    assert any(len(f["members"]) == 3 for f in late)


def test_a_returning_member_takes_part_again() -> None:
    lab = Lab(regular(10, 4))
    run_secure(lab, rounds=25, run={"faults": [Outage(2, 1.0, 2.5)]})
    assert any(2 in f["members"] for _, node, f in lab.of_kind("opened") if f["round"] == 24)
    rounds = [f["round"] for _, node, f in lab.of_kind("model") if node == 2]
    assert len(rounds) == len(set(rounds)), "a round was repeated after the crash"


def test_too_few_live_members_open_nothing() -> None:
    """In a complete graph of 5, two crashes leave lists of 2, below the minimum of 3."""
    lab = Lab(complete(5))
    run_secure(lab, rounds=12, run={"faults": [Outage(0, 0.5), Outage(1, 0.5)]})
    last = max(t for t, _, f in lab.of_kind("opened"))
    assert last < 1.0
    assert any(f["reason"] == "too few members alive" for _, _, f in lab.of_kind("skipped"))


def test_a_list_below_three_members_is_refused() -> None:
    lab = Lab(complete(6))

    def shorten(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != "list":
            return [(to, message)]
        pair = tuple(sorted((to, next(v for v in node.neighbors if v != to))))
        return [(to, Message("list", message.round, (message.body[0], pair), message.size_bytes))]

    run_secure(lab, wrap=meddle(0, shorten), tolerated_dropouts=4)
    assert not [1 for _, node, _ in lab.of_kind("opened") if node == 0]
    assert {f["reason"] for _, _, f in lab.of_kind("refused")} == {"the list is too short"}


def test_a_second_list_for_the_same_round_is_refused() -> None:
    """Otherwise two sums over nearly the same members could be subtracted from each other."""
    lab = Lab(complete(6))

    def repeat(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != "list":
            return [(to, message)]
        attempt, listed = message.body
        fewer = tuple(v for v in listed if v != max(v for v in listed if v != to))
        return [(to, message), (to, Message("list", message.round, (attempt, fewer), message.size_bytes))]

    run_secure(lab, wrap=meddle(0, repeat), tolerated_dropouts=2)
    assert {f["reason"] for _, _, f in lab.of_kind("refused")} == {"this round was answered already"}


def test_a_list_with_strangers_or_repeats_is_refused() -> None:
    lab = Lab(regular(10, 4))
    stranger = next(v for v in range(1, 10) if v not in lab.neighbors[0])

    def infiltrate(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != "list":
            return [(to, message)]
        return [(to, Message("list", message.round, (0, tuple(sorted((*message.body[1], stranger)))), 1))]

    run_secure(lab, wrap=meddle(0, infiltrate))
    assert not [1 for _, node, _ in lab.of_kind("opened") if node == 0]
    assert {f["reason"] for _, _, f in lab.of_kind("refused")} == {"the list is not of this neighbourhood"}


def test_a_substituted_key_is_refused() -> None:
    """An aggregator that relays keys of its own making gets no masked vector from anyone."""
    lab = Lab(complete(6))

    def substitute(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != "keys":
            return [(to, message)]
        forged = tuple((owner, bytes([owner + 1]) * 32, signature) for owner, _, signature in message.body)
        return [(to, Message("keys", message.round, forged, message.size_bytes))]

    run_secure(lab, wrap=meddle(0, substitute))
    refused = lab.of_kind("key_refused")
    assert refused
    assert all(node != 0 for _, node, _ in refused)


def test_a_member_out_of_range_withholds_and_is_counted() -> None:
    lab = Lab(complete(6))
    run_secure(lab, bound=1e-4)
    assert lab.of_kind("withheld")
    assert not any(f["round"] == ROUNDS - 1 for _, _, f in lab.of_kind("opened"))
    for model in lab.final_models().values():
        assert np.isfinite(model).all()


def test_an_eavesdropping_aggregator_sees_only_uniform_words() -> None:
    """Every masked vector a curious node receives is far from the encoded model and its words spread evenly."""
    seen: list[np.ndarray[Any, Any]] = []

    def tap(node: int, delivery: Delivery) -> None:
        if delivery.message.kind == "masked":
            seen.append(np.asarray(delivery.message.body[1]))

    lab = Lab(complete(6))
    run_secure(lab, rounds=40, run={"adversary": Adversary(frozenset({0}), tap)})
    words = np.concatenate(seen)
    assert words.dtype == np.uint32
    counts = np.bincount(words >> 28, minlength=16)
    # chi-square with 15 degrees of freedom: P(> 56) < 1.3e-6 for uniform words
    assert ((counts - words.size / 16) ** 2 / (words.size / 16)).sum() < 56


def test_only_complete_sums_are_released_and_none_of_a_single_member() -> None:
    lab = Lab(regular(10, 4), sigma=1.0)
    run_secure(lab, rounds=8, run={"loss": 0.1})
    releases = [e for e in lab.learner.lineage.entries if isinstance(e, Release)]
    assert releases
    assert all(len(e.parents) >= 3 for e in releases)
    delivered = {(e.node, e.round) for e in releases}
    assert set(opened(lab)) <= delivered


def test_a_program_may_not_talk_to_strangers() -> None:
    lab = Lab(regular(10, 4))

    async def program(node: Node) -> None:
        node.send(node.id, Message("hello", 0, None, 1))

    with pytest.raises(Exception, match="no link to node") as caught:
        lab.run(program)
    assert isinstance(caught.value.__cause__, ContractError)


def test_a_key_that_is_signed_but_unusable_stops_nobody() -> None:
    """A Byzantine member signs a small-order point: its co-members refuse that list and go on."""
    lab = Lab(complete(6))
    identity = Identity(streams.digest(lab.seed, "identity", 0, size=32))
    context = b"test"

    def poison(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != "key":
            return [(to, message)]
        zero = bytes(32)
        return [(to, Message("key", message.round, (zero, identity.sign(_payload(0, zero, context))), 100))]

    run_secure(lab, wrap=meddle(0, poison))
    assert {f["owner"] for _, _, f in lab.of_kind("key_refused")} == {0}
    assert {node for _, node, _ in lab.of_kind("finished")} == set(range(6))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("masked", np.zeros(3, np.uint32)),
        ("masked", "nonsense"),
        ("masked", np.zeros(8, np.float64)),
        ("list", "nonsense"),
        ("list", (1, "two")),
        ("key", (1, 2, 3)),
        ("key", (b"short", b"short")),
        ("keys", ((1,), "x")),
    ],
)
def test_malformed_messages_of_one_node_stop_nobody_else(kind: str, body: Any) -> None:
    lab = Lab(complete(6))

    def spoil(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != kind:
            return [(to, message)]
        return [(to, Message(kind, message.round, body, message.size_bytes))]

    run_secure(lab, rounds=3, wrap=meddle(0, spoil))
    assert {node for _, node, _ in lab.of_kind("finished")} == set(range(6))
    noticed = {k for _, _, k, _ in lab.events} & {"malformed", "key_refused", "refused"}
    assert noticed
