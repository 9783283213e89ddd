"""Cross-checks of topology, mixing and regions: is there such a graph, how small can a neighbourhood be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias, get_args

from scenarios.format.locate import Key
from scenarios.kinds.topologies import (
    BarabasiAlbertTopology,
    ChurnTopology,
    DumbbellTopology,
    DynamicTopology,
    EpidemicTopology,
    ErdosRenyiTopology,
    FileTopology,
    GridTopology,
    HypercubeTopology,
    KnownTopology,
    NamedTopology,
    PeerSamplingTopology,
    RegularTopology,
    ScheduleTopology,
    SmallWorldTopology,
    TreeTopology,
)
from scenarios.schema import Scenario

Found: TypeAlias = Iterator[tuple[Key, str]]


def least_degree(scenario: Scenario) -> int | None:
    """Size of the smallest neighbourhood, None where only the built graph knows it."""
    topology = scenario.topology
    match topology:
        case NamedTopology(kind="exponential"):
            return None
        case NamedTopology():
            return {"ring": min(2, topology.nodes - 1), "complete": topology.nodes - 1}.get(topology.kind, 1)
        case RegularTopology():
            return topology.degree
        case GridTopology(kind="torus"):
            return 4
        case GridTopology():
            return (topology.rows > 1) + (topology.columns > 1)
        case HypercubeTopology():
            return topology.dimension
        case DumbbellTopology():
            return min(2, topology.clique - 1) if topology.bridge else topology.clique - 1
        case TreeTopology():
            return 1
        case KnownTopology():
            return 3 if topology.name == "petersen" else 1
        case _:
            return None


def topology_exists(scenario: Scenario) -> Found:
    """Degrees and sizes for which there is such a graph."""
    topology = scenario.topology
    if (
        isinstance(
            topology,
            RegularTopology | SmallWorldTopology | EpidemicTopology | PeerSamplingTopology | ChurnTopology,
        )
        and topology.degree >= topology.nodes
    ):
        yield (
            ("topology", "degree"),
            f"degree {topology.degree} needs more than {topology.nodes} nodes; it must be below nodes",
        )
    elif (
        isinstance(topology, RegularTopology | EpidemicTopology | PeerSamplingTopology | ChurnTopology)
        and not (isinstance(topology, EpidemicTopology) and topology.where == "local")
        and topology.degree * topology.nodes % 2
    ):
        yield (
            ("topology", "degree"),
            f"no {topology.degree}-regular graph on {topology.nodes} nodes exists: "
            "nodes x degree must be even",
        )
    elif (
        isinstance(topology, RegularTopology | PeerSamplingTopology)
        and topology.degree == 1
        and topology.nodes > 2
    ):
        yield (
            ("topology", "degree"),
            "a 1-regular graph of more than 2 nodes is not connected; use at least 2",
        )
    elif isinstance(topology, BarabasiAlbertTopology) and topology.links >= topology.nodes:
        yield ("topology", "links"), f"{topology.links} links need more than {topology.nodes} nodes"
    elif isinstance(topology, SmallWorldTopology) and topology.degree % 2:
        yield (
            ("topology", "degree"),
            f"a small world starts as a ring with an even number of neighbours, got {topology.degree}",
        )
    elif isinstance(topology, GridTopology):
        if topology.kind == "torus" and min(topology.rows, topology.columns) < 3:
            key = "rows" if topology.rows < 3 else "columns"
            yield ("topology", key), "a torus needs at least 3 rows and 3 columns; use a grid or a ring"
        elif topology.rows * topology.columns < 2:
            yield ("topology", "rows"), "one node alone has nobody to learn with; use at least 2 nodes"


def topology_file(scenario: Scenario, base: Path) -> Found:
    """The file of the graph or of its schedule is there."""
    topology = scenario.topology
    if isinstance(topology, FileTopology | ScheduleTopology) and not (base / topology.path).is_file():
        yield (
            ("topology", "path"),
            f"there is no file {base / topology.path}; paths start at the scenario file",
        )


def probable_connection(scenario: Scenario) -> Found:
    """A random graph so sparse that it is never connected would only fail after many draws."""
    topology = scenario.topology
    if (
        isinstance(topology, ErdosRenyiTopology)
        and topology.p * topology.nodes * (topology.nodes - 1) / 2 < 1
    ):
        yield ("topology", "p"), "fewer than one edge is expected in all; raise p"


def known_mixing(scenario: Scenario) -> Found:
    """The weights asked for exist."""
    mixing, topology = scenario.mixing, scenario.topology
    if mixing is not None and isinstance(topology, get_args(DynamicTopology)):
        yield (
            ("mixing",),
            f"[mixing] has no effect with {topology.kind}, whose links bring their own weights; remove it",
        )
    elif mixing is not None and mixing.kind == "file" and not isinstance(topology, FileTopology):
        yield (
            ("mixing", "kind"),
            f'weights from a file need topology.kind = "file", not "{topology.kind}"; use another rule, such as '
            '"metropolis"',
        )


def lasting_links(scenario: Scenario) -> Found:
    """Secure sums are made in neighbourhoods that stay."""
    topology = scenario.topology
    if scenario.protocol.exchange == "secure" and isinstance(topology, get_args(DynamicTopology)):
        yield (
            ("topology", "kind"),
            f"secure sums need links that stay, those of {topology.kind} change; use a fixed topology, or "
            'exchange = "plain" or "ldp"',
        )


def regions(scenario: Scenario) -> Found:
    """Regions are told apart by name, and list nobody twice."""
    seen: set[str] = set()
    for i, region in enumerate(scenario.region):
        if region.name in seen:
            yield ("region", i, "name"), f'the name "{region.name}" is taken by an earlier region'
        if len(set(region.nodes)) < len(region.nodes):
            yield ("region", i, "nodes"), "a node is listed twice"
        seen.add(region.name)


CHECKS = (topology_exists, probable_connection, known_mixing, lasting_links, regions)
FILE_CHECKS = (topology_file,)
