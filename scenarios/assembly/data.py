"""Data and their partition, from a scenario."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from protocols.learning import data, data_files, partition
from protocols.learning.dataset import Dataset
from protocols.learning.holdings import Holdings, hold_out, required, shifted
from scenarios.kinds import data as data_tables
from scenarios.schema import Scenario
from simulator import streams
from simulator.errors import ConfigurationError


@dataclass(frozen=True, eq=False)
class Shares:
    """The data of a run and who holds what of them.

    Args:
        dataset: training and test samples, their features as their holders see them.
        holdings: training samples that each node trains and tests on; those who join without data hold none.
    """

    dataset: Dataset
    holdings: Holdings

    @property
    def local_test(self) -> bool:
        """Whether nodes keep samples of their own for testing."""
        return any(map(len, self.holdings.test))

    @property
    def divisor(self) -> int:
        """Samples trained on by those who have any, for each of them, rounded up: the usual divisor of a sum."""
        sizes = [len(part) for part in self.holdings.train if len(part)]
        return -(-sum(sizes) // len(sizes))

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the data."""
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


def build_shares(
    scenario: Scenario, base: Path, nodes: int, without: int = 0, given: Dataset | None = None
) -> Shares:
    """The data of a run and who holds what of them.

    Args:
        scenario: whose data, partition and seed count.
        base: where relative file names start.
        nodes: that hold data.
        without: further nodes, numbered after them, that hold none.
        given: data in memory, in place of those of the scenario.

    Raises:
        ConfigurationError: there are no such data, or they cannot be held like that.
    """
    dataset, spec = build_data(scenario, base) if given is None else given, scenario.partition
    parts = build_partition(scenario, dataset, nodes)
    if spec.shift is not None:
        rng = streams.generator(scenario.seed, "feature shift")
        train_x = shifted(dataset.train_x, parts, spec.shift.noise, spec.shift.rotations, rng)
        # Turned images keep their pixels; noise leaves no bounds.
        dataset = replace(dataset, train_x=train_x, bounds=None if spec.shift.noise > 0 else dataset.bounds)
    if spec.label_noise > 0:
        dataset = partition.with_label_noise(
            dataset, spec.label_noise, streams.generator(scenario.seed, "label noise")
        )
    held = hold_out(parts, spec.local_test, streams.generator(scenario.seed, "local test"))
    nothing = [np.zeros(0, np.int64)] * without
    return Shares(dataset, Holdings(held.train + nothing, held.test + nothing))


def build_data(scenario: Scenario, base: Path) -> Dataset:
    """Training and test samples; ``base`` is where relative file names start."""
    rng = streams.generator(scenario.seed, "data")
    match scenario.data:
        case data_tables.DigitsData() as spec:
            return data.digits(spec.test_fraction, rng)
        case data_tables.BreastCancerData() as spec:
            return data.breast_cancer(spec.test_fraction, rng, scale=spec.scale == "standard")
        case data_tables.WineData() as spec:
            return data.wine(spec.test_fraction, rng, scale=spec.scale == "standard")
        case data_tables.DiabetesData() as spec:
            return data.diabetes(spec.test_fraction, rng, scale=spec.scale == "standard")
        case data_tables.BlobsData() as spec:
            return data.blobs(spec.samples, spec.features, spec.classes, spec.spread, spec.test_fraction, rng)
        case data_tables.LinearData() as spec:
            return data.linear(spec.samples, spec.features, spec.noise, spec.test_fraction, rng)[0]
        case data_tables.IdxData() as spec:
            return data_files.idx_folder(
                base / spec.path, spec.part, _choices(spec), rng, transpose=spec.transpose
            )
        case data_tables.NpzData() as spec:
            return data_files.npz(base / spec.path, _choices(spec), rng)
        case data_tables.TableData() as spec:
            test_path = None if spec.test_path is None else base / spec.test_path
            columns = data_files.Columns(spec.label, spec.user, spec.ignore, spec.shape)
            return data_files.table(base / spec.path, test_path, spec.kind, columns, _choices(spec), rng)


def _choices(spec: data_tables.FileData) -> data_files.Choices:
    return data_files.Choices(
        target="class" if isinstance(spec, data_tables.IdxData) else spec.target,
        scale="bytes" if isinstance(spec, data_tables.IdxData) else spec.scale,
        test_fraction=spec.test_fraction,
        samples=spec.samples,
        test_samples=spec.test_samples,
    )


def build_partition(scenario: Scenario, dataset: Dataset, nodes: int) -> partition.Parts:
    """Which training samples each node holds, those included that it keeps for its own tests."""
    rng = streams.generator(scenario.seed, "partition")
    labels, total = dataset.train_y, len(dataset.train_y)
    spec = scenario.partition
    least = required(spec.min_samples, spec.local_test)
    match spec:
        case data_tables.IidPartition(samples=None):
            return partition.iid(labels, nodes, rng)
        case data_tables.IidPartition():
            assert spec.samples is not None
            return partition.draws(total, nodes, spec.samples, spec.with_replacement, rng)
        case data_tables.DirichletPartition():
            if dataset.classes is None:
                raise ConfigurationError(partition.NO_CLASSES, "partition.kind")
            return partition.dirichlet(labels, nodes, spec.alpha, least, rng)
        case data_tables.ShardsPartition():
            return partition.shards(labels, nodes, spec.shards, least, rng)
        case data_tables.LabelBlocksPartition():
            return partition.label_blocks(labels, nodes, spec.blocks, least, rng)
        case data_tables.DirichletSizesPartition():
            return partition.dirichlet_sizes(total, nodes, spec.alpha, least, rng)
        case data_tables.LognormalSizesPartition():
            return partition.lognormal_sizes(total, nodes, spec.sigma, least, rng)
        case data_tables.UsersPartition():
            if dataset.groups is None:
                raise ConfigurationError(
                    "nobody says which user a training sample comes from; npz files need an array groups, tables a "
                    "column named by data.user",
                    "partition.kind",
                )
            return partition.users(dataset.groups, nodes, least, rng)
