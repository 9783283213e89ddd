"""Families of laws of a delay and of one-way latencies, and the form of a law that is a latency."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from pydantic import Field, create_model

from scenarios.format.kind import Kind, plugin_of
from scenarios.format.tables import Problems
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from simulator import streams
    from simulator.network import latency


class DelayLaw(Kind):
    """Law of a delay."""

    group: ClassVar[str] = "sottovoce.latencies"
    varies: ClassVar[bool] = True
    """Whether draws differ; where they do not, every draw is ``median_s``."""

    @property
    @abstractmethod
    def least_s(self) -> float:
        """Seconds that no draw falls below; 0 where no better bound is known."""

    @property
    @abstractmethod
    def median_s(self) -> float:
        """Seconds that about half of the draws fall below; what is usual is told from it."""

    @abstractmethod
    def build(self) -> streams.Law:
        """Return the law: uniform numbers in (0, 1), an array of any shape, to as many seconds."""

    def probed(self) -> streams.Law:
        """Return the law after trying it at a few numbers.

        Raises:
            ConfigurationError: it does not give a delay for each, or long ones for small numbers.
        """
        law = self.build()
        problem = problem_of_law(law)
        if problem is not None:
            raise ConfigurationError(f"{named(self)}: {problem}", "network.latency")
        return law


PROBED = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Probabilities at which a latency law is tried; the manifest holds the quantiles of one given from Python there."""


def problem_of_law(law: Any) -> str | None:
    """Return what is wrong with a law at a few numbers; None if nothing is.

    Args:
        law: from an array of numbers in (0, 1) to as many seconds.
    """
    import numpy as np

    try:
        found = np.asarray(law(np.array(PROBED)))  # an array of its own, as a law may work in place
    except Exception as error:  # whatever a function of others raises
        return f"of {list(PROBED)} it raised {type(error).__name__}: {error}"
    if found.shape != (len(PROBED),) or found.dtype.kind not in "fiu":
        return (
            f"of {len(PROBED)} numbers it made {found.dtype} of shape {found.shape}; expected as many seconds"
        )
    if not (np.isfinite(found).all() and (found >= 0).all() and (np.diff(found) >= 0).all()):
        told = f"at {list(PROBED)} they are {found.tolist()} s"
        return f"quantiles must be finite, at least 0 and non-decreasing; {told}"
    return None


def named(kind: Kind) -> str:
    """Return the words that name a law or latency in errors: its kind, and the package if it is another's."""
    package = plugin_of(type(kind))
    return f'latency "{kind.kind}"' + ("" if package is None else f" of {' '.join(package)}")


@dataclass(frozen=True)
class Delays:
    """Delays between the nodes of a run; both are given where either may be used.

    Args:
        drawn: law of the delay drawn for each message; None where the latency belongs to the link.
        base_s: latency of each link; None where every message draws its own.
        notes: facts for the manifest, JSON-ready: ``places`` (of every node) and ``filled`` (how many cells of a
            delay matrix) where nodes are at places.
    """

    drawn: streams.Law | None
    base_s: latency.BaseDelay | None
    notes: Mapping[str, Any] = field(default_factory=dict)


