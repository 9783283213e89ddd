"""Data sets from files: NumPy arrays, tables as CSV or Parquet, folders of images in the IDX format."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.learning import idx
from protocols.learning.dataset import Dataset, Indices, split, standardised
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

Target: TypeAlias = Literal["class", "number"]
Scale: TypeAlias = Literal["none", "bytes", "standard"]
BYTE = np.float32(255)


class Raw(NamedTuple):
    """Content of a file: features (samples, *shape), labels (samples,) of any type, users (samples,) or None."""

    x: NDArray[Any]
    y: NDArray[Any]
    groups: NDArray[Any] | None


@dataclass(frozen=True)
class Choices:
    """Treatment of the samples of a file.

    Args:
        target: labels are classes, numbered in their sorted order, or regression targets.
        scale: features unchanged, divided by 255, or standardised (see
            :func:`~protocols.learning.dataset.standardised` for the effect on privacy).
        test_fraction: None keeps the file's own test samples apart; a fraction in (0, 1) pools all samples and
            splits them anew.
        samples: number of training samples, selected at random; None keeps all.
        test_samples: the same for test samples.
    """

    target: Target = "class"
    scale: Scale = "none"
    test_fraction: float | None = None
    samples: int | None = None
    test_samples: int | None = None


def idx_folder(
    folder: Path, part: str | None, choices: Choices, rng: np.random.Generator, *, transpose: bool = False
) -> Dataset:
    """Load a folder of images in the format of MNIST, Fashion-MNIST and EMNIST; scale "bytes" maps pixels to [0, 1].

    Args:
        folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k (or test), each plain
            or gzipped, optionally with a dot in place of the dash before idx; see
            :func:`~protocols.learning.idx.find`.
        part: of EMNIST, such as "balanced", whose files are named emnist-balanced-train-images-idx3-ubyte.
        choices: see :class:`Choices`.
        rng: draws the split and the samples kept.
        transpose: swap rows and columns of every image, as EMNIST's files need.

    Raises:
        ConfigurationError: files are missing or broken, or do not fit the choices.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST Database of Handwritten Digits", 1998, for the format;
    Cohen et al. 2017 (arXiv:1702.05373) for EMNIST.
    """
    found = idx.find(folder, part)
    read = {name: Raw(*idx.read_pair(*files), None) for name, files in found.items()}
    if transpose:
        read = {name: raw._replace(x=raw.x.swapaxes(1, 2)) for name, raw in read.items()}
    train, test = read.get("train"), read.get("test")
    if train is None:
        # One half of the folder is enough for a new split, but is never used as the other half.
        if choices.test_fraction is None:
            raise ConfigurationError(
                f"data: {folder} holds test files but none for training; give test_fraction to split what is there",
                "data.path",
            )
        train, test = test, None
    assert train is not None
    return assemble(train, test, choices, rng)


def npz(file: Path, choices: Choices, rng: np.random.Generator) -> Dataset:
    """Load arrays x and y, optionally test_x, test_y and groups (the user of each sample of x), from an npz file.

    Args:
        file: as written by numpy.savez; x is (samples, *shape), y (samples,) of numbers or text.
        choices: see :class:`Choices`.
        rng: draws the split and the samples kept.

    Raises:
        ConfigurationError: the file is missing or broken, lacks an array, or does not fit the choices.
    """
    try:
        with file.open("rb") as opened:
            arrays = np.load(opened, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name")
            wanted = ("x", "y", "test_x", "test_y", "groups")
            held = {name: arrays[name] for name in wanted if name in arrays.files}
            others = ", ".join(arrays.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"data: {file} is not a readable npz file ({error})", "data.path") from error
    missing = [name for name in ("x", "y") if name not in held]
    if ("test_x" in held) != ("test_y" in held):
        missing.append("test_y" if "test_x" in held else "test_x")
    if missing:
        raise ConfigurationError(
            f"data: {file} lacks the arrays {', '.join(missing)}; it holds {others or 'none'}", "data.path"
        )
    for name in ("x", "test_x"):
        if name in held and held[name].dtype.kind not in "biuf":
            raise ConfigurationError(
                f"data: {name} of {file} holds {held[name].dtype}; features must be numbers", "data.path"
            )
    test = Raw(held["test_x"], held["test_y"], None) if "test_x" in held else None
    return assemble(Raw(held["x"], held["y"], held.get("groups")), test, choices, rng)


@dataclass(frozen=True)
class Columns:
    """Roles of the columns of a table; all others are features, in the order of the file.

    Args:
        label: column to predict.
        user: column with the user of a row; None if there is none.
        ignore: columns left out.
        shape: of a sample, such as (28, 28); None leaves one row of numbers.
    """

    label: str = "label"
    user: str | None = None
    ignore: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None


def table(
    file: Path,
    test_file: Path | None,
    format: Literal["csv", "parquet"],
    columns: Columns,
    choices: Choices,
    rng: np.random.Generator,
) -> Dataset:
    """Load a table with one row per sample.

    Args:
        file: training samples, or all if they are to be split.
        test_file: test samples, with the same columns; its users are ignored.
        format: of both files; the first line of a CSV file names the columns.
        columns: see :class:`Columns`.
        choices: see :class:`Choices`.
        rng: draws the split and the samples kept.

    Raises:
        ConfigurationError: a file is missing or broken, a column is missing, is not numeric or has empty cells,
            or the files do not fit the choices.
    """
    frame = _frame(file, format, "data.path")
    names = _features(frame, columns, file, "data.path")
    train = Raw(
        _matrix(frame, names, columns.shape, file),
        _labels(frame, columns, file),
        _users(frame, columns, file),
    )
    test = None
    if test_file is not None:
        other = _frame(test_file, format, "data.test_path")
        if set(_features(other, columns, test_file, "data.test_path")) != set(names):
            raise ConfigurationError(
                f"data: {test_file} and {file} do not have the same feature columns", "data.test_path"
            )
        users = _users(other, columns, test_file) if columns.user in other.columns else None
        test = Raw(_matrix(other, names, columns.shape, test_file), _labels(other, columns, test_file), users)
    return assemble(train, test, choices, rng)


# ---------------------------------------------------------------- treatment of the samples


def assemble(train: Raw, test: Raw | None, choices: Choices, rng: np.random.Generator) -> Dataset:
    """Split, limit, number and scale the content of files.

    Args:
        train: training samples, or all.
        test: the files' own test samples, if they have any.
        choices: see :class:`Choices`.
        rng: draws the split and the samples kept.

    Raises:
        ConfigurationError: the files do not fit the choices.
    """
    _check_pair(train, test)
    labels = train.y if test is None else np.concatenate([train.y, test.y])
    y, names = _classes(labels) if choices.target == "class" else (_numbers(labels), ())
    classes = len(names) or None
    if choices.test_fraction is not None:
        x = train.x if test is None else np.concatenate([train.x, test.x])
        groups = _pooled(train, test)
        kept, held_out = split(y, classes, choices.test_fraction, rng)
    elif test is not None:
        x, groups = train.x, train.groups
        kept, held_out = np.arange(len(train.y)), np.arange(len(test.y))
    else:
        raise ConfigurationError(
            "data: there are no test samples of its own; give test_fraction to keep some for testing",
            "data.test_fraction",
        )
    kept = _limited(kept, choices.samples, "samples", rng)
    held_out = _limited(held_out, choices.test_samples, "test_samples", rng)
    apart = test is not None and choices.test_fraction is None
    test_x = test.x[held_out] if test is not None and apart else x[held_out]
    users, numbers = (None, None) if groups is None else np.unique(groups[kept], return_inverse=True)
    train_features, test_features = _pixels(x[kept], choices.scale), _pixels(test_x, choices.scale)
    made = Dataset(
        train_features,
        y[kept],
        test_features,
        y[held_out + (len(train.y) if apart else 0)],
        classes,
        numbers,
        () if users is None else tuple(map(str, users)),
        names,
        _bounds(choices.scale, train_features, test_features),
    )
    return standardised(made) if choices.scale == "standard" else made


def _check_pair(train: Raw, test: Raw | None) -> None:
    parts = [(train, "")] if test is None else [(train, ""), (test, "test ")]
    for raw, what in parts:
        if raw.x.ndim < 2 or raw.y.shape != raw.x.shape[:1] or not len(raw.y):
            raise ConfigurationError(
                f"data: {what}x has shape {raw.x.shape} and {what}y {raw.y.shape}; expected (samples, …features) "
                "and (samples,), at least one sample",
                "data.path",
            )
        if raw.groups is not None and raw.groups.shape != raw.y.shape:
            raise ConfigurationError(
                f"data: groups has shape {raw.groups.shape}, expected one entry for each of {len(raw.y)} samples",
                "data.path",
            )
    if test is not None and test.x.shape[1:] != train.x.shape[1:]:
        raise ConfigurationError(
            f"data: a training sample has shape {train.x.shape[1:]}, a test sample {test.x.shape[1:]}",
            "data.path",
        )
    if test is not None and (train.y.dtype.kind == "U") != (test.y.dtype.kind == "U"):
        raise ConfigurationError(
            "data: the labels of training and of test samples are not both numbers or both text", "data.path"
        )


def _classes(labels: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the classes numbered in sorted order, and their names."""
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or np.any(labels != np.floor(labels)):
            raise ConfigurationError(
                'data: the labels are not whole numbers, so they are no classes; predict them with target = "number"',
                "data.target",
            )
        labels = labels.astype(np.int64)
    elif labels.dtype.kind not in "biuU":
        raise ConfigurationError(
            f"data: labels of type {labels.dtype} are neither numbers nor text", "data.path"
        )
    found, numbers = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise ConfigurationError(
            f"data: all labels are {found[0]}; there is nothing to tell apart", "data.path"
        )
    return numbers.astype(np.int64), tuple(map(str, found))


