"""Changing single keys of a scenario: the command line's --set, sweep points and what-if variants."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from scenarios.format.locate import Key, common, dotted, split
from scenarios.format.tables import Table
from scenarios.kinds.studies import STUDY_TABLES
from scenarios.reading.choices import models_of
from scenarios.reading.wording import kind_of, nearest, show
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError


def merged(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with some dotted keys set; missing tables appear, and a table given as a value replaces the old one.

    A change of ``protocol.exchange`` takes with it what would no longer mean anything, unless the same changes
    set it: [secure] when the new exchange is not secure, the noise when it is plain. So one file can hold a
    secure scenario and compare it with a plain one.

    Raises:
        ConfigurationError: a key runs through something that is not a table.
    """
    result = deepcopy(dict(raw))
    for text, value in changes.items():
        try:
            *above, name = split(text)
        except ValueError as error:
            raise ConfigurationError(f"{error}", text) from None
        table = result
        for depth, part in enumerate(above, 1):
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigurationError(
                    f"{'.'.join(above[:depth])} is {kind_of(table)}, not a table; set it as a whole", text
                )
        table[name] = deepcopy(value)
    protocol = result.get("protocol")
    changed = "protocol" in changes or "protocol.exchange" in changes
    exchange = protocol.get("exchange") if changed and isinstance(protocol, dict) else None
    if exchange in ("plain", "ldp") and not any(split(key)[0] == "secure" for key in changes):
        result.pop("secure", None)
    if (
        exchange == "plain"
        and isinstance(privacy := result.get("privacy"), dict)
        and "privacy" not in changes
    ):
        for name in ("noise_multiplier", "target_epsilon", "noise", "law"):
            if f"privacy.{name}" not in changes:
                privacy.pop(name, None)
    return result


def parse_sets(sets: Sequence[str]) -> dict[Key, tuple[str, Any]]:
    """Read ``a.b=value`` texts.

    Args:
        sets: what followed each --set. The value is read as TOML, and taken as bare text if it is none, so that
            neither ``protocol.exchange=ldp`` nor ``network.loss=2 %`` needs quotes.

    Returns:
        By key, ``--set a.b=value`` for messages and the value; where a key comes twice, the last one.

    Raises:
        ConfigurationError: no ``=`` or no key before it; its ``key`` is the text.
    """
    changes: dict[Key, tuple[str, Any]] = {}
    for text in sets:
        left, equals, right = text.partition("=")
        if not equals:
            raise ConfigurationError("expected KEY=VALUE, like protocol.rounds=20", text)
        try:
            key = split(left.strip())
        except ValueError as error:
            raise ConfigurationError(str(error), text) from None
        try:
            value = plain(_toml_value(right.strip()), key)
        except ConfigurationError as error:
            raise ConfigurationError(error.message, text) from None
        changes.pop(key, None)  # the last one counts, in the place of the last one
        changes[key] = (f"--set {text}", value)
    return changes


def changes_of(values: Mapping[str, Any]) -> dict[Key, tuple[str, Any]]:
    """Read dotted keys and their values, as a caller in Python gives them.

    Returns:
        As :func:`parse_sets`, with ``change a.b = value`` for messages.

    Raises:
        ConfigurationError: a key is not dotted names; its ``key`` is the text.
    """
    changes: dict[Key, tuple[str, Any]] = {}
    for text, value in values.items():
        if not isinstance(text, str):
            raise ConfigurationError("keys must be text, like protocol.rounds", repr(text)[:60])
        try:
            key = split(text)
            found = plain(value, key)
            changes[key] = (f"change {text} = {show(found)}", found)
        except ValueError as error:
            raise ConfigurationError(str(error), text) from None
    return changes


DEPTH = 50
"""Levels of tables and lists in a scenario; more are an error."""


def plain(value: Any, at: Key = ()) -> Any:
    """Return a value of Python in the types that TOML has: lists for tuples and arrays, plain numbers for NumPy's.

    Args:
        value: given by a caller in Python.
        at: its key.

    Raises:
        ConfigurationError: a key is no text, a text is no Unicode, or the value is nested too deeply.
    """
    if len(at) > DEPTH:
        raise ConfigurationError(f"must have at most {DEPTH} levels of tables and lists", dotted(at[:1]))
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ConfigurationError(f"keys must be text, got {name!r:.60}", dotted(at))
        return {name: plain(inner, (*at, name)) for name, inner in value.items()}
    if isinstance(value, str) and "\0" in value:
        raise ConfigurationError(f"must be text without NUL characters, got {value!r:.60}", dotted(at))
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(
                f"must be text of whole Unicode characters, got {value!a:.60}", dotted(at)
            ) from None
    return (
        [plain(inner, (*at, i)) for i, inner in enumerate(value)]
        if isinstance(value, tuple | list)
        else value
    )


