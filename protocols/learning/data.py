"""Data sets, held in memory and split once into training and test samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.errors import ConfigurationError

DIGITS_SAMPLES = 1797


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test samples; the arrays are read-only copies of what is passed in.

    Args:
        train_x: (samples, features), stored as float32.
        train_y: (samples,), labels in 0 … classes − 1, stored as int32.
        test_x: (test samples, features), stored as float32.
        test_y: (test samples,), stored as int32.
        classes: number of classes.

    Raises:
        ConfigurationError: shapes or labels that do not belong together.
    """

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int32]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int32]
    classes: int

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x = _frozen(getattr(self, f"{part}_x"), np.float32)
            y = _frozen(getattr(self, f"{part}_y"), np.int32)
            if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
                raise ConfigurationError(
                    f"data: {part} samples have shape {x.shape} and labels {y.shape}; "
                    "expected (samples, features) and (samples,), at least one sample",
                    "data",
                )
            if y.min() < 0 or y.max() >= self.classes:
                raise ConfigurationError(
                    f"data: {part} labels span {y.min()} to {y.max()}; expected 0 to {self.classes - 1}",
                    "data",
                )
            object.__setattr__(self, f"{part}_x", x)
            object.__setattr__(self, f"{part}_y", y)
        if self.train_x.shape[1] != self.test_x.shape[1]:
            raise ConfigurationError(
                f"data: {self.train_x.shape[1]} training features but {self.test_x.shape[1]} test features",
                "data",
            )

    @property
    def features(self) -> int:
        """Inputs per sample."""
        return int(self.train_x.shape[1])


def _frozen(values: ArrayLike, dtype: type[np.generic]) -> NDArray[np.generic]:
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def train_samples(samples: int, test_fraction: float) -> int:
    """How many samples a split leaves for training, known without loading any data.

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


def digits(test_fraction: float, rng: np.random.Generator) -> Dataset:
    """8 × 8 images of handwritten digits, 10 classes, 64 features scaled to [0, 1].

    Args:
        test_fraction: share of the 1797 samples kept for testing, in (0, 1).
        rng: draws the split and the order of the samples.

    Raises:
        ConfigurationError: a fraction that leaves training or test empty.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (the test part, as
    shipped with scikit-learn).
    """
    from sklearn.datasets import load_digits  # half a second, not owed by those who only want blobs

    x, y = load_digits(return_X_y=True)
    return _split(x / 16.0, y, 10, test_fraction, rng)


def blobs(
    samples: int, features: int, classes: int, spread: float, test_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Isotropic Gaussian classes around standard normal centres, all divided by √features.

    The division keeps the expected squared norm of a centre at 1 for every dimension, so that clipping norms
    carry over from one dimension to another.

    Args:
        samples: in total, spread over the classes as evenly as possible.
        features: dimension, at least 1.
        classes: at least 2.
        spread: standard deviation within a class in units of that between centres, not negative.
        test_fraction: share kept for testing, in (0, 1).
        rng: draws centres, samples, the split and the order.

    Raises:
        ConfigurationError: a parameter out of its range.
    """
    for name, value, least in (
        ("features", features, 1),
        ("classes", classes, 2),
        ("samples", samples, classes),
    ):
        if value < least:
            raise ConfigurationError(f"data: {name} is {value}, expected at least {least}", f"data.{name}")
    if not (np.isfinite(spread) and spread >= 0):
        raise ConfigurationError(f"data: spread is {spread}, expected a finite number ≥ 0", "data.spread")
    y = np.arange(samples) % classes
    centres = rng.standard_normal((classes, features))
    x = centres[y] + spread * rng.standard_normal((samples, features))
    return _split(x / np.sqrt(features), y, classes, test_fraction, rng)


def _split(
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    classes: int,
    test_fraction: float,
    rng: np.random.Generator,
) -> Dataset:
    """Stratified: test shares follow the whole class by class; the total is exact (largest remainders)."""
    test_total = len(y) - train_samples(len(y), test_fraction)
    counts = np.bincount(y, minlength=classes)
    exact = counts * (test_total / len(y))
    quota = np.floor(exact).astype(np.int64)
    short = test_total - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:short]] += 1
    order = rng.permutation(len(y))
    chosen = np.zeros(len(y), dtype=bool)
    for label in range(classes):
        chosen[order[y[order] == label][: quota[label]]] = True
    train, test = order[~chosen[order]], order[chosen[order]]
    features, labels = x.astype(np.float32), y.astype(np.int32)
    return Dataset(features[train], labels[train], features[test], labels[test], classes)
