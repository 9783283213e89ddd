"""Entry points of other packages, loaded with errors of one line that name package and entry point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar

from simulator.errors import ConfigurationError


class Named(Protocol):
    """An object that is known by its name."""

    @property
    def name(self) -> str:
        """Return its name."""


OURSELVES = "sottovoce itself"
"""Origin, in errors, of what is no plug-in's."""

_Object = TypeVar("_Object", bound=Named)


def points(group: str) -> list[EntryPoint]:
    """List the entry points of a group, by name."""
    return sorted(entry_points(group=group), key=lambda point: (point.name, point.value))


def origin(point: EntryPoint) -> str:
    """Return what an error calls an entry point: package, version, group, name and value."""
    package = "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
    return f"plug-in {package} ({point.group}: {point.name} = {point.value})"


def load(point: EntryPoint) -> Any:
    """Return what an entry point refers to.

    Raises:
        ConfigurationError: its module cannot be imported, ends the process, or has no such name.
    """
    try:
        return point.load()
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ) as error:  # whatever a package of others raises while it is imported, SystemExit included
        told = in_words(error)
        raise ConfigurationError(f"{origin(point)} cannot be loaded: {told}; {_repair(told)}") from error


def in_words(error: BaseException) -> str:
    """Return type and first line of what a package of others raised."""
    try:
        line = next(iter(str(error).splitlines()), "").rstrip(".")
    except Exception as broken:  # its __str__ may fail as well
        line = f"without a readable message ({type(broken).__name__})"
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _repair(told: str) -> str:
    """Return what to do about an error of a plug-in's import."""
    if "partially initialized module" in told:
        return (
            "plug-ins are loaded while the tables of a scenario are defined: import families from scenarios.kinds at "
            "the top, and scenarios.schema, scenarios.load, scenarios.run and names of sottovoce inside of functions"
        )
    if "non-annotated attribute" in told:
        return "annotate a fact that is no key as ClassVar: name: ClassVar[float] = 0.0"
    return "repair or uninstall it"


def package_of(point: EntryPoint) -> tuple[str, str]:
    """Return name and version of the package that an entry point belongs to; "unknown", "" if it has none."""
    return ("unknown", "") if point.dist is None else (point.dist.name, point.dist.version)


def packages(group: str) -> dict[str, str]:
    """Map names of the entry points of a group to package and version, without loading them."""
    return {point.name: " ".join(package_of(point)).strip() for point in points(group)}


def declared(
    group: str, family: type[_Object], own: Iterable[_Object], reserved: Iterable[str] = ()
) -> Mapping[str, _Object]:
    """Map names to the objects of a family: own ones first, then those of entry points, by name.

    Args:
        group: of the entry points, each named after its object.
        family: the class that they are instances of.
        own: those of sottovoce itself.
        reserved: further names that sottovoce itself uses.

    Raises:
        ConfigurationError: a plug-in cannot be loaded, is no instance of the family, or a name is taken twice.
    """
    found: dict[str, _Object] = {}
    origins: dict[str, str] = {}
    for one in own:
        taken(one.name, origins, OURSELVES, family.__name__)
        found[one.name] = one
    origins = dict.fromkeys(reserved, OURSELVES) | origins
    for point in points(group):
        made = load(point)
        if not isinstance(made, family):
            raise ConfigurationError(
                f"{origin(point)} is no {family.__name__}: expected an instance of "
                f"{family.__module__}.{family.__name__}; repair or uninstall it"
            )
        if made.name != point.name:
            raise ConfigurationError(
                f"{origin(point)}: the entry point is named {point.name!r}, but its object {made.name!r}; name the "
                "entry point after the object"
            )
        taken(made.name, origins, origin(point), family.__name__)
        found[made.name] = made
    return found


def taken(name: str, origins: dict[str, str], by: str, what: str) -> None:
    """Note who defines a name.

    Args:
        name: what is defined.
        origins: by name, who has defined it so far; the name is added.
        by: who defines it now.
        what: what kind of thing it is, for the error.

    Raises:
        ConfigurationError: somebody has already.
    """
    if name in origins:
        raise ConfigurationError(
            f'{by}: the {what.lower()} "{name}" is already defined by {origins[name]}; '
            "rename or uninstall one of them"
        )
    origins[name] = by
