"""A gossip protocol."""

from typing import ClassVar, Literal

from pydantic import Field

from scenarios.format.units import Duration
from scenarios.kinds.protocols import LinkNeeds, Protocol
from scenarios.kinds.robust_rules import RobustRule


class BroadcastProtocol(Protocol):
    """Broadcast gossip (Aysal et al. 2009, IEEE Trans. Signal Process. 57(7)) with a local update each time."""

    kind: Literal["broadcast"] = Field(
        description="on its own clock a node mixes, trains and tells all neighbours"
    )
    rounds: int = Field(ge=1, le=1_000_000, examples=[100], description="local updates of each node")
    exchange: Literal["plain", "ldp"] = Field(
        examples=["ldp"], description="models in the clear, or noised ones"
    )
    period: Duration = Field(
        default="250 ms", gt=0, examples=["250 ms"], description='mean time between local updates: "250 ms"'
    )
    keep: float = Field(default=0.5, gt=0, lt=1, description="weight of the own model in a mix")
    robust: RobustRule | None = Field(default=None, description="how models are mixed, if not by weights")

    messages: ClassVar[tuple[str, ...]] = ("model",)
    links: ClassVar[LinkNeeds] = LinkNeeds()
    timeout_s: ClassVar[None] = None

    @property
    def rule(self):
        """The robust rule; None without one."""
        return self.robust

    def need(self, conditions):
        """Return None: nobody waits."""

    def build(self, context):
        """Return what every node runs."""
        from sottovoce_example.program import broadcast

        return lambda node: broadcast(node, context.learner, context.robust, self)
