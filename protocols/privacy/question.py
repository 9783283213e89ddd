"""Input of the ledger: the question, facts about the run, and limits of the computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.privacy.accounting import UNITS, epsilon_of, shift_factor
from protocols.privacy.linear_view import MAX_CELLS
from protocols.privacy.open_loop import MAX_WORK
from protocols.privacy.sum_law import SumLaw
from simulator.errors import ConfigurationError


@dataclass(frozen=True)
class Question:
    """Question to the ledger: victims, observers and terms.

    Args:
        victims: nodes whose loss is accounted; nodes that are not credited are left out.
        observers: sets of honest-but-curious nodes that pool what they see and know; with them, or alone, the public
            and the wire (:data:`~protocols.privacy.lineage.NAMES`).
        unit: ``"record"`` or ``"node"``; must be what the recorded sensitivities were clipped for.
        adjacency: ``"add-remove"``, ``"zero-out"`` or ``"replace"``.
        delta: δ of the reported ε.
        times_s: checkpoints, seconds; releases delivered at that instant are included.

    Raises:
        ConfigurationError: an unknown unit or adjacency, δ outside (0, 1), or an empty set of observers.
    """

    victims: Sequence[int]
    observers: Sequence[tuple[int, ...]]
    unit: str
    adjacency: str
    delta: float
    times_s: Sequence[float]

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ConfigurationError(f"unit {self.unit!r} is unknown; expected one of {', '.join(UNITS)}")
        epsilon_of(0.0, self.delta)
        shift_factor(self.adjacency)
        if any(not group for group in self.observers):
            raise ConfigurationError("a set of observers is empty; expected at least one node in each")

    @property
    def factor(self) -> float:
        """Shift between neighbours, in units of the recorded sensitivity."""
        return shift_factor(self.adjacency)


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run that the record of releases does not hold.

    Args:
        uncredited: Byzantine nodes. They may add and send anything, so they are assumed to collude with every
            observer: their view is joined to the observer's and their contributions count as known.
        law: of the noise, where it is made of integers and added to sums. Every sum then has a curve of Rényi
            divergences of its own, and there is no μ². Only certified claims are made: a linear view of integers is
            not Gaussian, so there is no figure for sums that share terms.
        rate: probability that a record takes part in a contribution, by a draw that no observer sees. The local
            bound of the unit ``"record"`` is amplified by it; a claim that it improves has no μ².
        failure_probability: bound on the probability that an honest member refuses to take part in a sum because of
            its own vector; under any data, for any behaviour of others. Every ε includes its cost
            (:func:`~protocols.privacy.failure.with_failure_probability`), but for those of the local bound over
            everything the victim has contributed in the whole run, which is claimed where it is less.
    """

    uncredited: frozenset[int] = frozenset()
    law: SumLaw | None = None
    rate: float = 1.0
    failure_probability: float = 0.0


@dataclass(frozen=True)
class Limits:
    """Limits of the computation.

    Args:
        max_cells: largest dense view (states × columns). Beyond it the certified figure is the local bound.
        max_work: largest number of multiplications for one observer's open-loop figures; beyond it none are
            computed.
        jobs: number of processes among which observers are divided.
    """

    max_cells: int = MAX_CELLS
    max_work: float = MAX_WORK
    jobs: int = 1
