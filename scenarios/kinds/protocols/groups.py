"""Learning in disjoint groups that open one secure mean each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import written
from scenarios.kinds.groupings import Grouping, GroupingContext
from scenarios.kinds.protocols.base import (
    CoMembers,
    Conditions,
    LinkNeeds,
    Need,
    Protocol,
    ProtocolContext,
    Rounds,
    Timeout,
)
from simulator import streams
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from protocols.gossip.grouping import Schedule
    from simulator.contract.node import Program
    from simulator.topology.overlays import Overlay


class GroupsProtocol(Protocol):
    """Disjoint groups: each opens the secure mean of its members' models, which all of them adopt."""

    kind: Literal["groups"] = Field(
        description="every round, disjoint groups open the secure mean of their models and adopt it"
    )
    rounds: Rounds
    exchange: Literal["secure"] = Field(description="secure (only the means of groups are seen)")
    schedule: Grouping = Field(description="who is in a group with whom, drawn anew every round")
    timeout: Timeout = written("500 ms")
    weights: Literal["equal", "samples"] = Field(
        default="equal",
        examples=["samples"],
        description="weights of a mean: equal, or by the public numbers of samples",
    )
    takeovers: int = Field(
        default=1,
        ge=0,
        le=100,
        description="members that may take over, one after another, from one that does not open the sum in time; "
        "nobody can in stars and connected parts",
    )

    states_are_public: ClassVar[bool] = True
    takes_weights: ClassVar[bool] = False

    @property
    def co_members(self) -> CoMembers:
        """Neighbours where all nodes are; otherwise any node, by keys that are passed on."""
        return "neighbours" if self.schedule.needs_all_links else "everybody"

    @property
    def links_sums(self) -> bool:
        """Where the schedule's sums go up a tree."""
        return self.schedule.by_tree

    @property
    def messages(self) -> tuple[str, ...]:
        """None: models never travel in the clear, only means of groups."""
        return ()

    @property
    def messages_beside_sums(self) -> tuple[str, ...]:
        """Means, and what nodes that are behind ask and are told."""
        return ("mean", "ask", "pace", "closed", *(("partial",) if self.schedule.by_tree else ()))

    @property
    def shows_sums(self) -> tuple[str, ...]:
        """Means of groups."""
        return ("mean",)

    @property
    def links(self) -> LinkNeeds:
        """Links in both directions; between all nodes where any two may meet."""
        return LinkNeeds(both_ways=True, all_pairs=self.schedule.needs_all_links)

    @property
    def timeout_s(self) -> float:
        """The wait of one sub-round of a secure sum."""
        return self.timeout

    def need(self, conditions: Conditions) -> Need:
        """Return one request and its answer."""
        return Need(2, 1, 0.0, certain=True)

    def members_at_least(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the size of the schedule's groups."""
        return self.schedule.smallest(neighbours, nodes)

    def update_weights(self, samples: Sequence[int]) -> list[float]:
        """Return the public weight of each node's model in the mean of its group."""
        return (
            [float(count) for count in samples]
            if self.weights == "samples"
            else super().update_weights(samples)
        )

    def sums(
        self, overlay: Overlay, samples: Sequence[int], seed: int, least: int, member: int | None = None
    ) -> Sequence[Sequence[float]]:
        """List the weights of every group of the run, or of those that one node is in."""
        shares, schedule = self.update_weights(samples), self.scheduled(overlay, seed, least)
        nodes = range(overlay.nodes) if member is None else (member,)
        there = (schedule.group_of(node, round) for round in range(self.rounds) for node in nodes)
        found = {group.members for group in there if group is not None}
        return [[shares[v] for v in members] for members in sorted(found)]

    def groups_of_rounds(
        self, overlay: Overlay, seed: int, least: int
    ) -> Iterator[Collection[Sequence[int]]]:
        """Yield the members of all groups of every round."""
        schedule = self.scheduled(overlay, seed, least)
        for round in range(self.rounds):
            found = (schedule.group_of(node, round) for node in range(overlay.nodes))
            yield {group.members for group in found if group is not None}

    def scheduled(self, overlay: Overlay, seed: int, least: int) -> Schedule:
        """Return the schedule of a run.

        Args:
            overlay: links between nodes.
            seed: of the run.
            least: fewest members of a group.
        """

        return _scheduled(self.schedule, overlay, seed, least)  # type: ignore[arg-type]  # hashed by identity

    def build(self, context: ProtocolContext) -> Program:
        """Return learning in groups.

        Raises:
            ConfigurationError: two nodes that may meet have no link.
        """
        from protocols.gossip.group_trees import group_trees
        from protocols.gossip.groups import GroupPlan, groups

        learner, sums = context.learner, context.sums
        assert sums is not None
        if self.schedule.needs_all_links and any(
            len(context.overlay.links(node, 0).to) < context.overlay.nodes - 1
            for node in range(context.overlay.nodes)
        ):
            raise ConfigurationError(
                f"schedule = {self.schedule.kind} needs links between all nodes, and this graph has fewer; use "
                'topology.kind = "complete", or schedule.kind = "connected" or "stars"',
                "protocol.schedule",
            )
        schedule = self.scheduled(context.overlay, context.seed, sums.rules.minimum(0))
        takeovers = 0 if self.schedule.one_opener else self.takeovers
        plan = GroupPlan(schedule, self.rounds, self.update_weights(context.samples), takeovers)
        program = group_trees if self.schedule.by_tree else groups
        return lambda node: program(node, learner, plan, sums.rules, sums.suite)


@lru_cache(maxsize=4)
def _scheduled(grouping: Grouping, overlay: Overlay, seed: int, least: int) -> Schedule:
    """Return the schedule of a run, which every node and several checks ask for."""

    @cache
    def neighbours(epoch: int) -> Sequence[Sequence[int]]:
        return [overlay.links(node, epoch).to for node in range(overlay.nodes)]

    return grouping.build(
        GroupingContext(
            nodes=overlay.nodes,
            least=least,
            draws=partial(streams.generator, seed, "groups"),
            neighbours=lambda round: neighbours(overlay.epoch(0, round)),
        )
    )