def _toml_value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return table["value"] if table.keys() == {"value"} else text


Found: TypeAlias = list[tuple[Key, str]]


@dataclass(frozen=True)
class _Curve:
    """One series of a sweep, or one what-if variant.

    Args:
        at: where it stands in the file.
        tables: for every key it changes, the table of the file that says so.
        points: the changes of each of its runs.
    """

    at: Key
    tables: Mapping[str, Key]
    points: Iterable[Mapping[str, Any]]

    def place(self, change: str) -> Key:
        """The key in the file that makes a change."""
        return (*self.tables[change], change)


def examine_studies(
    raw: Mapping[str, Any], known: set[tuple[Key, str]], examine: Callable[[dict[str, Any]], Found]
) -> Found:
    """Problems that only a sweep point or a what-if variant has, each at the change that brings it in.

    Args:
        raw: the scenario with its study tables.
        known: problems the scenario itself has; not told again.
        examine: finds the problems of one merged scenario.
    """
    found: dict[tuple[Key, str], None] = {}  # a dict keeps the order of the file
    base = {name: table for name, table in raw.items() if name not in STUDY_TABLES}
    for curve in (*_series(raw.get("sweep")), *_variants(raw.get("whatif"))):
        told_already = set(known)
        wrong = {key: message for key in curve.tables if (message := _cannot_change(key))}
        found |= {(curve.place(key), message): None for key, message in wrong.items()}
        for changes in () if wrong else curve.points:
            try:
                point = merged(base, changes)
            except ConfigurationError as error:
                found[curve.place(str(error.key)), error.message] = None
                continue
            problems = examine(point)
            for key, message in problems:
                if (key, message) not in told_already:
                    told_already.add((key, message))
                    guilty = _guilty(key, changes)
                    told = ", ".join(f"{name} = {show(value)}" for name, value in changes.items())
                    place = curve.at if guilty is None else curve.place(guilty)
                    found[place, f"with {told}: {dotted(key)}: {message}"] = None
    return list(found)


def _series(sweep: Any) -> Iterator[_Curve]:
    if not isinstance(sweep, dict):
        return
    shared = _grid(sweep.get("grid"))
    at: Key = ("sweep", "series")
    series = sweep.get("series")
    if not isinstance(series, list):
        yield _Curve(("sweep",), dict.fromkeys(shared, ("sweep", "grid")), _points({}, shared))
        return
    for i, one in enumerate(series):
        if isinstance(one, dict) and isinstance(fixed := one.get("set", {}), dict):
            own = "grid" in one
            grid = _grid(one["grid"]) if own else shared
            swept: Key = (*at, i, "grid") if own else ("sweep", "grid")
            tables = dict.fromkeys(fixed, (*at, i, "set")) | dict.fromkeys(grid, swept)
            yield _Curve((*at, i), tables, _points(fixed, grid))


def _variants(variants: Any) -> Iterator[_Curve]:
    for i, variant in enumerate(variants if isinstance(variants, list) else ()):
        if isinstance(variant, dict) and isinstance(changes := variant.get("set"), dict):
            at: Key = ("whatif", i)
            yield _Curve(at, dict.fromkeys(changes, (*at, "set")), [changes])


def _grid(grid: Any) -> dict[str, list[Any]]:
    """The well-formed part of a grid; the schema reports the rest."""
    if not isinstance(grid, dict):
        return {}
    return {key: values for key, values in grid.items() if isinstance(values, list)}


def _points(fixed: Mapping[str, Any], grid: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*grid.values()):
        yield dict(fixed) | dict(zip(grid, values, strict=True))


def _guilty(key: Key, changes: Mapping[str, Any]) -> str | None:
    """The change a problem at ``key`` is most likely due to; None if it could be any of several."""
    if len(changes) == 1:
        return next(iter(changes))
    near = {name: len(common(key, split(name))) for name in changes}
    name = max(near, key=lambda name: near[name], default=None)
    return name if name is not None and near[name] else None


def _cannot_change(text: str) -> str | None:
    """Why a swept or varied key cannot be changed; None if it can."""
    try:
        key = split(text)
    except ValueError as error:
        return str(error)
    if key[0] in (*STUDY_TABLES, "format", "seed"):
        return "cannot vary inside a study; a study's own seeds say which seeds are run"
    models: list[type[Table]] = [Scenario]
    for depth, part in enumerate(key):
        names = {name: field for model in models for name, field in model.model_fields.items()}
        if part not in names:
            place = dotted(key[:depth])
            near = nearest(part, list(names), place)
            at = f"in {place} " if place else ""
            return f"no such key in a scenario{near}; {at}there are: {', '.join(names) or 'no keys below it'}"
        models = [
            inner
            for model in models
            if part in model.model_fields
            for inner in models_of(model.model_fields[part].annotation)
        ]
    return None
