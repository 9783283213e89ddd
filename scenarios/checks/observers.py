"""Cross-checks of the observer sets of [privacy]."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.format.observers import NOTHING_PUBLIC, check_observers
from scenarios.schema import Scenario


def mentioned(scenario: Scenario) -> Iterator[tuple[Key, int]]:
    """Yield every node that observer sets name, with its key."""
    privacy = scenario.privacy
    if privacy is not None and privacy.observers != "each node":
        for i, members in enumerate(privacy.observers):
            for j, node in enumerate(members if not isinstance(members, str) else ()):
                yield ("privacy", "observers", i, j), int(node)


def observer_sets(scenario: Scenario) -> Found:
    """Check that observer sets have members, name none twice and leave a victim."""
    privacy, nodes = scenario.privacy, scenario.topology.node_count
    if privacy is None or privacy.observers == "each node":
        return
    for i, members in enumerate(privacy.observers):
        key: Key = ("privacy", "observers", i)
        if isinstance(members, str):
            yield from ((key, message) for message in _wrong_words(scenario, members))
        elif not members:
            yield key, "an observer set needs at least one node, got none; name nodes or remove the set"
        elif len(set(members)) < len(members):
            yield key, "an observer set names a node twice; name it once"
        elif nodes is not None and set(members) >= set(range(nodes)):
            yield key, "the observer set contains every node, so there is no victim left; name fewer nodes"


def _wrong_words(scenario: Scenario, members: str) -> Iterator[str]:
    wrong = check_observers(members)
    if wrong is not None:
        yield wrong
    elif "wire" in members and not _is_tapped(scenario):
        yield 'the observer "wire" needs a wiretap; add [adversary.wiretap], or remove this observer'
    elif "public" in members and scenario.protocol.exchange != "secure":
        yield NOTHING_PUBLIC


def _is_tapped(scenario: Scenario) -> bool:
    wiretap = scenario.adversary.wiretap
    return wiretap is not None and wiretap.enabled


CHECKS = (observer_sets,)
