"""Cross-checks of data and their partition: are there enough samples, and of the sort that is asked for."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.kinds.data import (
    BlobsData,
    DigitsData,
    DirichletPartition,
    IdxData,
    IidPartition,
    LinearData,
    NpzData,
    Partition,
    ShardsPartition,
    TableData,
    UsersPartition,
    regression,
)
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

PREDICTS_CLASSES = ("softmax", "mlp", "cnn")
_MAGIC = {"npz": b"PK", "parquet": b"PAR1"}


# ---------------------------------------------------------------- how many


def enough_data(scenario: Scenario) -> Found:
    """Every node can hold its minimum, and the test set is not empty."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from enough_for(scenario, nodes)


def enough_for(scenario: Scenario, nodes: int) -> Found:
    """There are enough training samples for so many nodes, as far as the scenario alone can tell."""
    from protocols.learning.data import SAMPLES, train_samples  # not at import: --help needs no numpy

    data = scenario.data
    if isinstance(data, IdxData | NpzData | TableData):
        samples = data.samples
    else:
        whole = data.samples if isinstance(data, BlobsData | LinearData) else SAMPLES[data.kind]
        try:
            samples = train_samples(whole, data.test_fraction)
        except ConfigurationError as error:
            yield ("data", "test_fraction"), error.message
            return
    if samples is not None:
        yield from _enough(scenario.partition, nodes, samples)


def _enough(partition: Partition, nodes: int, samples: int) -> Found:
    from protocols.learning.holdings import required  # not at import: --help needs no numpy
    from protocols.learning.partition import require_shards

    if isinstance(partition, IidPartition) and partition.samples is not None:
        needed = partition.samples * (1 if partition.with_replacement else nodes)
        if needed > samples:
            yield (
                ("partition", "samples"),
                f"{partition.samples} samples for each of {nodes} nodes need {needed} training samples, the data set "
                f"has {samples}; use fewer, more data, or with_replacement = true"
                if not partition.with_replacement
                else f"a node cannot draw {partition.samples} different samples out of {samples}",
            )
        return
    least = required(partition.min_samples, partition.local_test)
    if nodes * least > samples:
        own = "" if least == partition.min_samples else " and some to test on"
        yield (
            ("partition", "min_samples"),
            f"{nodes} nodes with at least {partition.min_samples} samples each{own} need {nodes * least} training "
            f"samples, the data set has {samples}; lower min_samples or nodes, or use more samples",
        )
    elif isinstance(partition, ShardsPartition):
        try:
            require_shards(samples, nodes, partition.shards, least)
        except ConfigurationError as error:
            yield ("partition", "shards"), error.message.removeprefix("partition: ")


def samples_of_each(scenario: Scenario) -> Found:
    """Samples of a node are as many as it must hold, and replacement is asked for where it means something."""
    partition, privacy = scenario.partition, scenario.privacy
    if not isinstance(partition, IidPartition):
        return
    if partition.samples is not None:
        from protocols.learning.holdings import required  # not at import: --help needs no numpy

        least = required(partition.min_samples, partition.local_test)
        if partition.samples < least:
            left = "" if not partition.local_test else f", {least} with those of local_test"
            yield (
                ("partition", "samples"),
                f"{partition.samples} samples a node are fewer than it must hold: min_samples is "
                f"{partition.min_samples}{left}; raise samples or lower min_samples",
            )
    if not partition.with_replacement:
        return
    if partition.samples is None:
        yield ("partition", "with_replacement"), "needs samples: how many each node draws"
    if privacy is not None and privacy.unit == "record":
        yield (
            ("partition", "with_replacement"),
            "with replacement several nodes may hold one record, and the ledger does not follow its copies; use "
            'unit = "node", or leave with_replacement out',
        )
    for name, used in (
        ("local_test", partition.local_test > 0),
        ("shift", partition.shift is not None),
    ):
        if used:
            yield (
                ("partition", name),
                "with replacement several nodes may hold one sample, so this cannot be kept apart; leave "
                "with_replacement or this key out",
            )


def blob_classes(scenario: Scenario) -> Found:
    """Every class has samples."""
    data = scenario.data
    if isinstance(data, BlobsData) and data.samples < 2 * data.classes:
        yield (
            ("data", "samples"),
            f"{data.classes} classes need at least {2 * data.classes} samples, two of each",
        )


# ---------------------------------------------------------------- of which sort


def classes_where_needed(scenario: Scenario) -> Found:
    """Numbers to predict have no classes to be shared out."""
    if regression(scenario.data) and isinstance(scenario.partition, DirichletPartition):
        from protocols.learning.partition import NO_CLASSES  # not at import: --help needs no numpy

        yield ("partition", "kind"), NO_CLASSES


def model_of_classes(scenario: Scenario) -> Found:
    """A model that tells classes apart is not given numbers to predict."""
    if regression(scenario.data) and scenario.model.kind in PREDICTS_CLASSES:
        yield (
            ("model", "kind"),
            f"{scenario.model.kind} tells classes apart, but the labels of {scenario.data.kind} are numbers to "
            "predict; choose a model that predicts numbers, or data with classes",
        )


