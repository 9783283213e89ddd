"""Who plays which part, as scenario files say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocols.learning.executor import BatchedExecutor
from scenarios.build import Parts, build
from scenarios.load import load
from simulator.errors import ConfigurationError

HERE = Path(__file__).parent
PLAIN = ["protocol.exchange=plain", "topology.nodes=12", "fault=[]"]


def built(*changes: str) -> Parts:
    loaded = load(HERE / "weather.toml", [*PLAIN, "region=[]", "adversary={}", *changes])
    return build(loaded.scenario, BatchedExecutor(), HERE)


def test_counted_nodes_play_one_part_each() -> None:
    parts = built('adversary.byzantine={count=3, attack={kind="sign-flip"}}', "adversary.curious={count=3}")
    assert len(parts.cast.byzantine) == len(parts.cast.curious) == 3
    assert parts.cast.byzantine.isdisjoint(parts.cast.curious)
    assert parts.substitutions.keys() == parts.cast.byzantine
    assert parts.honest == frozenset(range(12)) - parts.cast.byzantine


def test_sybils_hold_no_data_and_count_for_nobody() -> None:
    without, with_them = built(), built("adversary.sybil={identities=4, links_each=2}")
    assert with_them.cast.sybils == frozenset({12, 13, 14, 15})
    assert with_them.honest == without.honest == frozenset(range(12))
    samples = with_them.bank.mask.sum(1).tolist()
    assert samples == [*without.bank.mask.sum(1).tolist(), 0, 0, 0, 0]
    assert with_them.learner.gain == without.learner.gain
    assert all(set(with_them.neighbors[s]) <= set(range(12)) for s in with_them.cast.sybils)


def test_an_eclipsed_node_has_attackers_around_it_alone() -> None:
    parts = built("adversary.eclipse={victim=5, attackers=[0, 1, 2, 3]}")
    assert set(parts.neighbors[5]) == {0, 1, 2, 3}
    assert parts.cast.curious == {0, 1, 2, 3}


def test_switched_off_nothing_is_placed() -> None:
    off: list[Any] = [
        "adversary.sybil={identities=4, links_each=2, enabled=false}",
        "adversary.eclipse={victim=5, attackers=[0, 1], enabled=false}",
        'adversary.byzantine={count=3, attack={kind="sign-flip"}, enabled=false}',
        'adversary.tamper=[{kind="drop", nodes=[3], enabled=false}]',
    ]
    parts = built(*off)
    assert parts.neighbors == built().neighbors
    assert parts.cast.corrupt == frozenset()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("adversary.wiretap={links=[[0, 40]]}", "adversary.wiretap.links[0]"),
        ('adversary.tamper=[{kind="drop", links=[[0, 0]]}]', "adversary.tamper[0].links[0]"),
        ('fault=[{kind="cut", links=[[0, 40]], at="1 s"}]', "fault[0].links[0][1]"),
    ],
)
def test_links_that_are_none_are_refused(change: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        built(change)
    assert key in f"{refused.value.key} {refused.value}"