class Latency(Kind):
    """One-way latency of a message.

    Every law of [network.jitter] is a kind of latency too, with the keys ``per`` and ``symmetric`` where draws
    differ.
    """

    group: ClassVar[str] = "sottovoce.link_latencies"

    @classmethod
    def kinds(cls) -> Mapping[str, type[Self]]:
        """Map each word that ``kind`` may be to its class: the laws first, then what is no law.

        Raises:
            ConfigurationError: a plug-in cannot be loaded, is no kind of this family, or a word is taken twice.
        """
        own = super().kinds()
        if cls is not Latency:
            return own
        laws = DelayLaw.kinds()
        for word in laws.keys() & own.keys():
            raise ConfigurationError(
                f'the latency "{word}" is defined by both {laws[word].__module__} and '
                f"{own[word].__module__}; "
                "rename or uninstall one of them"
            )
        forms = {word: cast(type[Self], latency_of(law)) for word, law in laws.items()}
        return forms | dict(own)

    @property
    @abstractmethod
    def per_message(self) -> bool:
        """Whether every message draws its own latency, so that neither jitter nor single links can change it."""

    @property
    @abstractmethod
    def least_s(self) -> float:
        """Seconds that no message takes less than; 0 where no better bound is known."""

    @property
    @abstractmethod
    def median_s(self) -> float | None:
        """Seconds that about half of the messages take less than; None where a file decides."""

    @abstractmethod
    def delays(self, seed: int, nodes: int, base: Path) -> Delays:
        """Make the latency of every link.

        Args:
            seed: the run's.
            nodes: how many there are.
            base: the folder relative file names start at.

        Raises:
            ConfigurationError: a file is missing or wrong.
        """

    def file_problems(self, base: Path) -> Problems:
        """Find files that are not there, as (key in the table, message); by default no key names a file."""
        yield from ()


# ---------------------------------------------------------------- laws as latencies


class _LawLatency(DelayLaw, Latency):
    """A law as the latency of links."""

    def __init_subclass__(cls, **options: Any) -> None:
        super(Kind, cls).__init_subclass__(**options)  # found through its law, not as a kind of its own

    def __reduce__(self) -> tuple[Any, ...]:
        _, law = type(self).__bases__
        return _restored, (law, self.model_dump_json())


class _SameLatency(_LawLatency):
    """A law whose draws are all the same."""

    @property
    def per_message(self) -> bool:
        """Never: the same delay belongs to every link."""
        return False

    def delays(self, seed: int, nodes: int, base: Path) -> Delays:
        """Return the delay, as one drawn for each message and as one of each link."""
        import numpy as np

        value_s = self.median_s
        return Delays(self.probed(), lambda src, dst: np.full(np.shape(dst), value_s))


class _DrawnLatency(_LawLatency):
    """A law that is asked for every message, or once for every link."""

    per: Literal["message", "link"] = Field(
        default="message",
        examples=["link"],
        description="message (a draw for each) or link (one draw for the whole run)",
    )
    symmetric: bool = Field(
        default=False,
        examples=[True],
        description='both directions of a link get the same draw; only with per = "link"',
    )

    @property
    def per_message(self) -> bool:
        """Whether the key per says so."""
        return self.per == "message"

    def delays(self, seed: int, nodes: int, base: Path) -> Delays:
        """Return the law, or the delay that each link has drawn from it by the seed."""
        from simulator.network import latency

        law = self.probed()
        if self.per_message:
            return Delays(law, None)
        return Delays(None, latency.per_link(law, seed, symmetric=self.symmetric))

    def problems(self) -> Problems:
        """Find what is wrong with the law, and directions alike where every message draws."""
        yield from super().problems()
        if self.per_message and self.symmetric:
            yield (
                ("symmetric",),
                'a latency drawn for each message is never symmetric; use per = "link" or remove this key',
            )


@cache
def latency_of(law: type[DelayLaw]) -> type[Latency]:
    """Return the kind of latency that a law is: with the keys ``per`` and ``symmetric`` where draws differ.

    Raises:
        ConfigurationError: the law has a key of that name itself.
    """
    form = _DrawnLatency if law.varies else _SameLatency
    for key in form.model_fields.keys() & law.model_fields.keys() - {"kind"}:
        raise ConfigurationError(
            f"{law.__module__}.{law.__qualname__} has a key {key}, which latencies have already; rename it"
        )
    word = law.model_fields["kind"]
    return create_model(
        f"{law.__name__.removesuffix('Law')}Latency",
        __base__=cast(tuple[type[Latency], ...], (form, law)),
        __module__=law.__module__,
        __doc__=law.__doc__,
        kind=cast(Any, (word.annotation, word)),  # of both bases the first would have it, which has no word
    )


def _restored(law: type[DelayLaw], keys: str) -> Latency:
    return latency_of(law).model_validate_json(keys)
