"""Refusals say nothing about one vector: small ranges are refused, and nobody can lead a member out of its range."""

from __future__ import annotations

import json
from math import erfc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from protocols.aggregation.encoding import NoisedIntegers
from protocols.aggregation.public_range import PublicRange, Stride
from protocols.aggregation.sums import NormProof
from protocols.gossip.dsgd import dsgd
from protocols.gossip.learner import Model
from protocols.gossip.settling import settled
from protocols.privacy.entries import OPAQUE
from protocols.privacy.lineage import ORIGIN, Lineage
from protocols.sharing.codec import codec_for
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run
from scenarios.studies.reaccount import reaccount
from simulator.adversary.coalition import Adversary
from simulator.errors import ConfigurationError
from simulator.faults.plan import Outage
from simulator.streams import generator
from tests.support.matrix import covering
from tests.support.worlds import Lab, complete

ROUNDS, SIGMAS = 8, 8.0
PUSHERS = (0, 1, 2, 3)


def server(secure: Any = None, **changes: Any) -> Any:
    """Ten clients' updates of norm 1, summed with noise of which each adds a third, once."""
    return resolve(
        {
            "format": 1,
            "name": "refusals",
            "topology": {"kind": "star", "nodes": 11},
            "network": {"latency": {"kind": "constant", "value": "10 ms"}},
            "data": {"kind": "blobs", "samples": 200, "features": 1, "classes": 2},
            "partition": {"kind": "iid", "min_samples": 2},
            "model": {"kind": "softmax"},
            "training": {"step": 1.0, "divisor": 1, "step_cost": "10 ms"},
            "protocol": {
                "kind": "fedavg",
                "rounds": 1,
                "exchange": "secure",
                "timeout": "1 s",
                "inner_train": False,
            },
            "secure": {"aggregation": {"kind": "masks"}, "tolerated_dropouts": 1} | (secure or {}),
            "privacy": {
                "unit": "node",
                "adjacency": "zero-out",
                "clip": 1.0,
                "law": "gaussian",
                "noise": "sum",
                "noise_multiplier": 1.5,
                "observers": [[0]],
            },
            "evaluation": {"every": "1000 s"},
        }
        | changes
    )


PROOF = {"size": 100, "prove": "1 ms", "verify": "1 ms"}


def refusers(folder: Path) -> list[int]:
    messages = pl.read_parquet(folder / "messages.parquet")
    return messages.filter(pl.col("kind") == "refuse")["src"].to_list()


def test_a_range_that_honest_members_leave_is_refused() -> None:
    with pytest.raises(ScenarioErrors, match=r"secure\.range_sigmas.*8"):
        server({"range_sigmas": 0.5})
    server({"range_sigmas": 8.0})


def test_a_radius_that_honest_updates_leave_is_refused_with_one_that_works(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"radius must be at least (\S+), got 1\.2:") as refused:
        run(server({"norm_proof": PROOF | {"radius": 1.2}}), tmp_path / "short")
    assert refused.value.key == "secure.norm_proof.radius"
    said = float(str(refused.value).split("must be at least ")[1].split(",")[0])
    # Clipped to 1; a third of a noise of 1.5 on each of four coordinates.
    sigma = 1.5 / 9**0.5
    assert said == pytest.approx(1.0 + (4**0.5 + 12) * sigma, rel=2e-3)
    summary = run(server({"norm_proof": PROOF | {"radius": said}}), tmp_path / "long")
    assert not refusers(tmp_path / "long")
    assert summary["withheld"] == summary["lists_refused"] == 0


def test_what_is_claimed_pays_for_refusals_and_says_how_likely_they_are(tmp_path: Path) -> None:
    """At 8 standard deviations and an ε where e^ε of their probability is a good part of δ."""
    weak = {
        "unit": "node",
        "adjacency": "zero-out",
        "clip": 1.0,
        "law": "gaussian",
        "noise": "member",
        "noise_multiplier": 0.42,
        "delta": 1e-5,
        "observers": [[0]],
    }
    found = {}
    for sigmas in (8.0, 12.0):
        folder = tmp_path / str(sigmas)
        found[sigmas] = run(server({"range_sigmas": sigmas}, privacy=weak), folder)["epsilon_worst"]
        manifest = json.loads((folder / "manifest.json").read_text())
        # 11 nodes, one vector each, of four coordinates.
        assert manifest["failure_probability"] == pytest.approx(44 * erfc(sigmas / 2**0.5))
        again = reaccount(folder, observers=["0"], unit=None, adjacency=None, delta=None)
        assert max(row["epsilon (worst victim)"] for row in again if row["basis"] == "certified") == (
            pytest.approx(found[sigmas], rel=1e-12)
        )
    assert found[12.0] == pytest.approx(found[8.0], rel=1e-6)
    # The same at a δ that the probability is not far below of.
    sharp = {}
    for sigmas in (8.0, 12.0):
        rows = reaccount(tmp_path / str(sigmas), observers=["0"], unit=None, adjacency=None, delta=2e-12)
        sharp[sigmas] = max(row["epsilon (worst victim)"] for row in rows if row["basis"] == "certified")
    assert sharp[8.0] > sharp[12.0] * 1.0001


