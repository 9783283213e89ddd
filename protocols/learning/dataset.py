"""Data set in memory: training and test samples, their split and their scaling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.errors import ConfigurationError

Labels: TypeAlias = NDArray[Any]
"""Classes as int32, or regression targets as float32; (samples,)."""

Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test samples; the arrays are read-only and not shared with the caller.

    Args:
        train_x: (samples, *shape), stored as float32; an image has shape (height, width) or
            (height, width, channels).
        train_y: (samples,), labels in 0 … classes − 1, stored as int32; without classes the regression targets,
            stored as float32.
        test_x: (test samples, *shape), stored as float32.
        test_y: (test samples,), as ``train_y``.
        classes: number of classes, None for regression.
        groups: (samples,) int32, the natural user of each training sample, 0 … users − 1; None if unknown.
        group_names: name of each user; their numbers if empty.
        class_names: name of each class; their numbers if empty.
        bounds: (least, largest) value that a feature can have by its format, as pixels do, for any samples: public,
            so known to attackers too. None: unknown.

    Raises:
        ConfigurationError: shapes, labels or users that do not fit together, or values that are not finite or out of
            bounds.
    """

    train_x: NDArray[np.float32]
    train_y: Labels
    test_x: NDArray[np.float32]
    test_y: Labels
    classes: int | None
    groups: NDArray[Any] | None = None
    group_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = self._part(part)
            object.__setattr__(self, f"{part}_x", x)
            object.__setattr__(self, f"{part}_y", y)
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            raise ConfigurationError(
                f"data: {_shown(self.train_x)} training features but {_shown(self.test_x)} test features",
                "data",
            )
        self._name_classes()
        self._name_groups()

    def _part(self, part: str) -> tuple[NDArray[Any], NDArray[Any]]:
        x = frozen(getattr(self, f"{part}_x"), np.float32)
        given = np.asarray(getattr(self, f"{part}_y"))
        if x.ndim < 2 or given.shape != x.shape[:1] or not len(given) or not prod(x.shape):
            raise ConfigurationError(
                f"data: {part} samples have shape {x.shape} and labels {given.shape}; "
                "expected (samples, …features) and (samples,), at least one sample and one feature",
                "data",
            )
        for values, what in ((x, "features"), (given, "labels")):
            if not np.isfinite(values).all():
                bad = int((~np.isfinite(values)).sum())
                raise ConfigurationError(
                    f"data: {bad} of the {part} {what} are NaN or infinite; expected finite numbers", "data"
                )
        if self.bounds is not None and not self.bounds[0] <= x.min() <= x.max() <= self.bounds[1]:
            raise ConfigurationError(
                f"data: {part} features span {x.min():g} to {x.max():g}, expected {self.bounds[0]:g} to "
                f"{self.bounds[1]:g} by their format; state other bounds, or none",
                "data",
            )
        y = frozen(given, np.float32 if self.classes is None else np.int32)
        if self.classes is not None:
            if np.any(y != given):
                raise ConfigurationError(
                    f"data: {part} labels are not all whole numbers; expected classes 0 to {self.classes - 1}",
                    "data",
                )
            if y.min() < 0 or y.max() >= self.classes:
                raise ConfigurationError(
                    f"data: {part} labels span {y.min()} to {y.max()}; expected 0 to {self.classes - 1}",
                    "data",
                )
        return x, y

    def _name_classes(self) -> None:
        names = self.class_names or tuple(map(str, range(self.classes or 0)))
        if len(names) != (self.classes or 0):
            raise ConfigurationError(f"data: {len(names)} names for {self.classes or 0} classes", "data")
        object.__setattr__(self, "class_names", names)

    def _name_groups(self) -> None:
        if self.groups is None:
            return
        groups = frozen(self.groups, np.int32)
        if groups.shape != self.train_y.shape:
            raise ConfigurationError(
                f"data: users of shape {groups.shape} for {len(self.train_y)} training samples; expected one each",
                "data",
            )
        names = self.group_names or tuple(map(str, range(int(groups.max()) + 1)))
        if groups.min() < 0 or groups.max() >= len(names):
            raise ConfigurationError(
                f"data: users span {groups.min()} to {groups.max()}; expected 0 to {len(names) - 1}", "data"
            )
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "group_names", names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one sample."""
        return self.train_x.shape[1:]

    @property
    def features(self) -> int:
        """Return the number of inputs per sample."""
        return prod(self.shape)


def _shown(x: NDArray[Any]) -> str:
    return " x ".join(map(str, x.shape[1:]))


def frozen(values: ArrayLike, dtype: type[np.generic]) -> NDArray[Any]:
    """Return a read-only copy; the array itself if no other reference can write to it.

    Args:
        values: any shape.
        dtype: of the result.
    """
    if isinstance(values, np.ndarray) and values.dtype == dtype:
        private = values.base is None and not values.flags.writeable
        if private:  # a second copy of a large data set may not fit in memory
            return values
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def train_samples(samples: int, test_fraction: float) -> int:
    """Return the number of samples a split leaves for training, without loading any data.

    Args:
        samples: in the whole data set.
        test_fraction: in (0, 1).

    Raises:
        ConfigurationError: the training or the test part would be empty.
    """
    test = round(samples * test_fraction) if 0.0 < test_fraction < 1.0 else 0
    if not 0 < test < samples:
        raise ConfigurationError(
            f"data: test_fraction {test_fraction} of {samples} samples leaves training or test empty; "
            "expected a fraction between 0 and 1 that leaves at least one sample in each",
            "data.test_fraction",
        )
    return samples - test


def split(
    y: NDArray[Any], classes: int | None, test_fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Draw a random split; with classes, the test part has its share of each, its total exact (largest remainders).

    Args:
        y: (samples,) labels, 0 … classes − 1; without classes only their number is used.
        classes: None for regression.
        test_fraction: in (0, 1).
        rng: draws the split and the order of the samples.

    Returns:
        Indices of the training and of the test samples, each in random order.

    Raises:
        ConfigurationError: the training or the test part would be empty.
    """
    test_total = len(y) - train_samples(len(y), test_fraction)
    order = rng.permutation(len(y))
    if classes is None:
        return order[test_total:], order[:test_total]
    counts = np.bincount(y, minlength=classes)
    exact = counts * (test_total / len(y))
    quota = np.floor(exact).astype(np.int64)
    short = test_total - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:short]] += 1
    chosen = np.zeros(len(y), dtype=bool)
    for label in range(classes):
        chosen[order[y[order] == label][: quota[label]]] = True
    return order[~chosen[order]], order[chosen[order]]


