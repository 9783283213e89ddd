"""Virtual time: SimPy's traps closed, determinism, counting, crashes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import streams
from simulator.adversary.coalition import Adversary
from simulator.conformance.harness import ImmediateExecutor
from simulator.contract.node import Message, Node, Program
from simulator.core.records import DELIVERED, DROPPED, NEVER
from simulator.errors import ConfigurationError, ContractError, NodeDown, ProgramError
from simulator.faults.plan import Outage
from simulator.network.latency import constant, lognormal
from simulator.network.links import LinkModel
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import World
from simulator.topology import graphs
from simulator.topology.mixing import metropolis
from tests.support.places import ROOT

PAIR = [(1,), (0,)]


def world(neighbors: list[tuple[int, ...]], **options: Any) -> World:
    return World(
        **{
            "seed": 1,
            "neighbors": neighbors,
            "weights": metropolis(neighbors),
            "executor": ImmediateExecutor(),
            **options,
        }
    )


def kernel(
    program: Program, neighbors: list[tuple[int, ...]] = PAIR, loss: float = 0.0, **options: Any
) -> Kernel:
    return Kernel(world(neighbors, **options), LinkModel(lognormal(0.05, 0.5), 1e6, loss, 40), program)


async def chatter(node: Node) -> None:
    """Everybody sends to everybody for some rounds, waiting a little."""
    for round in range(10):
        for peer in node.neighbors:
            node.send(peer, Message("chat", round, None, 500))
        for _ in node.neighbors:
            await node.receive(lambda d, r=round: d.message.round == r, timeout_s=0.2)


class Foreign:
    """Awaitable, but not by this kernel."""

    def __await__(self) -> Generator[str, None, None]:
        yield "something else"


def test_a_foreign_awaitable_is_named_where_it_is_awaited() -> None:
    async def program(node: Node) -> None:
        await Foreign()

    with pytest.raises(ProgramError, match=r"node 0 failed at 0\.000000 s: ContractError") as caught:
        kernel(program).run()
    assert isinstance(caught.value.__cause__, ContractError)
    assert "await only what the node contract offers" in str(caught.value.__cause__)


class Particular(Exception):
    """An error that cannot be rebuilt from its args."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.pair = (one, two)


def test_exceptions_keep_their_identity() -> None:
    error = Particular(1, 2)

    async def program(node: Node) -> None:
        async def child() -> None:
            await node.sleep(0.1)
            raise error

        async with node.tasks() as group:
            group.spawn(child())

    with pytest.raises(ProgramError) as caught:
        kernel(program).run()
    assert caught.value.__cause__ is error


def test_a_protocol_cannot_survive_its_own_crash() -> None:
    log: list[Any] = []

    async def program(node: Node) -> None:
        while True:
            try:
                await node.sleep(0.1)
            except Exception as swallowed:
                log.append(swallowed)
            except BaseException as end:
                log.append(type(end))
                raise

    kernel(program, faults=[Outage(0, 0.55), Outage(1, 0.55)]).run()
    assert log == [NodeDown, NodeDown]


def test_awaiting_during_the_own_end_is_an_error() -> None:
    async def program(node: Node) -> None:
        try:
            await node.sleep(10)
        finally:
            await node.sleep(1)

    with pytest.raises(ProgramError, match="while it was being cancelled"):
        kernel(program, faults=[Outage(0, 0.5)]).run()


def test_simultaneous_events_happen_in_the_order_they_were_planned() -> None:
    order: list[int] = []

    async def program(node: Node) -> None:
        await node.sleep(0.5)
        order.append(node.id)

    neighbors = graphs.neighborhoods(graphs.complete(7))
    kernel(program, neighbors).run()
    assert order == list(range(7))


def trace(seed: int = 1, **options: Any) -> str:
    neighbors = graphs.neighborhoods(graphs.regular(12, 4, streams.generator(3, "t")))
    made = kernel(chatter, neighbors, loss=0.1, seed=seed, **options)
    made.run()
    return made.log.trace_hash


def test_the_trace_depends_on_the_seed_alone() -> None:
    assert trace() == trace() != trace(seed=2)


def test_the_trace_is_the_same_in_another_process() -> None:
    root = ROOT
    code = "from tests.simulator.test_virtual_time import trace; print(trace())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for salt in ("1", "2")
    }
    assert found == {trace()}


def test_the_trace_is_this_one() -> None:
    """A golden trace: if it changes, every published seed changes its meaning; say so in the changelog."""
    made = kernel(chatter, loss=0.1)
    made.run()
    assert made.log.trace_hash == "5f7cd51ae73b41b1b2de013310ec7dce"


def test_watching_changes_nothing() -> None:
    seen: list[Any] = []
    watched = trace(
        adversary=Adversary(frozenset({1, 2}), lambda node, delivery: seen.append(delivery)),
        monitor=seen.append,
        monitor_s=0.01,
        record=lambda *event: seen.append(event),
        released=lambda *event: seen.append(event),
    )
    assert seen
    assert watched == trace()


@settings(max_examples=25, deadline=None)
@given(
    loss=st.sampled_from([0.0, 0.2, 0.9]),
    seed=st.integers(0, 100),
    until_s=st.one_of(st.none(), st.floats(0.01, 3.0)),
    downs=st.lists(
        st.tuples(st.integers(0, 5), st.floats(0, 2), st.floats(0.001, 2)),
        max_size=3,
        unique_by=lambda d: d[0],
    ),
)
def test_every_message_is_counted_once(loss: float, seed: int, until_s: float | None, downs: Any) -> None:
    neighbors = graphs.neighborhoods(graphs.complete(6))
    outages = [Outage(node, down, down + length) for node, down, length in downs]
    made = kernel(chatter, neighbors, loss=loss, seed=seed, faults=outages)
    made.run(until_s)
    log = made.log
    columns = log.columns()
    assert sum(log.counts().values()) == len(log) == len(columns["sent_ns"])
    assert log.bytes_total == sum(columns["size_bytes"])
    delivered = columns["status"] == DELIVERED
    assert (columns["delivered_ns"] > columns["sent_ns"])[delivered].all()
    assert (columns["delivered_ns"][~delivered] == NEVER).all()


