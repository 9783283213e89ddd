"""Latency laws, latencies, topologies, mixing rules and transports of another package are kinds like the others."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from scenarios.kinds.latencies import DelayLaw, Latency
from scenarios.kinds.latencies.family import latency_of
from scenarios.load import load
from simulator.errors import ConfigurationError
from tests.support.places import ROOT
from tests.support.plugins import installed, told

PLUGIN = '''
import networkx as nx
import numpy as np
from typing import ClassVar, Literal
from pydantic import Field
from scenarios.format.units import Duration
from scenarios.kinds.latencies import DelayLaw, Delays, Latency
from scenarios.kinds.mixing import Mixing
from scenarios.kinds.topologies import ChangingTopology, FixedTopology
from scenarios.kinds.transports import Transport
from simulator.network import links
from simulator.topology import mixing, overlays


class TriangularLaw(DelayLaw):
    """Delay drawn from a triangular law."""

    kind: Literal["triangular"] = Field(description="triangular, from 0")
    width: Duration = Field(gt=0, examples=["50 ms"], description="largest delay")

    least_s: ClassVar[float] = 0.0

    @property
    def median_s(self):
        return self.width * 0.5**0.5

    def build(self):
        return lambda u: self.width * np.sqrt(u)


class HopLatency(Latency):
    """Latency by the distance of numbers."""

    kind: Literal["hops"] = Field(description="so much for each number between two nodes")
    hop: Duration = Field(gt=0, examples=["50 ms"], description="of one number")
    per_message: ClassVar[bool] = False
    median_s: ClassVar[None] = None

    @property
    def least_s(self):
        return self.hop

    def delays(self, seed, nodes, base):
        return Delays(None, lambda src, dst: self.hop * np.abs(src - dst), {"nodes_placed": nodes})


class WheelTopology(FixedTopology):
    """A wheel."""

    kind: Literal["wheel"] = Field(description="a ring and a hub")
    rim: int = Field(ge=3, examples=[5], description="nodes of the ring")

    @property
    def node_count(self):
        return self.rim + 1

    least_degree: ClassVar[int] = 3

    def graph(self, seed, base):
        return nx.wheel_graph(self.rim + 1)

    def problems(self):
        if self.rim == 13:
            yield ("rim",), "13 is refused; use another number"


class AlternatingTopology(ChangingTopology):
    """Even and odd pairs in turn."""

    kind: Literal["alternating"] = Field(description="even and odd pairs in turn")
    one_way: ClassVar[bool] = False

    def uneven_weights(self):
        return None

    def overlay(self, seed, base):
        return overlays.schedule(self.nodes, [(0, [(0, 1)]), (1, [(1, 2)])], by="round")


class QuarterMixing(Mixing):
    """A quarter of the Metropolis weights."""

    kind: Literal["quarter"] = Field(description="a quarter of metropolis")

    def doubly_stochastic(self, *, regular):
        return True

    def build(self, neighbors, file):
        whole = mixing.metropolis(neighbors)
        return mixing.from_edges(
            neighbors, {(i, j): whole[i, j] / 4 for i, around in enumerate(neighbors) for j in around}
        )


class StubbornTransport(Transport):
    """Sent again a thousand times."""

    kind: Literal["stubborn"] = Field(description="sent again a thousand times")
    delivers_once: ClassVar[bool] = True

    def build(self):
        return links.Transport(0.5, 1.0, 1000)
'''
POINTS = """
[sottovoce.latencies]
triangular = delays_of_others:TriangularLaw
[sottovoce.link_latencies]
hops = delays_of_others:HopLatency
[sottovoce.topologies]
wheel = delays_of_others:WheelTopology
alternating = delays_of_others:AlternatingTopology
[sottovoce.mixing]
quarter = delays_of_others:QuarterMixing
[sottovoce.transports]
stubborn = delays_of_others:StubbornTransport
"""
USE = """
import pickle
import numpy as np
from pathlib import Path
from scenarios.assembly.network import build_network
from scenarios.facts.timeouts import least_latency_s, typical_latency_s
from scenarios.load import ScenarioErrors, load, merged, resolve

CHANGES = ["protocol.exchange=plain", "fault=[]", "adversary={}"]

def made(topology, network, **tables):
    changes = {"topology": topology, "network": network} | tables
    return resolve(merged(load("quickstart", CHANGES, studies=False).raw, changes))

WHEEL = {"kind": "wheel", "rim": 20}
LAW = {"kind": "triangular", "width": "2 s"}
scenario = made(WHEEL, {"latency": LAW | {"per": "link", "symmetric": True}, "jitter": LAW,
                        "transport": {"kind": "stubborn"}}, mixing={"kind": "quarter"})
