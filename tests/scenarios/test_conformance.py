"""The battery of plug-in authors: all kinds, metrics and figures of sottovoce pass it, and broken ones do not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field, field_validator

from analysis.figures import catalogue as figures
from analysis.metrics.catalogue import OWN
from protocols.gossip.messages import show
from scenarios.conformance.check import batteries_of_families, check_kind
from scenarios.format.kind import _DEFINED, Kind
from scenarios.format.units import Duration
from scenarios.kinds.attacks import ContentAttack
from scenarios.kinds.groupings import Grouping
from scenarios.kinds.latencies import DelayLaw, Latency
from scenarios.kinds.latencies.family import _LawLatency
from scenarios.kinds.protocols import LinkNeeds, Protocol
from scenarios.kinds.protocols.base import InTheClear, Rounds
from scenarios.kinds.protocols.groups import GroupsProtocol
from scenarios.kinds.robust_rules import UncentredRule
from scenarios.schema import Scenario
from simulator.contract.node import Message
from simulator.errors import ConfigurationError
from tests.support.matrix import covering
from tests.support.places import ROOT

GROUPS = (
    "latencies",
    "topologies",
    "faults",
    "protocols",
    "groupings",
    "aggregations",
    "attacks",
    "robust_rules",
    "mechanisms",
    "data",
    "partitions",
    "tasks",
    "mixing",
    "transports",
    "link_latencies",
    "optimizers",
    "schedules",
    "slowdowns",
    "tamperings",
)
QUICK = (
    "gamma",
    "empirical",
    "matrix",
    "clusters",
    "matching",
    "churn",
    "metropolis",
    "reliable",
    "outage",
    "sessions",
    "given",
    "blobs",
    "dirichlet",
    "users",
    "linear",
    "adam",
    "cosine",
    "median",
    "sign-flip",
    "label-flip",
    "drop",
    "push",
    "trusted",
    "pairs",
)


def kinds() -> Iterator[type[Kind]]:
    for family in batteries_of_families():
        for kind in dict.fromkeys(family.kinds().values()):
            if not issubclass(kind, _LawLatency):  # laws are checked as laws
                yield kind


def test_every_family_has_its_group_and_its_battery() -> None:
    assert Scenario.model_fields  # families are those that a scenario has
    families = [kind for kind in _DEFINED if kind.is_family() and kind.__module__.startswith("scenarios.")]
    assert {family.group for family in families} == {f"sottovoce.{name}" for name in GROUPS}
    assert set(families) == set(batteries_of_families())


@pytest.mark.parametrize(
    "kind", covering(kinds(), lambda kind: kind.words()[0] in QUICK), ids=lambda kind: kind.words()[0]
)
def test_a_kind_of_sottovoce_passes(kind: type[Kind]) -> None:
    report = check_kind(kind, imports=False)
    assert len(report.checked) >= 10


def test_groups_pass_with_every_schedule() -> None:
    """Each in small worlds of its own: what is sent and recorded, and that nodes finish if one crashes."""
    schedules: list[dict[str, Any]] = [
        {"kind": "stars"},
        {"kind": "connected", "size": 4},
        {"kind": "random", "size": 3},
        {"kind": "grid", "dimensions": 2},
    ]
    assert {schedule["kind"] for schedule in schedules} == set(Grouping.kinds())
    table = {"kind": "groups", "rounds": 3, "exchange": "secure", "timeout": "500 ms"}
    report = check_kind(GroupsProtocol, *(table | {"schedule": s} for s in schedules), imports=False)
    assert not [reason for reason in report.skipped if "the table" in reason]


def test_validating_any_kind_brings_no_library_for_computing() -> None:
    code = """
import json, sys
from scenarios.conformance.examples import least
from scenarios.conformance.generic import HEAVY
from scenarios.format.kind import _DEFINED
import scenarios.schema
for kind in [kind for kind in _DEFINED if kind.words()]:
    list(kind.model_validate(least(kind)).problems())
print(json.dumps([name for name in HEAVY if name in sys.modules]))
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == []


@pytest.mark.parametrize(
    "metric", covering(OWN, lambda one: one.name in ("loss", "stale")), ids=lambda m: m.name
)
def test_a_metric_of_sottovoce_passes(metric: Any) -> None:
    check_kind(metric)


@pytest.mark.slow
@pytest.mark.parametrize("figure", figures.own(), ids=lambda one: one.name)
def test_a_figure_of_sottovoce_passes(figure: Any) -> None:
    check_kind(figure)


# ---------------------------------------------------------------- what is refused


class FallingLaw(DelayLaw):
    """Short delays for large numbers."""

    kind: Literal["falling"] = Field(description="falling")
    longest: Duration = Field(gt=0, examples=["50 ms"], description="largest delay")

    least_s: ClassVar[float] = 0.001

    @property
    def median_s(self) -> float:
        return self.longest

    def build(self) -> Any:
        return lambda u: self.longest * (1 - u)


class SilentLaw(FallingLaw):
    kind: Literal["silent"]  # type: ignore[assignment]
    shape: float


class ShortRule(UncentredRule):
    """The first other model."""

    kind: Literal["short"] = Field(description="the first other model, cut")

    def aggregate(self, x: Any) -> Any:
        return x[min(1, len(x) - 1)][:-1] * 1.0


class NosyAttack(ContentAttack):
    """The newest model of anybody."""

    kind: Literal["nosy"] = Field(description="somebody else's model")
    knowledge: ClassVar[Any] = "own"

    def content(self, stage: Any) -> Any:
        return lambda scene: next(iter(scene.seen.values()), scene.own)


