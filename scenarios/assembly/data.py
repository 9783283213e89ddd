"""Load the data of a run and deal them out to nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from protocols.learning.dataset import Dataset
from protocols.learning.holdings import Holdings, hold_out, shifted
from protocols.learning.partition import Parts, with_label_noise
from scenarios.kinds.data import Data
from scenarios.kinds.partitions import Partition
from simulator import streams
from simulator.errors import ConfigurationError


@dataclass(frozen=True, eq=False)
class Shares:
    """The data of a run and the samples that each node holds.

    Args:
        dataset: training and test samples, their features as their holders see them.
        holdings: training samples that each node trains and tests on; Sybil identities hold none.
    """

    dataset: Dataset
    holdings: Holdings

    @property
    def local_test(self) -> bool:
        """Return whether nodes keep samples of their own for testing."""
        return any(map(len, self.holdings.test))

    @property
    def divisor(self) -> int:
        """Mean number of training samples of the nodes that hold any, rounded up; the usual divisor of a sum."""
        sizes = [len(part) for part in self.holdings.train if len(part)]
        return -(-sum(sizes) // len(sizes))

    def facts(self) -> dict[str, Any]:
        """Return the manifest's description of the data, JSON-ready."""
        dataset, held = self.dataset, self.holdings
        users = dataset.groups
        return {
            "data": {
                "train_samples": len(dataset.train_y),
                "test_samples": len(dataset.test_y),
                "shape": list(dataset.shape),
                "classes": None if dataset.classes is None else list(dataset.class_names),
            },
            "samples_per_node": [len(part) for part in held.train],
            "local_test_per_node": [len(part) for part in held.test] if self.local_test else None,
            "labels_per_node": None
            if dataset.classes is None
            else [
                np.bincount(dataset.train_y[part], minlength=dataset.classes).tolist() for part in held.train
            ],
            "users_per_node": None
            if users is None
            else [
                len(np.unique(users[np.concatenate(parts)]))
                for parts in zip(held.train, held.test, strict=True)
            ],
        }


def build_data(data: Data, base: Path, seed: int) -> Dataset:
    """Return training and test samples.

    Args:
        data: the table [data].
        base: folder that relative file names start at.
        seed: of the run.

    Raises:
        ConfigurationError: the data cannot be read, or their labels are not of the sort that their kind declares.
    """
    dataset = data.load(base, streams.generator(seed, "data"))
    if (dataset.classes is None) != data.regression:
        found, said = ("numbers", "classes") if dataset.classes is None else ("classes", "numbers")
        raise ConfigurationError(
            f"{data.kind} loaded labels that are {found}, but declares that they are {said}; repair regression of "
            f"{type(data).__name__}",
            "data.kind",
        )
    return dataset


def build_shares(dataset: Dataset, spec: Partition, seed: int, nodes: int, without: int = 0) -> Shares:
    """Return the data of a run with the samples that each node holds.

    Args:
        dataset: training and test samples.
        spec: the table [partition].
        seed: of the run.
        nodes: number of nodes that hold data.
        without: number of further nodes, numbered after them, that hold none.

    Raises:
        ConfigurationError: the data cannot be dealt out as the partition says.
    """
    parts = build_partition(dataset, spec, seed, nodes)
    if spec.shift is not None:
        rng = streams.generator(seed, "feature shift")
        train_x = shifted(dataset.train_x, parts, spec.shift.noise, spec.shift.rotations, rng)
        # Rotated images keep the range of their pixels; added noise has no bounds.
        dataset = replace(dataset, train_x=train_x, bounds=None if spec.shift.noise > 0 else dataset.bounds)
    if spec.label_noise > 0:
        dataset = with_label_noise(dataset, spec.label_noise, streams.generator(seed, "label noise"))
    held = hold_out(parts, spec.local_test, streams.generator(seed, "local test"))
    nothing = [np.zeros(0, np.int64)] * without
    return Shares(dataset, Holdings(held.train + nothing, held.test + nothing))


def build_partition(dataset: Dataset, spec: Partition, seed: int, nodes: int) -> Parts:
    """Return the indices of the training samples of each node, including those it keeps for its own tests.

    Args:
        dataset: training and test samples.
        spec: the table [partition].
        seed: of the run.
        nodes: number of nodes that hold data.

    Raises:
        ConfigurationError: the data lack what the partition needs, or the partition returned invalid parts.
    """
    if spec.needs_classes and dataset.classes is None:
        raise ConfigurationError(
            f"{spec.kind} needs classes, but the labels of these data are regression targets; use another kind, such "
            "as iid or shards",
            "partition.kind",
        )
    if spec.needs_users and dataset.groups is None:
        raise ConfigurationError(
            f"{spec.kind} needs the user of each training sample, which these data do not name; add an array groups "
            "to npz files, or name the column of a table in data.user",
            "partition.kind",
        )
    parts = spec.split(dataset, nodes, streams.generator(seed, "partition"))
    _check_parts(spec, parts, nodes, len(dataset.train_y))
    return parts


def _check_parts(spec: Partition, parts: Parts, nodes: int, samples: int) -> None:
    """Check the parts that a kind's split returned, since accounting depends on who holds which sample."""
    wrong = None
    if len(parts) != nodes:
        wrong = f"{len(parts)} parts for {nodes} nodes"
    elif any(
        len(part) and (part[0] < 0 or part[-1] >= samples or np.any(np.diff(part) <= 0)) for part in parts
    ):
        wrong = f"a part that is not an ascending array of indices below {samples}"
    elif not spec.copies and np.bincount(np.concatenate(parts), minlength=1).max() > 1:
        wrong = "a sample that two nodes hold, although copies is False"
    if wrong is not None:
        raise ConfigurationError(
            f"{spec.kind} returned {wrong}; repair split of {type(spec).__name__}", "partition.kind"
        )
