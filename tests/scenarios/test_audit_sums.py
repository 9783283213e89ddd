"""Audits of opened sums: below the claim where noise is right, above it where it was broken on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.gossip.learner import Learner, Model
from protocols.privacy.lineage import Lineage
from protocols.sharing.modulus import Words
from scenarios.audits.canaries import NOTHING
from scenarios.audits.sums import Pipeline, audit_sums, finished
from scenarios.load import Loaded, resolve
from simulator.contract.compute import Vector
from simulator.contract.node import Node
from simulator.errors import ConfigurationError, ContractError
from simulator.runtime.participant import Participant
from tests.support.matrix import covering


def loaded(law: str = "gaussian", z: float = 1.0, seed: int = 1, **changes: Any) -> Loaded:
    scenario = resolve(
        {
            "format": 1,
            "name": "audited",
            "seed": seed,
            "topology": {"kind": "star", "nodes": 9},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 300, "features": 40, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 40, "step_cost": "20 ms"},
            "protocol": {
                "kind": "fedavg",
                "rounds": 4,
                "exchange": "secure",
                "inner_train": False,
                "timeout": "2 s",
            },
            "secure": {"tolerated_dropouts": 2},
            "privacy": {
                "unit": "node",
                "adjacency": "zero-out",
                "clip": 1.0,
                "noise_multiplier": z,
                "law": law,
            },
        }
        | changes
    )
    return Loaded(scenario=scenario, path=Path("audited.toml"), raw={})


def play(made_of: type[Pipeline] = Pipeline, trials: int = 240, **options: Any) -> dict[str, Any]:
    one_run = options.pop("one_run", False)
    return audit_sums(
        loaded(**options), trials=trials, on_progress=lambda f, t: None, made_of=made_of, one_run=one_run
    )


class Scaled(Learner):
    """A learner that adds a share of the noise that it has on record."""

    share: float

    def noise(self, node: int, rng: np.random.Generator) -> Vector:
        drawn: Vector = np.float32(self.share) * super().noise(node, rng)
        return drawn


def scaled(learner: Learner, share: float) -> Learner:
    made = Scaled(**{name: getattr(learner, name) for name in learner.__dataclass_fields__})
    object.__setattr__(made, "share", share)
    return made


class Lazy(Pipeline):
    """All members but the canary's add no noise."""

    def learner(self, node: Node, sign: int, round: int) -> Learner:
        own = super().learner(node, sign, round)
        return own if node.id == self.members[0] else scaled(own, 0.0)


class OneLazy(Pipeline):
    """One of six members adds no noise."""

    def learner(self, node: Node, sign: int, round: int) -> Learner:
        own = super().learner(node, sign, round)
        return scaled(own, 0.0) if node.id == self.members[1] else own


class Shared(Pipeline):
    """The target's standard deviation divided by the number of members instead of its root."""

    def learner(self, node: Node, sign: int, round: int) -> Learner:
        return scaled(super().learner(node, sign, round), len(self.members) ** -0.5)


class Late(Pipeline):
    """Noise is added to the opened sum, which its aggregator has seen by then."""

    def learner(self, node: Node, sign: int, round: int) -> Learner:
        return scaled(super().learner(node, sign, round), 0.0)


class Reused(Pipeline):
    """The noise of round 0 in every round."""

    async def update(self, node: Node, sign: int, round: int) -> Model:
        return await super().update(node, sign, 0)


class SameSeed(Pipeline):
    """All members draw the same noise."""

    first: Node

    async def update(self, node: Node, sign: int, round: int) -> Model:
        if node.id == self.members[0]:
            self.first = node
        learner = self.learner(node, sign, round)
        own = await super().update(node, sign, round)
        equal = await learner.local_update(self.first, learner.start, round)
        change = await learner.combine(node, round, [(1.0, equal), (-1.0, learner.start)])
        return own if sign != NOTHING else own._replace(params=change.params)


