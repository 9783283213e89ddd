"""Data sets that need no file: four included in scikit-learn, and two synthetic ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.learning.dataset import Dataset, split, standardised, train_samples
from simulator.errors import ConfigurationError

__all__ = [
    "Dataset",
    "blobs",
    "breast_cancer",
    "diabetes",
    "digits",
    "least_squares",
    "linear",
    "train_samples",
    "wine",
]


def digits(test_fraction: float, rng: np.random.Generator) -> Dataset:
    """Load 8 × 8 images of handwritten digits, 10 classes, pixels scaled by the constant 1/16; bounds 0 and 1.

    Args:
        test_fraction: share of the 1797 samples kept for testing, in (0, 1).
        rng: draws the split and the order of the samples.

    Raises:
        ConfigurationError: a fraction that leaves training or test empty.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (the test part, as
    shipped with scikit-learn).
    """
    from sklearn.datasets import load_digits  # takes half a second to import

    x, y = load_digits(return_X_y=True)
    return replace(_split(x.reshape(-1, 8, 8) / 16.0, y, 10, test_fraction, rng), bounds=(0.0, 1.0))


def breast_cancer(test_fraction: float, rng: np.random.Generator, *, scale: bool = True) -> Dataset:
    """Load 569 tumours with 30 measurements of cell nuclei, 2 classes: malignant, benign.

    Args:
        test_fraction: share kept for testing, in (0, 1).
        rng: draws the split and the order of the samples.
        scale: standardise the features, see :func:`~protocols.learning.dataset.standardised` for its effect on
            privacy.

    Raises:
        ConfigurationError: a fraction that leaves training or test empty.

    Source: W. Wolberg, O. Mangasarian, N. Street, W. Street, "Breast Cancer Wisconsin (Diagnostic)", UCI, 1995.
    """
    from sklearn.datasets import load_breast_cancer

    return _table(load_breast_cancer(), test_fraction, rng, scale)


def wine(test_fraction: float, rng: np.random.Generator, *, scale: bool = True) -> Dataset:
    """Load 178 wines with 13 chemical measurements, 3 classes: their cultivars.

    Args:
        test_fraction: share kept for testing, in (0, 1).
        rng: draws the split and the order of the samples.
        scale: standardise the features, see :func:`~protocols.learning.dataset.standardised` for its effect on
            privacy.

    Raises:
        ConfigurationError: a fraction that leaves training or test empty.

    Source: S. Aeberhard, M. Forina, "Wine", UCI, 1991.
    """
    from sklearn.datasets import load_wine

    return _table(load_wine(), test_fraction, rng, scale)


def diabetes(test_fraction: float, rng: np.random.Generator, *, scale: bool = True) -> Dataset:
    """Load 442 patients with 10 measurements; the target is the progression of their disease after a year.

    Args:
        test_fraction: share kept for testing, in (0, 1).
        rng: draws the split and the order of the samples.
        scale: standardise features and labels, see :func:`~protocols.learning.dataset.standardised` for the effect
            on privacy; raw labels span 25 to 346.

    Raises:
        ConfigurationError: a fraction that leaves training or test empty.

    Source: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, "Least Angle Regression", Annals of Statistics, 2004.
    """
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    made = _split(x, y, None, test_fraction, rng)
    return standardised(made) if scale else made


def blobs(
    samples: int, features: int, classes: int, spread: float, test_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Draw isotropic Gaussian classes around standard normal centres, all divided by √features.

    The division keeps the expected squared norm of a centre at 1 for every dimension, so that clipping norms
    carry over from one dimension to another.

    Args:
        samples: total number, spread over the classes as evenly as possible.
        features: dimension, at least 1.
        classes: number of classes, at least 2.
        spread: standard deviation within a class in units of that between centres, not negative.
        test_fraction: share kept for testing, in (0, 1).
        rng: draws centres, samples, the split and the order.

    Raises:
        ConfigurationError: a parameter out of its range.
    """
    _require(features=(features, 1), classes=(classes, 2), samples=(samples, classes))
    _require_deviation("spread", spread)
    y = np.arange(samples) % classes
    centres = rng.standard_normal((classes, features))
    x = centres[y] + spread * rng.standard_normal((samples, features))
    return _split(x / np.sqrt(features), y, classes, test_fraction, rng)


def linear(
    samples: int, features: int, noise: float, test_fraction: float, rng: np.random.Generator
) -> tuple[Dataset, NDArray[np.float64]]:
    """Draw a linear regression y = x·w* + noise, with normal x of expected squared norm 1 and standard normal w*.

    Args:
        samples: total number, at least 2.
        features: dimension, at least 1.
        noise: standard deviation of the labels around x·w*, not negative; that of x·w* is about 1.
        test_fraction: share kept for testing, in (0, 1).
        rng: draws w*, samples, noise, the split and the order.

    Returns:
        The data, and w* of shape (features,). The best fit to the training samples, from :func:`least_squares`,
        differs from w* because of the noise.

    Raises:
        ConfigurationError: a parameter out of its range.
    """
    _require(features=(features, 1), samples=(samples, 2))
    _require_deviation("noise", noise)
    weights = rng.standard_normal(features)
    x = rng.standard_normal((samples, features)) / np.sqrt(features)
    y = x @ weights + noise * rng.standard_normal(samples)
    return _split(x, y, None, test_fraction, rng), weights


def least_squares(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Return the exact minimiser of the mean of ½ (x·w + b − y)², a linear model; of least norm if several.

    Args:
        x: (samples, *shape).
        y: (samples,).

    Returns:
        (features + 1,): w, then b.
    """
    rows = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    design = np.column_stack([rows, np.ones(len(rows))])
    return np.asarray(np.linalg.lstsq(design, np.asarray(y, dtype=np.float64), rcond=None)[0])


def _require(**sizes: tuple[int, int]) -> None:
    for name, (value, least) in sizes.items():
        if value < least:
            raise ConfigurationError(f"data: {name} is {value}, expected at least {least}", f"data.{name}")


def _require_deviation(name: str, value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise ConfigurationError(f"data: {name} is {value}, expected a finite number ≥ 0", f"data.{name}")


def _table(bunch: Any, test_fraction: float, rng: np.random.Generator, scale: bool) -> Dataset:
    names = tuple(map(str, bunch.target_names))
    made = _split(bunch.data, bunch.target, len(names), test_fraction, rng, names)
    return standardised(made) if scale else made


def _split(
    x: NDArray[Any],
    y: NDArray[Any],
    classes: int | None,
    test_fraction: float,
    rng: np.random.Generator,
    names: tuple[str, ...] = (),
) -> Dataset:
    train, test = split(y, classes, test_fraction, rng)
    features = x.astype(np.float32)
    return Dataset(features[train], y[train], features[test], y[test], classes, class_names=names)