def standardised(dataset: Dataset) -> Dataset:
    """Shift and scale every feature to mean 0 and standard deviation 1; without classes, the labels too.

    A constant feature is only shifted. The range of features then depends on the samples, so there are no bounds.

    Returns:
        A data set whose test samples are scaled with the constants of the training samples.

    Guarantees:
        None for the constants. Means and deviations are functions of the training samples of all nodes, are
        assumed to be public and are not charged to ε: this is preprocessing for data of which such statistics are
        public, as they are of the published sets. Where they are not, use constants that were agreed on beforehand,
        and files that hold features scaled by them.
    """
    train_x, test_x = _scaled(dataset.train_x, dataset.train_x), _scaled(dataset.test_x, dataset.train_x)
    if dataset.classes is not None:
        return replace(dataset, train_x=train_x, test_x=test_x, bounds=None)
    train_y, test_y = _scaled(dataset.train_y, dataset.train_y), _scaled(dataset.test_y, dataset.train_y)
    return replace(dataset, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y, bounds=None)


def _scaled(values: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float32]:
    centre = reference.mean(axis=0, dtype=np.float64)
    width = reference.std(axis=0, dtype=np.float64)
    # A constant column differs from its mean by rounding only, which must not be scaled up to a deviation of 1.
    flat = width <= 1e-12 * np.maximum(1.0, np.abs(centre))
    scaled: NDArray[np.float32] = ((values - centre) / np.where(flat, 1.0, width)).astype(np.float32)
    return scaled
