"""Cross-checks of data, partition and model: are there enough samples, and of the sort that is needed."""

from __future__ import annotations

from pathlib import Path

from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.format.tables import Problems
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

# ---------------------------------------------------------------- how many


def enough_data(scenario: Scenario) -> Found:
    """Every node can hold its minimum, and the test set is not empty."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from enough_for(scenario, nodes)


def enough_for(scenario: Scenario, nodes: int) -> Found:
    """There are enough training samples for so many nodes, as far as the scenario alone can tell."""
    try:
        samples = scenario.data.train_samples()
    except ConfigurationError as error:
        yield ("data", "test_fraction"), error.message
        return
    if samples is not None:
        yield from _below(("partition",), scenario.partition.shortage(nodes, samples))


def records_without_copies(scenario: Scenario) -> Found:
    """A record whose loss is accounted is held by one node."""
    partition, privacy = scenario.partition, scenario.privacy
    if partition.copies and privacy is not None and privacy.unit == "record":
        at: Key = ("with_replacement",) if "with_replacement" in type(partition).model_fields else ("kind",)
        yield (
            ("partition", *at),
            "several nodes may hold one record, and the ledger does not follow its copies; use privacy.unit = "
            '"node", or let nodes share no sample',
        )


def samples_of_one_node(scenario: Scenario) -> Found:
    """Samples that are kept for tests or shifted are held by one node."""
    partition = scenario.partition
    if partition.copies:
        for name, used in (("local_test", partition.local_test > 0), ("shift", partition.shift is not None)):
            if used:
                yield (
                    ("partition", name),
                    "needs samples that one node alone holds, and several may hold one here; remove this key, or let "
                    "nodes share no sample",
                )


# ---------------------------------------------------------------- of which sort


def classes_where_needed(scenario: Scenario) -> Found:
    """Numbers to predict are not dealt out by class."""
    data, partition = scenario.data, scenario.partition
    if partition.needs_classes and data.regression:
        yield (
            ("partition", "kind"),
            f"{partition.kind} needs classes, but the labels of {data.kind} are numbers to predict; use another "
            "kind, such as iid or shards",
        )


def users_where_needed(scenario: Scenario) -> Found:
    """Data that are dealt out by user say who their users are."""
    data, partition = scenario.data, scenario.partition
    if partition.needs_users and data.no_users is not None:
        yield (
            ("partition", "kind"),
            f"{partition.kind} needs to know which user each sample comes from, and {data.no_users}",
        )


def images_where_turned(scenario: Scenario) -> Found:
    """Only images are turned."""
    shift, reason = scenario.partition.shift, scenario.data.no_images
    if shift is not None and shift.rotations > 1 and reason is not None:
        yield ("partition", "shift", "rotations"), f"only images can be turned, and {reason}"


def model_fits_data(scenario: Scenario) -> Found:
    """The model is for the labels and the samples of the data."""
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
    """Files are there, begin as they should and hold enough samples, as far as their first bytes tell."""
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
