"""Live runs: the same sums as on virtual time, real failures, clean ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.store import read_run
from protocols.gossip.dsgd import dsgd
from scenarios.load import load
from scenarios.run import run
from simulator.errors import ConfigurationError, ContractError
from simulator.faults import Outage
from simulator.kernel import Kernel
from simulator.latency import constant
from simulator.live import Live
from simulator.network import LinkModel
from simulator.node import Message, Node
from simulator.wire import MAX_FRAME_BYTES, Frame, decode, encode
from simulator.world import World
from tests.worlds import Lab, regular

ROUNDS = 6
QUANTUM_BOUND = 1000.0


def secure_run(live: bool) -> tuple[Lab, dict[tuple[int, int], Any]]:
    lab = Lab(regular(8, 4), sigma=2.0)
    exchange = lab.secure(bound=QUANTUM_BOUND, timeout_s=10.0)
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
    engine.run(until_s=60)
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


def test_the_live_command_writes_the_same_run_folder(tmp_path: Path) -> None:
    sets = [
        'topology={kind="regular", nodes=8, degree=4}', "protocol.rounds=4", "fault=[]", "evaluation.every='100 ms'",
        "training.divisor=180", "protocol.timeout='5 s'", "adversary.byzantine.enabled=false",
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
    with pytest.raises(ConfigurationError, match='needs crypto = "real"'):
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
        outages=[Outage(2, 0.3), Outage(5, 0.3, 0.6)],
        record=lambda t_s, node, kind, fields: lab.events.append((t_s, node, kind, dict(fields))),
        released=lab.learner.lineage.delivered,
    )

    async def paced(node: Node) -> None:
        await node.sleep(0.001)
        await dsgd(node, lab.learner, exchange, 120)

    live = Live(world, paced)
    ending = live.run(until_s=60)
    assert ending.down == {2}
    assert not ending.unfinished
    assert {n for _, n, _ in lab.of_kind("finished")} == set(range(8)) - {2}
    total = {s: live.log.count(s) for s in ("delivered", "lost", "dropped", "in-flight")}
    assert sum(total.values()) == len(live.log.status)
    assert total["dropped"] > 0


@pytest.mark.parametrize("body", [[1, 2], {"a": 1}, object(), {3}, (1, [2])])
def test_only_plain_bodies_travel(body: Any) -> None:
    with pytest.raises(ContractError, match="cannot travel"):
        encode(Frame(0, 0, "k", 0, 1, 0.0, body))


def test_malformed_frames_are_refused() -> None:
    with pytest.raises(ContractError, match="malformed"):
        decode(b"\xc1garbage")
    with pytest.raises(ContractError, match="malformed"):
        decode(encode(Frame(0, 0, "k", 0, 1, 0.0, None))[4:-1])
    assert MAX_FRAME_BYTES < 2**31


def test_received_arrays_cannot_be_changed() -> None:
    back = decode(encode(Frame(0, 0, "k", 0, 1, 0.0, (np.ones((2, 3)), (1, ()))))[4:]).body
    assert back[1] == (1, ())
    assert back[0].shape == (2, 3)
    with pytest.raises(ValueError, match="read-only"):
        back[0][0, 0] = 5


def test_a_program_error_in_a_live_run_names_its_node() -> None:
    lab = Lab(regular(8, 4))

    async def program(node: Node) -> None:
        if node.id == 3:
            node.send(node.neighbors[0], Message("odd", 0, [1], 1))

    world = World(seed=1, neighbors=lab.neighbors, weights=lab.weights, executor=lab.executor)
    with pytest.raises(Exception, match=r"node 3 failed .* cannot travel"):
        Live(world, program).run(until_s=10)
