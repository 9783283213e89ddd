"""Cross-checks of data, partition and model: enough samples, of the sort that is needed."""

from __future__ import annotations

from pathlib import Path

from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.format.tables import Problems
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

# ---------------------------------------------------------------- how many


def enough_data(scenario: Scenario) -> Found:
    """Check that every node can hold its minimum of samples and that the test set is not empty."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from enough_for(scenario, nodes)


def enough_for(scenario: Scenario, nodes: int) -> Found:
    """Check that there are enough training samples for ``nodes`` nodes, as far as the scenario alone says."""
    try:
        samples = scenario.data.train_samples()
    except ConfigurationError as error:
        yield ("data", "test_fraction"), error.message
        return
    if samples is not None:
        yield from _below(("partition",), scenario.partition.shortage(nodes, samples))


def records_without_copies(scenario: Scenario) -> Found:
    """Check that each record is held by one node if its privacy loss is accounted."""
    partition, privacy = scenario.partition, scenario.privacy
    if partition.copies and privacy is not None and privacy.unit == "record":
        at: Key = ("with_replacement",) if "with_replacement" in type(partition).model_fields else ("kind",)
        yield (
            ("partition", *at),
            'several nodes may hold the same record, whose copies the ledger does not add up with unit = "record"; '
            'use privacy.unit = "node", or a partition in which nodes share no sample',
        )


def samples_of_one_node(scenario: Scenario) -> Found:
    """Check that samples that are kept for tests or shifted are held by one node."""
    partition = scenario.partition
    if partition.copies:
        for name, used in (("local_test", partition.local_test > 0), ("shift", partition.shift is not None)):
            if used:
                yield (
                    ("partition", name),
                    "needs samples that only one node holds, and several nodes may hold the same one; remove this "
                    "key, or use a partition in which nodes share no sample",
                )


# ---------------------------------------------------------------- of which sort


def classes_where_needed(scenario: Scenario) -> Found:
    """Check that data dealt out by class have classes."""
    data, partition = scenario.data, scenario.partition
    if partition.needs_classes and data.regression:
        yield (
            ("partition", "kind"),
            f"{partition.kind} needs classes, but the labels of {data.kind} are regression targets; use another "
            "kind, such as iid or shards",
        )


def users_where_needed(scenario: Scenario) -> Found:
    """Check that data dealt out by user name their users."""
    data, partition = scenario.data, scenario.partition
    if partition.needs_users and data.no_users is not None:
        yield (
            ("partition", "kind"),
            f"{partition.kind} needs the user of each sample, and {data.no_users}",
        )


def images_where_turned(scenario: Scenario) -> Found:
    """Check that rotated samples are images."""
    shift, reason = scenario.partition.shift, scenario.data.no_images
    if shift is not None and shift.rotations > 1 and reason is not None:
        yield ("partition", "shift", "rotations"), f"only images can be rotated, and {reason}"


def model_fits_data(scenario: Scenario) -> Found:
    """Check that the model fits the labels and samples of the data."""
    data, model = scenario.data, scenario.model
    wrong = model.misfit(data.regression, data.kind)
    if wrong is not None:
        yield ("model", "kind"), wrong
    if model.needs_images and data.no_images is not None:
        yield ("model", "kind"), f"{model.kind} needs images, and {data.no_images}"


CHECKS = (
    enough_data,
    records_without_copies,
    samples_of_one_node,
    classes_where_needed,
    model_fits_data,
    users_where_needed,
    images_where_turned,
)


# ---------------------------------------------------------------- files


def data_files(scenario: Scenario, base: Path) -> Found:
    """Check that files exist, have the right format and hold enough samples, from their first bytes."""
    data = scenario.data
    wrong = list(data.file_problems(base))
    yield from _below(("data",), iter(wrong))
    nodes = scenario.topology.node_count
    if not wrong and nodes is not None and data.train_samples() is None:
        samples = data.train_samples(base)
        if samples is not None:
            yield from _below(("partition",), scenario.partition.shortage(nodes, samples))


FILE_CHECKS = (data_files,)


def _below(place: Key, found: Problems) -> Found:
    for key, message in found:
        yield (*place, *key), message
