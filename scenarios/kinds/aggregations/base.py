"""The family of aggregation protocols: facts for checks and accounting, and how the suite of each is built."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import Field

from protocols.aggregation.members import split_proof_threshold
from scenarios.format.kind import Kind
from scenarios.format.units import Fraction

if TYPE_CHECKING:
    from protocols.aggregation.keyring import KeyPlan
    from protocols.aggregation.suite import Suite
    from protocols.aggregation.sums import Rules
    from protocols.gossip.learner import Learner
    from simulator.contract.node import Node

Threshold: TypeAlias = Annotated[
    Fraction | None,
    Field(
        gt=0,
        le=1,
        examples=["67 %"],
        description="least fraction of the holders whose shares recover; absent, or where it would be "
        "less: more "
        "than half of holders and colluders together, so that any two such sets share an honest holder",
    ),
]
Verifiable: TypeAlias = Annotated[
    bool,
    Field(
        examples=[True],
        description="holders check their shares of seeds against commitments (Pedersen), complain, and "
        "exclude dealers whose shares are inconsistent; three more requests",
    ),
]
SuiteFactory: TypeAlias = "Callable[[Node], Suite]"


@dataclass(frozen=True)
class SuiteContext:
    """Inputs of every node's side of an aggregation protocol.

    Args:
        rules: what all nodes agree on.
        keys: identities, and their directory.
        learner: how every node trains; its lineage records what is released.
        clip: clipping norm of a contribution.
        beacon: public randomness of the run.
        inconsistent: Byzantine nodes that deal inconsistent shares.
    """

    rules: Rules
    keys: KeyPlan
    learner: Learner
    clip: float
    beacon: bytes
    inconsistent: frozenset[int] = frozenset()


class Aggregation(Kind):
    """Aggregation protocol of the secure sums.

    With ``protocol.kind = "dsgd"`` every node opens the sum of its own neighbourhood, with "fedavg" the server
    that of its clients' updates. The cost of each protocol in messages and bytes is in
    ``protocols/aggregation/cost.py``; its behaviour under failures is in [failures.md](failures.md).
    """

    group: ClassVar[str] = "sottovoce.aggregations"

    sums_integers: ClassVar[bool] = False
    """Whether sums are of integers, so that noise of integers can be added to what members send."""

    @property
    @abstractmethod
    def messages(self) -> tuple[str, ...]:
        """Kinds of message, as :meth:`~protocols.aggregation.suite.Suite.messages` of its suite says."""

    @property
    @abstractmethod
    def sums_whole_vectors(self) -> bool:
        """Whether a sum has the same members at every position of its vector."""

    @abstractmethod
    def recovering(self, holders: int, colluders: int) -> int | None:
        """Return how many of so many holders' shares recover a secret.

        None where nothing is shared, or where a graph of partners decides.
        """

    @abstractmethod
    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return what makes each node's side of the protocol.

        Raises:
            ConfigurationError: the keys allow no such protocol.
        """

    @property
    def lists_a_round(self) -> int:
        """Number of lists of one aggregator that a member answers in a round."""
        return 1

    @property
    def adds_on_the_way(self) -> bool:
        """Whether protected vectors may be added up by members on their way, before the sum is opened."""
        return False

    @property
    def deals_vectors(self) -> bool:
        """Whether members deal shares as long as their vectors, which Byzantine members may make inconsistent."""
        return False

    @property
    def splits(self) -> bool:
        """Whether a neighbourhood may be split into buckets, each opened as a sum of its own."""
        return False

    @property
    def prime(self) -> int | None:
        """The prime field whose elements are the words of vectors; None: words of ``secure.modulus_bits`` bits."""
        return None

    packing_key: ClassVar[str] = "threshold"
    """The key that decides about :meth:`packed`."""

    def packed(self, holders: int, colluders: int) -> int:
        """Return how many elements share one polynomial, among so many holders."""
        return 1


class WholeVectors(Aggregation):
    """Base class of protocols whose sums have the same members at every position."""

    @property
    def sums_whole_vectors(self) -> bool:
        """Yes."""
        return True


class NothingShared(Aggregation):
    """Base class of protocols in which nobody holds shares of a secret."""

    def recovering(self, holders: int, colluders: int) -> int | None:
        """Return None: nothing is shared."""
        return None


def shares_needed(fraction: float | None, holders: int, colluders: int) -> int:
    """Return how many of so many holders' shares recover, by a threshold of the file or by the safe one.

    Args:
        fraction: of the holders; None: the least of which any two sets share an honest holder.
        holders: of shares.
        colluders: among them.
    """
    return max(split_proof_threshold(holders, colluders), -int(-(fraction or 0.0) * holders // 1))
