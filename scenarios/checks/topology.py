"""Cross-checks of topology, mixing and regions: which weights a topology takes, and which sums its links allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from scenarios.format.locate import Key
from scenarios.schema import Scenario

Found: TypeAlias = Iterator[tuple[Key, str]]


def topology_file(scenario: Scenario, base: Path) -> Found:
    """The file of the graph or of its schedule is there."""
    for key, message in scenario.topology.file_problems(base):
        yield ("topology", *key), message


def known_mixing(scenario: Scenario) -> Found:
    """The weights asked for exist."""
    mixing, topology = scenario.mixing, scenario.topology
    if mixing is None:
        return
    if not topology.is_fixed():
        yield (
            ("mixing",),
            f"[mixing] has no effect with {topology.kind}, whose links bring their own weights; remove it",
        )
    elif mixing.reads_weights and not topology.weights_links:
        yield (
            ("mixing", "kind"),
            f'weights from a file need topology.kind = "file", not "{topology.kind}"; use another rule, such as '
            '"metropolis"',
        )


def lasting_links(scenario: Scenario) -> Found:
    """Secure sums are made in neighbourhoods that stay."""
    topology = scenario.topology
    if scenario.protocol.exchange == "secure" and not topology.is_fixed():
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


CHECKS = (known_mixing, lasting_links, regions)
FILE_CHECKS = (topology_file,)
