"""Data sets that need no file: published ones that come with scikit-learn, and two that are drawn."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import Problems
from scenarios.format.units import Fraction
from scenarios.kinds.data.base import SCALES, Data

if TYPE_CHECKING:
    import numpy as np

    from protocols.learning.dataset import Dataset


class _SplitData(Data):
    """A set of samples that is split at random."""

    test_fraction: Fraction = Field(default=0.2, gt=0, lt=1, description="share kept for testing, 0 to 1")

    @property
    def no_images(self) -> str | None:
        return f"samples of {self.kind} are rows of numbers"

    @property
    def no_users(self) -> str | None:
        return f"{self.kind} does not tell; use npz, csv or parquet files, or another kind of partition"

    @property
    @abstractmethod
    def sample_count(self) -> int:
        """Samples in all, training and test."""

    def train_samples(self, base: Path | None = None) -> int | None:
        from protocols.learning.dataset import train_samples

        return train_samples(self.sample_count, self.test_fraction)


class DigitsData(_SplitData):
    """Handwritten digits, 1797 images of 8 x 8 pixels, 10 classes (Alpaydin and Kaynak 1998)."""

    regression: ClassVar[bool] = False
    sample_count: ClassVar[int] = 1797
    feature_count: ClassVar[int] = 64
    no_images: ClassVar[None] = None
    class_count: ClassVar[int] = 10

    kind: Literal["digits"] = Field(description="1797 handwritten digits, 8 x 8 pixels, 10 classes")

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Split the images; see :func:`protocols.learning.data.digits`."""
        from protocols.learning import data

        return data.digits(self.test_fraction, rng)


class _ScaledData(_SplitData):
    """A table of measurements in units of their own."""

    scale: Literal["none", "standard"] = Field(
        default="standard", examples=["none"], description=f"none: as it is; {SCALES}"
    )


class BreastCancerData(_ScaledData):
    """Breast Cancer Wisconsin, 569 tumours, 2 classes (Wolberg et al. 1995)."""

    regression: ClassVar[bool] = False
    sample_count: ClassVar[int] = 569
    feature_count: ClassVar[int] = 30
    class_count: ClassVar[int] = 2

    kind: Literal["breast-cancer"] = Field(description="569 tumours, 30 features, 2 classes")

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Split and scale the samples; see :func:`protocols.learning.data.breast_cancer`."""
        from protocols.learning import data

        return data.breast_cancer(self.test_fraction, rng, scale=self.scale == "standard")


class WineData(_ScaledData):
    """Wine, 178 samples of three cultivars (Aeberhard and Forina 1991)."""

    regression: ClassVar[bool] = False
    sample_count: ClassVar[int] = 178
    feature_count: ClassVar[int] = 13
    class_count: ClassVar[int] = 3

    kind: Literal["wine"] = Field(description="178 wines, 13 features, 3 classes")

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Split and scale the samples; see :func:`protocols.learning.data.wine`."""
        from protocols.learning import data

        return data.wine(self.test_fraction, rng, scale=self.scale == "standard")


class DiabetesData(_ScaledData):
    """Diabetes, 442 patients, regression (Efron et al. 2004)."""

    regression: ClassVar[bool] = True
    sample_count: ClassVar[int] = 442
    feature_count: ClassVar[int] = 10

    kind: Literal["diabetes"] = Field(description="442 patients, 10 features, a number to predict")

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Split and scale the samples; see :func:`protocols.learning.data.diabetes`."""
        from protocols.learning import data

        return data.diabetes(self.test_fraction, rng, scale=self.scale == "standard")


class BlobsData(_SplitData):
    """Gaussian blobs, one per class."""

    regression: ClassVar[bool] = False

    kind: Literal["blobs"] = Field(description="one Gaussian blob per class")
    samples: int = Field(
        ge=2, le=10_000_000, examples=[4000], description="samples in all, training and test"
    )
    features: int = Field(ge=1, le=100_000, examples=[20], description="numbers of one sample")
    classes: int = Field(ge=2, le=10_000, examples=[4], description="number of classes, one blob each")
    spread: float = Field(default=1.0, gt=0, examples=[1.5], description="standard deviation of each blob")

    @property
    def feature_count(self) -> int | None:
        """Dimension of the blobs."""
        return self.features

    @property
    def class_count(self) -> int | None:
        """One for each blob."""
        return self.classes

    @property
    def sample_count(self) -> int:
        """Samples of all blobs, training and test."""
        return self.samples

    def problems(self) -> Problems:
        """Every class has a sample to train on and one to test on."""
        if self.samples < 2 * self.classes:
            yield (
                ("samples",),
                f"{self.classes} classes need at least {2 * self.classes} samples, two of each",
            )

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Draw and split the samples; see :func:`protocols.learning.data.blobs`."""
        from protocols.learning import data

        return data.blobs(self.samples, self.features, self.classes, self.spread, self.test_fraction, rng)


class LinearData(_SplitData):
    """Synthetic linear regression, whose optimum is known."""

    regression: ClassVar[bool] = True

    kind: Literal["linear"] = Field(description="linear regression y = x.w + noise")
    samples: int = Field(
        ge=2, le=10_000_000, examples=[4000], description="samples in all, training and test"
    )
    features: int = Field(ge=1, le=100_000, examples=[20], description="numbers of one sample")
    noise: float = Field(
        default=0.1, ge=0, examples=[0.5], description="standard deviation of y around x.w, which is about 1"
    )

    @property
    def feature_count(self) -> int | None:
        """Dimension of x."""
        return self.features

    @property
    def sample_count(self) -> int:
        """Samples in all, training and test."""
        return self.samples

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Draw and split the samples; see :func:`protocols.learning.data.linear`."""
        from protocols.learning import data

        return data.linear(self.samples, self.features, self.noise, self.test_fraction, rng)[0]
