"""What scenario tables say of topology and network is what is built."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from scenarios.assembly.network import NetworkParts, build_network
from scenarios.checks.run import check_nodes
from scenarios.load import ScenarioErrors, resolve
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError
from simulator.network import latency
from simulator.network.links import LinkModel, Reordering, Transport
from simulator.network.packet_loss import Bursts
from simulator.streams import Law
from simulator.topology import overlays

CONSTANT = {"kind": "constant", "value": "50 ms"}
DRAWN = {"kind": "lognormal", "median": "50 ms", "sigma": 0.4}
RING = {"kind": "ring", "nodes": 6}


def raw(
    topology: dict[str, Any] | None = None, network: dict[str, Any] | None = None, **tables: Any
) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "small",
        "topology": topology or RING,
        "network": {"latency": CONSTANT} | (network or {}),
        "data": {"kind": "digits"},
        "model": {"kind": "softmax"},
        "training": {"step": 2.0},
        "protocol": {"kind": "dsgd", "rounds": 10, "exchange": "plain"},
    } | tables


def built(*args: Any, base: Path | None = None, **tables: Any) -> NetworkParts:
    scenario = resolve(raw(*args, **tables), base)

    def checked(graph: nx.Graph) -> nx.Graph:
        check_nodes(len(graph), scenario)
        return graph

    return build_network(scenario, base or Path(), checked)


def link(network: dict[str, Any], **tables: Any) -> LinkModel:
    return built(None, network, **tables).link


def keys(scenario: dict[str, Any], base: Path | None = None) -> list[str]:
    try:
        resolve(scenario, base)
    except ScenarioErrors as errors:
        return [problem.key for problem in errors.problems]
    return []


def base_of(model: LinkModel, src: int, *dst: int) -> list[float]:
    assert model.base_s is not None
    return model.base_s(src, np.array(dst)).tolist()


def drawn(model: LinkModel, u: float = 0.5) -> float:
    return float(model.latency(np.array(u)))


# ---------------------------------------------------------------- latency


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (CONSTANT, latency.constant(0.05)),
        ({"kind": "uniform", "low": "20 ms", "high": "80 ms"}, latency.uniform(0.02, 0.08)),
        (DRAWN, latency.lognormal(0.05, 0.4)),
        ({"kind": "normal", "mean": "50 ms", "deviation": "10 ms"}, latency.normal(0.05, 0.01)),
        ({"kind": "gamma", "mean": "50 ms", "shape": 4.0}, latency.gamma(0.05, 4)),
        ({"kind": "exponential", "mean": "50 ms"}, latency.exponential(0.05)),
        ({"kind": "weibull", "scale": "50 ms", "shape": 0.7}, latency.weibull(0.05, 0.7)),
        ({"kind": "pareto", "minimum": "30 ms", "tail": 2.5}, latency.pareto(0.03, 2.5)),
        ({"kind": "empirical", "samples": ["40 ms", "55 ms"]}, latency.empirical([0.04, 0.055])),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_every_law_per_message_per_link_and_as_jitter(law: dict[str, Any], expected: Law) -> None:
    u = np.linspace(0.01, 0.99, 9)
    plain = link({"latency": law})
    assert plain.base_s is None
    assert plain.latency(u).tolist() == expected(u).tolist()
    jittered = link({"latency": CONSTANT, "jitter": law})
    assert jittered.latency(u).tolist() == expected(u).tolist()
    assert base_of(jittered, 0, 1, 5) == [0.05, 0.05]
    if law["kind"] != "constant":
        still = link({"latency": law | {"per": "link"}})
        assert drawn(still) == 0
        wanted = latency.per_link(expected, 1, symmetric=False)
        assert base_of(still, 0, 1, 5) == wanted(0, np.array([1, 5])).tolist()


def test_symmetric_links_have_one_latency_for_both_directions() -> None:
    law = DRAWN | {"per": "link"}
    one_way, both = link({"latency": law}), link({"latency": law | {"symmetric": True}})
    assert base_of(one_way, 0, 1) != base_of(one_way, 1, 0)
    assert base_of(both, 0, 1) == base_of(both, 1, 0)


def test_measured_delays_between_places(tmp_path: Path) -> None:
    (tmp_path / "delays.csv").write_text(",Bern,Oslo,Rome\nBern,0,40,\nOslo,44,0,60\nRome,30,60,0\n")
    law = {"kind": "matrix", "path": "delays.csv", "meaning": "rtt", "unit": "ms", "fill": True}
    network = {"latency": law, "jitter": {"kind": "exponential", "mean": "5 ms"}}
    parts = built(None, network, base=tmp_path)
    assert base_of(parts.link, 0, 1, 2, 3) == pytest.approx([0.02, 0.015, 0.0])
    assert base_of(parts.link, 1, 0) == pytest.approx([0.022])
    assert drawn(parts.link) == pytest.approx(0.005 * np.log(2))
    assert parts.notes["places"] == ["Bern", "Oslo", "Rome"] * 2
    assert parts.notes["filled"] == 1
    even = built(None, {"latency": law | {"symmetric": True, "meaning": "one-way"}}, base=tmp_path)
    assert base_of(even.link, 0, 1) == pytest.approx([0.042])
    shuffled = built(None, {"latency": law | {"assign": "random"}}, base=tmp_path).notes["places"]
    assert sorted(shuffled[:3]) == sorted(shuffled[3:]) == ["Bern", "Oslo", "Rome"]
    assert keys(raw(network={"latency": law | {"path": "none.csv"}}), tmp_path) == ["network.latency.path"]
    with pytest.raises(ConfigurationError, match=r"delays\.csv:2: .* ask to have it filled in") as refused:
        built(None, {"latency": law | {"fill": False}}, base=tmp_path)
    assert refused.value.key == "network.latency.path"


def test_light_in_fibre(tmp_path: Path) -> None:
    (tmp_path / "cities.csv").write_text("name,latitude,longitude\nnorth,90,0\nsouth,-90,0\n")
    law = {"kind": "geographic", "path": "cities.csv", "fibre": 0.5, "detour": 2.0, "per_hop": "1 ms"}
    parts = built(None, {"latency": law}, base=tmp_path)
    half_way_round_km = np.pi * 6371.0088
    expected = half_way_round_km * 2 / (0.5 * 299_792.458) + 1e-3
    assert base_of(parts.link, 0, 1, 2) == pytest.approx([expected, 1e-3])
    assert parts.notes["places"] == ["north", "south"] * 3


# ---------------------------------------------------------------- rates, losses, transport


def test_nothing_but_a_latency_means_no_limits_and_no_loss() -> None:
    model = link({})
    assert (model.uplink_bps, model.downlink_bps, model.link_bps) == (inf, inf, inf)
    assert (model.loss, model.bursts, model.transport, model.reordering) == (0, None, None, None)
    assert (model.sharing, model.duplication, model.header_bytes, model.link_loss) == ("fifo", 0, 40, {})


def test_everything_at_once() -> None:
    model = link(
        {
            "uplink": "10 Mbit/s",
            "downlink": [f"{rate} Mbit/s" for rate in range(1, 7)],
            "link_rate": "2 Mbit/s",
            "sharing": "fair",
            "loss": "1 %",
            "bursts": {"good": "30 s", "bad": "500 ms", "loss": "80 %"},
            "transport": {"kind": "reliable", "timeout": "200 ms", "attempts": 5, "ordered": False},
            "reordering": {"share": "5 %", "delay": "100 ms"},
            "header": "28 B",
            "node": [{"node": 3, "uplink": "1 Mbit/s"}, {"nodes": [0, 5], "downlink": "9 Mbit/s"}],
            "link": [
                {"from": 0, "to": 1, "latency": "300 ms"},
                {"from": 2, "to": 1, "both": False, "rate": "256 kbit/s", "loss": 1},
            ],
        }
    )
    assert model.uplink_bps == (1e7, 1e7, 1e7, 1e6, 1e7, 1e7)
    assert model.downlink_bps == (9e6, 2e6, 3e6, 4e6, 5e6, 9e6)
    both = {(i, j) for i in range(6) for j in ((i + 1) % 6, (i - 1) % 6)}
    assert model.link_bps == dict.fromkeys(both, 2e6) | {(2, 1): 256e3}
    assert (model.loss, model.link_loss) == (0.01, {(2, 1): 1.0})
    assert base_of(model, 0, 1, 5) == [0.3, 0.05]
    assert base_of(model, 1, 0, 2) == [0.3, 0.05]
    assert drawn(model) == 0
    assert model.bursts == Bursts(30, 0.5, loss_bad=0.8)
    assert model.transport == Transport(0.2, 2.0, 5, ordered=False)
    assert model.reordering == Reordering(0.05, 0.1)
    assert (model.sharing, model.duplication, model.header_bytes) == ("fair", 0.0, 28)


def test_a_link_rate_of_its_own_limits_no_other_link() -> None:
    assert link({"link": [{"from": 0, "to": 1, "rate": "1 Mbit/s"}]}).link_bps == {(0, 1): 1e6, (1, 0): 1e6}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({"uplink": []}, "network.uplink"),
        ({"uplink": 5}, "network.uplink"),
        ({"uplink": ["1 Mbit/s"] * 7}, "network.uplink"),
        ({"node": [{"node": 6, "uplink": "1 Mbit/s"}]}, "network.node[0].node"),
        (
            {"node": [{"node": 2, "uplink": "1 bit/s"}, {"nodes": [2], "downlink": "1 bit/s"}]},
            "network.node[1]",
        ),
        ({"link": [{"from": 1, "to": 1, "loss": 0.1}]}, "network.link[0].to"),
        ({"link": [{"from": 1, "to": 2}]}, "network.link[0]"),
        ({"link": [{"from": 1, "to": 2, "loss": 0.1}, {"from": 2, "to": 1, "loss": 0.2}]}, "network.link[1]"),
        ({"latency": DRAWN, "link": [{"from": 1, "to": 2, "latency": "1 s"}]}, "network.link[0].latency"),
        ({"latency": DRAWN | {"symmetric": True}}, "network.latency.symmetric"),
        ({"latency": DRAWN | {"per": "round"}}, "network.latency.per"),
        ({"latency": CONSTANT | {"per": "link"}}, "network.latency.per"),
        ({"jitter": {"kind": "matrix"}}, "network.jitter.kind"),
        ({"jitter": {"kind": "uniform", "low": "2 s", "high": "1 s"}}, "network.jitter.low"),
        ({"transport": {"kind": "datagram", "timeout": "1 s"}}, "network.transport.timeout"),
        ({"transport": {"kind": "reliable"}}, "network.transport.timeout"),
        ({"bursts": {"good": "1 s", "bad": "0 s"}}, "network.bursts.bad"),
    ],
    ids=str,
)
def test_networks_that_cannot_be(network: dict[str, Any], expected: str) -> None:
    assert keys(raw(network=network)) == [expected]


def test_fair_sharing_goes_with_a_reliable_transport() -> None:
    reliable = {"kind": "reliable", "timeout": "1 s"}
    assert link({"uplink": "1 Mbit/s", "sharing": "fair", "transport": reliable}).sharing == "fair"


# ---------------------------------------------------------------- graph files

EDGES = """a b {'latency': '10 ms', 'bandwidth': '1 Mbit/s', 'weight': 0.25}
b c {'loss': '2 %', 'weight': 0.5}
"""


def from_file(folder: Path, edges: str, network: dict[str, Any] | None = None, **tables: Any) -> NetworkParts:
    (folder / "g.txt").write_text(edges)
    topology = {"kind": "file", "path": "g.txt", "format": "edgelist", "attributes": True}
    return built(topology, network, base=folder, **tables)


def test_attributes_of_links_come_from_the_graph_file(tmp_path: Path) -> None:
    network = {"link_rate": "5 Mbit/s", "link": [{"from": 1, "to": 0, "both": False, "latency": "20 ms"}]}
    parts = from_file(tmp_path, EDGES, network, mixing={"kind": "file"})
    model = parts.link
    assert base_of(model, 0, 1) == [0.01]
    assert base_of(model, 1, 0, 2) == [0.02, 0.05]
    assert model.link_bps == {(0, 1): 1e6, (1, 0): 1e6, (1, 2): 5e6, (2, 1): 5e6}
    assert model.link_loss == {(1, 2): 0.02, (2, 1): 0.02}
    assert parts.weights.toarray().tolist() == [[0.75, 0.25, 0], [0.25, 0.25, 0.5], [0, 0.5, 0.5]]
    assert parts.notes["labels"] == ["a", "b", "c"]
    (tmp_path / "h.txt").write_text(EDGES)
    without = built({"kind": "file", "path": "h.txt", "format": "edgelist"}, base=tmp_path).link
    assert (without.base_s, without.link_bps, without.link_loss) == (None, inf, {})


@pytest.mark.parametrize(
    ("edges", "network", "said", "key"),
    [
        (
            "a b {'latency': 5}",
            {},
            "from a to b in the graph file: latency is 5: a bare number says no unit",
            "topology.path",
        ),
        ("a b {'latency': '5 mm'}", {}, 'unknown unit "mm"', "topology.path"),
        ("a b {'bandwidth': '0 bit/s'}", {}, "expected more than 0", "topology.path"),
        ("a b {'loss': 1.5}", {}, "expected a number from 0 to 1", "topology.path"),
        ("a b {'delay': '5 ms'}", {}, "no link of the graph file has a latency", "topology.attributes"),
        (EDGES, {"latency": DRAWN}, "cannot replace a latency drawn for each message", "network.latency"),
        (EDGES, {"uplink": ["1 bit/s"] * 4}, "4 rates for 3 nodes", "network.uplink"),
        (
            EDGES,
            {"node": [{"node": 3, "uplink": "1 bit/s"}]},
            "node 3 is not in the graph",
            "network.node[0].node",
        ),
    ],
)
def test_what_a_graph_file_cannot_say(
    tmp_path: Path, edges: str, network: dict[str, Any], said: str, key: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        from_file(tmp_path, edges, network)
    assert refused.value.key == key


def test_a_random_graph_of_another_seed_is_asked_again_for_its_links() -> None:
    topology = {"kind": "regular", "nodes": 20, "degree": 4}
    graph = built(topology, seed=3).graph
    assert graph is not None
    (a, b), *_ = graph.edges
    exception = {"link": [{"from": a, "to": b, "loss": 0.5}]}
    scenario = resolve(raw(topology, exception, seed=3))
    graphs = ((seed, built(topology, seed=seed).graph) for seed in range(4, 50))
    without = next(seed for seed, graph in graphs if graph is not None and not graph.has_edge(a, b))
    with pytest.raises(ConfigurationError, match=f"nodes {a} and {b} are not linked") as refused:
        build_network(scenario.model_copy(update={"seed": without}), Path())
    assert refused.value.key == "network.link[0]"
    assert build_network(scenario, Path()).link.link_loss == {(a, b): 0.5, (b, a): 0.5}


# ---------------------------------------------------------------- topologies that change

CHANGING: list[dict[str, Any]] = [
    {"kind": "epidemic", "nodes": 8, "degree": 3},
    {"kind": "epidemic", "nodes": 7, "degree": 3, "where": "local", "every": "10 s"},
    {"kind": "one-peer-exponential", "nodes": 6},
    {"kind": "matching", "nodes": 8, "every": "1 s"},
    {"kind": "peer-sampling", "nodes": 8, "degree": 3, "switches": 0.5},
    {"kind": "schedule", "nodes": 5, "path": "meetings.csv", "by": "round"},
    {"kind": "churn", "nodes": 8, "degree": 3, "repair": "5 s"},
]


@pytest.fixture
def meetings(tmp_path: Path) -> Path:
    (tmp_path / "meetings.csv").write_text("from,a,b\n0,0,1\n0,2,3\n2,1,2\n5,,\n")
    return tmp_path


@pytest.mark.parametrize("topology", CHANGING, ids=lambda spec: spec["kind"] + spec.get("where", ""))
def test_a_topology_that_changes(topology: dict[str, Any], meetings: Path) -> None:
    parts = built(topology, base=meetings)
    nodes = topology["nodes"]
    assert parts.graph is None
    assert parts.overlay.nodes == len(parts.neighbors) == parts.notes["nodes"] == nodes
    assert parts.overlay.fixed is parts.notes["fixed"] is False
    assert np.allclose(parts.weights.sum(1), 1)
    for round in range(6):
        epoch = parts.overlay.epoch(round * 10**9, round)
        for node in range(nodes):
            links = parts.overlay.links(node, epoch)
            assert {*links.to, *links.sources} <= set(parts.neighbors[node])
    json.dumps(parts.notes)
    again = resolve(resolve(raw(topology), meetings).model_dump(mode="json", exclude_none=True), meetings)
    assert again == resolve(raw(topology), meetings)
    assert again.mixing is None


def test_epochs_last_as_long_as_the_table_says(meetings: Path) -> None:
    by_round = built(CHANGING[0]).overlay
    assert [by_round.epoch(0, round) for round in (0, 1, 7)] == [0, 1, 7]
    by_clock = built(CHANGING[1]).overlay
    assert [by_clock.epoch(t * 10**9, 0) for t in (0, 9, 10, 25)] == [0, 0, 1, 2]
    schedule = built(CHANGING[5], base=meetings).overlay
    assert [schedule.links(1, schedule.epoch(0, round)).to for round in (0, 1, 2, 5)] == [
        (0,),
        (0,),
        (2,),
        (),
    ]


def test_everybody_else_is_put_together_when_asked_for() -> None:
    around = built({"kind": "matching", "nodes": 5}).neighbors
    assert list(around) == [tuple(j for j in range(5) if j != i) for i in range(5)]
    assert around[-1] == (0, 1, 2, 3)
    assert around[1:3] == [(0, 2, 3, 4), (0, 1, 3, 4)]
    with pytest.raises(IndexError):
        around[5]


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        ({"kind": "epidemic", "nodes": 7, "degree": 3}, "topology.degree"),
        ({"kind": "epidemic", "nodes": 7, "degree": 7, "where": "local"}, "topology.degree"),
        ({"kind": "churn", "nodes": 7, "degree": 3, "repair": "1 s"}, "topology.degree"),
        ({"kind": "peer-sampling", "nodes": 6, "degree": 1}, "topology.degree"),
        ({"kind": "matching", "nodes": 6, "every": "0 s"}, "topology.every"),
        ({"kind": "matching", "nodes": 6, "every": "rounds"}, "topology.every"),
        ({"kind": "matching", "nodes": 6, "every": 3}, "topology.every"),
        ({"kind": "schedule", "nodes": 6, "path": "x.csv"}, "topology.path"),
    ],
    ids=str,
)
def test_changing_topologies_that_cannot_be(topology: dict[str, Any], expected: str) -> None:
    assert keys(raw(topology)) == [expected]


def test_exceptions_on_links_that_come_and_go() -> None:
    exception = {"link": [{"from": 0, "to": 1, "rate": "1 Mbit/s"}]}
    assert built(CHANGING[0], exception).link.link_bps == {(0, 1): 1e6, (1, 0): 1e6}
    assert keys(raw(CHANGING[0], exception | {"link_rate": "1 Gbit/s"})) == ["network.link[0].rate"]


# ---------------------------------------------------------------- what is told


def test_the_notes_of_a_fixed_graph() -> None:
    parts = built()
    assert parts.notes == {
        "nodes": 6,
        "fixed": True,
        "edges": 6,
        "connected": True,
        "mixing": {
            "symmetric": True,
            "doubly_stochastic": True,
            "connected": True,
            "spectral_gap": pytest.approx(1 / 3),  # 1 - (1 + 2 cos 60 deg) / 3
        },
    }
    assert parts.graph is not None
    assert nx.utils.graphs_equal(parts.graph, nx.cycle_graph(6))
    assert np.array_equal(overlays.matrix(parts.overlay, 0).toarray(), parts.weights.toarray())


def test_a_resolved_network_reads_back() -> None:
    network = {
        "uplink": [f"{rate} Mbit/s" for rate in range(1, 7)],
        "latency": DRAWN | {"per": "link"},
        "jitter": {"kind": "exponential", "mean": "1 ms"},
        "link": [{"from": 0, "to": 1, "loss": 0.1}],
        "node": [{"nodes": [1, 2], "downlink": "1 Mbit/s"}],
    }
    scenario = resolve(raw(network=network, region=[{"name": "west", "nodes": [0, 1]}]))
    dumped = scenario.model_dump(mode="json", exclude_none=True)
    assert dumped["network"]["link"] == [{"from": 0, "to": 1, "both": True, "loss": 0.1}]
    assert dumped["mixing"] == {"kind": "metropolis"}
    assert resolve(dumped) == scenario == Scenario.model_validate_json(scenario.model_dump_json())