# ---------------------------------------------------------------- Byzantine members that push


def ranges(lab: Lab, mix_every: int = 1) -> tuple[PublicRange, float]:
    """The public range of a lab's models, and the bound of what is sent, for all its rounds."""
    bank = lab.learner.operations.bank
    stride = Stride(lab.learner.gain, float(max(bank.counts)), lab.sigma, SIGMAS)
    known = PublicRange(lab.initial, stride.coordinate(ROUNDS))
    return known, known.largest + stride.coordinate(mix_every)


def pushing(lab: Lab, bound: float, value: float = 1.0) -> Adversary:
    """Byzantine nodes that send the corner of what can be encoded, in every round."""
    corner = Model(lab.executor.constant(np.full(lab.learner.size, value * bound, np.float32)), ORIGIN)
    return Adversary(byzantine={v: lambda known, node, content, to, round: corner for v in PUSHERS})


def gossip(
    lab: Lab,
    *,
    suite: str = "masks",
    mix_every: int = 1,
    pushed: float | None = 1.0,
    settle: bool = True,
    **how: Any,
) -> list[int]:
    """Run it; the honest members that withheld something."""
    known, bound = ranges(lab, mix_every)
    exchange = lab.secure(suite=suite, bound=bound, public_range=known if settle else None)
    adversary = None if pushed is None else pushing(lab, bound, pushed)
    lab.run(lambda node: dsgd(node, lab.learner, exchange, ROUNDS, mix_every), adversary=adversary, **how)
    return [node for _, node, _ in lab.of_kind("withheld") if pushed is None or node not in PUSHERS]


@pytest.mark.parametrize(
    "suite", covering(["masks", "recover", "light", "sparse", "trusted"], {"masks", "sparse"})
)
def test_no_byzantine_node_makes_an_honest_member_withhold(suite: str) -> None:
    lab = Lab(complete(9), sigma=20.0)
    assert not gossip(lab, suite=suite, pushed=0.9999)
    assert {node for _, node, _ in lab.of_kind("confined")} - set(PUSHERS)
    assert any(node not in PUSHERS for _, node, _ in lab.of_kind("opened"))
    opaque = [entry for entry in lab.learner.lineage.record() if entry.kind == OPAQUE]
    assert len(opaque) >= len(lab.of_kind("confined"))


def test_without_the_public_range_byzantine_nodes_would_make_members_withhold() -> None:
    """That the test above tests something: the same run, with models left where mixes lead."""
    assert gossip(Lab(complete(9), sigma=20.0), pushed=0.9999, settle=False)


def test_honest_runs_never_leave_the_range_and_stay_the_same() -> None:
    free, kept = Lab(complete(6), sigma=20.0), Lab(complete(6), sigma=20.0)
    assert not gossip(free, pushed=None, settle=False)
    assert not gossip(kept, pushed=None)
    assert not kept.of_kind("confined")
    for node, model in free.final_models().items():
        assert np.array_equal(model, kept.final_models()[node])
    assert free.learner.lineage.record() == kept.learner.lineage.record()


def test_outages_between_mixes_do_not_add_up_to_more_than_fits() -> None:
    lab = Lab(complete(9), sigma=20.0)
    outages = [Outage(7, at / 10, at / 10 + 0.1) for at in range(2, 30, 3)]
    assert not gossip(lab, mix_every=3, pushed=0.9999, faults=outages)


class Hurried:
    """An exchange whose neighbours are always ahead, so that a node leaves rounds out; it counts what was offered."""

    def __init__(self, skip: int) -> None:
        self._skip = skip
        self.settled = 0
        self.pace = -1

    async def join(self) -> None:
        """Nothing to agree on."""

    async def catch_up(self) -> int:
        return -1

    def begin(self, round: int) -> None:
        """Nobody listens."""

    def settle(self, round: int, model: Model) -> Model:
        self.settled += 1
        return model

    async def mix(self, round: int, mine: Model) -> Model:
        self.settled += 1
        return mine

    async def linger(self, rounds: int) -> None:
        """Nobody waits."""


@pytest.mark.parametrize("mix_every", [1, 2, 3])
def test_never_more_updates_than_between_two_mixes_are_added_to_a_settled_model(mix_every: int) -> None:
    lab = Lab(complete(3))
    made: dict[int, Hurried] = {}
    since: list[int] = []

    def exchange(node: Any) -> Hurried:
        made[node.id] = Hurried(2)
        return made[node.id]

    update = type(lab.learner).local_update
    counted: dict[int, list[int]] = {}

    async def counting(self: Any, node: Any, model: Model, round: int) -> Model:
        seen = counted.setdefault(node.id, [0, made[node.id].settled])
        seen[0] = 1 if made[node.id].settled != seen[1] else seen[0] + 1
        seen[1] = made[node.id].settled
        since.append(seen[0])
        made[node.id].pace = round + 1 + round % 2  # now and then a round is left out, mixes among them
        return await update(self, node, model, round)

    learner = lab.learner
    object.__setattr__(learner, "local_update", counting.__get__(learner))
    lab.run(lambda node: dsgd(node, learner, exchange, 20, mix_every))  # type: ignore[arg-type]
    assert max(since) == mix_every


