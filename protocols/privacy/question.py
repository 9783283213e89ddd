"""What the ledger is asked, what it is told about the run, and how much it may compute."""

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
    """Whose loss towards whom, in which terms.

    Args:
        victims: nodes whose loss is asked for; nodes that are not credited are passed over.
        observers: sets of curious nodes that pool what they see and know; with them, or alone, the public and the
            wire (:data:`~protocols.privacy.lineage.NAMES`).
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
    """What the record of releases does not hold.

    Args:
        uncredited: Byzantine nodes. Nothing is known about what they add or send, so they are taken to side
            with every observer: their view is joined to it and their contributions count as known.
        law: of the noise, where it is made of integers and added to sums. Every sum then has a curve of Rényi
            divergences of its own, and there is no μ². There are certified claims alone: a linear view of integers
            is no Gaussian one, so nothing is said of sums that hold parts of one another.
        rate: with what probability a record takes part in a contribution, drawn by chance that nobody sees. The
            local bound of the unit ``"record"`` is amplified by it; a claim that it improves has no μ².
        failure_probability: bound on the probability that an honest member refuses to take part in a sum for what is
            in its vector; under any data, whatever others do. Every ε pays for it
            (:func:`~protocols.privacy.failure.with_failure_probability`), but for those of the local bound over
            everything the victim has contributed in the whole run, which is claimed where it is less.
    """

    uncredited: frozenset[int] = frozenset()
    law: SumLaw | None = None
    rate: float = 1.0
    failure_probability: float = 0.0


@dataclass(frozen=True)
class Limits:
    """How much may be computed.

    Args:
        max_cells: largest dense view (states × columns). Beyond it the certified figure is the local bound.
        max_work: largest number of multiplications for one observer's open-loop figures; beyond it there are
            none.
        jobs: processes among which observers are divided, where there is work for them.
    """

    max_cells: int = MAX_CELLS
    max_work: float = MAX_WORK
    jobs: int = 1
