"""Requirements of laws, latencies, topologies, mixing rules, transports, faults and slowdowns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.conformance.findings import Report, expect
from scenarios.format.kind import Kind
from scenarios.kinds.compute import Slowdown
from scenarios.kinds.faults import Fault
from scenarios.kinds.faults.base import Site
from scenarios.kinds.latencies import DelayLaw, Latency
from scenarios.kinds.mixing import Mixing
from scenarios.kinds.topologies import Topology
from scenarios.kinds.topologies.family import ChangingTopology, FixedTopology
from scenarios.kinds.transports import Transport

if TYPE_CHECKING:
    import networkx as nx

SEED, NODES = 5, 9
EPOCHS = 5
ROUNDING = 1e-9
CLOSE = 1e-6


def law(report: Report, table: DelayLaw, base: Path) -> None:
    """Check a law of a delay: a quantile function with the bounds that it states."""
    import numpy as np

    u = np.linspace(0.0, 1.0, 2003)[1:-1]
    given = u.copy()
    drawn = np.asarray(table.build()(given))
    with report.must("build() leaves the numbers that it is given as they are"):
        expect(np.array_equal(given, u), "it works in place; copy the array first")
    with report.must("build() maps uniform numbers to as many seconds, whatever the shape of the array"):
        expect(drawn.shape == u.shape, f"shape {drawn.shape} for {u.shape}")
        square = np.asarray(table.build()(u[:6].reshape(2, 3).copy()))
        expect(
            square.shape == (2, 3) and np.array_equal(square.ravel(), drawn[:6]),
            "arrays (2, 3) are drawn otherwise",
        )
    with report.must("draws are finite and not negative"):
        expect(np.isfinite(drawn).all() and (drawn >= 0).all(), f"{drawn.min():g} to {drawn.max():g} s")
    with report.must("the larger the uniform number, the longer the delay"):
        fall = np.diff(drawn).min()
        expect(fall >= -ROUNDING, f"a draw falls by {-fall:g} s; return quantiles")
    with report.must("no draw is below least_s"):
        expect(drawn.min() >= table.least_s - ROUNDING, f"{drawn.min():g} s, least_s is {table.least_s:g} s")
    with report.must("about half of the draws are below median_s"):
        low, high = np.quantile(drawn, [0.4, 0.6], method="inverted_cdf")
        told = f"median_s is {table.median_s:g} s, the middle fifth is {low:g} to {high:g} s"
        expect(low - ROUNDING <= table.median_s <= high + ROUNDING, told)
    with report.must("varies says whether draws differ"):
        expect(
            table.varies or np.ptp(drawn) <= ROUNDING,
            f"varies is {table.varies}, draws span {np.ptp(drawn):g} s",
        )
    if table.varies is not True and table.varies is not False:
        report.failures.append(
            f"varies says whether draws differ: it is {table.varies!r}, expected true or false"
        )


def latency(report: Report, table: Latency, base: Path) -> None:
    """Check a latency that is no law."""
    import numpy as np

    if _without_files(report, table, base):
        return
    made = table.delays(SEED, NODES, base)
    with report.must("delays() gives a law, latencies of links, or both"):
        expect(made.drawn is not None or made.base_s is not None, "it gives neither")
        expect(not table.per_message or made.drawn is not None, "per_message is true, and there is no law")
    if made.base_s is None:
        return
    again = table.delays(SEED, NODES, base)
    for src in range(NODES):
        others = np.array([dst for dst in range(NODES) if dst != src])
        drawn = made.base_s(src, others)
        with report.must("latencies of links are finite, not negative and not below least_s"):
            expect(np.shape(drawn) == others.shape, f"shape {np.shape(drawn)} for {others.shape} receivers")
            expect(
                np.isfinite(drawn).all() and (drawn >= table.least_s - ROUNDING).all(),
                f"{drawn} s from node {src}",
            )
        with report.must("the same seed gives the same latencies"):
            expect(
                again.base_s is not None and np.array_equal(drawn, again.base_s(src, others)),
                f"from node {src}",
            )


def topology(report: Report, table: Topology, base: Path) -> None:
    """Check a topology: a graph that stays, or links that change."""
    if _without_files(report, table, base):
        return
    with report.must("it is a FixedTopology or a ChangingTopology"):
        expect(
            isinstance(table, FixedTopology | ChangingTopology), f"it is a {type(table).__mro__[1].__name__}"
        )
    if isinstance(table, FixedTopology):
        _graph(report, table, base)
    elif isinstance(table, ChangingTopology):
        _overlay(report, table, base)


def _graph(report: Report, table: FixedTopology, base: Path) -> None:
    import networkx as nx

    file = table.file(base)
    graph = table.graph(SEED, base) if file is None else file.graph
    with report.must("nodes are 0 to n - 1"):
        expect(sorted(graph) == list(range(len(graph))), f"they are {sorted(graph)[:10]}")
    with report.must("the graph is undirected, without loops, and connected"):
        expect(not graph.is_directed(), "it is directed")
        expect(nx.number_of_selfloops(graph) == 0, "a node is linked to itself")
        expect(nx.is_connected(graph), f"it falls into {nx.number_connected_components(graph)} parts")
    degrees = [degree for _, degree in graph.degree()]
    with report.must("node_count is the number of nodes, or None"):
        expect(table.node_count in (None, len(graph)), f"it is {table.node_count}, there are {len(graph)}")
    with report.must("least_degree is the smallest number of neighbours, or None"):
        expect(
            table.least_degree in (None, min(degrees)),
            f"it is {table.least_degree}, a node has {min(degrees)}",
        )
    with report.must("regular is said only of graphs whose nodes have one number of neighbours"):
        expect(not table.regular or len(set(degrees)) == 1, f"numbers are {sorted(set(degrees))}")
    with report.must("tree_levels is the depth of a tree with root 0; 0 where there is none"):
        levels = table.tree_levels
        if levels:
            depth = max(nx.single_source_shortest_path_length(graph, 0).values())
            expect(
                nx.is_tree(graph) and depth == levels, f"it is {levels}, the depth below node 0 is {depth}"
            )
    with report.must("the same seed gives the same graph"):
        expect(
            _edges(graph) == _edges(table.graph(SEED, base) if file is None else graph), "two graphs differ"
        )
    for key in {table.denser, table.larger}:
        with report.must("denser and larger name keys of the table"):
            expect(key in type(table).model_fields, f"{key} is none")


def _edges(graph: nx.Graph) -> list[tuple[int, int]]:
    return sorted((min(edge), max(edge)) for edge in graph.edges)


def _overlay(report: Report, table: ChangingTopology, base: Path) -> None:
    import numpy as np

    from simulator.topology import overlays

    overlay, again = table.overlay(SEED, base), table.overlay(SEED, base)
    ever = table.ever_linked(base)
    with report.must("node_count is the number of nodes, or None"):
        expect(
            overlay.nodes == table.node_count, f"it is {table.node_count}, the overlay has {overlay.nodes}"
        )
    for round in range(EPOCHS):
        epoch = overlay.epoch(0, round)
        links = [overlay.links(node, epoch) for node in range(overlay.nodes)]
        with report.must("the same seed gives the same links"):
            other = [again.links(node, again.epoch(0, round)) for node in range(overlay.nodes)]
            expect(links == other, f"round {round} differs")
        with report.must("a link that one end sends on is one that the other end hears on"):
            wrong = [(i, j) for i, one in enumerate(links) for j in one.to if i not in links[j].sources]
            expect(not wrong, f"round {round}: {wrong[:3]}")
        with report.must("links lead both ways unless one_way is true"):
            odd = [node for node, one in enumerate(links) if one.to != one.sources]
            expect(table.one_way or not odd, f"round {round}: nodes {odd[:3]}")
        with report.must("links are between nodes that ever_linked lists"):
            strange = [(i, j) for i, one in enumerate(links) for j in one.to if j not in ever[i]]
            expect(not strange, f"round {round}: {strange[:3]}")
        weights = overlays.matrix(overlay, epoch).toarray()
        with report.must("mixing weights are not negative, and rows sum to 1"):
            expect((weights >= -ROUNDING).all() and np.allclose(weights.sum(axis=1), 1.0), f"round {round}")
        with report.must("columns of the weights sum to 1 unless uneven_weights gives a reason"):
            even = np.allclose(weights.sum(axis=0), 1.0)
            expect(table.uneven_weights() is not None or even, f"round {round}: {weights.sum(axis=0)}")


def mixing(report: Report, table: Mixing, base: Path) -> None:
    """Check a rule of mixing weights on a regular and on an irregular graph."""
    import networkx as nx
    import numpy as np

    from simulator.topology.graphs import neighborhoods

    if table.reads_weights:
        report.skip("mixing weights", "they are read off a graph file")
        return
    for name, graph in (("ring", nx.cycle_graph(NODES)), ("wheel", nx.wheel_graph(NODES))):
        neighbors = neighborhoods(graph)
        weights = table.build(neighbors, None).toarray()
        with report.must("mixing weights are not negative, and rows sum to 1"):
            expect((weights >= -ROUNDING).all() and np.allclose(weights.sum(axis=1), 1.0), name)
        with report.must("weights are on links and on the own model alone"):
            stray = [
                (i, j) for i, j in zip(*np.nonzero(weights), strict=True) if i != j and j not in neighbors[i]
            ]
            expect(not stray, f"{name}: {stray[:3]}")
        with report.must("columns sum to 1 where doubly_stochastic says so"):
            said = table.doubly_stochastic(regular=name == "ring")
            expect(not said or np.allclose(weights.sum(axis=0), 1.0), f"{name}: {weights.sum(axis=0)}")


def transport(report: Report, table: Transport, base: Path) -> None:
    """Check a transport."""
    from simulator.network.links import Transport as Built

    with report.must("build() gives how lost messages are repeated, or None"):
        built = table.build()
        expect(built is None or isinstance(built, Built), f"it gives a {type(built).__name__}")
    with report.must("delivers_once is true or false"):
        expect(isinstance(table.delivers_once, bool), f"it is {table.delivers_once!r}")


def fault(report: Report, table: Fault, base: Path) -> None:
    """Check a fault: the events of a site of sixteen nodes with a region."""
    from simulator.faults import plan

    if table.file is not None and not (base / table.file).is_file():
        report.skip(
            "events of the fault", f"there is no file {table.file}; pass check_kind a table and base="
        )
        return
    site = Site(16, _Regions(), base, SEED)
    named = table.named()
    with report.must("what named() names is in the table"):
        for key, _ in _names(named):
            expect(key and key[0] in type(table).model_fields, f"{key} is no key of the table")
    events = table.build(site)
    with report.must("events are of nodes and links of the site, and do not contradict each other"):
        plan.check(events, site.nodes)
    with report.must("the same site has the same events"):
        expect(
            _plain(events) == _plain(table.build(site)), "two builds differ; draw from a stream of site.seed"
        )
    with report.must("slows says whether nodes compute more slowly for a while"):
        expect(not any(isinstance(event, plan.Slow) for event in events) or table.slows, "it is false")
    with report.must("planned() lists outages that are built too"):
        down = {event.node for event in events if isinstance(event, plan.Outage | plan.Arrival)}
        missing = [one.node for one in table.planned(site.regions) if one.node not in down]
        expect(not missing, f"nodes {missing[:3]} are planned to be down and never are")


def _plain(events: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the fields of events, without functions, of which two that are made alike are not equal."""
    made = [{one.name: getattr(event, one.name) for one in fields(event)} for event in events]
    return [{name: value for name, value in event.items() if not callable(value)} for event in made]


class _Regions(dict[str, tuple[int, ...]]):
    """Any name is a region of three nodes."""

    def __missing__(self, name: str) -> tuple[int, ...]:
        return (12, 13, 14)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


def _names(named: Any) -> Iterator[tuple[Any, Any]]:
    for part in named:
        yield from part


def slowdown(report: Report, table: Slowdown, base: Path) -> None:
    """Check factors of computing."""
    import numpy as np

    nodes = NODES if table.listed is None else table.listed
    with report.must("every node has a finite factor above 0"):
        factors = np.asarray(table.build(nodes, SEED).factor, dtype=float)
        expect(factors.shape == (nodes,), f"shape {factors.shape} for {nodes} nodes")
        expect(np.isfinite(factors).all() and (factors > 0).all(), f"{factors}")
    with report.must("the same seed gives the same factors"):
        again = np.asarray(table.build(nodes, SEED).factor, dtype=float)
        expect(np.array_equal(factors, again), f"{factors} and {again}")


def _without_files(report: Report, table: Kind, base: Path) -> bool:
    missing = list(table.file_problems(base)) if isinstance(table, Topology | Latency) else []
    if missing:
        report.skip("what is made of a file", f"{missing[0][1]}; pass check_kind a table and base=")
    return bool(missing)
