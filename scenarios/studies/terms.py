"""Checks of the terms in which a finished run is accounted again."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.format.observers import check_observers
from scenarios.reading.choices import KINDS
from simulator.errors import ConfigurationError


def check_terms(
    observers: Sequence[str] | None,
    unit: str | None,
    adjacency: str | None,
    delta: float | None,
    target: float | None,
) -> None:
    """Check terms for accounting a run; None stands for the run's own.

    Raises:
        ConfigurationError: a word is unknown, a number is out of range, or a set of observers is invalid.
    """
    for name, word in (("unit", unit), ("adjacency", adjacency)):
        if word is not None and word not in KINDS[f"privacy.{name}"]:
            raise ConfigurationError(
                f"{name} must be one of {', '.join(KINDS[f'privacy.{name}'])}, got {word}"
            )
    if target is not None and not target > 0:
        raise ConfigurationError(f"target must be above 0, got {target:g}")
    if delta is not None and not 0 < delta < 1:
        raise ConfigurationError(f"delta must lie strictly between 0 and 1, got {delta:g}")
    for text in observers or ():
        wrong = check_observers(text)
        if wrong is not None:
            raise ConfigurationError(f"observers: {wrong}")