def test_a_model_is_replaced_only_outside_and_then_is_no_linear_function() -> None:
    class Alone:
        id, now_s = 4, 2.0

        def __init__(self) -> None:
            self.records: list[str] = []

        def read(self, value: Any) -> Any:
            return value

        def record(self, kind: str, **fields: Any) -> None:
            self.records.append(kind)

    node, lineage = Alone(), Lineage()
    known = PublicRange(np.zeros(2, np.float32), 1.0)
    inside = Model(np.array([0.5, -1.0], np.float32), ORIGIN)
    assert settled(node, lineage, known, 3, inside) is inside  # type: ignore[arg-type]
    assert settled(node, lineage, None, 3, Model(np.full(2, np.nan), ORIGIN)).state == ORIGIN  # type: ignore[arg-type]
    assert not node.records
    for value in ([2.0, 0.0], [np.nan, np.inf], [0.0, -3e38]):
        moved = settled(node, lineage, known, 3, Model(np.array(value, np.float32), ORIGIN))  # type: ignore[arg-type]
        assert known.holds(moved.params)
        assert moved.state != ORIGIN
    assert node.records == ["confined"] * 3
    assert [entry.kind for entry in lineage.record()] == [OPAQUE] * 3


def test_a_proof_about_models_is_there_for_honest_members_whatever_byzantine_nodes_send() -> None:
    lab = Lab(complete(9), sigma=5.0)
    known, bound = ranges(lab)
    stride = Stride(lab.learner.gain, float(max(lab.learner.operations.bank.counts)), lab.sigma, SIGMAS)
    farthest = stride.norm(1, lab.learner.size)
    ball = PublicRange(known.centre, known.reach, 0.5 * farthest)
    proof = NormProof(lab.initial, 1.5 * farthest * (1 + 1e-4), 10, 1e-3, 1e-4)
    # As long as can be proven, so that Byzantine nodes are in every sum.
    pushed = 1.49 * farthest / lab.learner.size**0.5 / bound
    exchange = lab.secure(bound=bound, public_range=ball, proof=proof)
    lab.run(lambda node: dsgd(node, lab.learner, exchange, ROUNDS), adversary=pushing(lab, bound, pushed))
    assert lab.of_kind("confined")
    assert len(lab.of_kind("opened")) == 9 * ROUNDS
    assert not lab.of_kind("refused")
    assert not lab.of_kind("withheld")


# ---------------------------------------------------------------- integer noise, added after the check


@pytest.mark.parametrize("too_long", [1.0, 1 + 1e-4, 30.0])
def test_an_honest_update_with_integer_noise_always_fits(too_long: float) -> None:
    """Its norm is that of the data alone, so that any refusal would be for everybody to see."""
    encoding = NoisedIntegers(codec_for(2.0, 4.0, 4), "skellam", 0.5, 5, b"beacon", whole=True)
    rng = generator(3)
    for _ in range(20):
        vector = rng.normal(size=5)
        vector *= 2.0 * too_long / np.linalg.norm(vector)
        kept = encoding.within(vector.astype(np.float32))
        assert np.linalg.norm(kept.astype(np.float64)) <= 2.0 * (1 + 1e-7)
        np.testing.assert_allclose(kept * np.float32(too_long), vector, rtol=1e-6)
        other = rng.normal(size=5).astype(np.float32)
        apart = np.linalg.norm(kept.astype(float) - encoding.within(other).astype(float))
        assert apart <= np.linalg.norm(vector - other) * (1 + 1e-6)


@pytest.mark.parametrize("law", ["gaussian", "skellam"])
def test_a_server_that_sends_a_monstrous_model_learns_nothing_from_refusals(law: str, tmp_path: Path) -> None:
    """Updates of such a model would be rounding, noise and data alike; clients bring it into the range first."""
    privacy = server().privacy.model_dump() | {"observers": [[1]], "law": law}
    attacks: Any = [{"kind": "not-finite", "value": "nan"}, {"kind": "not-finite", "value": "inf"}]
    attacks.append({"kind": "sign-flip", "scale": 1e9})  # of the second model: the first is all zeros
    for number, attack in enumerate(attacks):
        folder = tmp_path / str(number)
        byzantine = {"byzantine": {"nodes": [0], "attack": attack}}
        asked = server(
            adversary=byzantine, privacy=privacy, protocol=server().protocol.model_dump() | {"rounds": 2}
        )
        summary = run(asked, folder)
        assert summary["confined"] == (10 if attack["kind"] == "sign-flip" else 20)
        assert summary["withheld"] == 0
        assert not refusers(folder)
