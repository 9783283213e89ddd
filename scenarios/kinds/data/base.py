"""The family of data sets: what checks and a run ask of every kind of data."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from scenarios.format.kind import Kind
from scenarios.format.tables import Problems

if TYPE_CHECKING:
    import numpy as np

    from protocols.learning.dataset import Dataset

SCALES = (
    "standard: to mean 0 and deviation 1 by the training samples, taken as public and not charged to epsilon"
)


class Data(Kind):
    """Training and test samples."""

    group: ClassVar[str] = "sottovoce.data"

    @property
    @abstractmethod
    def regression(self) -> bool:
        """Whether labels are numbers to predict, not classes."""

    @property
    @abstractmethod
    def no_images(self) -> str | None:
        """Why samples are no images, as the end of a sentence; None where they are images or may be.

        Images have shape (height, width) or (height, width, channels): they can be turned, and convolved.
        """

    @property
    @abstractmethod
    def no_users(self) -> str | None:
        """Why users of samples are unknown, as the end of a sentence; None where they are known or may be."""

    @property
    def feature_count(self) -> int | None:
        """Numbers of one sample; None, the default, where only loading tells."""
        return None

    @property
    def class_count(self) -> int | None:
        """Classes of the labels; None without classes and, the default, where only loading tells."""
        return None

    def train_samples(self, base: Path | None = None) -> int | None:
        """Return the number of training samples; None, the default, where only loading tells.

        Args:
            base: folder that relative file names start at, to look at the first bytes of files; None: say what the
                table alone tells.

        Raises:
            ConfigurationError: no samples are left for training or for testing, or a file is unreadable.
        """
        return None

    def file_problems(self, base: Path) -> Problems:
        """Yield what is wrong with files, told by their first bytes alone; nothing by default.

        Args:
            base: folder that relative file names start at.
        """
        yield from ()

    @abstractmethod
    def load(self, base: Path, rng: np.random.Generator) -> Dataset:
        """Return the training and test samples.

        Args:
            base: folder that relative file names start at.
            rng: draws whatever is random: samples, their split and their order.

        Raises:
            ConfigurationError: there are no such data, or their files are broken.
        """