assert pickle.loads(pickle.dumps(scenario)) == scenario
assert resolve(scenario.model_dump(mode="json", exclude_none=True)) == scenario
assert typical_latency_s(scenario) == 2 * 2 * 0.5**0.5 and least_latency_s(scenario) == 0
parts = build_network(scenario, Path())
assert len(parts.neighbors) == 21 and parts.weights[1, 2] == 1 / 4 / 4
assert parts.link.latency(np.array(0.25)) == 1.0 and parts.link.transport.attempts == 1000
there, back = parts.link.base_s(3, np.array([4])), parts.link.base_s(4, np.array([3]))
assert there == back and 0 < there[0] < 2
assert build_network(made(WHEEL, {"latency": LAW}), Path()).link.base_s is None

parts = build_network(made({"kind": "alternating", "nodes": 8}, {"latency": {"kind": "hops", "hop": "1 s"}}), Path())
assert parts.graph is None and parts.notes["nodes_placed"] == 8
assert parts.link.base_s(3, np.array([5])) == [2.0]

def keys(*tables, **more):
    try:
        made(*tables, **more)
    except ScenarioErrors as errors:
        return {problem.key: problem.message for problem in errors.problems}

HOPS = {"latency": {"kind": "hops", "hop": "1 s"}}
assert "13 is refused" in keys({"kind": "wheel", "rim": 13}, HOPS)["topology.rim"]
assert list(keys(WHEEL, {"latency": LAW, "jitter": LAW})) == ["network.jitter"]
assert list(keys(WHEEL, HOPS | {"transport": {"kind": "stubborn"}, "duplication": 0.1})) == ["network.duplication"]
assert list(keys({"kind": "alternating", "nodes": 8}, HOPS, mixing={"kind": "quarter"})) == ["mixing"]
assert "did you mean 'triangular'" in keys(WHEEL, {"latency": LAW | {"kind": "triangle"}})["network.latency.kind"]
"""


def test_kinds_of_another_package_are_checked_and_built_like_the_own(tmp_path: Path) -> None:
    (tmp_path / "delays_of_others.py").write_text(PLUGIN)
    info = tmp_path / "delays_of_others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: delays-of-others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    path = f"{tmp_path}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_latency_of_a_law_has_its_keys_first_and_can_be_pickled() -> None:
    for word, law in DelayLaw.kinds().items():
        latency = Latency.kinds()[word]
        more = ["per", "symmetric"] if law.varies else []
        assert list(latency.model_fields) == [*law.model_fields, *more]
        assert latency is latency_of(law)
    drawn = load("quickstart").scenario.network.latency
    assert pickle.loads(pickle.dumps(drawn)) == drawn


def test_a_law_with_a_key_that_latencies_have_is_refused() -> None:
    class PerLaw(DelayLaw):
        per: int = Field(default=1)

    with pytest.raises(ConfigurationError, match="has a key per"):
        latency_of(PerLaw)


BROKEN = """
import numpy as np
from typing import ClassVar, Literal
from pydantic import Field
from scenarios.kinds.latencies import DelayLaw


class BrokenLaw(DelayLaw):
    \"\"\"Delay that is sometimes none.\"\"\"

    kind: Literal["broken"] = Field(description="sometimes no delay")
    value: float = Field(default=-1.0, description="what short draws are")
    below: float = Field(default=0.01, description="which draws are short")
    least_s: ClassVar[float] = 0.0
    median_s: ClassVar[float] = 0.05

    def build(self):
        return lambda u: np.where(u < self.below, self.value, 0.05 * u)
"""
RUN_BROKEN = """
from pathlib import Path
from scenarios.load import load
from scenarios.run import run
from simulator.errors import SottovoceError

for i, (law, more) in enumerate([
    ('latency={kind="broken"}', []),
    ('latency={kind="broken", value=1e12}', []),
    ('latency={kind="broken", per="link"}', []),
    ('jitter={kind="broken"}', ['network.latency={kind="constant", value="0 ms"}']),
    ('latency={kind="broken", below=0.1}', []),
    ('jitter={kind="broken", below=0.1}', ['network.latency={kind="constant", value="0 ms"}']),
]):
    changes = ["protocol.exchange=plain", "fault=[]", "adversary={}", "protocol.rounds=20", *more, f"network.{law}"]
    try:
        print(run(load(Path("quickstart"), changes, studies=False).scenario, Path("run") / str(i))["status"])
    except SottovoceError as error:
        print(error.__cause__ or error)
"""


def test_a_law_of_another_package_that_gives_no_delay_is_told_where_it_would_lose_a_message(
    tmp_path: Path,
) -> None:
    """At the numbers that are tried before the run, or at the first message whose delay is none."""
    installed(tmp_path, BROKEN, {"sottovoce.latencies": {"broken": "BrokenLaw"}})
    lines = told(tmp_path, RUN_BROKEN).splitlines()
    named = 'latency "broken" of others 1.2'
    for line, value in zip(lines[:4], ("-1 s", "1e+12 s", "-1 s", "-1 s"), strict=True):
        assert f"{named} gave a delay of {value}" in line
    assert "for the uniform number 0.00" in lines[0]
    assert 'latency "constant" with latency "broken"' in lines[3]
    for line in lines[4:]:
        assert f"{named}: quantiles must be finite, at least 0 and non-decreasing" in line