def users_are_known(scenario: Scenario) -> Found:
    """Data that are dealt out by user say who their users are."""
    data = scenario.data
    if not isinstance(scenario.partition, UsersPartition):
        return
    if isinstance(data, TableData):
        if data.user is None:
            yield ("data",), 'partition.kind = "users" needs a column of users: give user = "its name"'
    elif not isinstance(data, NpzData):
        yield (
            ("partition", "kind"),
            f"{data.kind} does not say which user a sample comes from; use npz, csv or parquet files, or another "
            "kind",
        )


def shift_does_something(scenario: Scenario) -> Found:
    """A shift of features moves them, and only images are turned."""
    shift, data = scenario.partition.shift, scenario.data
    if shift is None:
        return
    if shift.noise == 0 and shift.rotations == 1:
        yield ("partition", "shift"), "neither noise nor rotations is given; nothing would differ"
    images = isinstance(data, DigitsData | IdxData | NpzData) or (
        isinstance(data, TableData) and data.shape is not None
    )
    if shift.rotations > 1 and not images:
        yield (
            ("partition", "shift", "rotations"),
            f"only images can be turned, and {data.kind} holds rows of numbers"
            + ("; give data.shape" if isinstance(data, TableData) else ""),
        )


def columns_once(scenario: Scenario) -> Found:
    """No column of a table has two roles, and a fresh split leaves no test table over."""
    data = scenario.data
    if not isinstance(data, TableData):
        return
    roles = [("label", data.label), ("user", data.user)]
    if data.label == data.user:
        yield ("data", "user"), f'column "{data.label}" is the label already'
    for i, name in enumerate(data.ignore):
        for role, taken in roles:
            if name == taken:
                yield ("data", "ignore", i), f'column "{name}" is the {role}; it cannot be ignored too'
    if data.test_path is None and data.test_fraction is None:
        yield ("data",), "there are no test samples: give test_fraction, or test_path"


CHECKS = (
    enough_data,
    samples_of_each,
    blob_classes,
    classes_where_needed,
    model_of_classes,
    users_are_known,
    shift_does_something,
    columns_once,
)


# ---------------------------------------------------------------- files


def data_files(scenario: Scenario, base: Path) -> Found:
    """Files are there and begin as they should; folders of images hold enough of them."""
    data = scenario.data
    if isinstance(data, IdxData):
        yield from _idx(scenario, data, base / data.path)
    elif isinstance(data, NpzData):
        yield from _begins(("data", "path"), base / data.path, _MAGIC["npz"], "an npz file")
    elif isinstance(data, TableData):
        yield from _table(data, ("data", "path"), base / data.path)
        if data.test_path is not None:
            yield from _table(data, ("data", "test_path"), base / data.test_path)


def _idx(scenario: Scenario, data: IdxData, folder: Path) -> Found:
    from protocols.learning import idx  # not at import: --help needs no numpy
    from protocols.learning.dataset import train_samples

    try:
        counts = {part: idx.samples(pair) for part, pair in idx.find(folder, data.part).items()}
        if data.test_fraction is None and len(counts) < 2:
            (there,) = counts
            raise ConfigurationError(
                f"{folder} has no {'test' if there == 'train' else 'training'} files; give test_fraction to split "
                "what is there",
                "data.path",
            )
        pooled = data.test_fraction
        most = counts["train"] if pooled is None else train_samples(sum(counts.values()), pooled)
    except ConfigurationError as error:
        _, key = (error.key or "data.path").split(".")
        yield ("data", key), error.message
        return
    if data.samples is not None and data.samples > most:
        yield ("data", "samples"), f"there are only {most} training samples in {folder}"
    nodes = scenario.topology.node_count
    if data.samples is None and nodes is not None:
        yield from _enough(scenario.partition, nodes, most)


def _begins(key: Key, file: Path, magic: bytes, what: str) -> Found:
    try:
        with file.open("rb") as opened:
            start = opened.read(len(magic))
    except OSError as error:
        yield key, _unreadable(file, error)
        return
    if start != magic:
        yield key, f"{file} is not {what}: it begins with {start!r}, not {magic!r}"


def _unreadable(file: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file {file}; paths start at the scenario file"
    return f"{file} cannot be read: {error.strerror}"


def _table(data: TableData, key: Key, file: Path) -> Found:
    if data.kind == "parquet":
        yield from _begins(key, file, _MAGIC["parquet"], "a Parquet file")
        return
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            header = next(csv.reader(opened), [])
    except OSError as error:
        yield key, _unreadable(file, error)
    except (UnicodeDecodeError, csv.Error) as error:
        yield key, f"{file} is not a CSV file in UTF-8 ({error})"
    else:
        yield from _missing_columns(data, file, header, training=key == ("data", "path"))


def _missing_columns(
    data: TableData, file: Path, header: list[str], *, training: bool
) -> Iterator[tuple[Key, str]]:
    shown = ", ".join(header[:8]) + (", …" if len(header) > 8 else "")
    wanted: list[tuple[Key, str | None]] = [(("data", "label"), data.label)]
    if training:
        wanted += [(("data", "user"), data.user)]
    wanted += [(("data", "ignore", i), name) for i, name in enumerate(data.ignore)]
    for key, name in wanted:
        if name is not None and name not in header:
            yield key, f'{file} has no column "{name}"; its first line names {shown or "none"}'


FILE_CHECKS = (data_files,)
