"""Cross-checks of topology, mixing and regions: weights that a topology has, and sums that its links allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from scenarios.format.locate import Key
from scenarios.schema import Scenario

Found: TypeAlias = Iterator[tuple[Key, str]]


def topology_file(scenario: Scenario, base: Path) -> Found:
    """Check that the file of the graph or of its schedule exists."""
    for key, message in scenario.topology.file_problems(base):
        yield ("topology", *key), message


def known_mixing(scenario: Scenario) -> Found:
    """Check that the topology has the mixing weights that [mixing] names."""
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
            f'weights from a file need topology.kind = "file", got "{topology.kind}"; use another rule, such as '
            '"metropolis"',
        )


def lasting_links(scenario: Scenario) -> Found:
    """Check that secure sums have fixed links."""
    topology = scenario.topology
    if scenario.protocol.exchange == "secure" and not topology.is_fixed():
        yield (
            ("topology", "kind"),
            f"secure sums need fixed links, and those of {topology.kind} change; use a fixed topology, or "
            'exchange = "plain" or "ldp"',
        )


def regions(scenario: Scenario) -> Found:
    """Check that regions have distinct names and list no node twice."""
    seen: set[str] = set()
    for i, region in enumerate(scenario.region):
        if region.name in seen:
            yield (
                ("region", i, "name"),
                f'must be distinct, and "{region.name}" names an earlier region; use another name',
            )
        if len(set(region.nodes)) < len(region.nodes):
            yield ("region", i, "nodes"), "a node is listed twice; list it once"
        seen.add(region.name)


CHECKS = (known_mixing, lasting_links, regions)
FILE_CHECKS = (topology_file,)
