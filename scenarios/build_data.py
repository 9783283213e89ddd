"""Data and their partition, from a scenario."""

from __future__ import annotations

from typing import Any

from protocols.learning import data, partition
from scenarios import data_tables
from scenarios.schema import Scenario
from simulator import streams


def build_data(scenario: Scenario) -> data.Dataset:
    """Training and test samples."""
    rng = streams.generator(scenario.seed, "data")
    match scenario.data:
        case data_tables.DigitsData() as spec:
            return data.digits(spec.test_fraction, rng)
        case data_tables.BlobsData() as spec:
            return data.blobs(spec.samples, spec.features, spec.classes, spec.spread, spec.test_fraction, rng)


def build_partition(scenario: Scenario, labels: Any, nodes: int) -> list[Any]:
    """Which training samples each node holds."""
    rng = streams.generator(scenario.seed, "partition")
    match scenario.partition:
        case data_tables.IidPartition():
            return partition.iid(labels, nodes, rng)
        case data_tables.DirichletPartition() as spec:
            return partition.dirichlet(labels, nodes, spec.alpha, spec.min_samples, rng)
