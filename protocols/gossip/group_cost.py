"""Traffic of learning in groups: messages and bytes of a calm run, in closed form.

Calm is a run in which nobody is waited for in vain: no faults, no loss, no Byzantine nodes, and time-outs that are
never reached. Transport headers are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from protocols.aggregation.cost import Traffic, inside
from protocols.aggregation.sums import SUM_BYTES
from protocols.gossip.grouping import Group, Schedule
from protocols.gossip.messages import HEADER_BYTES
from protocols.sharing.modulus import Modulus
from simulator.contract.compute import VALUE_BYTES

NOTHING = Traffic(0, 0)


class GroupTraffic(NamedTuple):
    """Traffic of a run, by what it is for.

    Args:
        keys: agreement on pair keys; nothing if the suite has none.
        sums: greetings, lists, shares and vectors, or masked sums up trees.
        means: opened means, back to the members.
        ends: the word of each member of a last group that it has finished.
    """

    keys: Traffic
    sums: Traffic
    means: Traffic
    ends: Traffic

    @property
    def all(self) -> Traffic:
        """Messages and bytes of everything."""
        return self.keys + self.sums + self.means + self.ends


def star_sums(traffic: Callable[[int], Traffic]) -> Callable[[int], Traffic]:
    """Return the traffic of a group's sum by its number of members, whoever of them opens it.

    Args:
        traffic: of a sum over so many members beside the aggregator, a formula of :mod:`protocols.aggregation.cost`.
    """
    return lambda members: inside(traffic(members), members)


def tree_sums(size: int, modulus: Modulus) -> Callable[[int], Traffic]:
    """Return the traffic of a group's sum up a tree by its number of members: a masked vector on every edge.

    Args:
        size: length of a vector, in words.
        modulus: modulus of the words.
    """
    bytes = SUM_BYTES + modulus.size_bytes(size)
    return lambda members: Traffic(members - 1, (members - 1) * bytes)


def calm_run(
    schedule: Schedule,
    rounds: int,
    neighbours: Sequence[Sequence[int]],
    size: int,
    sums: Callable[[int], Traffic],
    keys: Traffic = NOTHING,
) -> GroupTraffic:
    """Return the traffic of a calm run.

    A group of m members costs its sum and m − 1 means; up a tree, 2 (m − 1) vectors in all.

    Args:
        schedule: groups of every round.
        rounds: of the run.
        neighbours: links, by node.
        size: parameters of a model.
        sums: traffic of a group's sum by its number of members: :func:`star_sums` or :func:`tree_sums`.
        keys: agreement on pair keys: :func:`~protocols.aggregation.cost.direct_setup` or
            :func:`~protocols.aggregation.cost.flooded_setup`.
    """
    found = [group for round in range(rounds) for group in schedule.groups(round)]
    means = sum(len(group.members) - 1 for group in found)
    ends = sum(_links_inside(group, neighbours) for group in schedule.groups(rounds - 1))
    return GroupTraffic(
        keys,
        sum((sums(len(group.members)) for group in found), NOTHING),
        Traffic(means, means * (HEADER_BYTES + VALUE_BYTES * size)),
        Traffic(ends, ends * HEADER_BYTES),
    )


def _links_inside(group: Group, neighbours: Sequence[Sequence[int]]) -> int:
    """Return the number of links between members of a group, in both directions."""
    return sum(w in group.members for v in group.members for w in neighbours[v])
