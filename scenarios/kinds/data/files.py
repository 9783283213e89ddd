"""Data sets out of files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from scenarios.format.locate import Key
from scenarios.format.tables import Problems
from scenarios.format.units import Fraction
from scenarios.kinds.data.base import SCALES, Data
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

    from protocols.learning.data_files import Choices
    from protocols.learning.dataset import Dataset


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
        description="share of all samples kept for testing; absent: the test samples that the files set "
        "apart",
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

    def train_samples(self, base: Path | None = None) -> int | None:
        return self.samples


class IdxData(_FileData):
    """A folder of images in the format of MNIST, Fashion-MNIST and EMNIST.

    The folder holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same with ``t10k`` or
    ``test``, plain or gzipped; a dot in place of the dash before ``idx`` is accepted. With ``part = "balanced"``
    the names begin with ``emnist-balanced-``. Pixels are divided by 255. With ``test_fraction``, the samples for
    training and for testing are put together and split afresh.
    """

    regression: ClassVar[bool] = False
    no_images: ClassVar[None] = None

    kind: Literal["idx"] = Field(
        description="a folder of images in the IDX format: MNIST, Fashion-MNIST, EMNIST"
    )
    part: str | None = Field(
        default=None,
        pattern=r"^[a-z]+$",
        examples=["balanced"],
        description="for EMNIST: the word after emnist in the names of its files",
    )
    transpose: bool = Field(
        default=False, examples=[True], description="swap rows and columns, as EMNIST's images need"
    )

    @property
    def no_users(self) -> str | None:
        """The format has no place for users."""
        return f"{self.kind} files do not tell; use npz, csv or parquet files, or another kind of partition"

    def train_samples(self, base: Path | None = None) -> int | None:
        """Return the samples kept, or, with a folder, those that the headers of its files count."""
        if self.samples is not None or base is None:
            return self.samples
        return self._most(base / self.path)

    def _most(self, folder: Path) -> int:
        """Return how many training samples a folder has, by the headers of its files."""
        from protocols.learning import idx
        from protocols.learning.dataset import train_samples

        counts = {part: idx.samples(pair) for part, pair in idx.find(folder, self.part).items()}
        if self.test_fraction is not None:
            return train_samples(sum(counts.values()), self.test_fraction)
        if len(counts) < 2:
            (there,) = counts
            raise ConfigurationError(
                f"{folder} has no {'test' if there == 'train' else 'training'} files; give test_fraction "
                "to split "
                "what is there",
                "data.path",
            )
        return counts["train"]

    def file_problems(self, base: Path) -> Problems:
        """The folder holds pairs of readable files with enough samples."""
        folder = base / self.path
        try:
            most = self._most(folder)
        except ConfigurationError as error:
            _, key = (error.key or "data.path").split(".")
            yield (key,), error.message
            return
        if self.samples is not None and self.samples > most:
            yield (
                ("samples",),
                f"{folder} has only {most} training samples, got {self.samples}; lower it or leave it out",
            )

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Read the images; see :func:`protocols.learning.data_files.idx_folder`."""
        from protocols.learning import data_files

        choices = data_files.Choices(
            scale="bytes",
            test_fraction=self.test_fraction,
            samples=self.samples,
            test_samples=self.test_samples,
        )
        return data_files.idx_folder(base / self.path, self.part, choices, rng, transpose=self.transpose)


class _LabelledData(_FileData):
    """Samples in files that do not say what their labels mean."""

    target: Literal["class", "number"] = Field(
        default="class",
        examples=["number"],
        description="class: labels are classes, in sorted order; number: they are numbers to predict",
    )
    scale: Literal["none", "bytes", "standard"] = Field(
        default="none", examples=["bytes"], description=f"none: as it is; bytes: divided by 255; {SCALES}"
    )

    @property
    def regression(self) -> bool:
        return self.target == "number"

    def _choices(self) -> Choices:
        from protocols.learning.data_files import Choices

        return Choices(self.target, self.scale, self.test_fraction, self.samples, self.test_samples)


