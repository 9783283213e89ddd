"""Topologies: links between nodes, for the whole run or from epoch to epoch.

A graph that stays is a subclass of :class:`FixedTopology`, links that change one of :class:`ChangingTopology`.
"""

from __future__ import annotations

from scenarios.kinds.topologies import graphs, random_graphs  # isort: split

from scenarios.kinds.topologies import changing  # last: kinds are listed in this order
from scenarios.kinds.topologies.family import BuiltTopology, ChangingTopology, FixedTopology, Topology

__all__ = [
    "BuiltTopology",
    "ChangingTopology",
    "FixedTopology",
    "Topology",
    "changing",
    "graphs",
    "random_graphs",
]