class LeakyProtocol(Protocol):
    """Neighbours get models that no ledger knows of."""

    kind: Literal["leaky"] = Field(description="models without a release")
    rounds: Rounds
    exchange: InTheClear

    messages: ClassVar[tuple[str, ...]] = ("model",)
    links: ClassVar[LinkNeeds] = LinkNeeds()
    timeout_s: ClassVar[None] = None
    honest: ClassVar[bool] = False

    def need(self, conditions: Any) -> None:
        return None

    def build(self, context: Any) -> Any:
        learner, rounds, honest = context.learner, self.rounds, self.honest

        async def program(node: Any) -> None:
            model = learner.start
            for round in range(rounds):
                model = await learner.local_update(node, model, round)
                said = show(learner, "model", round, [model])
                wrong = show(learner, "model", round, [learner.start._replace(params=model.params)])
                bare = Message("note", round, model.params, said.size_bytes)
                for peer in node.neighbors:
                    node.send(peer, wrong if honest else bare)
                await node.receive()
                node.record("model", round=round + 1, value=model.params)
            node.record("finished", rounds=rounds)

        return program


class MistakenProtocol(LeakyProtocol):
    """Neighbours get models that the ledger takes for others."""

    kind: Literal["mistaken"] = Field(description="models with a wrong release")  # type: ignore[assignment]
    honest: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (
            FallingLaw,
            ["the larger the uniform number, the longer the delay", "least_s is 0.001 s", "median_s"],
        ),
        (SilentLaw, ["docstring", "key shape has no description", "key shape has none; give Field(examples"]),
        (ShortRule, ["one finite model", "shape (5,)"]),
        (NosyAttack, ['asks for knowledge = "own" looks at no other model']),
        (
            LeakyProtocol,
            ["note was sent; name it in messages", "has 1 and releases 0", "node.disk before the update"],
        ),
        (MistakenProtocol, ["is what the record says it is", "mix with learner.combine"]),
    ],
)
def test_a_broken_kind_is_told_all_that_it_does_not_meet(kind: type[Kind], told: list[str]) -> None:
    with pytest.raises(AssertionError) as refused:
        check_kind(kind, imports=False)
    assert str(refused.value).startswith(f"{kind.words()[0]} does not meet")
    for words in told:
        assert words in str(refused.value)


class RaisingLaw(DelayLaw):
    """Every part of it raises."""

    kind: Literal["raising"] = Field(description="raises")
    key: int = Field(default=1, examples=[2], description="a number")

    least_s: ClassVar[float] = 0.0
    exits: ClassVar[bool] = False

    @property
    def median_s(self) -> float:
        raise ZeroDivisionError("no median")

    def problems(self) -> Any:
        if self.key == 2:
            raise KeyError("nothing\nhere")
        return iter(())

    def build(self) -> Any:
        if self.exits:
            raise SystemExit(3)
        return lambda u: u["x"]


class ExitingLaw(RaisingLaw):
    """It ends the process."""

    kind: Literal["exiting"] = Field(description="exits")  # type: ignore[assignment]
    exits: ClassVar[bool] = True


class UnreadableLaw(RaisingLaw):
    """Reading a table of it raises what is no error of a value."""

    kind: Literal["unreadable"] = Field(description="unreadable")  # type: ignore[assignment]

    @field_validator("key")
    @classmethod
    def _divided(cls, value: int) -> int:
        return 1 // (value - 2)


class InPlaceLaw(DelayLaw):
    """Delays are written over the numbers."""

    kind: Literal["in-place"] = Field(description="works in place")
    least_s: ClassVar[float] = 0.0
    median_s: ClassVar[float] = 0.05

    def build(self) -> Any:
        def law(u: Any) -> Any:
            u *= 0.1
            return u

        return law


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (
            RaisingLaw,
            [
                "it can be used: IndexError:",
                "every fact is answered: median_s of",
                "KeyError: 'nothing\\nhere'",
            ],
        ),
        (ExitingLaw, ["it can be used: SystemExit: 3 (raised by build, line"]),
        (UnreadableLaw, ["defaults and examples are valid: ZeroDivisionError", "(raised by _divided, line"]),
        (InPlaceLaw, ["build() leaves the numbers that it is given as they are: it works in place"]),
    ],
)
def test_whatever_a_kind_raises_is_a_finding_with_the_requirement(kind: type[Kind], told: list[str]) -> None:
    with pytest.raises(AssertionError) as refused:
        check_kind(kind, imports=False)
    first, *lines = str(refused.value).splitlines()
    assert first == f"{kind.words()[0]} does not meet {len(lines)} of its requirements:"
    for words in told:
        assert words in str(refused.value)


def test_a_law_that_works_in_place_meets_all_other_requirements() -> None:
    with pytest.raises(AssertionError, match="does not meet 1 of its requirements"):
        check_kind(InPlaceLaw, imports=False)


def test_a_broken_metric_is_told() -> None:
    with pytest.raises(AssertionError, match="no node is up"):
        check_kind(replace(OWN[6], name="lowest", reduce=lambda s: float(s.accuracy.min())))
    with pytest.raises(ConfigurationError, match="no battery is for"):
        check_kind(Latency)


def test_a_file_that_is_not_there_is_said_and_not_passed_over() -> None:
    report = check_kind(Latency.kinds()["matrix"], imports=False)
    assert "not checked: what is made of a file" in str(report)
