"""The family of attacks, and base classes for its kinds.

A kind is best derived from :class:`ContentAttack` (other models are sent) or :class:`PoisoningAttack` (other data or
noise are used), which state most facts.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from scenarios.format.kind import Kind

if TYPE_CHECKING:
    from protocols.attacks import byzantine
    from protocols.attacks.poison import Training
    from protocols.learning.dataset import Dataset
    from simulator.contract.knowledge import Knowledge

Part: TypeAlias = Literal["messages", "training", "shares", "nothing"]
"""Where an attack is: in models sent, in what a node trains on and with, in shares dealt, or nowhere."""
Need: TypeAlias = Literal["noise", "dealt shares"]
"""What a run must have for an attack to mean something."""


class Attack(Kind):
    """Attack of Byzantine nodes, in place of what the protocol prescribes.

    An attack is computed from the messages that ``adversary.knowledge`` shows and from nothing else: ``received``,
    messages sent to members of the coalition; ``rushing``, with all that is sent to them in this round (in ``dsgd``
    they receive all others before they send); ``neighbourhood``, messages of the receiver and its neighbours to any
    node; ``omniscient``, all messages. Sign flips, noise, free riding and poisoned data take ``own``; ``alie``,
    ``ipm``, ``mimic``, ``echo``, ``dissensus``, ``state-override`` and boosted backdoors ``received`` or more;
    ``spectral`` and every search ``omniscient``.

    A masked vector or a share shows no model at any level: with secure sums the own model stands in for all that is
    not seen, or is sent unchanged where the attack needs the receiver's; an event ``attack in the dark`` records that
    the attack had no honest model in view.
    """

    group: ClassVar[str] = "sottovoce.attacks"

    @property
    @abstractmethod
    def knowledge(self) -> Knowledge:
        """Least level of ``adversary.knowledge`` with which the attack is what its name says."""

    @property
    @abstractmethod
    def part(self) -> Part:
        """Where the attack is. Only one in messages can have a window of time."""

    @property
    def needs(self) -> frozenset[Need]:
        """What a run must have for the attack to mean something; nothing unless a kind says so."""
        return frozenset()

    @abstractmethod
    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model; used if the attack is in messages.

        Raises:
            ConfigurationError: the model is none that the attack works on.
        """

    def poison(self, training: Training, nodes: frozenset[int]) -> Training:
        """Return what all nodes train on and with when some are Byzantine; by default what it would be without.

        Raises:
            ConfigurationError: the data are none that the attack works on.
        """
        return training

    def probe(self, training: Training) -> Dataset | None:
        """Return data whose test accuracy is the success of the attack; by default it has no such measure.

        Raises:
            ConfigurationError: as :meth:`poison`.
        """
        return None


class ContentAttack(Attack):
    """Base class of attacks in what a node sends."""

    @property
    def part(self) -> Part:
        """In messages."""
        return "messages"


class TruthfulAttack(Attack):
    """Base class of attacks whose nodes send what the protocol prescribes."""

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Send the own model."""
        return lambda scene: scene.own


class PoisoningAttack(TruthfulAttack):
    """Base class of attacks in what a node trains on and with."""

    @property
    def knowledge(self) -> Knowledge:
        """Its own data."""
        return "own"

    @property
    def part(self) -> Part:
        """In training."""
        return "training"

    @abstractmethod
    def poison(self, training: Training, nodes: frozenset[int]) -> Training:
        """Return what all nodes train on and with when some are Byzantine."""
