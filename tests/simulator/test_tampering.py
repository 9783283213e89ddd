"""Tampering: what each action does, what each level of knowledge shows, and that nothing else leaks or shifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from simulator.adversary.coalition import Adversary, Coalition
from simulator.adversary.tampering import (
    Ciphertext,
    Forward,
    Tamper,
    alter,
    arrays,
    chain,
    delay,
    drop,
    equivocate,
    only,
    reads,
    replay,
)
from simulator.adversary.wiretap import Wiretap
from simulator.contract.knowledge import Context, Knowledge
from simulator.contract.node import Delivery, Message
from simulator.errors import ConfigurationError, ContractError
from tests.support.memory import reachable

LEVELS: tuple[Knowledge, ...] = ("own", "received", "rushing", "neighbourhood", "omniscient")
ERROR = 1e-7
"""Error probability of each statistical test."""


def message(round: int = 0, kind: str = "model", body: Any = None, release: Any = "release") -> Message:
    return Message(kind, round, (1, np.arange(3.0)) if body is None else body, 32, release)


def context(seed: int = 1, now_s: float = 0.0, **known: Any) -> Context:
    return Context(node=0, now_s=now_s, **known, _stream=seed)


def ring(node: int) -> tuple[int, ...]:
    return ((node - 1) % 10, (node + 1) % 10)


def at_work(tamper: Tamper, seed: int = 1, **options: Any) -> Coalition:
    coalition = Adversary(tamper={0: tamper}, **options).start(seed, ring)
    assert coalition is not None
    return coalition


def keep(context: Context, dst: int, message: Message) -> Sequence[Forward]:
    return [Forward(0.0, dst, message)]


# --- knowledge


def spied(level: Knowledge, **options: Any) -> tuple[Context, dict[str, Message]]:
    """What node 0 is shown when it speaks to node 1 (ring of ten; node 5 belongs to the coalition too)."""
    held: list[Context] = []

    def spy(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        held.append(context)
        return keep(context, dst, message)

    coalition = at_work(spy, curious=frozenset({5}), knowledge=level, **options)
    said = {
        "received": message(1),  # 4 -> 5, arrived
        "coming": message(2),  # 6 -> 5, sent and not yet there
        "near": message(3),  # 2 -> 3: node 2 is a neighbour of node 1
        "far": message(4),  # 7 -> 8
        "elsewhere": message(5),  # arrived at 8
    }
    coalition.sent(0.1, 4, 5, said["received"])
    coalition.delivered(5, Delivery(4, said["received"], 0.1, 0.2))
    coalition.sent(0.3, 6, 5, said["coming"])
    coalition.sent(0.4, 2, 3, said["near"])
    coalition.sent(0.5, 7, 8, said["far"])
    coalition.delivered(8, Delivery(7, said["elsewhere"], 0.1, 0.6))
    coalition.outgoing(1.0, 0, 1, message(6))
    said["later"] = message(7)
    coalition.sent(1.1, 4, 5, said["later"])
    coalition.delivered(5, Delivery(4, said["later"], 1.1, 1.2))
    return held[0], said


@pytest.mark.parametrize(
    ("level", "seen", "ahead"),
    [
        ("own", [], []),
        ("received", ["received"], []),
        ("rushing", ["received"], ["received", "coming"]),
        ("neighbourhood", ["received"], ["received", "coming", "near"]),
        ("omniscient", ["received"], ["received", "coming", "near", "far"]),
    ],
)
def test_each_level_shows_its_own_and_no_more(level: Knowledge, seen: list[str], ahead: list[str]) -> None:
    shown, said = spied(level)
    names = {id(m): name for name, m in said.items()}
    assert [names[id(delivery.message)] for delivery in shown.seen] == seen
    assert [names[id(sighting.message)] for sighting in shown.ahead] == ahead
    assert len(shown.seen) == len(seen)
    assert list(shown.ahead[1:]) == list(shown.ahead)[1:]


def test_from_its_own_there_is_no_way_to_what_others_sent() -> None:
    shown, said = spied("own")
    assert shown.oracle is None
    others = {id(part) for m in said.values() for part in (m, m.body)}
    assert not reachable(shown).keys() & others
    informed, heard = spied("received")
    assert id(heard["received"]) in reachable(informed)  # the search does find what is there


@pytest.mark.parametrize("level", LEVELS)
def test_no_level_reaches_the_run_itself(level: Knowledge) -> None:
    shown, _ = spied(level)
    assert not any(isinstance(thing, Coalition | Adversary) for thing in reachable(shown).values())
    # The seed of the run is only there behind a digest.
    assert "_seed" not in Context.__slots__
    assert shown._stream.bit_length() > 64


def test_what_comes_later_is_not_in_a_view_taken_earlier() -> None:
    shown, said = spied("rushing")
    with pytest.raises(IndexError):
        shown.seen[1]
    assert shown.seen[-1].message is said["received"]


def test_memory_keeps_the_latest_and_stays_small() -> None:
    lengths = []

    def spy(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        lengths.append(len(context.seen))
        assert [d.message.round for d in context.seen] == list(
            range(message.round + 1 - len(context.seen), message.round + 1)
        )
        return []

    coalition = at_work(spy, knowledge="received", remember=8)
    for i in range(100):
        coalition.delivered(0, Delivery(1, message(i), 0.0, 0.0))
        coalition.outgoing(0.0, 0, 1, message(i))
    assert min(lengths[8:]) >= 8
    assert max(lengths) <= 16


def test_an_oracle_is_for_the_omniscient() -> None:
    shown, _ = spied("omniscient", oracle="everything")
    assert shown.oracle == "everything"
    with pytest.raises(ConfigurationError, match="'omniscient', not 'rushing'"):
        Adversary(knowledge="rushing", oracle="everything")


def test_levels_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected one of own, received, rushing"):
        Adversary(knowledge="psychic")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at least 1"):
        Adversary(remember=0)


# --- encrypted links


def on_link(tamper: Tamper, **options: Any) -> Coalition:
    coalition = Adversary(on_links={(0, 1): tamper, (1, 2): tamper}, **options).start(1, ring)
    assert coalition is not None
    return coalition


def test_on_an_encrypted_link_nothing_can_be_read() -> None:
    handed: list[Message] = []

    def spy(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        handed.append(message)
        return keep(context, dst, message)

    original = message(3)
    (sent,) = on_link(spy).crossing(0.0, 0, 1, original)
    assert sent == Forward(0.0, 1, original)
    assert sent.message is original
    (encrypted,) = handed
    assert (encrypted.kind, encrypted.round, encrypted.size_bytes, encrypted.release) == (
        "encrypted",
        -1,
        32,
        None,
    )
    assert not reachable(encrypted).keys() & {id(original), id(original.body), id(original.kind)}


@pytest.mark.parametrize(
    "tamper",
    [
        alter(lambda body, rng: body),
        equivocate(lambda body, dst, rng: body),
        only(drop(), kinds={"model"}),
        only(drop(), rounds={3}),
        chain(drop(0.5), alter(lambda body, rng: body)),
        only(chain(replay(1.0), alter(lambda body, rng: body)), to={1}),
    ],
)
def test_reading_and_altering_on_an_encrypted_link_is_refused_at_once(tamper: Tamper) -> None:
    with pytest.raises(ConfigurationError, match="links are encrypted; expected only drop, delay and replay"):
        Adversary(on_links={(0, 1): tamper})
    assert Adversary(on_links={(0, 1): tamper}, encrypted=False).start(1, ring) is not None


def test_own_functions_cannot_forge_on_an_encrypted_link_either() -> None:
    def forge(context: Context, dst: int, encrypted: Message) -> Sequence[Forward]:
        return [Forward(0.0, dst, encrypted._replace(body="forged"))]

    def invent(context: Context, dst: int, encrypted: Message) -> Sequence[Forward]:
        return [Forward(0.0, dst, encrypted._replace(body=Ciphertext()))]

    for attack in (forge, invent):
        with pytest.raises(ContractError, match="did not come over it"):
            on_link(attack).crossing(0.0, 0, 1, message())
    with pytest.raises(ContractError, match="cannot be altered"):
        on_link(lambda c, d, m: alter(lambda body, rng: 0)(c, d, m)).crossing(0.0, 0, 1, message())


def test_a_sealed_message_is_replayed_whole_and_only_on_its_link() -> None:
    stock: list[Message] = []

    def old_for_new(context: Context, dst: int, encrypted: Message) -> Sequence[Forward]:
        stock.append(encrypted)
        return [Forward(0.0, dst, stock[0]._replace(kind="relabelled", size_bytes=1))]

    first, second = message(1), message(2)
    coalition = on_link(old_for_new)
    assert coalition.crossing(0.0, 0, 1, first)[0].message is first
    (stale,) = coalition.crossing(1.0, 0, 1, second)
    assert stale.message is first
    assert stale.copy  # what should have come has not
    with pytest.raises(ContractError, match="did not come over it"):
        coalition.crossing(2.0, 1, 2, message(3))


def test_wiretap_and_attacker_agree_about_encryption() -> None:
    with pytest.raises(ConfigurationError, match="expected the same for both"):
        Adversary(wires=Wiretap(encrypted=False), on_links={(0, 1): drop()})


def test_an_attacker_on_a_link_stays_on_it() -> None:
    def divert(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        return [Forward(0.0, 7, message)]

    with pytest.raises(ContractError, match="the link ends at 1"):
        on_link(divert).crossing(0.0, 0, 1, message())


# --- actions


def test_drop_delay_replay() -> None:
    original = message()
    assert drop()(context(), 1, original) == ()
    assert list(drop(0.0)(context(), 1, original)) == [Forward(0.0, 1, original)]
    assert list(delay(0.5)(context(), 1, original)) == [Forward(0.5, 1, original)]
    assert list(replay(2.0)(context(), 1, original)) == [Forward(0.0, 1, original), Forward(2.0, 1, original)]
    assert list(replay(2.0, 0.0)(context(), 1, original)) == [Forward(0.0, 1, original)]


def test_a_law_of_delays_is_drawn_by_message() -> None:
    def exponential(u: NDArray[np.float64]) -> NDArray[np.float64]:
        return -0.2 * np.log1p(-u)

    coalition = at_work(delay(exponential))
    drawn = [coalition.outgoing(0.0, 0, 1, message(i))[0].delay_s for i in range(2000)]
    assert stats.kstest(drawn, stats.expon(scale=0.2).cdf).pvalue > ERROR


@pytest.mark.parametrize("probability", [0.02, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("action", [drop, lambda p: replay(0.0, p)])
def test_probabilities_hold(action: Callable[[float], Tamper], probability: float) -> None:
    coalition = at_work(action(probability))
    trials = 5000
    hits = sum(len(coalition.outgoing(0.0, 0, 1, message(i))) != 1 for i in range(trials))
    low, high = stats.binom(trials, probability).ppf([ERROR / 2, 1 - ERROR / 2])
    assert low <= hits <= high


def test_two_drops_in_a_chain_are_independent() -> None:
    coalition = at_work(chain(drop(0.5), drop(0.5)))
    trials = 5000
    kept = sum(len(coalition.outgoing(0.0, 0, 1, message(i))) for i in range(trials))
    low, high = stats.binom(trials, 0.25).ppf([ERROR / 2, 1 - ERROR / 2])
    assert low <= kept <= high


def test_copies_in_a_chain_fare_independently() -> None:
    coalition = at_work(chain(replay(0.0), drop(0.5)))
    trials = 5000
    counts = np.bincount([len(coalition.outgoing(0.0, 0, 1, message(i))) for i in range(trials)], minlength=3)
    assert stats.chisquare(counts, trials * np.array([0.25, 0.5, 0.25])).pvalue > ERROR


def test_delays_in_a_chain_add_up() -> None:
    leaving = chain(delay(0.5), replay(2.0), delay(0.25))(context(), 1, message())
    assert [sent.delay_s for sent in leaving] == [0.75, 2.75]
    assert chain()(context(), 1, message(body=7))[0].message.body == 7


def test_alter_changes_the_body_and_nothing_else() -> None:
    original = message()
    (sent,) = alter(arrays(lambda a, rng: -2 * a))(context(), 1, original)
    number, values = sent.message.body
    assert number == 1
    np.testing.assert_array_equal(values, [0.0, -2.0, -4.0])
    assert not values.flags.writeable
    assert sent.message._replace(body=original.body) == original
    np.testing.assert_array_equal(original.body[1], np.arange(3.0))


def test_arrays_of_one_type_are_altered_and_keep_it() -> None:
    shares = np.array([3, 2**64 - 1], dtype=np.uint64)
    floats = np.ones(2, dtype=np.float32)
    body = (shares, ("label", floats), b"tag")
    (sent,) = alter(arrays(lambda a, rng: a + np.uint64(5), of=np.integer))(context(), 1, message(body=body))
    wrong, (label, same), tag = sent.message.body
    np.testing.assert_array_equal(wrong, np.array([8, 4], dtype=np.uint64))
    assert wrong.dtype == np.uint64
    assert (label, tag) == ("label", b"tag")
    assert same is floats


def test_noise_of_an_alteration_follows_the_message() -> None:
    noisy = alter(arrays(lambda a, rng: a + rng.normal(size=a.shape)))
    values = [at_work(noisy, seed).outgoing(0.0, 0, 1, message())[0].message.body[1] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_shapes_are_public_and_stay() -> None:
    with pytest.raises(ContractError, match=r"shape \(2,\), expected \(3,\)"):
        alter(arrays(lambda a, rng: a[:2]))(context(), 1, message())


def test_handles_are_for_substitutions() -> None:
    class Handle:
        size = 3

    for body in (Handle(), (1, (Handle(),))):
        with pytest.raises(ContractError, match="a substitution changes content"):
            alter(lambda body, rng: body)(context(), 1, message(body=body))


def test_equivocation_tells_each_something_else() -> None:
    by_number = equivocate(lambda body, dst, rng: (dst, body[1]))
    assert [by_number(context(), dst, message())[0].message.body[0] for dst in (1, 9)] == [1, 9]
    by_name = equivocate({9: lambda body, rng: "other"})
    assert by_name(context(), 9, message())[0].message.body == "other"
    original = message()
    assert by_name(context(), 1, original)[0].message is original


@settings(max_examples=200)
@given(
    kind=st.sampled_from(["model", "share"]),
    round=st.integers(0, 6),
    to=st.sampled_from([1, 9]),
    now_s=st.floats(0, 10),
)
def test_only_acts_inside_its_window(kind: str, round: int, to: int, now_s: float) -> None:
    tamper = only(drop(), kinds={"share"}, rounds=range(2, 5), to={9}, from_s=2.0, until_s=6.0)
    gone = kind == "share" and 2 <= round < 5 and to == 9 and 2.0 <= now_s < 6.0
    original = message(round, kind)
    leaving = tamper(context(now_s=now_s), to, original)
    assert list(leaving) == ([] if gone else [Forward(0.0, to, original)])


def test_a_single_kind_is_not_a_set_of_letters() -> None:
    assert len(only(drop(), kinds="models")(context(), 1, message(kind="model"))) == 1
    assert len(only(drop(), kinds="model")(context(), 1, message(kind="model"))) == 0


def test_what_actions_read() -> None:
    assert reads(drop()) == reads(delay(1.0)) == reads(replay(1.0)) == reads(keep) == frozenset()
    assert reads(only(drop(), kinds="a", rounds=[1])) == {"kind", "round"}
    assert reads(chain(drop(), only(alter(lambda b, r: b), rounds=[1]))) == {"body", "round"}


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: drop(1.5), "1.5 is no probability"),
        (lambda: drop(nan), "no probability"),
        (lambda: replay(1.0, -0.1), "no probability"),
        (lambda: replay(inf), "after_s must be finite"),
        (lambda: delay(-1.0), "delay_s must be finite and not negative"),
        (lambda: only(drop(), from_s=2.0, until_s=2.0), "never happens"),
    ],
)
def test_actions_that_cannot_be_are_refused(build: Callable[[], Tamper], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        build()


# --- what really leaves


@pytest.mark.parametrize("bad", [-1.0, nan, inf])
def test_times_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ContractError, match="expected finite and not negative"):
        at_work(lambda c, dst, m: [Forward(bad, dst, m)]).outgoing(0.0, 0, 1, message())


def test_a_byzantine_node_sends_to_its_neighbours_only() -> None:
    coalition = at_work(lambda c, dst, m: [Forward(0.0, 9, m)])
    assert coalition.outgoing(0.0, 0, 1, message())[0].dst == 9
    with pytest.raises(ContractError, match=r"sends to node 5; it has links to \(9, 1\)"):
        at_work(lambda c, dst, m: [Forward(0.0, 5, m)]).outgoing(0.0, 0, 1, message())


def test_copies_are_told_from_the_message_itself() -> None:
    def busy(context: Context, dst: int, m: Message) -> Sequence[Forward]:
        changed = m._replace(body=0)
        return [
            Forward(0, 9, m),
            Forward(1, dst, changed),
            Forward(2, dst, m),
            Forward(3, dst, m._replace(round=8)),
        ]

    leaving = at_work(busy).outgoing(0.0, 0, 1, message())
    assert [sent.copy for sent in leaving] == [True, False, True, True]


def test_whatever_leaves_is_charged_as_the_true_message() -> None:
    def strip(context: Context, dst: int, m: Message) -> Sequence[Forward]:
        return [Forward(0, dst, m._replace(release=None)), Forward(0, 9, Message("new", 0, 1, 8))]

    leaving = at_work(strip).outgoing(0.0, 0, 1, message(release="true"))
    assert [sent.message.release for sent in leaving] == ["true", "true"]


# --- determinism


def fates(coalition: Coalition, calls: Sequence[tuple[int, int, str]]) -> dict[tuple[int, int, str], Any]:
    return {
        (dst, round, kind): [s.delay_s for s in coalition.outgoing(0.0, 0, dst, message(round, kind))]
        for dst, round, kind in calls
    }


def test_fates_depend_on_the_message_and_not_on_other_traffic() -> None:
    tamper = chain(drop(0.3), replay(1.0, 0.5), delay(lambda u: u))
    calls = [(dst, round, kind) for dst in (1, 9) for round in range(30) for kind in ("a", "b")]
    everything = fates(at_work(tamper), calls)
    assert fates(at_work(tamper), calls[::-1]) == everything
    assert fates(at_work(tamper), calls[::7]) == {call: everything[call] for call in calls[::7]}
    assert fates(at_work(tamper, seed=2), calls) != everything


def test_the_level_of_knowledge_draws_nothing() -> None:
    calls = [(1, round, "a") for round in range(40)]
    assert len({str(fates(at_work(drop(0.5), knowledge=level), calls)) for level in LEVELS}) == 1


def test_a_message_sent_again_is_another_draw() -> None:
    coalition = at_work(drop(0.5))
    again = [len(coalition.outgoing(0.0, 0, 1, message())) for _ in range(200)]
    assert 0 < sum(again) < 200  # each alone has probability 2^-200


def test_links_and_nodes_draw_apart() -> None:
    both = Adversary(tamper={0: drop(0.5)}, on_links={(0, 1): drop(0.5)}).start(1, ring)
    assert both is not None
    pairs = [
        (len(both.outgoing(0.0, 0, 1, message(i))), len(both.crossing(0.0, 0, 1, message(i))))
        for i in range(200)
    ]
    assert len(set(pairs)) == 4  # a given pair is missing with probability (3/4)^200


def test_an_adversary_that_tampers_with_nothing_is_not_there() -> None:
    assert Adversary().start(1, ring) is None
    assert Adversary(curious=frozenset({1})).start(1, ring) is None
    own = at_work(drop())
    assert not own.listens
    assert not own.watches
    assert own.nodes == {0}
    assert own.links == frozenset()
