"""Tables of what is learned from, and of who holds which of it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import Table
from scenarios.format.units import Fraction

SCALES = (
    "standard: to mean 0 and deviation 1 by the training samples, taken as public and not charged to epsilon"
)


class Data(Kind):
    """What is learned from."""

    group: ClassVar[str] = "sottovoce.data"


class _SplitData(Data):
    """A set of samples that is split at random."""

    test_fraction: Fraction = Field(default=0.2, gt=0, lt=1, description="share kept for testing, 0 to 1")


class DigitsData(_SplitData):
    """Handwritten digits, 1797 images of 8 x 8 pixels, 10 classes (Alpaydin and Kaynak 1998)."""

    kind: Literal["digits"] = Field(description="1797 handwritten digits, 8 x 8 pixels, 10 classes")


class _ScaledData(_SplitData):
    """A table of measurements in units of their own."""

    scale: Literal["none", "standard"] = Field(
        default="standard", examples=["none"], description=f"none: as it is; {SCALES}"
    )


class BreastCancerData(_ScaledData):
    """Breast Cancer Wisconsin, 569 tumours, 2 classes (Wolberg et al. 1995)."""

    kind: Literal["breast-cancer"] = Field(description="569 tumours, 30 features, 2 classes")


class WineData(_ScaledData):
    """Wine, 178 samples of three cultivars (Aeberhard and Forina 1991)."""

    kind: Literal["wine"] = Field(description="178 wines, 13 features, 3 classes")


class DiabetesData(_ScaledData):
    """Diabetes, 442 patients, regression (Efron et al. 2004)."""

    kind: Literal["diabetes"] = Field(description="442 patients, 10 features, a number to predict")


class BlobsData(_SplitData):
    """Gaussian blobs, one per class."""

    kind: Literal["blobs"] = Field(description="one Gaussian blob per class")
    samples: int = Field(
        ge=2, le=10_000_000, examples=[4000], description="samples in all, training and test"
    )
    features: int = Field(ge=1, le=100_000, examples=[20], description="dimensions")
    classes: int = Field(ge=2, le=10_000, examples=[4], description="blobs")
    spread: float = Field(default=1.0, gt=0, examples=[1.5], description="standard deviation of each blob")


class LinearData(_SplitData):
    """Synthetic linear regression, whose optimum is known."""

    kind: Literal["linear"] = Field(description="linear regression y = x.w + noise")
    samples: int = Field(
        ge=2, le=10_000_000, examples=[4000], description="samples in all, training and test"
    )
    features: int = Field(ge=1, le=100_000, examples=[20], description="dimensions")
    noise: float = Field(
        default=0.1, ge=0, examples=[0.5], description="standard deviation of y around x.w, which is about 1"
    )


class _FileData(Data):
    """Samples that come in files."""

    path: str = Field(
        min_length=1, examples=["mnist"], description="file or folder, relative to the scenario file"
    )
    test_fraction: Fraction | None = Field(
        default=None,
        gt=0,
        lt=1,
        examples=[0.2],
        description="share of all samples kept for testing; absent: the test samples that the files set apart",
    )
    samples: int | None = Field(
        default=None,
        ge=1,
        examples=[10000],
        description="training samples kept, drawn at random; absent: all",
    )
    test_samples: int | None = Field(
        default=None, ge=1, examples=[2000], description="test samples kept, drawn at random; absent: all"
    )


class IdxData(_FileData):
    """A folder of images as MNIST, Fashion-MNIST and EMNIST come."""

    kind: Literal["idx"] = Field(description="folder of images in the IDX format: MNIST and its like")
    part: str | None = Field(
        default=None,
        pattern=r"^[a-z]+$",
        examples=["balanced"],
        description="of EMNIST: the word after emnist in its files' names",
    )
    transpose: bool = Field(
        default=False, examples=[True], description="swap rows and columns, as EMNIST's images need"
    )


class _LabelledData(_FileData):
    """Samples in files that do not say what their labels mean."""

    target: Literal["class", "number"] = Field(
        default="class",
        examples=["number"],
        description="class: labels are classes, in sorted order; number: they are predicted",
    )
    scale: Literal["none", "bytes", "standard"] = Field(
        default="none", examples=["bytes"], description=f"none: as it is; bytes: divided by 255; {SCALES}"
    )


class NpzData(_LabelledData):
    """Arrays of NumPy."""

    kind: Literal["npz"] = Field(description="arrays x, y and, if there, test_x, test_y and groups (users)")


class TableData(_LabelledData):
    """A table with one row for each sample."""

    kind: Literal["csv", "parquet"] = Field(description="table with a row for each sample")
    test_path: str | None = Field(
        default=None,
        min_length=1,
        examples=["test.csv"],
        description="table of the test samples, with the same columns",
    )
    label: str = Field(default="label", min_length=1, examples=["digit"], description="column to be told")
    user: str | None = Field(
        default=None,
        min_length=1,
        examples=["writer"],
        description='column of who a row comes from, for partition.kind = "users"',
    )
    ignore: tuple[str, ...] = Field(
        default=(),
        strict=False,
        examples=[["id"]],
        description="columns left out; all others are features and must be numbers",
    )
    shape: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        strict=False,
        min_length=1,
        examples=[[28, 28]],
        description="of a sample, as [rows, columns] or [rows, columns, channels]; absent: one row of numbers",
    )


FileData: TypeAlias = IdxData | NpzData | TableData


def regression(data: Data) -> bool:
    """Whether there are numbers to predict and no classes."""
    if isinstance(data, NpzData | TableData):
        return data.target == "number"
    return isinstance(data, DiabetesData | LinearData)


# ---------------------------------------------------------------- who holds what


class Shift(Table):
    """Features that differ from node to node."""

    noise: float = Field(
        default=0.0,
        ge=0,
        examples=[0.3],
        description="standard deviation of Gaussian noise on the features of the worst node; others have less, "
        "evenly spaced down to none",
    )
    rotations: Literal[1, 2, 4] = Field(
        default=1,
        examples=[4],
        description="orientations of images, dealt to nodes: 1, 2 (upside down) or 4 (quarter turns)",
    )


class Partition(Kind):
    """Who holds which training samples."""

    group: ClassVar[str] = "sottovoce.partitions"

    min_samples: int = Field(default=10, ge=1, description="fewest training samples a node may hold")
    local_test: Fraction = Field(
        default=0.0,
        ge=0,
        lt=1,
        examples=["10 %"],
        description="share of its own samples that a node keeps to test on and never trains on, 0 to 1",
    )
    shift: Shift | None = Field(default=None, description="features that differ from node to node")
    label_noise: Fraction = Field(
        default=0.0,
        ge=0,
        lt=1,
        examples=["30 %"],
        description="of all labels, of training and test samples alike, that are drawn anew",
    )


class IidPartition(Partition):
    """Samples dealt out at random in equal parts."""

    kind: Literal["iid"] = Field(default="iid", description="equal random parts")
    samples: int | None = Field(
        default=None,
        ge=1,
        examples=[16],
        description="samples of each node, others are left unused; absent: all are dealt out",
    )
    with_replacement: bool = Field(
        default=False,
        examples=[True],
        description="with samples: each node draws its own out of all, so that nodes may share some",
    )


class DirichletPartition(Partition):
    """Label-skewed parts: class shares drawn from a Dirichlet law (Hsu et al. 2019, arXiv 1909.06335)."""

    kind: Literal["dirichlet"] = Field(description="label-skewed parts")
    alpha: float = Field(default=0.5, gt=0, examples=[0.3], description="concentration; small means skewed")


class ShardsPartition(Partition):
    """Few labels a node: sorted by label and dealt out in shards (McMahan et al. 2017, arXiv 1602.05629)."""

    kind: Literal["shards"] = Field(description="few labels a node: sorted by label, dealt out in shards")
    shards: int = Field(
        default=2, ge=1, examples=[3], description="shards of each node; few means few labels"
    )


class LabelBlocksPartition(Partition):
    """Groups of nodes with different labels (He, Karimireddy, Jaggi 2022, arXiv 2202.01545)."""

    kind: Literal["label-blocks"] = Field(
        description="groups of neighbouring numbers hold different labels, evenly within a group"
    )
    blocks: int = Field(default=2, ge=1, examples=[4], description="groups")


class DirichletSizesPartition(Partition):
    """Parts of different sizes, drawn from a Dirichlet law (Li et al. 2022, arXiv 2102.02079)."""

    kind: Literal["dirichlet-sizes"] = Field(description="random parts whose sizes follow a Dirichlet law")
    alpha: float = Field(default=0.5, gt=0, examples=[1.0], description="concentration; small means skewed")


class LognormalSizesPartition(Partition):
    """Parts of different sizes, in proportion to log-normal draws."""

    kind: Literal["lognormal-sizes"] = Field(description="random parts whose sizes follow a log-normal law")
    sigma: float = Field(
        default=1.0,
        gt=0,
        examples=[0.5],
        description="standard deviation of the logarithm; large means skewed",
    )


class UsersPartition(Partition):
    """Natural users, never split between nodes."""

    kind: Literal["users"] = Field(description="whole users of the data, several a node where there are more")
