"""Models of other packages, found by entry point."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import entry_points

from protocols.learning.task import Task
from simulator.errors import ConfigurationError

GROUP = "sottovoce.tasks"


def task_named(name: str) -> Callable[..., Task]:
    """The factory of an installed task: ``factory(shape=…, classes=…, **options) -> Task``.

    Args:
        name: of the entry point in the group ``sottovoce.tasks``.

    Raises:
        ConfigurationError: there is none of that name, or it cannot be imported.
    """
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        near = get_close_matches(name, installed, 1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        known = ", ".join(sorted(installed)) or "none"
        raise ConfigurationError(
            f"no installed task is named '{name}'{hint}; installed: {known}", "model.name"
        )
    try:
        factory: Callable[..., Task] = installed[name].load()
    except Exception as error:
        raise ConfigurationError(
            f"task '{name}' of {installed[name].value} cannot be loaded: {error}", "model.name"
        ) from error
    return factory