def _numbers(labels: NDArray[Any]) -> NDArray[np.float64]:
    if labels.dtype.kind not in "biuf":
        raise ConfigurationError(
            'data: the labels are text; a target of "number" needs numbers, "class" takes text', "data.target"
        )
    return labels.astype(np.float64)


def _pooled(train: Raw, test: Raw | None) -> NDArray[Any] | None:
    if train.groups is None or test is None:
        return train.groups
    if test.groups is None:
        raise ConfigurationError(
            "data: the test samples have no users, so they cannot be pooled with the training samples that have; "
            "leave test_fraction out",
            "data.test_fraction",
        )
    return np.concatenate([train.groups, test.groups])


def _limited(indices: Indices, most: int | None, key: str, rng: np.random.Generator) -> Indices:
    if most is None:
        return indices
    if most > len(indices):
        raise ConfigurationError(f"data: {key} is {most}, but there are only {len(indices)}", f"data.{key}")
    return np.sort(rng.permutation(indices)[:most])


def _bounds(scale: Scale, *features: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return (0, 1) where features are declared as bytes, unless a number in the files is out of that range."""
    bytes_only = scale == "bytes" and all(x.min() >= 0 and x.max() <= 1 for x in features)
    return (0.0, 1.0) if bytes_only else None


def _pixels(x: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
    values = np.array(x, dtype=np.float32)
    if scale == "bytes":
        values /= BYTE
    values.setflags(write=False)
    return values


# ---------------------------------------------------------------- tables


def _frame(file: Path, format: Literal["csv", "parquet"], key: str) -> pl.DataFrame:
    import polars as pl  # imported only where tables are read

    try:
        if format == "csv":
            # All rows decide the type of a column: the first hundred would take 1, 1, …, 0.5 for whole numbers.
            return pl.read_csv(file, infer_schema_length=None, glob=False)
        return pl.read_parquet(file, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(f"data: {file} is not a readable {format} file ({reason})", key) from error


def _features(frame: pl.DataFrame, columns: Columns, file: Path, key: str) -> list[str]:
    known = set(frame.columns)
    training = key == "data.path"
    for name, role in (
        (columns.label, "label"),
        *([(columns.user, "user")] if training and columns.user else []),
        *((name, "ignore") for name in columns.ignore),
    ):
        if name not in known:
            shown = ", ".join(frame.columns[:8]) + (", …" if len(frame.columns) > 8 else "")
            raise ConfigurationError(
                f'data: {file} has no column "{name}"; its columns are {shown}', f"data.{role}"
            )
    others = {columns.label, columns.user, *columns.ignore}
    names = [name for name in frame.columns if name not in others]
    if not names:
        raise ConfigurationError(f"data: {file} has no feature columns besides the label", key)
    text = [
        name for name in names if not (frame[name].dtype.is_numeric() or str(frame[name].dtype) == "Boolean")
    ]
    if text:
        kinds = ", ".join(f'"{name}" ({frame[name].dtype})' for name in text[:5])
        more = f" and {len(text) - 5} more" if len(text) > 5 else ""
        raise ConfigurationError(
            f"data: columns of {file} are not numbers: {kinds}{more}; encode them as numbers (one column of zeros "
            "and ones for each category), name one as user, or list them in ignore",
            key,
        )
    empty = [name for name in names if frame[name].null_count()]
    if empty:
        raise ConfigurationError(
            f'data: column "{empty[0]}" of {file} has {frame[empty[0]].null_count()} empty cells; fill or drop them',
            key,
        )
    return names


def _matrix(
    frame: pl.DataFrame, names: Sequence[str], shape: tuple[int, ...] | None, file: Path
) -> NDArray[np.float32]:
    x = np.stack([frame[name].to_numpy().astype(np.float32) for name in names], axis=1)
    if shape is None:
        return x
    if prod(shape) != len(names):
        wanted = " x ".join(map(str, shape))
        raise ConfigurationError(
            f"data: {file} has {len(names)} feature columns, a shape of {wanted} needs {prod(shape)}",
            "data.shape",
        )
    return x.reshape(-1, *shape)


def _labels(frame: pl.DataFrame, columns: Columns, file: Path) -> NDArray[Any]:
    return _plain(frame[columns.label], file, "label")


def _users(frame: pl.DataFrame, columns: Columns, file: Path) -> NDArray[Any] | None:
    return None if columns.user is None else _plain(frame[columns.user], file, "user")


def _plain(column: pl.Series, file: Path, role: str) -> NDArray[Any]:
    if column.null_count():
        raise ConfigurationError(
            f'data: column "{column.name}" of {file} has {column.null_count()} empty cells; every row needs a {role}',
            f"data.{role}",
        )
    if column.dtype.is_float() or column.dtype.is_integer() or str(column.dtype) == "Boolean":
        return column.to_numpy()
    return np.array(column.cast(str).to_list(), dtype=np.str_)
