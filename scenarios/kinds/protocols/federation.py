"""Federated averaging on a star and on a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import Problems, written
from scenarios.format.units import Duration, Fraction
from scenarios.kinds.protocols.base import (
    Conditions,
    Exchange,
    InTheClear,
    LinkNeeds,
    Need,
    ProtocolContext,
    Rounds,
    TimedProtocol,
)
from scenarios.kinds.robust_rules import RobustRule
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from protocols.gossip.federation import FederationPlan, Place
    from simulator.contract.node import Program
    from simulator.topology.overlays import Overlay


class FederatedProtocol(TimedProtocol):
    """Base class of federated averaging on a star and on a tree."""

    rounds: Rounds
    timeout: Duration = Field(
        default=written("500 ms"),
        gt=0,
        examples=["1 s"],
        description='longest wait for the results of clients or children: "500 ms"',
    )
    mix_every: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        examples=[5],
        description="local updates between two averages at the lowest level",
    )
    participation: Fraction = Field(
        default=1.0,
        gt=0,
        le=1,
        examples=["50 %"],
        description="fraction of the clients or children that are asked each time, at least one",
    )
    weights: Literal["equal", "samples"] = Field(
        default="equal",
        examples=["samples"],
        description="weights of the average: equal, or by the public numbers of samples",
    )
    inner_train: bool = Field(
        default=True, examples=[False], description="whether nodes that average train on their own data too"
    )
    robust: RobustRule | None = Field(
        default=None, description="robust rule that replaces the weighted average of results"
    )

    takes_weights: ClassVar[bool] = False

    @property
    def messages(self) -> tuple[str, ...]:
        """Models down and up, the last one, and its confirmation."""
        return ("task", "result", "final", "done")

    @property
    def rule(self) -> RobustRule | None:
        """The robust rule, over results."""
        return self.robust

    @property
    def asked_part(self) -> float:
        """The fraction of clients that is asked each time."""
        return self.participation

    @property
    def updates_between_sums(self) -> int:
        """Local updates between two averages."""
        return self.mix_every

    def problems(self) -> Problems:
        """Yield robust rules that an average cannot use."""
        rule = self.robust
        if rule is None:
            return
        if self.exchange == "secure":
            yield (
                ("robust",),
                f"{rule.kind} compares single models, and a server opens only their sum; use "
                'exchange = "plain" or "ldp", or remove this key',
            )
        elif "own samples" in rule.needs:
            yield (
                ("robust",),
                f"{rule.kind} chooses by losses on a node's own samples, and a server averages for "
                "others; use "
                "another rule",
            )
        elif not self.inner_train and rule.centred:
            yield (
                ("robust",),
                f"{rule.kind} compares with the own model, and a server that does not train has none; set "
                "inner_train = true, or use a rule that compares all models with one another",
            )

    def update_weights(self, samples: Sequence[int]) -> list[float]:
        """Return the public weight of each node's result in an average.

        Args:
            samples: how many each node holds (public).
        """
        return (
            [float(count) for count in samples]
            if self.weights == "samples"
            else super().update_weights(samples)
        )

    def plan(self, context: ProtocolContext, global_every: int) -> FederationPlan:
        """Return who averages whose models, how often and with which weights.

        Args:
            context: overlay, samples and robust rule.
            global_every: averages at one level between two at the next.

        Raises:
            ConfigurationError: the links are no tree.
        """
        from protocols.gossip.federation import FederationPlan

        return FederationPlan(
            places=places(context.overlay),
            rounds=self.rounds,
            mix_every=self.mix_every,
            global_every=global_every,
            participation=self.participation,
            shares=self.update_weights(context.samples),
            inner_train=self.inner_train,
            timeout_s=self.timeout,
            robust=context.robust,
        )


class FedavgProtocol(FederatedProtocol):
    """Federated averaging on a star."""

    kind: Literal["fedavg"] = Field(description="federated averaging on a star; node 0 is the server")
    exchange: Exchange

    served: ClassVar[bool] = True

    @property
    def links(self) -> LinkNeeds:
        """A star around the server."""
        return LinkNeeds(tree_levels=1)

    @property
    def messages_beside_sums(self) -> tuple[str, ...]:
        """Models down, the last one and its confirmation, and seeds of noise that was not needed."""
        return ("task", "final", "done", "surplus", "seeds")

    @property
    def adapts_clip(self) -> bool:
        """Where clients alone contribute, each with noise of its own."""
        return self.exchange == "ldp" and not self.inner_train

    def need(self, conditions: Conditions) -> Need:
        """Return a task and its result from every client, or one request and its answer where sums are secure."""
        if self.exchange == "secure":
            return Need(2, 1, 0.0, certain=True)
        # A server that trains too starts to wait when its own training is over.
        training_s = 0.0 if self.inner_train else self.mix_every * conditions.step_cost_s
        clients = max(1, conditions.nodes - 1)
        return Need(2, clients + 1, training_s, certain=conditions.alike or not self.inner_train)

    def compared(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the number of clients that are asked, and one for the server if it trains."""
        return None if nodes is None else self.asked(nodes - 1) + self.inner_train

    def members_at_least(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the number of clients."""
        return None if nodes is None else nodes - 1

    def aggregators(self, overlay: Overlay, member: int | None = None) -> Sequence[int]:
        """List the server."""
        return (0,)

    def members(self, overlay: Overlay, samples: Sequence[int], aggregator: int) -> Mapping[int, float]:
        """Map every client to the weight of its update."""
        return dict(list(enumerate(self.update_weights(samples)))[1:])

    @classmethod
    def releases_only_integer_sums(cls, table: Mapping[str, Any]) -> bool:
        """Return whether the server adds nothing of its own, and all updates count alike."""
        return table.get("inner_train") is False and table.get("weights", "equal") == "equal"

    def integer_noise_problems(self, law: str) -> Problems:
        """Yield keys with which a sum would hold more than the clients' noised integers."""
        if self.inner_train:
            yield (
                ("inner_train",),
                "inner_train = true adds the server's own update outside the integer sum; use inner_train "
                "= false, "
                f'or law = "gaussian" in place of {law}',
            )
        elif self.weights != "equal":
            yield (
                ("weights",),
                f'weights = "{self.weights}" multiplies vectors that are rounded already; use weights = '
                '"equal", or '
                f'law = "gaussian" in place of {law}',
            )
        elif self.mix_every > 1:
            yield (
                ("mix_every",),
                f"mix_every must be 1: {law} noise is added once to what a client sends, so that has to "
                "be one local "
                "update; use local_steps or local_epochs in place of mix_every",
            )

    def build(self, context: ProtocolContext) -> Program:
        """Return federated averaging, in the clear or by secure sums."""
        from protocols.gossip.federation import fedavg
        from protocols.gossip.secure_fedavg import secure_fedavg

        learner, plan, sums = context.learner, self.plan(context, 1), context.sums
        if sums is None:
            return lambda node: fedavg(node, learner, plan)
        return lambda node: secure_fedavg(node, learner, plan, sums.rules, sums.suite(node))


class HierarchicalProtocol(FederatedProtocol):
    """Federated averaging on a tree: aggregators between the leaves and the root."""

    kind: Literal["hierarchical-fedavg"] = Field(
        description="federated averaging on a tree; node 0 is the root, and inner nodes average their leaves"
    )
    exchange: InTheClear
    global_every: int = Field(
        default=5, ge=1, le=1000, description="averages at one level between two averages at the next"
    )

    @property
    def links(self) -> LinkNeeds:
        """A tree below the root."""
        return LinkNeeds(tree_levels=inf)

    def need(self, conditions: Conditions) -> Need | None:
        """Return None: every level of the tree has a time-out of its own."""
        return None

    def build(self, context: ProtocolContext) -> Program:
        """Return hierarchical federated averaging."""
        from protocols.gossip.federation import hierarchical

        learner, plan = context.learner, self.plan(context, self.global_every)
        return lambda node: hierarchical(node, learner, plan)


def places(overlay: Overlay) -> list[Place]:
    """Return every node's place in the tree whose root is node 0.

    Raises:
        ConfigurationError: the links are no tree.
    """
    from protocols.gossip.federation import ROOT, Place

    parent: dict[int, int | None] = {ROOT: None}
    order = [ROOT]
    for node in order:  # grows while it is walked
        below = [peer for peer in overlay.links(node, 0).to if peer != parent[node]]
        if not parent.keys().isdisjoint(below):
            raise ConfigurationError(
                "federated averaging needs a tree rooted at node 0, and these links have a cycle; use "
                'topology.kind = "star" or "tree"',
                "topology.kind",
            )
        parent |= dict.fromkeys(below, node)
        order += below
    if len(order) < overlay.nodes:
        raise ConfigurationError(
            "federated averaging needs a tree rooted at node 0, and some nodes cannot be reached from "
            "there; use "
            'topology.kind = "star" or "tree"',
            "topology.kind",
        )
    children: dict[int, list[int]] = {node: [] for node in order}
    height = dict.fromkeys(order, 0)
    for node in reversed(order):
        above = parent[node]
        if above is not None:
            children[above].append(node)
            height[above] = max(height[above], height[node] + 1)
    return [Place(parent[node], tuple(sorted(children[node])), height[node]) for node in range(overlay.nodes)]
