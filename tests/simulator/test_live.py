"""Live runs: the same sums as on virtual time, real failures, clean ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.store import read_run
from protocols.gossip.dsgd import dsgd
from scenarios.load import load
from scenarios.run import run
from simulator.adversary.coalition import Adversary
from simulator.conformance.harness import ImmediateExecutor
from simulator.contract.node import Message, Node
from simulator.errors import ConfigurationError
from simulator.faults.plan import Outage
from simulator.network.latency import constant
from simulator.network.links import LinkModel
from simulator.runtime.real import Live
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import World
from simulator.topology.mixing import metropolis
from tests.support.paces import at_some_pace
from tests.support.worlds import Lab, regular

ROUNDS = 6
QUANTUM_BOUND = 1000.0


def secure_run(live: bool) -> tuple[Lab, dict[tuple[int, int], Any]]:
    lab = Lab(regular(8, 4), sigma=2.0)
    exchange = lab.secure(bound=QUANTUM_BOUND, timeout_s=600.0)
    world = World(
        seed=lab.seed,
        neighbors=lab.neighbors,
        weights=lab.weights,
        executor=lab.executor,
        record=lambda t_s, node, kind, fields: lab.events.append((t_s, node, kind, dict(fields))),
        released=lab.learner.lineage.delivered,
    )

    def program(node: Node) -> Any:
        return dsgd(node, lab.learner, exchange, ROUNDS)

    engine = Live(world, program) if live else Kernel(world, LinkModel(constant(0.01), 1e9), program)
    engine.run(until_s=600)
    return lab, {(node, f["round"]): f["value"] for _, node, f in lab.of_kind("opened")}


def test_eight_real_endpoints_open_the_same_sums_as_virtual_time() -> None:
    """Loss-free with generous time-outs: sums and final models agree within quantum × rounds."""
    (virtual, expected), (real, found) = secure_run(False), secure_run(True)
    assert expected.keys() == found.keys() == {(n, r) for n in range(8) for r in range(ROUNDS)}
    quantum = (
        2.0 * 4 * QUANTUM_BOUND / 2**31
    )  # the codec's scale is a power of two, so at most twice the ideal
    for key, value in expected.items():
        assert np.abs(found[key] - value).max() <= quantum * ROUNDS + 1e-6 * np.abs(value).max(), key
    models = real.final_models()
    for node, model in virtual.final_models().items():
        assert np.abs(models[node] - model).max() <= quantum * ROUNDS + 1e-6 * np.abs(model).max()


@pytest.mark.slow
def test_the_live_command_writes_the_same_run_folder(tmp_path: Path) -> None:
    sets = [
        'topology={kind="regular", nodes=8, degree=4}', "protocol.rounds=4", "fault=[]", "evaluation.every='100 ms'",
        "training.divisor=180", "protocol.timeout='10 min'", "adversary.byzantine.enabled=false",
    ]  # fmt: skip
    scenario = load(Path("quickstart"), sets).scenario
    live, simulated = (run(scenario, tmp_path / str(is_live), live=is_live) for is_live in (True, False))
    assert live.keys() == simulated.keys()
    assert live["trace_hash"] is None
    assert live["status"] == "finished"
    assert live["messages_lost"] == 0
    assert live["sums_opened"] == 8 * 4
    folder = read_run(tmp_path / "True")
    assert folder.manifest["mode"] == "live"
    assert set(folder.messages["status"].unique()) <= {"delivered", "in-flight"}
    assert len(folder.privacy)
    assert live["epsilon_worst"] == pytest.approx(simulated["epsilon_worst"], rel=0.3)


def test_a_live_run_refuses_ideal_sums(tmp_path: Path) -> None:
    scenario = load(Path("quickstart"), ["secure.crypto=ideal"]).scenario
    with pytest.raises(ConfigurationError, match='crypto must be "real" in a live run'):
        run(scenario, tmp_path / "run", live=True)
    assert not (tmp_path / "run").exists()


def test_a_live_crash_and_return_are_survived() -> None:
    lab = Lab(regular(8, 4))
    exchange = lab.secure(timeout_s=0.1)
    world = World(
        seed=lab.seed,
        neighbors=lab.neighbors,
        weights=lab.weights,
        executor=lab.executor,
        faults=[Outage(2, 0.3), Outage(5, 0.3, 0.6)],
        record=lambda t_s, node, kind, fields: lab.events.append((t_s, node, kind, dict(fields))),
        released=lab.learner.lineage.delivered,
    )

    async def paced(node: Node) -> None:
        await node.sleep(0.001)
        await dsgd(node, lab.learner, exchange, 120)

    live = Live(world, paced)
    ending = live.run(until_s=600)
    assert ending.down == {2}
    assert not ending.unfinished
    assert {n for _, n, _ in lab.of_kind("finished")} == set(range(8)) - {2}
    total = live.log.counts()
    assert sum(total.values()) == len(live.log)
    assert total["dropped"] > 0


def test_a_program_error_in_a_live_run_names_its_node() -> None:
    lab = Lab(regular(8, 4))

    async def program(node: Node) -> None:
        if node.id == 3:
            node.send(node.neighbors[0], Message("odd", 0, [1], 1))

    world = World(seed=1, neighbors=lab.neighbors, weights=lab.weights, executor=lab.executor)
    with pytest.raises(Exception, match=r"node 3 failed .* cannot travel"):
        Live(world, program).run(until_s=600)


def pair(**options: Any) -> World:
    neighbors: list[tuple[int, ...]] = [(1,), (0,)]
    return World(
        **{
            "seed": 1,
            "neighbors": neighbors,
            "weights": metropolis(neighbors),
            "executor": ImmediateExecutor(),
            **options,
        }
    )


async def greets(node: Node) -> None:
    if node.id == 0:
        node.send(1, Message("greeting", 0, None, 8, release="tag"))
    await node.sleep(600)  # what listens ends the run before


def broken(*_: Any) -> None:
    raise KeyError("listener")


@pytest.mark.parametrize(
    "options",
    [
        {"released": broken},
        {"adversary": Adversary(frozenset({1}), broken)},
        {"monitor": broken, "monitor_s": 0.1},
    ],
)
def test_an_error_of_a_listener_ends_a_live_run_as_it_is(options: Any) -> None:
    with pytest.raises(KeyError, match="listener"):
        Live(pair(**options), greets).run(until_s=600)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.0\r\n\r\n", bytes(200), b""])
def test_strangers_on_the_loopback_interface_disturb_nobody(data: bytes) -> None:
    heard: list[Any] = []
    disturbed, ended = threading.Event(), threading.Event()

    async def program(node: Node) -> None:
        if node.id == 0:
            while not disturbed.is_set():
                await node.sleep(0.01)
            node.send(1, Message("late", 0, None, 8))
            await node.receive(timeout_s=600)
        else:
            heard.append(await node.receive(timeout_s=600))
            node.send(0, Message("heard", 0, None, 8))

    listening: list[int] = []

    def disturb() -> None:
        while not listening and not ended.wait(0.01):
            sockets = live._sockets
            if sockets is not None and len(sockets._listening) == 2:
                listening.extend(s.getsockname()[1] for s in sockets._listening.values())
        for port in listening:
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(data)
        disturbed.set()

    live = Live(pair(), program)
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        live.run(until_s=600)
    finally:
        ended.set()
        thread.join()
    assert len(listening) == 2
    assert [d.message.kind for d in heard] == ["late"]


def test_crashes_and_the_end_close_their_sockets() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def chatty(node: Node) -> None:
        while True:
            node.send(1 - node.id, Message("m", 0, None, 8))
            await node.sleep(0.01)

    def check(pace: float) -> None:
        counts: list[int] = []
        before = descriptors()
        outages = [Outage(0, 0.15 + 0.1 * i, 0.2 + 0.1 * i) for i in range(6)]
        world = pair(faults=outages, monitor=lambda t_s: counts.append(descriptors()), monitor_s=0.1)
        live = Live(world, chatty, pace=pace)
        live.run(until_s=0.95)
        assert max(counts) <= counts[0]
        assert descriptors() == before
        assert live.log.count("delivered") > 20
        assert live.log.count("dropped") > 0

    at_some_pace(check)


def test_an_interrupt_leaves_a_readable_log_and_nothing_open() -> None:
    async def forever(node: Node) -> None:
        try:
            while True:
                node.send(1 - node.id, Message("m", 0, None, 8))
                await node.sleep(0.01)
                if live.log.count("delivered") > 10 and not interrupted:
                    interrupted.append(node.id)
                    os.kill(os.getpid(), signal.SIGINT)
        finally:
            ended.append(node.id)

    ended: list[int] = []
    interrupted: list[int] = []
    live = Live(pair(), forever)
    with pytest.raises(KeyboardInterrupt):
        live.run(until_s=600)
    assert sorted(ended) == [0, 1]
    assert live.log.count("delivered") > 10
    assert 0 < live.now_s < 600