class NpzData(_LabelledData):
    """Arrays of NumPy."""

    no_images: ClassVar[None] = None
    no_users: ClassVar[None] = None

    kind: Literal["npz"] = Field(
        description="a file with arrays x, y and, optionally, test_x, test_y and groups (users)"
    )

    def file_problems(self, base: Path) -> Problems:
        """The file is a zip archive, as npz files are."""
        yield from _begins(("path",), base / self.path, b"PK", "an npz file")

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Read the arrays; see :func:`protocols.learning.data_files.npz`."""
        from protocols.learning import data_files

        return data_files.npz(base / self.path, self._choices(), rng)


class TableData(_LabelledData):
    """A table with one row for each sample."""

    kind: Literal["csv", "parquet"] = Field(description="a table with a row for each sample")
    test_path: str | None = Field(
        default=None,
        min_length=1,
        examples=["test.csv"],
        description="table of the test samples, with the same columns",
    )
    label: str = Field(default="label", min_length=1, examples=["digit"], description="column of the labels")
    user: str | None = Field(
        default=None,
        min_length=1,
        examples=["writer"],
        description='column of the user a row comes from, for partition.kind = "users"',
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
        description="shape of a sample: [rows, columns] or [rows, columns, channels]; absent: one row of "
        "numbers",
    )

    @property
    def no_images(self) -> str | None:
        """Rows are images where ``shape`` says so."""
        if self.shape is not None:
            return None
        return f"samples of {self.kind} files are rows of numbers unless data.shape says otherwise; give data.shape"

    @property
    def no_users(self) -> str | None:
        """Users are known where ``user`` names their column."""
        if self.user is not None:
            return None
        return f"no column of the {self.kind} file is said to hold users; give data.user, the name of that column"

    def problems(self) -> Problems:
        """No column has two roles, and there are test samples."""
        roles = [("label", self.label), ("user", self.user)]
        if self.label == self.user:
            yield ("user",), f'column "{self.label}" is the label already; name another column'
        for i, name in enumerate(self.ignore):
            for role, taken in roles:
                if name == taken:
                    yield (
                        ("ignore", i),
                        f'column "{name}" is the {role}, so it cannot be ignored; remove it here',
                    )
        if self.test_path is None and self.test_fraction is None:
            yield (), "there are no test samples: give test_fraction, or test_path"

    def file_problems(self, base: Path) -> Problems:
        """Files are there, are of their format and, as CSV, have the columns named."""
        yield from self._table_problems("path", base / self.path)
        if self.test_path is not None:
            yield from self._table_problems("test_path", base / self.test_path)

    def _table_problems(self, key: str, file: Path) -> Problems:
        if self.kind == "parquet":
            yield from _begins((key,), file, b"PAR1", "a Parquet file")
            return
        try:
            with file.open(newline="", encoding="utf-8-sig") as opened:
                header = next(csv.reader(opened), [])
        except OSError as error:
            yield (key,), _unreadable(file, error)
        except (UnicodeDecodeError, csv.Error) as error:
            yield (key,), f"{file} is not a CSV file in UTF-8 ({error}); convert it"
        else:
            yield from self._missing_columns(file, header, training=key == "path")

    def _missing_columns(self, file: Path, header: list[str], *, training: bool) -> Problems:
        shown = ", ".join(header[:8]) + (", …" if len(header) > 8 else "")
        wanted: list[tuple[Key, str | None]] = [(("label",), self.label)]
        if training:
            wanted += [(("user",), self.user)]
        wanted += [(("ignore", i), name) for i, name in enumerate(self.ignore)]
        for key, name in wanted:
            if name is not None and name not in header:
                yield key, f'{file} has no column "{name}"; its first line names {shown or "none"}'

    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Read the rows; see :func:`protocols.learning.data_files.table`."""
        from protocols.learning import data_files

        test_path = None if self.test_path is None else base / self.test_path
        columns = data_files.Columns(self.label, self.user, self.ignore, self.shape)
        return data_files.table(base / self.path, test_path, self.kind, columns, self._choices(), rng)


def _begins(key: Key, file: Path, magic: bytes, what: str) -> Problems:
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