@pytest.mark.slow
@pytest.mark.parametrize("law", covering(["gaussian", "skellam", "discrete-gaussian"], {"gaussian"}))
def test_the_noise_of_sums_is_as_much_as_claimed(law: str) -> None:
    found = play(law=law, trials=160)
    claimed = found["claimed epsilon (zero-out)"]
    assert found["members counted on"] == 6
    assert 9.9 < claimed < 11.5
    assert found["verdict"] == "consistent"
    assert found["mean norm of the canary, in clipping norms"] == pytest.approx(1.0, abs=1e-5)
    lower = max(value for key, value in found.items() if key.startswith("lower bound"))
    assert (0.3 if law == "gaussian" else 0.1) * claimed < lower < claimed


@pytest.mark.parametrize("broken", covering([Lazy, Shared, Late], {Lazy}))
def test_broken_noise_is_caught(broken: type[Pipeline]) -> None:
    assert play(broken)["verdict"] == "violated"


@pytest.mark.slow
def test_noise_used_again_is_caught_if_the_record_does_not_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record notices by itself, and claims nothing; the audit finds it without that."""
    assert play(Reused, trials=20)["claimed epsilon (zero-out)"] == float("inf")
    monkeypatch.setattr(Lineage, "begin", lambda self, t_s, node, round: None)
    assert play(Reused)["verdict"] == "violated"


@pytest.mark.slow
@pytest.mark.parametrize("unseen", covering([OneLazy, SameSeed], {SameSeed}))
def test_what_is_not_within_the_power_of_the_audit(unseen: type[Pipeline]) -> None:
    """A sixth of the noise missing costs a tenth of mu; equal noises add up to more, which hides more from sums."""
    assert play(unseen)["verdict"] == "consistent"


@pytest.mark.slow
def test_a_bug_where_runs_draw_their_noise_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are nodes of the simulator: what breaks the streams of a run breaks those of the audit."""
    honest = Participant.rng

    def rng(self: Participant, purpose: str, *key: int) -> np.random.Generator:
        return honest(self, purpose, *(() if purpose == "noise" else key))

    monkeypatch.setattr(Participant, "rng", rng)
    assert play()["verdict"] == "violated"


def test_work_that_waits_is_refused() -> None:
    class Pause:
        def __await__(self) -> Any:
            yield

    async def waits() -> None:
        await Pause()

    with pytest.raises(ContractError, match="virtual time"):
        finished(waits())


@pytest.mark.slow
def test_integer_noise_that_is_missing_is_caught() -> None:
    class Bare(Pipeline):
        def said(self, node: Node, weight: float, values: Vector, round: int) -> Words:
            encoding = self.security.rules.encoding
            parts, encoding.parts = encoding.parts, (0.0,)  # type: ignore[attr-defined]
            try:
                return super().said(node, weight, values, round)
            finally:
                encoding.parts = parts  # type: ignore[attr-defined]

    assert play(law="skellam", z=4.0, trials=160)["verdict"] == "consistent"
    assert play(Bare, law="skellam", z=4.0, trials=160)["verdict"] == "violated"


def test_one_run_with_many_canaries() -> None:
    found = play(one_run=True, trials=120, z=0.5)
    assert found["canaries"] == 120
    assert found["guesses"] == 12
    assert 0 < found["lower bound, one run (95 %)"] < found["claimed epsilon (zero-out)"]
    with pytest.raises(ConfigurationError, match="room for 123 canaries"):
        play(one_run=True, trials=124)
    assert play(Late, one_run=True, trials=120, z=8.0)["verdict"] == "violated"


def test_single_updates_are_no_sums() -> None:
    protocol = {"kind": "fedavg", "rounds": 4, "exchange": "ldp", "timeout": "2 s"}
    privacy = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 1.0}
    made = loaded()
    scenario = resolve(
        made.scenario.model_dump(mode="json", exclude_none=True, exclude={"secure"})
        | {"protocol": protocol, "privacy": privacy}
    )
    with pytest.raises(ConfigurationError, match="the audit of sums needs"):
        audit_sums(Loaded(scenario, Path("x.toml"), {}), trials=2, on_progress=lambda f, t: None)
