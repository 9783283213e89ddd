"""Who looks at a run, from words: nodes, the public, a wiretap, coalitions placed in the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from protocols.privacy.lineage import NAMES
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    import networkx as nx

FORMS = '3,7 (nodes), "public", "wire", "random:K", "degree:K", "betweenness:K", "neighbours:V", or several: "wire,3"'
NOTHING_PUBLIC = (
    'the public is told the sums that nodes open, and without exchange = "secure" there are none, while models '
    'travel in the clear; ask for nodes, or for "wire" with [adversary.wiretap]'
)
PLACED = ("random", "degree", "betweenness", "neighbours")


def check_observers(text: str) -> str | None:
    """What is wrong with a set of observers in words, if anything."""
    for part in _parts(text):
        word, colon, number = part.partition(":")
        if part.isdecimal() or part in NAMES.values() or (word in PLACED and colon and number.isdecimal()):
            continue
        return f"{part!r} is no observer; expected {FORMS}"
    return None


def observers_from(asked: Sequence[int] | str, graph: nx.Graph, seed: int) -> tuple[int, ...]:
    """One set of observers.

    Args:
        asked: nodes, or words.
        graph: on 0..n-1.
        seed: of the run; ``random:K`` draws the same nodes for it every time, and more for a larger K.

    Returns:
        Ascending; the public and the wire are negative numbers.

    Raises:
        ConfigurationError: not an observer, or not a node of the graph.
    """
    if not isinstance(asked, str):
        return tuple(sorted(set(asked)))
    wrong = check_observers(asked)
    if wrong is not None:
        raise ConfigurationError(wrong)
    from simulator.adversary.placement import (  # networkx: not for checks alone
        at_random,
        by_betweenness,
        by_degree,
    )

    numbers = {name: number for number, name in NAMES.items()}
    found: set[int] = set()
    for part in _parts(asked):
        word, _, number = part.partition(":")
        if part in numbers:
            found.add(numbers[part])
        elif word == "random":
            found |= set(at_random(range(len(graph)), int(number), seed))
        elif word == "degree":
            found |= set(by_degree(graph, int(number)))
        elif word == "betweenness":
            found |= set(by_betweenness(graph, int(number)))
        elif int(number or part) not in graph:
            raise ConfigurationError(
                f"{number or part} is not a node of this run, which has 0..{len(graph) - 1}"
            )
        elif word == "neighbours":
            found |= set(graph[int(number)])
        else:
            found.add(int(part))
    return tuple(sorted(found))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
