"""Tables of what is learned from, and of who holds which of it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.tables import Table
from scenarios.units import Fraction


class DigitsData(Table):
    """Handwritten digits, 1797 images of 8 x 8 pixels, 10 classes (Alpaydin and Kaynak 1998)."""

    kind: Literal["digits"] = Field(description="1797 handwritten digits, 64 features, 10 classes")
    test_fraction: Fraction = Field(default=0.2, gt=0, lt=1, description="share kept for testing, 0 to 1")


class BlobsData(Table):
    """Gaussian blobs, one per class."""

    kind: Literal["blobs"] = Field(description="one Gaussian blob per class")
    samples: int = Field(ge=2, le=10_000_000, description="samples in all, training and test")
    features: int = Field(ge=1, le=100_000, description="dimensions")
    classes: int = Field(ge=2, le=10_000, description="blobs")
    spread: float = Field(default=1.0, gt=0, description="standard deviation of each blob")
    test_fraction: Fraction = Field(default=0.2, gt=0, lt=1, description="share kept for testing, 0 to 1")


Data: TypeAlias = Annotated[
    DigitsData | BlobsData, Field(discriminator="kind", description="what is learned from")
]


class IidPartition(Table):
    """Samples dealt out at random in equal parts."""

    kind: Literal["iid"] = Field(default="iid", description="equal random parts")
    min_samples: int = Field(default=10, ge=1, description="fewest training samples a node may hold")


class DirichletPartition(Table):
    """Label-skewed parts: class shares drawn from a Dirichlet law (Hsu et al. 2019, arXiv 1909.06335)."""

    kind: Literal["dirichlet"] = Field(description="label-skewed parts")
    alpha: float = Field(default=0.5, gt=0, description="concentration; small means skewed")
    min_samples: int = Field(default=10, ge=1, description="fewest training samples a node may hold")


Partition: TypeAlias = Annotated[
    IidPartition | DirichletPartition,
    Field(discriminator="kind", description="who holds which training samples"),
]
