"""Read scenarios from files, by name and from memory."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias, overload

from scenarios.load import Loaded, load_dict, source_of
from scenarios.load import load as load_file
from scenarios.reading.choices import KINDS
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

Source: TypeAlias = "str | Path | Mapping[str, Any] | Scenario | Loaded"
"""A file, the name of a shipped scenario, a scenario as nested dicts, or one that was loaded."""


def load(source: Source, changes: Mapping[str, Any] | None = None, *, seed: int | None = None) -> Loaded:
    """Read a scenario, change some of its keys and check it, its sweep and what-if included.

    Args:
        source: a file; a bare name such as ``"quickstart"`` for a scenario that comes with sottovoce; a scenario as
            nested dicts; or one that was loaded before.
        changes: dotted keys and their new values, as a file would have them; durations are text with a unit.
        seed: replaces the scenario's.

    Returns:
        The scenario that passed every check (``.scenario``), as nested dicts (``.raw``), and its file (``.path``).

    Raises:
        scenarios.load.ScenarioErrors: all problems of the scenario, one line each.

    Example:
        >>> loaded = sv.load("quickstart", {"protocol.rounds": 20, "network.loss": "2 %"}, seed=7)
        >>> loaded.scenario.protocol.rounds, loaded.scenario.network.loss, loaded.scenario.seed
        (20, 0.02, 7)
        >>> sv.load(loaded, {"topology.kind": "rign"})
        Traceback (most recent call last):
        scenarios.load.ScenarioErrors: ...did you mean 'ring'?
    """
    return read(source, changes, seed, studies=True)


def read(source: Source, changes: Mapping[str, Any] | None, seed: int | None, *, studies: bool) -> Loaded:
    """Read a scenario as :func:`load` does; without ``studies``, its sweep and what-if need not fit the changes."""
    if changes is not None and not isinstance(changes, Mapping):
        raise ConfigurationError(
            f"changes: expected a mapping from dotted keys to values, got {type(changes).__name__}"
        )
    changes = changes or {}
    match source:
        case str() | Path():
            return load_file(source, changes, seed, studies=studies)
        case Loaded():
            if not changes and seed is None:
                return source
            return load_dict(source.raw, changes, seed, studies=studies, path=source.path)
        case Scenario():
            raw, path = source_of(source)
            return load_dict(raw, changes, seed, studies=studies, path=path)
        case Mapping():
            return load_dict(source, changes, seed, studies=studies)
    raise ConfigurationError(
        "expected a scenario file, the name of a shipped scenario, nested dicts or a loaded scenario, got "
        f"{type(source).__name__}"
    )


@overload
def kinds() -> Mapping[str, tuple[str, ...]]: ...


@overload
def kinds(key: str) -> tuple[str, ...]: ...


def kinds(key: str | None = None) -> Mapping[str, tuple[str, ...]] | tuple[str, ...]:
    """Return the words that keys of a scenario choose from, those of installed plug-ins included.

    Args:
        key: dotted, such as ``"network.latency"``; every key that chooses between words if left out.

    Raises:
        ConfigurationError: the key chooses between no words; the message names similar ones that do.

    Example:
        >>> "dsgd" in sv.kinds("protocol")
        True
        >>> sorted(key for key in sv.kinds() if key.startswith("privacy."))[:2]
        ['privacy.adjacency', 'privacy.correlated']
    """
    if key is None:
        return {name: tuple(words) for name, words in KINDS.items()}
    if key not in KINDS:
        near = get_close_matches(key, KINDS, 1) if isinstance(key, str) else []
        hint = f"; did you mean {near[0]!r}?" if near else "; sottovoce.kinds() lists all that do"
        raise ConfigurationError(f"no key {key!r} of a scenario chooses between words{hint}")
    return tuple(KINDS[key])
