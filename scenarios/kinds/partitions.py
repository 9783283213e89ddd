"""Partitions: which node holds which training samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import Problems, Table
from scenarios.format.units import Fraction
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

    from protocols.learning.dataset import Dataset
    from protocols.learning.partition import Parts


class Shift(Table):
    """Covariate shift between nodes.

    Training samples and a node's own test samples are shifted; the common test set stays as it is.
    """

    noise: float = Field(
        default=0.0,
        ge=0,
        examples=[0.3],
        description="standard deviation of Gaussian noise on the features of the worst node; others have "
        "less, "
        "evenly spaced down to none",
    )
    rotations: Literal[1, 2, 4] = Field(
        default=1,
        examples=[4],
        description="orientations of images, dealt to nodes: 1, 2 (upside down) or 4 (quarter turns)",
    )

    def problems(self) -> Problems:
        """Something differs from node to node."""
        if self.noise == 0 and self.rotations == 1:
            yield (), "noise = 0 and rotations = 1 change nothing; give one of them, or remove the table"


class Partition(Kind):
    """Assignment of training samples to nodes.

    ``local_test`` counts on top of ``min_samples``. With it, each node's model is measured on its own test samples as
    well.
    """

    group: ClassVar[str] = "sottovoce.partitions"

    min_samples: int = Field(default=10, ge=1, description="fewest training samples a node may hold")
    local_test: Fraction = Field(
        default=0.0,
        ge=0,
        lt=1,
        examples=["10 %"],
        description="share of its own samples that a node keeps to test on and never trains on, 0 to 1",
    )
    shift: Shift | None = Field(default=None, description="covariate shift between nodes; absent: none")
    label_noise: Fraction = Field(
        default=0.0,
        ge=0,
        lt=1,
        examples=["30 %"],
        description="fraction of all labels, of training and test samples alike, that are drawn anew",
    )

    @property
    @abstractmethod
    def needs_classes(self) -> bool:
        """Whether labels must be classes; with numbers to predict the scenario is refused."""

    @property
    @abstractmethod
    def needs_users(self) -> bool:
        """Whether the user that each sample comes from must be known."""

    @property
    def copies(self) -> bool:
        """Whether a sample may be held by several nodes; False, the default, is verified on every split.

        The ledger does not follow copies, so they are refused with ``privacy.unit = "record"``.
        """
        return False

    def fewest(self) -> int:
        """Return the fewest samples of a node: ``min_samples`` to train on, and those of ``local_test``."""
        from protocols.learning.holdings import required

        return required(self.min_samples, self.local_test)

    def shortage(self, nodes: int, samples: int) -> Problems:
        """Yield why there are too few training samples, as keys of the table and messages.

        By default every node needs :meth:`fewest`, and no two share a sample.

        Args:
            nodes: that hold data, at least 1.
            samples: training samples there are.
        """
        needed = nodes * self.fewest()
        if needed > samples:
            own = " and some to test on" if self.local_test else ""
            yield (
                ("min_samples",),
                f"{nodes} nodes with at least {self.min_samples} samples each{own} need {needed} training "
                "samples, "
                f"the data set has {samples}; lower min_samples or nodes, or use more samples",
            )

    @abstractmethod
    def split(self, dataset: Dataset, nodes: int, rng: np.random.Generator) -> Parts:
        """Return the training samples of every node, those included that it keeps for its own tests.

        Args:
            dataset: with classes if :attr:`needs_classes`, with users if :attr:`needs_users`.
            nodes: that hold data, at least 1.
            rng: draws whatever is random.

        Returns:
            One ascending array of sample indices per node, each of at least :meth:`fewest`; no index stands in two
            unless :attr:`copies`.

        Raises:
            ConfigurationError: the samples cannot be held like that.
        """


class IidPartition(Partition):
    """Samples dealt out at random in equal parts."""

    needs_classes: ClassVar[bool] = False
    needs_users: ClassVar[bool] = False

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

    @property
    def copies(self) -> bool:
        """With replacement nodes draw from the same samples."""
        return self.with_replacement

    def shortage(self, nodes: int, samples: int) -> Problems:
        """With ``samples`` given, they must be there for all nodes together, or once with replacement."""
        if self.samples is None:
            yield from super().shortage(nodes, samples)
        elif self.with_replacement and self.samples > samples:
            yield (
                ("samples",),
                f"a node cannot draw {self.samples} different samples out of {samples}; lower it, or use "
                "more data",
            )
        elif not self.with_replacement and nodes * self.samples > samples:
            yield (
                ("samples",),
                f"{self.samples} samples for each of {nodes} nodes need {nodes * self.samples} training "
                "samples, the "
                f"data set has {samples}; use fewer, more data, or with_replacement = true",
            )

    def problems(self) -> Problems:
        """Replacement goes with ``samples``, which are not fewer than ``min_samples`` needs."""
        if self.with_replacement and self.samples is None:
            yield (
                ("with_replacement",),
                "with_replacement = true needs samples, the number that each node draws; give it",
            )
        if self.samples is None:
            return
        fewest = self.fewest()
        if self.samples < fewest:
            left = f", {fewest} with those of local_test" if self.local_test else ""
            yield (
                ("samples",),
                f"{self.samples} samples a node are fewer than it must hold: min_samples is "
                f"{self.min_samples}{left}"
                "; raise samples or lower min_samples",
            )

    def split(self, dataset: Dataset, nodes: int, rng: np.random.Generator) -> Parts:
        """Deal out all samples, or draw ``samples`` of them for each node."""
        from protocols.learning import partition

        if self.samples is None:
            return partition.iid(dataset.train_y, nodes, rng)
        return partition.draws(len(dataset.train_y), nodes, self.samples, self.with_replacement, rng)


class DirichletPartition(Partition):
    """Label-skewed parts: class shares drawn from a Dirichlet law (Hsu et al. 2019, arXiv 1909.06335)."""

    needs_classes: ClassVar[bool] = True
    needs_users: ClassVar[bool] = False

    kind: Literal["dirichlet"] = Field(description="label-skewed parts")
    alpha: float = Field(default=0.5, gt=0, examples=[0.3], description="concentration; small means skewed")

    def split(self, dataset: Dataset, nodes: int, rng: np.random.Generator) -> Parts:
        """Deal out each class; see :func:`protocols.learning.partition.dirichlet`."""
        from protocols.learning import partition

        return partition.dirichlet(dataset.train_y, nodes, self.alpha, self.fewest(), rng)


class ShardsPartition(Partition):
    """Few labels a node: sorted by label and dealt out in shards (McMahan et al. 2017, arXiv 1602.05629)."""

    needs_classes: ClassVar[bool] = False
    needs_users: ClassVar[bool] = False

    kind: Literal["shards"] = Field(
        description="few labels per node: samples sorted by label and dealt out in shards"
    )
    shards: int = Field(
        default=2, ge=1, examples=[3], description="shards of each node; few means few labels"
    )

    def shortage(self, nodes: int, samples: int) -> Problems:
        """The smallest shards must also add up to what a node needs."""
        from protocols.learning.partition import require_shards

        too_few = list(super().shortage(nodes, samples))
        yield from too_few
        if not too_few:
            try:
                require_shards(samples, nodes, self.shards, self.fewest())
            except ConfigurationError as error:
                yield ("shards",), error.message.removeprefix("partition: ")

    def split(self, dataset: Dataset, nodes: int, rng: np.random.Generator) -> Parts:
        """Deal out shards; see :func:`protocols.learning.partition.shards`."""
        from protocols.learning import partition

        return partition.shards(dataset.train_y, nodes, self.shards, self.fewest(), rng)


class LabelBlocksPartition(Partition):
    """Groups of nodes with different labels (He, Karimireddy, Jaggi 2022, arXiv 2202.01545)."""

    needs_classes: ClassVar[bool] = False
    needs_users: ClassVar[bool] = False

    kind: Literal["label-blocks"] = Field(
        description="groups of neighbouring numbers hold different labels, evenly within a group"
    )
    blocks: int = Field(default=2, ge=1, examples=[4], description="number of groups")

    def split(self, dataset: Dataset, nodes: int, rng: np.random.Generator) -> Parts:
        """Deal out ranges of labels; see :func:`protocols.learning.partition.label_blocks`."""
        from protocols.learning import partition

        return partition.label_blocks(dataset.train_y, nodes, self.blocks, self.fewest(), rng)


class DirichletSizesPartition(Partition):
    """Parts of different sizes, drawn from a Dirichlet law (Li et al. 2022, arXiv 2102.02079)."""

    needs_classes: ClassVar[bool] = False
    needs_users: ClassVar[bool] = False

    kind: Literal["dirichlet-sizes"] = Field(description="random parts whose sizes follow a Dirichlet law")
    alpha: float = Field(default=0.5, gt=0, examples=[1.0], description="concentration; small means skewed")

    def split(self, dataset: Dataset, nodes: int, rng: np.random.Generator) -> Parts:
        """Draw sizes; see :func:`protocols.learning.partition.dirichlet_sizes`."""
        from protocols.learning import partition

        return partition.dirichlet_sizes(len(dataset.train_y), nodes, self.alpha, self.fewest(), rng)


class LognormalSizesPartition(Partition):
    """Parts of different sizes, in proportion to log-normal draws."""

    needs_classes: ClassVar[bool] = False
    needs_users: ClassVar[bool] = False

    kind: Literal["lognormal-sizes"] = Field(description="random parts whose sizes follow a log-normal law")
    sigma: float = Field(
        default=1.0,
        gt=0,
        examples=[0.5],
        description="standard deviation of the logarithm; large means skewed",
    )

    def split(self, dataset: Dataset, nodes: int, rng: np.random.Generator) -> Parts:
        """Draw sizes; see :func:`protocols.learning.partition.lognormal_sizes`."""
        from protocols.learning import partition

        return partition.lognormal_sizes(len(dataset.train_y), nodes, self.sigma, self.fewest(), rng)


class UsersPartition(Partition):
    """Natural users, never split between nodes."""

    needs_classes: ClassVar[bool] = False
    needs_users: ClassVar[bool] = True

    kind: Literal["users"] = Field(
        description="all samples of a user at one node; several users per node where there are more"
    )

    def split(self, dataset: Dataset, nodes: int, rng: np.random.Generator) -> Parts:
        """Deal out users; see :func:`protocols.learning.partition.users`."""
        from protocols.learning import partition

        assert dataset.groups is not None
        return partition.users(dataset.groups, nodes, self.fewest(), rng)
