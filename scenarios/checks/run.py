"""Run all checks of a scenario beyond single keys, and checks of the graph and the noise once these are known.

Each check is a small generator of (key, message) pairs for one rule. Checks of a single table are in that table
(``problems``); checks that compare two tables are in the module named after them. All of them run, so all problems of
a scenario file are reported at once. Rules that depend on the graph run again when a random graph or a graph file has
been built (:func:`check_degrees`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from scenarios.checks import (
    attacks,
    observers,
    privacy_protocol,
    privacy_secure,
    privacy_training,
    protocol_adversary,
    protocol_topology,
    secure_protocol,
    secure_topology,
    studies,
    topology,
)
from scenarios.checks import data as checks_data
from scenarios.checks import faults as checks_faults
from scenarios.checks import network as checks_network
from scenarios.checks import training as checks_training
from scenarios.checks.single_tables import own_problems
from scenarios.checks.topology import Found
from scenarios.facts.timeouts import hopeless
from scenarios.facts.training import has_integer_noise, sums_per_round
from scenarios.format.locate import Key, dotted
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

Check: TypeAlias = Callable[[Scenario], Found]


def named_nodes(scenario: Scenario) -> Found:
    """Check that every named node is in the graph."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from checks_network.outside(_mentioned(scenario), nodes + _sybils(scenario))


def _sybils(scenario: Scenario) -> int:
    """Return the number of identities that the adversary adds after all other nodes."""
    sybil = scenario.adversary.sybil
    return sybil.identities if sybil is not None and sybil.enabled else 0


def _mentioned(scenario: Scenario) -> Iterator[tuple[Key, int]]:
    yield from checks_faults.mentioned(scenario)
    yield from observers.mentioned(scenario)


def somebody_honest(scenario: Scenario) -> Found:
    """Check that not every node is Byzantine."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from _all_byzantine(scenario, nodes)


def _all_byzantine(scenario: Scenario, nodes: int) -> Found:
    byzantine = scenario.adversary.byzantine
    if byzantine and byzantine.enabled and set(byzantine.nodes or ()) >= set(range(nodes)):
        yield (
            ("adversary", "byzantine", "nodes"),
            "names every node, and at least one must be honest, since only honest nodes are measured; name fewer",
        )


CHECKS: tuple[Check, ...] = (
    *topology.CHECKS,
    *checks_network.CHECKS,
    named_nodes,
    *checks_faults.CHECKS,
    *attacks.CHECKS,
    *protocol_topology.CHECKS,
    *protocol_adversary.CHECKS,
    somebody_honest,
    *observers.CHECKS,
    *checks_data.CHECKS,
    *checks_training.CHECKS,
    *secure_protocol.CHECKS,
    *secure_topology.CHECKS,
    hopeless,
    *privacy_protocol.CHECKS,
    *privacy_training.CHECKS,
    *privacy_secure.CHECKS,
    *studies.CHECKS,
)


FILE_CHECKS = (
    *topology.FILE_CHECKS,
    *checks_network.FILE_CHECKS,
    *checks_faults.FILE_CHECKS,
    *checks_data.FILE_CHECKS,
)


class _MissingTable(Exception):
    """A check needs a table that is invalid; the check is skipped."""


class _Readable:
    """The valid tables of a broken scenario; access to another table skips the check."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self._tables = tables

    def __getattr__(self, name: str) -> Any:
        if name not in self._tables:
            raise _MissingTable(name)
        return self._tables[name]


def check(scenario: Scenario | dict[str, Any], base: Path) -> list[tuple[Key, str]]:
    """Run every check.

    Args:
        scenario: a scenario, or the valid tables of a broken one, by name; checks that need others are skipped.
        base: the folder that relative file names start at.

    Returns:
        All problems found, as (key, message): those of single tables, then those of several tables.
    """
    if isinstance(scenario, Scenario):
        view, tables = scenario, {name: getattr(scenario, name) for name in Scenario.model_fields}
    else:
        view, tables = cast(Scenario, _Readable(scenario)), scenario
    found = list(own_problems(tables))
    rules: tuple[Check, ...] = (
        *CHECKS,
        *(partial(rule, base=base) for rule in FILE_CHECKS),
    )
    for rule in rules:
        try:
            found += rule(view)
        except _MissingTable:
            continue
    return found


def check_nodes(nodes: int, scenario: Scenario) -> None:
    """Check nodes named by regions and network tables against the built graph.

    Raises:
        ConfigurationError: a node is not in the graph, or a list is too long or too short.
    """
    named = checks_network.mentioned_nodes(scenario)
    _refuse([*checks_network.outside(named, nodes), *checks_network.misfits(scenario, nodes)])


def check_degrees(degrees: Sequence[int], scenario: Scenario) -> None:
    """Check everything that depends on the built graph: neighbourhood sizes, named nodes, samples per node.

    Args:
        degrees: number of neighbours of each node.
        scenario: the scenario the graph was built for.

    Raises:
        ConfigurationError: the graph does not fit the scenario; the message lists every reason.
    """
    nodes = len(degrees)
    found = [
        *checks_network.outside(_mentioned(scenario), nodes),
        *checks_data.enough_for(scenario, nodes),
        *_all_byzantine(scenario, nodes),
    ]
    members = scenario.protocol.members_at_least(min(degrees), nodes)
    assert members is not None  # both numbers are known
    found += secure_topology.neighbourhood(scenario, members)
    _refuse(found)


def check_links(neighbors: Sequence[Collection[int]], scenario: Scenario) -> None:
    """Check that links named by faults and adversaries exist.

    Raises:
        ConfigurationError: a link does not exist.
    """
    _refuse(list(checks_faults.strangers(scenario, neighbors)))


def check_noise(sigma: Sequence[float], scenario: Scenario) -> None:
    """Check a noise multiplier against the target once the noise that each node adds is known.

    Args:
        sigma: per node, the standard deviation of the noise on its clipped sum.
        scenario: the scenario it was computed for.

    Raises:
        ConfigurationError: the certified epsilon of the node with the least noise is above the target.
    """
    privacy, protocol = scenario.privacy, scenario.protocol
    if has_integer_noise(scenario):
        return
    whole = protocol.states_are_public and sums_per_round(scenario) == 1
    if whole and privacy is not None and privacy.noise == "sum":
        return  # a sum costs what its own noise says, which was checked before
    if privacy is not None and privacy.noise_multiplier is not None and scenario.protocol.exchange != "plain":
        _refuse(list(privacy_secure.target(scenario, min(sigma) / privacy.clip)))


def _refuse(found: Sequence[tuple[Key, str]]) -> None:
    if found:
        (first, message), *others = found
        told = "; ".join([message, *(f"{dotted(key)}: {other}" for key, other in others)])
        raise ConfigurationError(told, dotted(first))
