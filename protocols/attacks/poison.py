"""Attacks through data: what Byzantine nodes train on in place of their samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from protocols.learning.bank import Bank
from protocols.learning.dataset import Dataset
from simulator.contract.compute import Vector


@dataclass(frozen=True)
class Training:
    """What nodes train on and with.

    Args:
        bank: training samples of every node.
        dataset: all data, those for testing included.
        classes: how many; None for numbers to predict.
        sigma: per node, standard deviation of the noise on its clipped sum.
    """

    bank: Bank
    dataset: Dataset
    classes: int | None
    sigma: Sequence[float]


@dataclass(frozen=True)
class Trigger:
    """What a backdoor reacts to.

    Args:
        features: so many of the last features of a sample, flattened, are set …
        value: … to this.
        target: the class it is to mean.
    """

    features: int
    value: float
    target: int

    def stamp(self, x: Vector) -> Vector:
        """Samples with the trigger, (samples, *shape)."""
        flat = x.reshape(len(x), int(np.prod(x.shape[1:]))).copy()
        flat[:, -self.features :] = self.value
        return flat.reshape(x.shape)

    def probe(self, dataset: Dataset) -> Dataset:
        """Test samples of other classes with the trigger and its label: accuracy on them is the attack's success."""
        others = dataset.test_y != self.target
        stamped = self.stamp(dataset.test_x[others])
        labels = np.full(len(stamped), self.target, np.int32)
        return replace(dataset, test_x=stamped, test_y=labels, bounds=None)  # a trigger may be out of bounds


def mislabelled(bank: Bank, nodes: Iterable[int], classes: int) -> Bank:
    """The samples of some nodes under the label classes − 1 − c in place of c."""
    y = bank.y.copy()
    for node in nodes:
        real = bank.mask[node]
        y[node, real] = classes - 1 - y[node, real]
    return _frozen(bank.x, y, bank.mask)


def triggered(bank: Bank, nodes: Iterable[int], trigger: Trigger, fraction: float) -> Bank:
    """The first samples of some nodes, a fraction of each node's, with a trigger and its label."""
    x, y = bank.x.copy(), bank.y.copy()
    for node in nodes:
        count = round(fraction * int(bank.mask[node].sum()))
        x[node, :count] = trigger.stamp(x[node, :count])
        y[node, :count] = trigger.target
    return _frozen(x, y, bank.mask)


def _frozen(x: Vector, y: Vector, mask: Vector) -> Bank:
    for array in (x, y):
        array.setflags(write=False)
    return Bank(x, y, mask)
