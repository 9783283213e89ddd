"""Data poisoning: samples that Byzantine nodes train on in place of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from protocols.learning.bank import Bank
from protocols.learning.dataset import Dataset
from simulator.contract.compute import Vector


@dataclass(frozen=True)
class Training:
    """Training data and noise of the nodes.

    Args:
        bank: training samples of every node.
        dataset: all data, those for testing included.
        classes: number of classes; None for regression.
        sigma: per node, standard deviation of the noise on its clipped sum.
    """

    bank: Bank
    dataset: Dataset
    classes: int | None
    sigma: Sequence[float]


@dataclass(frozen=True)
class Trigger:
    """Trigger of a backdoor.

    Args:
        features: number of features, the last ones of a flattened sample, that are set.
        value: value they are set to.
        target: class that samples with the trigger shall be assigned to.
    """

    features: int
    value: float
    target: int

    def stamp(self, x: Vector) -> Vector:
        """Return samples with the trigger, (samples, *shape)."""
        flat = x.reshape(len(x), int(np.prod(x.shape[1:]))).copy()
        flat[:, -self.features :] = self.value
        return flat.reshape(x.shape)

    def probe(self, dataset: Dataset) -> Dataset:
        """Return test samples of other classes with trigger and target label; accuracy on them is attack success."""
        others = dataset.test_y != self.target
        stamped = self.stamp(dataset.test_x[others])
        labels = np.full(len(stamped), self.target, np.int32)
        return replace(dataset, test_x=stamped, test_y=labels, bounds=None)  # a trigger may be out of bounds


def mislabelled(bank: Bank, nodes: Iterable[int], classes: int) -> Bank:
    """Relabel the samples of some nodes from class c to classes − 1 − c."""
    y = bank.y.copy()
    for node in nodes:
        real = bank.mask[node]
        y[node, real] = classes - 1 - y[node, real]
    return _frozen(bank.x, y, bank.mask)


def triggered(bank: Bank, nodes: Iterable[int], trigger: Trigger, fraction: float) -> Bank:
    """Put the trigger and its label on the first samples of some nodes, a fraction of each node's."""
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
