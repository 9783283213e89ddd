"""Checks of arguments from Python, so that a wrong type is one line and never taken for something else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import ConfigurationError


def path_of(value: Any, name: str) -> Path:
    """Return the path of a folder.

    Raises:
        ConfigurationError: the value is neither text nor a path, or no system could have such a path.
    """
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{name}: expected the path of a folder, got {_kind(value)}")
    if "\0" in str(value):
        raise ConfigurationError(
            f"{name}: expected the path of a folder, got {str(value)!r:.60} with a NUL character"
        )
    return Path(value)


def whole(value: Any, name: str, least: int) -> int | None:
    """Return a whole number; None stays None.

    Raises:
        ConfigurationError: the value is no whole number, or less than ``least``.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigurationError(f"{name}: expected a whole number of at least {least}, got {value!r:.60}")
    return int(value)


def number(value: Any, name: str) -> float | None:
    """Return a number; None stays None.

    Raises:
        ConfigurationError: the value is no number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ConfigurationError(f"{name}: expected a number, got {value!r:.60}")
    return float(value)


def nodes(value: Any, name: str) -> tuple[int, ...] | None:
    """Return node numbers; None stays None.

    Raises:
        ConfigurationError: the value is no sequence of whole numbers from 0.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name}: expected a list of node numbers, like [3, 7], got {value!r:.60}")
    return tuple(number for node in value if (number := whole(node, name, 0)) is not None)


def texts(value: Any, name: str, example: str) -> list[str] | None:
    """Return a list of texts; None stays None. A single text is refused, as it would be read letter by letter.

    Raises:
        ConfigurationError: the value is no sequence of texts.
    """
    if value is None:
        return None
    found = None if isinstance(value, str | bytes) or not isinstance(value, Iterable) else list(value)
    if found is None or not all(isinstance(one, str) for one in found):
        raise ConfigurationError(f"{name}: expected a list of texts, like {example}, got {value!r:.60}")
    return found


def function(value: Any, name: str) -> None:
    """Check a function that may be left out.

    Raises:
        ConfigurationError: the value can not be called.
    """
    if value is not None and not callable(value):
        raise ConfigurationError(f"{name}: expected a function of (fraction, text), got {_kind(value)}")


def _kind(value: Any) -> str:
    return type(value).__name__
