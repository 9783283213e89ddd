"""The family of gossip protocols: facts for checks and accounting, and the inputs of each.

Every protocol has ``rounds``, the local updates of a node, which is what privacy accounting and progress count. In
asynchronous protocols a round is one local update of a node. A protocol whose ``exchange`` may be "secure" mixes by
sums that :class:`SecureSums` opens: those of each node's neighbours, or the one sum of a server's clients.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

from pydantic import Field

from protocols.aggregation.members import participants
from scenarios.format.kind import Kind
from scenarios.format.tables import Problems
from scenarios.format.units import Duration
from scenarios.kinds.robust_rules import RobustRule

if TYPE_CHECKING:
    from protocols.aggregation.suite import Suite
    from protocols.aggregation.sums import Rules
    from protocols.gossip.learner import Learner
    from protocols.gossip.message_noise import MessageNoise
    from protocols.gossip.robust_mix import RobustMix
    from simulator.contract.node import Node, Program
    from simulator.topology.overlays import Overlay

Rounds: TypeAlias = Annotated[
    int,
    Field(ge=1, le=1_000_000, examples=[100], description="local updates of each node, at least 1"),
]
CoMembers: TypeAlias = Literal["neighbourhood", "neighbours", "everybody"]
InTheClear: TypeAlias = Annotated[
    Literal["plain", "ldp"],
    Field(examples=["ldp"], description="plain (models in the clear) or ldp (noised models)"),
]
Exchange: TypeAlias = Annotated[
    Literal["plain", "ldp", "secure"],
    Field(
        examples=["secure"],
        description="plain (models in the clear), ldp (noised models) or secure (only sums are seen)",
    ),
]
Timeout: TypeAlias = Annotated[
    Duration,
    Field(gt=0, examples=["800 ms"], description='longest wait for a neighbour in a round: "500 ms"'),
]
Period: TypeAlias = Annotated[
    Duration, Field(gt=0, examples=["100 ms"], description='time between local updates: "250 ms"')
]


@dataclass(frozen=True)
class LinkNeeds:
    """Requirements of a protocol on the links between nodes.

    Args:
        both_ways: messages are answered, so a link is of no use without its way back.
        doubly_stochastic: rows and columns of the mixing matrix have to sum to 1.
        tree_levels: most levels below node 0 of the tree which models go up and down; 0: no tree is needed.
        all_pairs: any two nodes may have to exchange messages.
    """

    both_ways: bool = False
    doubly_stochastic: bool = False
    tree_levels: float = 0
    all_pairs: bool = False


@dataclass(frozen=True)
class Conditions:
    """Conditions that a time-out depends on, as far as the tables of a scenario tell.

    Args:
        neighbours: of a node, at least 1.
        nodes: of the graph; 2 where only its file knows.
        step_cost_s: seconds of one local update.
        alike: whether all nodes compute at one speed.
    """

    neighbours: int
    nodes: int
    step_cost_s: float
    alike: bool


@dataclass(frozen=True)
class Need:
    """Messages and work that have to fit into one time-out.

    Args:
        legs: latencies, one after another: 2 for a request and its answer.
        models: models that an uplink sends meanwhile, one after another.
        computing_s: local training in between.
        certain: whether nothing happens at all when legs alone do not fit.
    """

    legs: int
    models: int
    computing_s: float
    certain: bool


class SecureSums(NamedTuple):
    """Rules and suite of the secure sums of a run.

    Args:
        rules: what all nodes agree on.
        suite: each node's side of the aggregation protocol.
    """

    rules: Rules
    suite: Callable[[Node], Suite]


@dataclass(frozen=True)
class ProtocolContext:
    """Inputs of the program of every node.

    Args:
        learner: how every node trains.
        overlay: links between nodes.
        samples: how many each node holds (public).
        seed: of the run, for public schedules.
        robust: mixes by the protocol's robust rule; None without one.
        sums: how sums are secured; None where models travel in the clear.
        message_noise: each node's noise on models that neighbours see, beside that of its updates; None without.
        late: Byzantine nodes that hear all others before they send.
    """

    learner: Learner
    overlay: Overlay
    samples: Sequence[int]
    seed: int
    robust: RobustMix | None = None
    sums: SecureSums | None = None
    message_noise: Callable[[Node], MessageNoise] | None = None
    late: frozenset[int] = frozenset()


class Protocol(Kind):
    """Learning protocol: what every node sends, and how models are averaged.

    A round is one local update of a node, in asynchronous protocols too, and ε counts one noised release of it.

    ``dsgd`` on ``epidemic`` links is epidemic learning; with ``missing = "rescale"`` a row is the plain average of
    the models that arrived. ``push``, ``push-sum``, ``dsgd`` and ``local`` take links in one direction
    (``one-peer-exponential``, ``epidemic`` with ``where = "local"``); protocols with answers (``pull``,
    ``push-pull``, ``ad-psgd``) need both directions, and ``gradient-tracking`` doubly stochastic weights.
    ``fedavg`` needs a star, ``hierarchical-fedavg`` a tree (or a star), with node 0 at the top. Only ``dsgd`` and
    ``gradient-tracking`` use the weights of [mixing]; a run of another protocol warns of weights that are given.

    The age of a message is the receiver's count of local updates minus the sender's when it was sent, at least 0. A
    received model has weight α = 1/2, or u′/(u + u′) with the updates u of the own and u′ of the received model,
    divided by 1 + age with ``staleness = "weight"``.

    ``sottovoce validate`` compares a time-out with the links: it is refused where a request and its answer can never
    fit (secure sums, and federated averaging whose nodes compute alike), and warned of where they usually do not. The
    outcome is in the summary of a run. Attacks on messages that a protocol does not send, and faults of
    ``centralised``, are refused.
    """

    group: ClassVar[str] = "sottovoce.protocols"

    if TYPE_CHECKING:  # every kind declares them, in its own order
        rounds: Rounds
        exchange: Exchange

    served: ClassVar[bool] = False
    """Whether node 0 is a server that opens all secure sums, those of its clients' updates."""
    states_are_public: ClassVar[bool] = False
    """Whether nodes train from opened sums alone, so that each contribution costs what its own sum reveals."""
    pools_data: ClassVar[bool] = False
    """Whether the data of all nodes are brought to one place before the run; no privacy is claimed then."""
    public_numbers: ClassVar[int] = 0
    """Numbers beside the models of a message of another package's protocol, at most. They may not depend on data."""
    takes_message_noise: ClassVar[bool] = False
    """Whether :attr:`ProtocolContext.message_noise` is added to the models that neighbours see."""
    mixes_linearly: ClassVar[bool] = False
    """Whether a round multiplies what nodes hold with the mixing matrix; attacks on linear views need it."""
    takes_weights: ClassVar[bool] = True
    """Whether the weights of [mixing] are those of its averages; a run with other weights than usual warns if not."""
    shows_mix_and_update: ClassVar[bool] = False
    """Whether a model on the wire is the sender's mix of the round before and one update; attacks solve for it."""

    @property
    @abstractmethod
    def messages(self) -> tuple[str, ...]:
        """Kinds of message where models travel in the clear; none: nothing is ever sent."""

    @property
    @abstractmethod
    def links(self) -> LinkNeeds:
        """What it needs of the links between nodes."""

    @property
    @abstractmethod
    def timeout_s(self) -> float | None:
        """The longest wait for others in one round, in seconds; None if no node waits."""

    @abstractmethod
    def need(self, conditions: Conditions) -> Need | None:
        """Return what has to fit into the time-out; None where no time-out decides, or more than one does."""

    @abstractmethod
    def build(self, context: ProtocolContext) -> Program:
        """Return what every node runs.

        Raises:
            ConfigurationError: the links are not what the protocol needs.
        """

    # ------------------------------------------------------------ mixing

    @property
    def rule(self) -> RobustRule | None:
        """The robust rule that replaces weights in a mix; None without one."""
        return None

    def compared(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return how many models the robust rule compares at least; None if that is not known before the run.

        Args:
            neighbours: of the node that has fewest; None if only the built graph tells.
            nodes: of the graph; None if only its file tells.
        """
        return None

    @property
    def adapts_clip(self) -> bool:
        """Whether a server moves the clipping norm by what its clients report about their updates."""
        return False

    # ------------------------------------------------------------ secure sums

    @property
    def asked_part(self) -> float:
        """The fraction of the members of a secure sum that is asked to take part."""
        return 1.0

    @property
    def updates_between_sums(self) -> int:
        """Local updates between two secure sums."""
        return 1

    @property
    def links_sums(self) -> bool:
        """Whether protected vectors are added up by members on their way to whoever opens the sum."""
        return False

    @property
    def co_members(self) -> CoMembers:
        """Which nodes may be members of one sum, and so need a key with each other: those of a neighbourhood."""
        return "neighbourhood"

    @property
    def messages_beside_sums(self) -> tuple[str, ...]:
        """Kinds of message beside those of the aggregation, with exchange = "secure"."""
        return ()

    def members_at_least(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return how many members a secure sum may have at least; None if only the built graph tells.

        Args:
            neighbours: of the node that has fewest; None if only the built graph tells.
            nodes: of the graph; None if only its file tells.
        """
        return neighbours

    @property
    def shows_sums(self) -> tuple[str, ...]:
        """Kinds of message beside those of the aggregation whose models are opened sums."""
        return ()

    def asked(self, members: int) -> int:
        """Return how many of so many members of a sum are asked to take part."""
        return participants(self.asked_part, members)

    def aggregators(self, overlay: Overlay, member: int | None = None) -> Sequence[int]:
        """List who opens secure sums: of all nodes, or those that one member answers."""
        return range(overlay.nodes) if member is None else overlay.links(member, 0).to

    def members(self, overlay: Overlay, samples: Sequence[int], aggregator: int) -> Mapping[int, float]:
        """Map each member of an aggregator's secure sum to its public weight.

        Args:
            overlay: links between nodes.
            samples: how many each node holds (public).
            aggregator: who opens the sum.
        """
        return overlay.links(aggregator, 0).weights

    def sums(
        self, overlay: Overlay, samples: Sequence[int], seed: int, least: int, member: int | None = None
    ) -> Sequence[Sequence[float]]:
        """List the weights in every secure sum of the run, or in those that one node is a member of.

        Args:
            overlay: links between nodes.
            samples: how many each node holds (public).
            seed: of the run, for public schedules.
            least: fewest members of a sum.
            member: the node; None: all nodes.
        """
        return [
            list(self.members(overlay, samples, aggregator).values())
            for aggregator in self.aggregators(overlay, member)
        ]

    def update_weights(self, samples: Sequence[int]) -> list[float]:
        """Return the public weight of each node's model in an average, by the numbers of samples."""
        return [1.0] * len(samples)

    def groups_of_rounds(
        self, overlay: Overlay, seed: int, least: int
    ) -> Iterator[Collection[Sequence[int]]] | None:
        """Yield the groups of every round as their members, where nodes train from the sums of groups; else None.

        Args:
            overlay: links between nodes.
            seed: of the run, for public schedules.
            least: fewest members of a sum.
        """
        return None

    @classmethod
    def releases_only_integer_sums(cls, table: Mapping[str, Any]) -> bool:
        """Return whether integer sums of equal weights are all that a run releases, by a table not yet checked."""
        return False

    def integer_noise_problems(self, law: str) -> Problems:
        """Yield which of its keys do not allow noise of integers, which is added to the words of a server's sum.

        Args:
            law: of the noise.
        """
        yield from ()


class TimedProtocol(Protocol):
    """Base class of protocols whose nodes wait for others, for as long as their key ``timeout`` says."""

    if TYPE_CHECKING:  # every kind declares it, in its own order
        timeout: Timeout

    @property
    def timeout_s(self) -> float:
        """The key timeout: the wait of a round, or of one sub-round of a secure sum."""
        return self.timeout


class UntimedProtocol(Protocol):
    """Base class of protocols whose nodes wait for nobody."""

    @property
    def timeout_s(self) -> None:
        """No time-out: no node waits."""
        return None

    def need(self, conditions: Conditions) -> Need | None:
        """Return None: no node waits."""
        return None