def test_what_a_crashed_node_still_had_on_its_uplink_never_leaves() -> None:
    """Ten messages of 0.1 s each on the uplink; the crash after 0.35 s lets three go."""

    async def program(node: Node) -> None:
        if node.id == 0:
            for i in range(10):
                node.send(1, Message("bulk", i, None, 12_500))
            await node.sleep(100)
        await node.sleep(3)

    made = Kernel(world(PAIR, faults=[Outage(0, 0.35)]), LinkModel(constant(0.001), 1e6), program)
    made.run()
    assert (made.log.count(DELIVERED), made.log.count(DROPPED)) == (3, 7)


def test_a_run_can_be_stopped_in_virtual_time() -> None:
    async def forever(node: Node) -> None:
        while True:
            await node.sleep(1)

    ending = kernel(forever).run(until_s=7.5)
    assert ending.t_s == 7.5
    assert ending.unfinished == {0, 1}


def test_outages_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"nodes are 0\.\.1"):
        world(PAIR, faults=[Outage(2, 1.0)])
    with pytest.raises(ConfigurationError, match="return before"):
        world(PAIR, faults=[Outage(1, 2.0, 1.0)])


def test_a_protocol_error_survives_pickling() -> None:
    import pickle

    for error in (ProgramError(3, 1.5, "why"), ConfigurationError("what", "key")):
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__


@pytest.mark.parametrize("options", [{}, {"monitor_s": 0.1}])
def test_programs_that_wait_for_ever_end_the_run_with_their_names(options: Any) -> None:
    async def patient(node: Node) -> None:
        if node.id == 1:
            await node.receive()

    with pytest.raises(ProgramError, match=r"nodes \[1\] wait for messages that cannot come"):
        kernel(patient, **options).run()


def test_a_receive_cancelled_as_its_message_arrives_has_it_or_leaves_it_in_order() -> None:
    """All at 0.1 s, in any order: "wanted" arrives for the child, and the body cancels the child."""
    seen = set()
    for tie_seed in range(20):
        had: list[str] = []
        left: list[str] = []

        async def program(node: Node, had: list[str] = had, left: list[str] = left) -> None:
            if node.id == 0:
                node.send(1, Message("other", 0, None, 0))
                node.send(1, Message("wanted", 0, None, 0))
                return

            async def child() -> None:
                if await node.receive(lambda d: d.message.kind == "wanted") is not None:
                    had.append("wanted")

            async with node.tasks() as group:
                group.spawn(child())
                await node.sleep(0.1)
                group.cancel()
            while (held := await node.receive(timeout_s=0)) is not None:
                left.append(held.message.kind)

        Kernel(world(PAIR, tie_seed=tie_seed), LinkModel(constant(0.1), 1e15), program).run()
        assert (had, sorted(left)) in ((["wanted"], ["other"]), ([], ["other", "wanted"]))
        seen.add(len(had))
    assert seen == {0, 1}


def test_what_was_on_the_uplink_at_an_earlier_crash_stays_lost_after_a_later_one() -> None:
    async def program(node: Node) -> None:
        if node.id == 0 and not node.disk:
            node.disk["sent"] = True
            node.send(1, Message("bulk", 0, None, 125_000))  # one second of uplink, then five of flight
        await node.sleep(20)

    outages = [Outage(0, 0.5, 0.6), Outage(0, 1.5, 1.6)]
    made = Kernel(world(PAIR, faults=outages), LinkModel(constant(5.0), 1e6), program)
    made.run()
    assert +made.log.counts() == {DROPPED: 1}


def test_secrets_may_be_longer_than_one_digest() -> None:
    node = kernel(chatter).nodes[0]
    assert len(node.secret("seed", 200)) == 200
    assert node.secret("seed", 64) != node.secret("seed", 200)[:64] != node.secret("other", 200)[:64]


def test_a_failure_at_once_leaves_no_program_unstarted() -> None:
    """Coroutines that were never awaited would warn, and warnings are errors here."""

    async def program(node: Node) -> None:
        raise LookupError(node.id)

    with pytest.raises(ProgramError, match=r"node 0 failed at 0\.000000 s: LookupError: 0"):
        kernel(program, graphs.neighborhoods(graphs.complete(5))).run()


@pytest.mark.parametrize("wait", ["receive", "gather", "sleep"])
def test_a_loop_of_waits_until_a_time_ends_although_what_is_left_rounds_to_nothing(wait: str) -> None:
    """Time is in whole nanoseconds, and differences of seconds are not."""
    left_s, waits = 1e-10, []

    async def until(node: Node) -> None:
        ends_s = node.now_s + left_s
        while node.now_s < ends_s:
            waits.append(ends_s - node.now_s)
            assert len(waits) < 10, "time stands still"
            if wait == "receive":
                await node.receive(timeout_s=ends_s - node.now_s)
            elif wait == "gather":
                await node.gather("chat", 0, node.neighbors, ends_s - node.now_s)
            else:
                await node.sleep(ends_s - node.now_s)

    kernel(until).run()
    assert waits == [left_s, left_s]
