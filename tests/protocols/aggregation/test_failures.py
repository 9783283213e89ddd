"""What goes wrong with secure sums, and what comes of it: dropouts, late and doubled messages, and Byzantine members.

The table of failures in docs/failures.md says of each whether it is noticed, by whom, and what is opened or lost.
Every row of it is a test here.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.aggregation.keyring import Keyring
from protocols.aggregation.share_sums import ShareSums
from protocols.aggregation.vector_shares import RealShares, SharingPlan
from protocols.aggregation.verified_secrets import RealVerifiedSecrets
from protocols.gossip.dsgd import dsgd
from protocols.gossip.secure_exchange import NeighbourhoodExchange
from protocols.privacy.entries import Release
from protocols.sharing.modulus import P31
from simulator.adversary.coalition import Adversary
from simulator.contract.knowledge import Context
from simulator.contract.node import Message, Node
from simulator.faults.plan import Cut, Outage
from tests.support.matrix import covering
from tests.support.meddling import meddle, mute, rewrite_payload
from tests.support.suites import HIDING, KINDS
from tests.support.worlds import Lab, complete, regular

RECOVERING = ("recover", "bonawitz", "active", "verified", "sharing", "packed", "light")
"""What opens sums without some of the listed members."""
ANSWERS = {
    "masks": ("masked",),
    "rerun": ("masked",),
    "sparse": ("indices", "masked"),
    "recover": ("dealt", "masked", "revealed"),
    "bonawitz": ("dealt", "masked", "revealed"),
    "active": ("dealt", "masked", "signed", "revealed"),
    "verified": ("dealt", "checked", "answered", "masked", "revealed"),
    "sharing": ("dealt", "summed"),
    "packed": ("dealt", "summed"),
    "light": ("dealt", "masked", "summed"),
}
DROPPED_AT = [(kind, step) for kind in HIDING for step in ("hello", *ANSWERS[kind])]


class Watched(Lab):
    """A lab that knows what every node truly offered to every aggregator."""

    def watch(self) -> Adversary:
        self.offered: dict[tuple[int, int, int], Any] = {}

        def claim(known: Context, node: Node, content: Any, to: int, round: int) -> Any:
            self.offered[node.id, to, round] = content.params
            return content

        return Adversary(byzantine=dict.fromkeys(range(len(self.neighbors)), claim))

    def opened(self) -> dict[tuple[int, int], dict[str, Any]]:
        return {(node, f["round"]): f for _, node, f in self.of_kind("opened")}

    def check_sums(self) -> int:
        """Every opened sum is the weighted sum of what its members offered; how many there are."""
        weights = self.weights.toarray()
        opened = self.opened()
        for (aggregator, round), found in opened.items():
            expected = sum(
                weights[aggregator, m] * self.values([self.offered[m, aggregator, round]])[0]
                for m in found["members"]
            )
            np.testing.assert_allclose(found["value"], expected, atol=1e-4)
        return len(opened)


def play(
    kind: str, *, nodes: int = 7, rounds: int = 3, lab: Watched | None = None, run: Any = None, **rules: Any
) -> Watched:
    lab = lab or Watched(complete(nodes), sigma=1.0)
    exchange = lab.secure(suite=kind, **({"tolerated_dropouts": 2} | rules))
    lab.kernel, _ = lab.run(
        lambda node: dsgd(node, lab.learner, exchange, rounds), **({"adversary": lab.watch()} | (run or {}))
    )
    return lab


@pytest.mark.parametrize("kind", covering(KINDS, {"masks", "light"}))
@settings(max_examples=6, deadline=None)
@given(
    loss=st.sampled_from([0.0, 0.02, 0.1]),
    seed=st.integers(0, 50),
    faults=st.lists(
        st.tuples(st.integers(0, 8), st.floats(0, 2), st.one_of(st.none(), st.floats(0.1, 1.5))),
        max_size=3,
        unique_by=lambda o: o[0],
    ),
)
def test_ideal_cryptography_changes_nothing_that_can_be_seen(
    kind: str, loss: float, seed: int, faults: Any
) -> None:
    """Opened sums bit by bit, events, sizes, times, releases, for any dropout pattern."""
    plan = [Outage(n, down, None if up is None else down + up) for n, down, up in faults]
    real, ideal = (
        play(
            kind,
            lab=Watched(regular(9, 6), sigma=1.0, seed=seed),
            run={"loss": loss, "faults": plan},
            real=secret,
        )
        for secret in (True, False)
    )
    assert real.opened().keys() == ideal.opened().keys()
    for key, found in real.opened().items():
        assert found["members"] == ideal.opened()[key]["members"]
        assert np.array_equal(found["value"], ideal.opened()[key]["value"])
    assert real.kernel.log.trace_hash == ideal.kernel.log.trace_hash
    assert real.learner.lineage.entries == ideal.learner.lineage.entries
    assert [e[:3] for e in real.events] == [e[:3] for e in ideal.events]
    if kind not in ("sparse", "correlated"):
        real.check_sums()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "correlated"])
def test_opened_sums_are_those_of_the_members(kind: str) -> None:
    lab = play(kind, options={"fraction": 1.0} if kind == "sparse" else {})
    assert lab.check_sums() == 7 * 3
    assert not lab.of_kind("skipped")


@pytest.mark.parametrize(
    ("kind", "step"),
    covering(DROPPED_AT, lambda case: case[1] in ("hello", "checked", ANSWERS[case[0]][-1])),
)
def test_a_dropout_before_any_sub_round(kind: str, step: str) -> None:
    """Node 5 says nothing any more from that sub-round on, in any sum."""
    kinds = ("hello", *ANSWERS[kind])
    gone = kinds[kinds.index(step) :]
    lab = play(kind, wrap=mute({5: gone}), timeout_s=0.3)
    sums = lab.check_sums() if kind != "sparse" else len(lab.opened())
    others = {key: f for key, f in lab.opened().items() if key[0] != 5}
    if kind in RECOVERING:
        assert len(others) == 6 * 3
        vector_sent = step in kinds[len(kinds) - (1 if kind != "active" else 2) :]
        assert all((5 in f["members"]) == vector_sent for f in others.values())
    elif step == "hello":
        assert all(5 not in f["members"] for f in others.values())
        assert sums
    elif kind == "rerun" or step == "indices":
        assert len(others) == 6 * 3
        assert all(5 not in f["members"] for f in others.values())
    else:
        assert not others
        assert {f["reason"] for _, n, f in lab.of_kind("skipped") if n != 5} <= {
            "a listed member did not answer",
            "too few members alive",
        }


@pytest.mark.parametrize("kind", covering(HIDING, {"rerun", "active", "packed", "light"}))
def test_doubled_messages_change_nothing(kind: str) -> None:
    def twice(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        return [(to, message), (to, message)]

    single, double = play(kind), play(kind, wrap=meddle(range(7), twice))
    assert len(single.opened()) == len(double.opened()) == 7 * 3
    if kind != "sparse":
        double.check_sums()
    assert not double.of_kind("refused")
    # What comes twice may be on record twice, and says nothing new.
    shown = [
        {(e.node, e.parents, e.coefs) for e in lab.learner.lineage.entries if isinstance(e, Release)}
        for lab in (single, double)
    ]
    assert len(shown[0]) == len(shown[1])


@pytest.mark.parametrize("kind", ["masks", "recover", "sharing", "light"])
def test_a_late_answer_is_counted_and_not_used(kind: str) -> None:
    """Node 5's last answers come one round late."""
    last = ANSWERS[kind][-1]
    held: list[tuple[int, Message]] = []

    def hold(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind == last:
            held.append((to, message))
            return []
        late = [m for m in held if m[1].round < message.round - 1]
        held[:] = [m for m in held if m not in late]
        return [*late, (to, message)]

    lab = play(kind, rounds=4, wrap=meddle(5, hold), timeout_s=0.3)
    lab.check_sums()
    assert {f["sender"] for _, _, f in lab.of_kind("late")} <= {5}
    if kind == "masks":
        # The last share of a sum nobody used makes it readable, and is charged.
        readable = [e for e in lab.learner.lineage.entries if isinstance(e, Release)]
        assert len(readable) > len(lab.opened())


@pytest.mark.parametrize("kind", RECOVERING)
def test_fewer_live_members_than_the_threshold_open_nothing(kind: str) -> None:
    """Of six members four vanish before the last sub-round."""
    lab = play(kind, wrap=mute(dict.fromkeys((3, 4, 5, 6), (ANSWERS[kind][-1],))), timeout_s=0.3)
    assert not [key for key in lab.opened() if key[0] < 3]
    assert {f["reason"] for _, n, f in lab.of_kind("skipped") if n < 3} == {"fewer shares than the threshold"}


@pytest.mark.parametrize("kind", HIDING)
def test_nothing_is_opened_below_three_honest_members(kind: str) -> None:
    """With one assumed colluder among them a sum has four members at least, however many dropouts are tolerated."""
    lab = play(
        kind,
        colluders=1,
        tolerated_dropouts=6,
        wrap=mute(dict.fromkeys((3, 4, 5, 6), ANSWERS[kind])),
        timeout_s=0.3,
    )
    assert all(len(f["members"]) >= 4 for f in lab.opened().values())
    assert all(len(e.parents) >= 4 for e in lab.learner.lineage.entries if isinstance(e, Release))


def test_a_partition_inside_a_neighbourhood_costs_nothing() -> None:
    """Members talk through their aggregator, so links among them do not matter to its sum."""
    lab = Watched(complete(7), sigma=1.0)
    cut = Cut(frozenset({(1, 2), (2, 1), (1, 3), (3, 1)}), 0.0)
    lab = play("recover", lab=lab, run={"faults": [cut]}, timeout_s=0.3)
    lab.check_sums()
    assert any({1, 2, 3} <= set(f["members"]) for key, f in lab.opened().items() if key[0] == 0)
    assert all(2 not in f["members"] for key, f in lab.opened().items() if key[0] == 1)


@pytest.mark.parametrize("kind", covering(HIDING, {"masks", "active", "sharing"}))
@pytest.mark.parametrize("back_s", covering([0.05, 0.2, 0.4], {0.2}))
def test_a_node_that_comes_back_in_the_middle(kind: str, back_s: float) -> None:
    """It has lost what it kept of sums under way, never repeats a round, and takes part again."""
    lab = Watched(complete(7), sigma=1.0)
    lab = play(kind, lab=lab, rounds=12, run={"faults": [Outage(5, 0.6, 0.6 + back_s)]}, timeout_s=0.3)
    if kind != "sparse":
        lab.check_sums()
    rounds = [f["round"] for _, node, f in lab.of_kind("model") if node == 5]
    assert len(rounds) == len(set(rounds))
    last = [f for key, f in lab.opened().items() if key[1] >= 9]
    assert any(5 in f["members"] for f in last)


# ---------------------------------------------------------------- Byzantine members and aggregators


def corrupt(node: Node, to: int, payload: Any) -> Any:
    """One wrong element."""
    if isinstance(payload, np.ndarray):
        wrong = payload.copy()
        wrong[0] = (int(wrong[0]) + 1) % (2**31 - 1)
        wrong.setflags(write=False)
        return wrong
    return (bytes(31) + b"\1", *payload[1:])


@pytest.mark.parametrize("kind", ["sharing", "packed", "light", "recover", "bonawitz"])
def test_a_wrong_share_is_corrected_and_its_sender_named(kind: str) -> None:
    last = ANSWERS[kind][-1]
    lab = play(kind, nodes=9, wrap=meddle(5, rewrite_payload(last, corrupt)))
    assert lab.check_sums() == 9 * 3
    assert {f["sender"] for _, _, f in lab.of_kind("wrong_share")} == {5}


@pytest.mark.parametrize("kind", ["sharing", "light", "recover"])
def test_too_many_wrong_shares_open_nothing(kind: str) -> None:
    last = ANSWERS[kind][-1]
    lab = play(kind, nodes=8, wrap=meddle((1, 2, 3, 4), rewrite_payload(last, corrupt)))
    assert not [key for key in lab.opened() if key[0] == 0]
    reasons = {f["reason"] for _, n, f in lab.of_kind("skipped") if n == 0}
    assert all(
        reason == "shares contradict each other" or reason.startswith("inconsistent share of node ")
        for reason in reasons
    )
    assert reasons


class InconsistentSeeds(RealVerifiedSecrets):
    """Node 5 deals node 4 a share that fits nothing, and says the same when it is asked; or the right one."""

    honest_answer = False

    def _split(self, sum: Any, kept: Any, threshold: int, holders: Any, root: bytes) -> list[bytes]:
        blobs = super()._split(sum, kept, threshold, holders, root)
        if self.node.id == 5 and 4 in holders:
            place = list(holders).index(4)
            right = blobs[place]
            blobs[place] = bytes([right[0] ^ 1]) + right[1:]
            kept.dealt[4] = right if self.honest_answer else blobs[place]
        return blobs


class SorrySeeds(InconsistentSeeds):
    honest_answer = True


def test_a_dealer_of_wrong_seeds_is_excluded_before_anybody_masks_for_it() -> None:
    lab = play("verified", options={"secrets": InconsistentSeeds})
    assert lab.check_sums() == 7 * 3
    others = [f for key, f in lab.opened().items() if key[0] not in (4, 5)]
    assert all(5 not in f["members"] for f in others)
    assert {f["sender"] for _, _, f in lab.of_kind("wrong_dealing")} == {5}
    assert not lab.of_kind("wrong_share")


def test_a_dealer_that_answers_a_complaint_stays() -> None:
    lab = play("verified", options={"secrets": SorrySeeds})
    assert lab.check_sums() == 7 * 3
    assert not lab.of_kind("wrong_dealing")
    assert all(5 in f["members"] for key, f in lab.opened().items() if key[0] != 5)


def test_a_complaint_that_is_not_passed_on_is_noticed() -> None:
    lab = play("verified", options={"secrets": InconsistentSeeds}, wrap=meddle(0, _hushed))
    assert "a complaint was not passed on" in {f["reason"] for _, _, f in lab.of_kind("refused")}


def _hushed(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
    """An aggregator that keeps node 5 whatever others say, and does not pass on what they say."""
    if message.kind == "complaints":
        return [(to, message._replace(body=(message.body[0], ())))]
    if message.kind == "verdicts":
        attempt, (left, _) = message.body
        return [(to, message._replace(body=(attempt, (tuple(sorted({*left, 5})), ()))))]
    return [(to, message)]


def test_a_dealer_whose_shares_contradict_each_other() -> None:
    """One wrong share is corrected, and blamed on its holder, who cannot prove that it was dealt like that."""

    class Inconsistent(RealShares):
        def deal(self, sum: Any, words: Any, holders: Any) -> Any:
            self.inconsistent = True
            own, sealed = super().deal(sum, words, holders)
            return own, sealed

        def take(self, sum: Any, dealer: int, sealed: Any) -> Any:
            share = super().take(sum, dealer, sealed)
            if self.node.id == 4 and dealer == 5:
                share = share.copy()
                share[0] ^= 1
            return share

    lab = Watched(complete(9), sigma=1.0)
    shop = lab.workshop(suite="sharing", tolerated_dropouts=2)
    plan = SharingPlan(P31, lambda holders: holders // 2 + 1)

    def exchange(node: Node) -> NeighbourhoodExchange:
        ring = Keyring(node, shop.keys)
        suite = ShareSums(node, shop.rules, plan, Inconsistent(node, plan, ring, shop.rules.context), ring)
        return NeighbourhoodExchange(node, lab.learner, shop.rules, suite)

    lab.run(lambda node: dsgd(node, lab.learner, exchange, 2), adversary=lab.watch())
    lab.check_sums()
    assert {f["sender"] for _, _, f in lab.of_kind("wrong_share")} == {4}


@pytest.mark.parametrize("kind", ["masks", "recover", "light"])
def test_a_malformed_vector_is_noticed(kind: str) -> None:
    def short(node: Node, to: int, payload: Any) -> Any:
        return payload[:-1]

    lab = play(kind, wrap=meddle(5, rewrite_payload("masked", short)))
    assert {f["sender"] for _, _, f in lab.of_kind("malformed")} == {5}
    lab.check_sums()
    mine = [f for key, f in lab.opened().items() if key[0] != 5]
    assert all(5 not in f["members"] for f in mine)
    assert bool(mine) == (kind != "masks")


@pytest.mark.parametrize("kind", HIDING)
def test_a_vector_out_of_range_is_withheld_and_counted(kind: str) -> None:
    lab = play(kind, bound=1e-4)
    assert lab.of_kind("withheld")
    assert all(f["round"] == 0 for f in lab.opened().values())


@pytest.mark.parametrize("kind", [kind for kind in HIDING if kind not in ("sharing", "packed")])
def test_a_shifted_vector_is_not_noticed(kind: str) -> None:
    """Secure sums hide what robust rules need: one member moves the sum as it likes.

    Of sums that are shared, a wrong share is noticed, and a wrong vector is a claim like any other.
    """
    lab = play(kind, rounds=1, wrap=meddle(5, rewrite_payload("masked", corrupt)))
    assert not {k for _, _, k, _ in lab.events} & {"wrong_share", "malformed", "refused"}
    assert len(lab.opened()) == 7


def test_a_replayed_answer_of_an_old_round_is_ignored() -> None:
    kept: dict[int, Message] = {}

    def replay(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != "masked":
            return [(to, message)]
        old = kept.setdefault(to, message)
        return [(to, old), (to, message)] if old is not message else [(to, message)]

    lab = play("masks", wrap=meddle(5, replay))
    assert lab.check_sums() == 7 * 3


@pytest.mark.parametrize("kind", ["recover", "bonawitz"])
def test_nobody_reveals_both_shares_of_a_member(kind: str) -> None:
    """An aggregator that first says node 5 is in the sum and then that it is not gets one answer."""

    answers: Counter[tuple[int, int, int]] = Counter()

    def count(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind == "revealed":
            answers[node.id, to, message.round] += 1
        return [(to, message)]

    def ask_again(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != "opening":
            return [(to, message)]
        attempt, survivors = message.body
        fewer = tuple(v for v in survivors if v != 5)
        return [(to, message), (to, message._replace(body=(attempt, fewer)))]

    lab = play(kind, wrap=lambda node: meddle(0, ask_again)(meddle(range(7), count)(node)))
    lab.check_sums()
    reasons = {f["reason"] for _, _, f in lab.of_kind("refused")}
    assert "this round was answered already" in reasons
    assert reasons <= {"this round was answered already", "the survivors are not of this list"}
    revealed = [key for key, count in answers.items() if count > 1]
    assert answers
    assert not revealed


@pytest.mark.parametrize("kind", ["recover", "active", "light"])
def test_two_stories_about_who_is_in_the_sum(kind: str) -> None:
    """Half of the members are told that node 5 is in, the others that it is not: neither story gets a threshold."""
    step = "survivors" if kind == "active" else "opening"

    def story(node: Node, to: int, payload: Any) -> Any:
        return tuple(v for v in payload if v != 5) if to in (1, 2, 3) else payload

    lab = play(kind, wrap=meddle(0, rewrite_payload(step, story)))
    assert not [key for key in lab.opened() if key[0] == 0]
    if kind == "active":
        reasons = {f["reason"] for _, _, f in lab.of_kind("refused")}
        assert reasons <= {
            "too few members agree on who is in the sum",
            "the request names somebody who does not belong there",
        }
        assert "too few members agree on who is in the sum" in reasons


@pytest.mark.parametrize("kind", ["recover", "active"])
def test_a_substituted_key_is_refused(kind: str) -> None:
    """An aggregator that relays keys of its own making learns nobody's vector."""

    def substitute(node: Node, to: int, payload: Any) -> Any:
        listed, keys = payload
        forged = tuple((v, (bytes([v + 1]) * 32, bytes([v + 2]) * 32, *key[2:])) for v, key in keys)
        return listed, forged

    lab = play(kind, wrap=meddle(0, rewrite_payload("list", substitute)))
    assert not [key for key in lab.opened() if key[0] == 0]
    assert all(node != 0 for _, node, _ in lab.of_kind("key_refused"))
    assert lab.of_kind("key_refused")


def test_without_signatures_a_substituted_key_is_not_noticed() -> None:
    """The semi-honest variant says so: its server is trusted to relay keys as they are."""
    wrong: list[int] = []

    def substitute(node: Node, to: int, payload: Any) -> Any:
        listed, keys = payload
        wrong.append(to)
        return listed, tuple((v, (key[0], keys[0][1][1], *key[2:])) for v, key in keys)

    lab = play("bonawitz", wrap=meddle(0, rewrite_payload("list", substitute)))
    assert wrong
    assert not lab.of_kind("key_refused")


@pytest.mark.parametrize("kind", ["recover", "sharing", "light"])
def test_a_relay_that_changes_shares_is_noticed(kind: str) -> None:
    def change(node: Node, to: int, payload: Any) -> Any:
        return tuple((v, bytes([box[0] ^ 1]) + box[1:]) for v, box in payload)

    lab = play(kind, wrap=meddle(0, rewrite_payload("relayed", change)))
    assert not [key for key in lab.opened() if key[0] == 0]
    assert "shares were changed on their way" in {f["reason"] for _, _, f in lab.of_kind("refused")}


@pytest.mark.parametrize(
    ("kind", "payload"),
    covering(
        product(RECOVERING, ["nonsense", (1, 2), ((1,), (2,)), ((9, b""), (9, b"")), None, 7, np.zeros(3)]),
        lambda case: case[0] == "recover" or (case[1] is None and case[0] != "verified"),
    ),
)
def test_malformed_requests_stop_nobody(kind: str, payload: Any) -> None:
    for step in ("relayed", "opening"):
        lab = play(
            kind, rounds=2, wrap=meddle(0, rewrite_payload(step, lambda *_, p=payload: p)), timeout_s=0.2
        )
        assert {node for _, node, _ in lab.of_kind("finished")} == set(range(7))
