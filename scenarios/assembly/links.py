"""Build the model of links from the network tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import networkx as nx

from scenarios.checks.network import strangers
from scenarios.format.locate import dotted
from scenarios.kinds.latencies import named
from scenarios.kinds.links import Network
from simulator.contract.node import Link
from simulator.errors import ConfigurationError
from simulator.network import latency
from simulator.network.links import LinkModel
from simulator.streams import Law
from simulator.topology.files import GraphFile
from simulator.units import DURATIONS, PERCENT, RATES, parse, read


@dataclass(frozen=True)
class BuiltLinks:
    """Model of the links, with facts about them.

    Args:
        link: model of the links.
        notes: facts for the manifest, JSON-ready: ``places`` (of every node) and ``filled`` (how many cells of a
            delay matrix) where nodes are at places.
    """

    link: LinkModel
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class _Own:
    """Settings of single directed links, in place of those for all links."""

    latency_s: Mapping[Link, float]
    rate_bps: Mapping[Link, float]
    loss: Mapping[Link, float]


def build_links(
    network: Network, seed: int, nodes: int, base: Path, graph: nx.Graph | None, file: GraphFile | None
) -> BuiltLinks:
    """Build the link model.

    Args:
        network: the network tables.
        seed: of the run.
        nodes: number of nodes.
        base: the folder that relative file names start at.
        graph: graph of the links; None if links change during the run.
        file: the graph file, if the attributes of its links are used.

    Raises:
        ConfigurationError: a file is missing or wrong, or a table names a link that does not exist.
    """
    for key, message in () if graph is None else strangers(network, graph):
        raise ConfigurationError(message, dotted(key))
    own = _own(network, file)
    law, base_s, notes = _latency(network, seed, nodes, base, own.latency_s)
    link_bps: float | dict[Link, float] = inf if network.link_rate is None else network.link_rate
    if own.rate_bps:
        limited = () if graph is None or network.link_rate is None else graph.to_directed(as_view=True).edges
        link_bps = dict.fromkeys(limited, network.link_rate or inf) | dict(own.rate_bps)
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
        bursts=None if network.bursts is None else network.bursts.build(),
        transport=network.transport.build(),
        duplication=network.duplication,
        reordering=None if network.reordering is None else network.reordering.build(),
        latency_of=" with ".join(named(law) for law in (network.latency, network.jitter) if law is not None),
    )
    return BuiltLinks(link, notes)


def _latency(
    network: Network, seed: int, nodes: int, base: Path, own_s: Mapping[Link, float]
) -> tuple[Law, latency.BaseDelay | None, Mapping[str, Any]]:
    """Return the latency law drawn for every message, the base delay of links, and facts about places."""
    delays = network.latency.delays(seed, nodes, base)
    if delays.drawn is not None and network.jitter is None and not own_s:
        return delays.drawn, None, delays.notes
    if delays.base_s is None:
        raise ConfigurationError(
            "the graph file gives links a latency of their own, which cannot replace a latency drawn for each "
            'message; use per = "link" or a constant latency, and jitter for variation',
            "network.latency",
        )
    jitter = latency.constant(0.0) if network.jitter is None else network.jitter.probed()
    return jitter, latency.given(own_s, delays.base_s) if own_s else delays.base_s, delays.notes


def _rates(network: Network, name: str, nodes: int) -> float | tuple[float, ...]:
    """Return the rates of the nodes, in bits per second; one number if all are the same."""
    given = getattr(network, name)
    of = list(given) if isinstance(given, tuple) else [inf if given is None else given] * nodes
    for exception in network.node:
        rate = getattr(exception, name)
        for node in exception.members if rate is not None else ():
            of[node] = rate
    return of[0] if len(set(of)) == 1 else tuple(of)


def _own(network: Network, file: GraphFile | None) -> _Own:
    """Return settings of single links from the graph file and [[network.link]]; the latter wins."""
    own = _Own({}, {}, {}) if file is None else _attributes(file)
    latency_s, rate_bps, loss = dict(own.latency_s), dict(own.rate_bps), dict(own.loss)
    for link in network.link:
        for ends in link.directions:
            for values, value in ((latency_s, link.latency), (rate_bps, link.rate), (loss, link.loss)):
                if value is not None:
                    values[ends] = value
    return _Own(latency_s, rate_bps, loss)


def _attributes(file: GraphFile) -> _Own:
    """Read latency, bandwidth and loss of links from the graph file."""
    readers: dict[str, Callable[[str, object], float]] = {
        "latency": lambda name, value: _with_unit(name, value, DURATIONS, "50 ms"),
        "bandwidth": lambda name, value: _with_unit(name, value, RATES, "10 Mbit/s"),
        "loss": _loss,
    }
    found: dict[str, dict[Link, float]] = {name: {} for name in readers}
    for link, attributes in sorted(file.attributes.items()):
        for name, reader in readers.items():
            if name in attributes:
                try:
                    found[name][link] = reader(name, attributes[name])
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
    try:
        found = read(value, units, example)
    except ValueError as error:
        raise ValueError(f"{name} is {value!r}: {error}") from None
    if found < 0 or (units is RATES and found == 0):
        raise ValueError(f'{name} is "{value}"; expected {"more than" if units is RATES else "at least"} 0')
    return found


def _loss(name: str, value: object) -> float:
    found = parse(value, PERCENT, "1 %") if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
        raise ValueError(f'{name} is {value!r}; expected a number from 0 to 1, or text like "1 %"')
    return float(found)
