"""The scenario file, format 1: every table, key, unit and range.

Durations are stored in seconds, rates in bits per second, sizes in bytes, fractions as numbers from 0 to 1. Checks
that compare several tables are in :mod:`scenarios.checks.run`; reading files and wording errors in
:mod:`scenarios.load`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from scenarios.format.tables import Table, written
from scenarios.format.units import Duration, Fraction
from scenarios.kinds.adversaries import Adversary
from scenarios.kinds.aggregations import Aggregation
from scenarios.kinds.compute import Compute, Detector
from scenarios.kinds.data import Data
from scenarios.kinds.faults import Fault
from scenarios.kinds.links import Network
from scenarios.kinds.mixing import Mixing
from scenarios.kinds.partitions import IidPartition, Partition
from scenarios.kinds.privacy import Privacy
from scenarios.kinds.protocols import Protocol
from scenarios.kinds.regions import Region
from scenarios.kinds.secure import Secure
from scenarios.kinds.studies import Study, Sweep, Whatif
from scenarios.kinds.tasks import Model
from scenarios.kinds.topologies import Topology
from scenarios.kinds.training import Training

# ---------------------------------------------------------------- evaluation


class Evaluation(Table):
    """Evaluation of models: interval and target accuracy."""

    every: Duration = Field(
        default=written("1 s"), gt=0, examples=["2 s"], description='virtual time between evaluations: "2 s"'
    )
    target_accuracy: Fraction = Field(
        default=0.8, gt=0, le=1, description="mean accuracy whose time and bytes are reported, 0 to 1"
    )


# ---------------------------------------------------------------- the whole


def filled(raw: Any) -> Any:
    """Add keys that follow from others or have a usual value: placement of noise, [secure], mixing.

    A resolved scenario then holds them although its file did not. A value that is no table is returned unchanged.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("protocol"), dict):
        return raw
    exchange, privacy = raw["protocol"].get("exchange"), raw.get("privacy")
    result = dict(raw)
    if isinstance(faults := raw.get("fault"), list | tuple):
        result["fault"] = [Fault.with_usual(fault) for fault in faults]
    if exchange == "secure":
        result.setdefault("secure", {})
    mixing = raw.get("mixing", {} if _needs_mixing(raw.get("topology")) else None)
    if mixing is not None:
        result["mixing"] = Mixing.with_usual(mixing)
    if isinstance(privacy, dict) and exchange in ("ldp", "secure"):
        noise, law = ("sum", usual_law(raw)) if exchange == "secure" else ("member", "gaussian")
        result["privacy"] = {"noise": noise, "law": law} | privacy
    return result


def _needs_mixing(topology: Any) -> bool:
    """Return whether the links of a topology are fixed, so that their mixing weights come from [mixing]."""
    kind = Topology.kinds().get(_kind(topology))
    return kind is not None and kind.is_fixed()


def usual_law(raw: dict[str, Any]) -> str:
    """Return the usual law of noise: integers for a server's sum of its clients' updates, else Gaussian."""
    table, secure = raw["protocol"], raw.get("secure")
    protocol = Protocol.kinds().get(_kind(table))
    if protocol is None or not protocol.releases_only_integer_sums(table):
        return "gaussian"
    given = secure.get("aggregation") if isinstance(secure, dict) else None
    aggregation = Aggregation.kinds().get(_kind(given))
    return "gaussian" if aggregation is not None and not aggregation.sums_integers else "skellam"


def _kind(table: Any) -> str:
    """Return the word of a table not yet checked; empty if it has none."""
    word = table.get("kind") if isinstance(table, dict) else None
    return word if isinstance(word, str) else ""


class Scenario(Table):
    """One scenario of sottovoce, format 1.

    Example:
        >>> raw = sv.load("quickstart").raw
        >>> sv.load(raw).scenario.topology.kind
        'regular'
        >>> sv.load(raw | {"seed": -1})
        Traceback (most recent call last):
        scenarios.load.ScenarioErrors: scenario: seed: must be at least 0, got -1
    """

    format: Literal[1] = Field(description="version of this format: 1")
    name: str = Field(
        pattern=r"^[a-z0-9_-]+$", examples=["quickstart"], description="short name: a-z, 0-9, _ and -"
    )
    description: str = Field(
        default="", examples=["Sixteen nodes learn digits."], description="what is simulated, in prose"
    )
    expect: str = Field(
        default="", examples=["Accuracy near 0.86."], description="the expected outcome, in prose"
    )
    seed: int = Field(default=1, ge=0, lt=2**63, examples=[7], description="seed of every random stream")
    tie_seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        examples=[7],
        description="events of one instant happen in an order drawn from it; absent: in the order of their causes",
    )
    stop_after: Duration | None = Field(
        default=None,
        gt=0,
        examples=["60 s"],
        description='virtual time at which the run is stopped: "60 s"; absent: at its own end',
    )
    topology: Topology
    mixing: Mixing | None = Field(
        default=None,
        description="weights of the gossip average; absent: metropolis, or those that the links of a topology "
        "that changes bring along",
    )
    network: Network = Field(description="links between nodes: latency, rates and losses")
    region: tuple[Region, ...] = Field(
        default=(), strict=False, description="named groups of nodes, one [[region]] each"
    )
    fault: tuple[Fault, ...] = Field(
        default=(), strict=False, description="what goes wrong with nodes and links, one [[fault]] each"
    )
    compute: Compute | None = Field(default=None, description="how fast nodes compute; absent: all alike")
    detector: Detector | None = Field(
        default=None, description="heartbeats; absent: only time-outs tell that a neighbour has failed"
    )
    data: Data
    partition: Partition = IidPartition()
    model: Model
    training: Training = Field(description="local updates: steps of an optimiser on a node's own samples")
    protocol: Protocol
    secure: Secure | None = Field(
        default=None, description='secure aggregation; only with exchange = "secure"'
    )
    privacy: Privacy | None = Field(default=None, description='needed unless exchange = "plain"')
    adversary: Adversary = Field(default=Adversary(), description="the adversary; all its parts act together")
    evaluation: Evaluation = Field(
        default=Evaluation(), description="when and against what the models are measured"
    )
    sweep: Sweep | None = Field(default=None, description="runs of `sottovoce sweep`")
    study: Study = Field(default=Study(), description="seeds of a what-if study, and attacks on its runs")
    whatif: tuple[Whatif, ...] = Field(default=(), strict=False, description="variants of `sottovoce whatif`")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: Any) -> Any:
        return filled(raw)
