"""Attacks in what a node trains on and with, and in the shares that it deals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scenarios.format.units import Fraction
from scenarios.kinds.attacks.base import Need, Part, PoisoningAttack, TruthfulAttack
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from protocols.attacks import byzantine
    from protocols.attacks.poison import Training, Trigger
    from protocols.learning.dataset import Dataset
    from simulator.contract.knowledge import Knowledge


class NoiseFreeRiderAttack(PoisoningAttack):
    """Free riding on the noise of others."""

    kind: Literal["noise-free-rider"] = Field(
        description="follow the protocol but add no noise, on which others rely"
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Noise to leave out."""
        return frozenset({"noise"})

    def poison(self, training: Training, nodes: frozenset[int]) -> Training:
        """Return the same data with no noise of Byzantine nodes."""
        sigma = [0.0 if node in nodes else s for node, s in enumerate(training.sigma)]
        return replace(training, sigma=sigma)


class InconsistentSharesAttack(TruthfulAttack):
    """Inconsistent shares of one vector."""

    kind: Literal["inconsistent-shares"] = Field(
        description="deal shares that lie on no polynomial: different holders together find different vectors"
    )

    @property
    def knowledge(self) -> Knowledge:
        """Its own vector."""
        return "own"

    @property
    def part(self) -> Part:
        """In shares dealt."""
        return "shares"

    @property
    def needs(self) -> frozenset[Need]:
        """Shares of vectors."""
        return frozenset({"dealt shares"})


class LabelFlipAttack(PoisoningAttack):
    """Poisoned labels."""

    kind: Literal["label-flip"] = Field(description="train honestly on labels c turned into classes - 1 - c")

    def poison(self, training: Training, nodes: frozenset[int]) -> Training:
        """Return the data with other labels at Byzantine nodes.

        Raises:
            ConfigurationError: the data have no classes.
        """
        from protocols.attacks import poison

        return replace(training, bank=poison.mislabelled(training.bank, nodes, _classes(training)))


class BackdoorAttack(PoisoningAttack):
    """Poisoned samples with a trigger; with a boost, model replacement on top (Bagdasaryan et al. 2020)."""

    kind: Literal["backdoor"] = Field(
        description="train on samples with a trigger and a label of its own; success is measured beside "
        "accuracy"
    )
    fraction: Fraction = Field(
        default=0.5,
        gt=0,
        le=1,
        examples=["30 %"],
        description="fraction of the node's samples that get the trigger",
    )
    target: int = Field(default=0, ge=0, examples=[7], description="label of samples with the trigger")
    features: int = Field(
        default=3,
        ge=1,
        examples=[4],
        description="number of features, the last ones of a sample, that the trigger sets to their maximum",
    )
    boost: float = Field(
        default=1.0,
        ge=1,
        description="factor by which the model is moved away from the mean of those seen; 1: not at all",
    )

    @property
    def knowledge(self) -> Knowledge:
        """Its own data; with a boost, models that the coalition has received."""
        return "received" if self.boost > 1 else "own"

    @property
    def part(self) -> Part:
        """In training; with a boost, in messages too."""
        return "messages" if self.boost > 1 else "training"

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.boosted(stage, self.boost)

    def poison(self, training: Training, nodes: frozenset[int]) -> Training:
        """Return the data with triggered samples at Byzantine nodes.

        Raises:
            ConfigurationError: the data have no such class or so few features.
        """
        from protocols.attacks import poison

        bank = poison.triggered(training.bank, nodes, self.trigger(training), self.fraction)
        return replace(training, bank=bank)

    def probe(self, training: Training) -> Dataset:
        """Return test samples of other classes with the trigger and its label.

        Raises:
            ConfigurationError: the data have no such class or so few features.
        """
        return self.trigger(training).probe(training.dataset)

    def trigger(self, training: Training) -> Trigger:
        """Return what the backdoor reacts to.

        Raises:
            ConfigurationError: the data have no such class or so few features.
        """
        from protocols.attacks.poison import Trigger

        dataset, classes = training.dataset, _classes(training)
        if self.target >= classes:
            raise ConfigurationError(
                f"class {self.target} does not exist; these data have {classes} classes, so use 0 to "
                f"{classes - 1}",
                "adversary.byzantine.attack.target",
            )
        if self.features >= dataset.features:
            raise ConfigurationError(
                f"a trigger of {self.features} features leaves nothing of samples that have "
                f"{dataset.features}; "
                "use fewer features",
                "adversary.byzantine.attack.features",
            )
        return Trigger(self.features, float(dataset.train_x.max()), self.target)


def _classes(training: Training) -> int:
    if training.classes is None:
        raise ConfigurationError(
            "these data have numbers to predict and no classes; use an attack on messages, or data with "
            "classes",
            "adversary.byzantine.attack.kind",
        )
    return training.classes
