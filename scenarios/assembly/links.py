"""From the network tables to the model of how messages travel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from scenarios.format.locate import Key, dotted
from scenarios.kinds import latencies
from scenarios.kinds import links as network_tables
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError
from simulator.network import geography, latency
from simulator.network.links import LinkModel, Reordering, Transport
from simulator.network.packet_loss import Bursts
from simulator.topology.files import GraphFile, Link
from simulator.units import DURATIONS, PERCENT, RATES, parse


@dataclass(frozen=True)
class BuiltLinks:
    """How messages travel, and what was found out on the way.

    Args:
        link: for the network.
        notes: facts for the manifest, JSON-ready: ``places`` (of every node) and ``filled`` (how many cells of a
            delay matrix) where nodes are at places.
    """

    link: LinkModel
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class _Own:
    """What directed links have in place of what holds for all."""

    latency_s: Mapping[Link, float]
    rate_bps: Mapping[Link, float]
    loss: Mapping[Link, float]


def build_links(
    scenario: Scenario, base: Path, nodes: int, graph: nx.Graph | None, file: GraphFile | None
) -> BuiltLinks:
    """Make the link model.

    Args:
        scenario: whose network tables say how messages travel.
        base: the folder relative file names start at.
        nodes: how many there are.
        graph: who is linked to whom; None where that changes during a run.
        file: the graph file, if its links' attributes count.

    Raises:
        ConfigurationError: a file is missing or wrong, or a link is told about that does not exist.
    """
    network = scenario.network
    for key, message in strangers(network, graph):
        raise ConfigurationError(message, dotted(key))
    own = _own(network, file)
    law, base_s, notes = _latency(scenario, base, nodes, own.latency_s)
    link_bps: float | dict[Link, float] = inf if network.link_rate is None else network.link_rate
    if own.rate_bps:
        limited = () if graph is None or network.link_rate is None else graph.to_directed(as_view=True).edges
        link_bps = dict.fromkeys(limited, network.link_rate or inf) | dict(own.rate_bps)
    bursts, transport, detour = network.bursts, network.transport, network.reordering
    link = LinkModel(
        latency=law,
        uplink_bps=_rates(network, "uplink", nodes),
        loss=network.loss,
        header_bytes=round(network.header),
        base_s=base_s,
        downlink_bps=_rates(network, "downlink", nodes),
        link_bps=link_bps,
        link_loss=own.loss,
        sharing=network.sharing,
        bursts=None if bursts is None else Bursts(bursts.good, bursts.bad, loss_bad=bursts.loss),
        transport=Transport(transport.timeout, transport.backoff, transport.attempts, transport.ordered)
        if isinstance(transport, network_tables.ReliableTransport)
        else None,
        duplication=network.duplication,
        reordering=None if detour is None else Reordering(detour.share, detour.delay),
    )
    return BuiltLinks(link, notes)


def strangers(network: network_tables.Network, graph: nx.Graph | None) -> Iterator[tuple[Key, str]]:
    """Links told about in [[network.link]] that the graph does not have; all exist where the graph changes."""
    for i, link in enumerate(network.link):
        if graph is not None and not graph.has_edge(link.source, link.to):
            yield (
                ("network", "link", i),
                f"nodes {link.source} and {link.to} are not linked in this topology; name a pair that is",
            )


def law_of(table: latencies.Law | latencies.DrawnLatency) -> latency.Law:
    """The law a table describes."""
    match table:
        case latencies.ConstantLaw():
            return latency.constant(table.value)
        case latencies.UniformLaw():
            return latency.uniform(table.low, table.high)
        case latencies.LognormalLaw():
            return latency.lognormal(table.median, table.sigma)
        case latencies.NormalLaw():
            return latency.normal(table.mean, table.deviation)
        case latencies.GammaLaw():
            return latency.gamma(table.mean, table.shape)
        case latencies.ExponentialLaw():
            return latency.exponential(table.mean)
        case latencies.WeibullLaw():
            return latency.weibull(table.scale, table.shape)
        case latencies.ParetoLaw():
            return latency.pareto(table.minimum, table.tail)
        case latencies.EmpiricalLaw():
            return latency.empirical(table.samples)


def _latency(
    scenario: Scenario, base: Path, nodes: int, own_s: Mapping[Link, float]
) -> tuple[latency.Law, latency.BaseDelay | None, dict[str, Any]]:
    """The law drawn for every message, the base delay of links, and facts about places."""
    network, table = scenario.network, scenario.network.latency
    notes: dict[str, Any] = {}
    base_s: latency.BaseDelay
    match table:
        case latencies.MatrixLatency():
            unit_s = float(DURATIONS[table.unit])
            matrix = geography.delay_matrix(
                base / table.path, table.meaning, unit_s, symmetric=table.symmetric, fill=table.fill
            )
            place_of = geography.assign(len(matrix.names), nodes, table.assign, scenario.seed)
            base_s = geography.matrix_base(matrix, place_of)
            notes = {"places": [matrix.names[place] for place in place_of], "filled": matrix.filled}
        case latencies.GeographicLatency():
            points = geography.coordinates(base / table.path)
            place_of = geography.assign(len(points.names), nodes, table.assign, scenario.seed)
            base_s = geography.geographic_base(
                points, place_of, fibre=table.fibre, detour=table.detour, per_hop_s=table.per_hop
            )
            notes = {"places": [points.names[place] for place in place_of]}
        case latencies.ConstantLaw():
            if network.jitter is None and not own_s:
                return law_of(table), None, notes
            value_s = table.value
            base_s = lambda src, dst: np.full(np.shape(dst), value_s)  # noqa: E731
        case _ if table.per == "message":
            if own_s:
                raise ConfigurationError(
                    "the graph file gives links a latency of their own, which cannot stand in for one drawn for "
                    'each message; use per = "link" or a constant latency, and jitter for what varies',
                    "network.latency",
                )
            return law_of(table), None, notes
        case _:
            base_s = latency.per_link(law_of(table), scenario.seed, symmetric=table.symmetric)
    jitter = latency.constant(0.0) if network.jitter is None else law_of(network.jitter)
    return jitter, latency.given(own_s, base_s) if own_s else base_s, notes


def _rates(network: network_tables.Network, name: str, nodes: int) -> float | tuple[float, ...]:
    """Rates of the nodes: one number if all have the same."""
    given = getattr(network, name)
    of = list(given) if isinstance(given, tuple) else [inf if given is None else given] * nodes
    for exception in network.node:
        rate = getattr(exception, name)
        for node in exception.members if rate is not None else ():
            of[node] = rate
    return of[0] if len(set(of)) == 1 else tuple(of)


def _own(network: network_tables.Network, file: GraphFile | None) -> _Own:
    """From the graph file, and from [[network.link]] where both speak of a link."""
    own = _Own({}, {}, {}) if file is None else _attributes(file)
    latency_s, rate_bps, loss = dict(own.latency_s), dict(own.rate_bps), dict(own.loss)
    for link in network.link:
        for ends in link.directions:
            for values, value in ((latency_s, link.latency), (rate_bps, link.rate), (loss, link.loss)):
                if value is not None:
                    values[ends] = value
    return _Own(latency_s, rate_bps, loss)


def _attributes(file: GraphFile) -> _Own:
    """Latency, bandwidth and loss of links as the graph file has them."""
    readers: dict[str, Callable[[str, object], float]] = {
        "latency": lambda name, value: _with_unit(name, value, DURATIONS, "50 ms"),
        "bandwidth": lambda name, value: _with_unit(name, value, RATES, "10 Mbit/s"),
        "loss": _loss,
    }
    found: dict[str, dict[Link, float]] = {name: {} for name in readers}
    for link, attributes in sorted(file.attributes.items()):
        for name, read in readers.items():
            if name in attributes:
                try:
                    found[name][link] = read(name, attributes[name])
                except ValueError as error:
                    ends = " to ".join(file.labels[node] for node in link)
                    raise ConfigurationError(
                        f"the link from {ends} in the graph file: {error}", "topology.path"
                    ) from None
    if not any(found.values()):
        raise ConfigurationError(
            "no link of the graph file has a latency, bandwidth or loss; leave attributes out or add them",
            "topology.attributes",
        )
    return _Own(found["latency"], found["bandwidth"], found["loss"])


def _with_unit(name: str, value: object, units: Mapping[str, Any], example: str) -> float:
    if not isinstance(value, str):
        raise ValueError(f'{name} is {value!r}, which says no unit; write it as text like "{example}"')
    read = parse(value, units, example)
    if read < 0 or (units is RATES and read == 0):
        raise ValueError(f'{name} is "{value}"; expected {"more than" if units is RATES else "at least"} 0')
    return read


def _loss(name: str, value: object) -> float:
    read = parse(value, PERCENT, "1 %") if isinstance(value, str) else value
    if isinstance(read, bool) or not isinstance(read, int | float) or not 0 <= read <= 1:
        raise ValueError(f'{name} is {value!r}; expected a number from 0 to 1, or text like "1 %"')
    return float(read)
