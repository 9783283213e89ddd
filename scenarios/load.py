"""Load and check a scenario file; the result is a :class:`~scenarios.schema.Scenario` or a list of all its problems.

All problems are reported at once, each with its line, what was expected and how to repair it.
"""

from __future__ import annotations

import json
import re
import tomllib
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from scenarios.checks.run import check
from scenarios.facts.timeouts import tight
from scenarios.format.locate import Key, common, dotted, index, line_of, present, undotted
from scenarios.reading.changes import changes_of, examine_studies, merged, parse_sets, plain
from scenarios.reading.wording import reword
from scenarios.schema import Scenario, filled
from simulator.errors import ConfigurationError

__all__ = [
    "Loaded",
    "Problem",
    "ScenarioErrors",
    "examine",
    "load",
    "load_dict",
    "located",
    "merged",
    "resolve",
    "shipped",
    "source_of",
    "warned",
]

MEMORY = Path("scenario")
"""Name of a scenario that was not read from a file, for messages."""
_SOURCES: dict[int, tuple[dict[str, Any], Path]] = {}
"""Content and path of each scenario that was loaded, by its identity."""
LIBRARY = Path(__file__).parent / "library"
"""The scenario files that come with sottovoce."""


@dataclass(frozen=True)
class Problem:
    """One problem of a scenario.

    Args:
        file: the file, or ``--set a.b=c`` for a value given on the command line.
        line: 1-based line in the file, None where there is none.
        key: dotted key, empty for the file as a whole.
        message: what is wrong and what was expected.
    """

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        option, _, rest = self.file.partition(" ")
        told = option in ("--set", "change") and rest.partition("=")[0].strip() == self.key
        return ": ".join(part for part in (place, "" if told else self.key, self.message) if part)


class ScenarioErrors(ConfigurationError):
    """All problems of a scenario; the text has one line for each.

    Example:
        >>> try:
        ...     sv.load("quickstart", {"protocol.rounds": 0, "training.step": "big"})
        ... except sv.ScenarioErrors as errors:
        ...     sorted(problem.key for problem in errors.problems)
        ['protocol.rounds', 'training.step']
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)), problems[0].key or None)
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[ScenarioErrors], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


@dataclass(frozen=True)
class Loaded:
    """A scenario that passed every check.

    Args:
        scenario: the resolved scenario.
        raw: content of the file with the changes of the command line applied, in plain TOML types.
        path: the file; for a scenario from memory, a name in the folder that its relative file names start at.

    Example:
        >>> loaded = sv.load("quickstart", {"protocol.rounds": 20})
        >>> loaded.scenario.protocol.rounds, loaded.raw["protocol"]["rounds"]
        (20, 20)
    """

    scenario: Scenario
    raw: dict[str, Any]
    path: Path


def load(
    path: Path | str,
    sets: Sequence[str] | Mapping[str, Any] = (),
    seed: int | None = None,
    *,
    studies: bool = True,
) -> Loaded:
    """Read a scenario file, change it and check it.

    Args:
        path: the file; a bare name such as ``quickstart`` finds a scenario that comes with sottovoce.
        sets: changes ``a.b=value``, the value read as TOML, and as bare text if that fails; or a mapping of dotted
            keys to values.
        seed: replaces the file's seed.
        studies: also check every point of the sweep and the what-if; a single run does not need them.

    Raises:
        ScenarioErrors: all problems of the scenario.
    """
    file = _find(Path(path))
    text, raw = _read(file)
    return _judged(raw, file, index(text), sets, seed, studies)


def load_dict(
    raw: Mapping[str, Any],
    sets: Sequence[str] | Mapping[str, Any] = (),
    seed: int | None = None,
    *,
    studies: bool = True,
    path: Path = MEMORY,
) -> Loaded:
    """Change and check a scenario that is in memory, as :func:`load` does with a file.

    Args:
        raw: the scenario in plain TOML types.
        sets, seed, studies: as for :func:`load`.
        path: the file it came from, or a name in the folder that its relative file names start at.

    Raises:
        ScenarioErrors: all problems of the scenario, without line numbers.
    """
    return _judged(dict(raw), path, None, sets, seed, studies)


def source_of(scenario: Scenario) -> tuple[dict[str, Any], Path]:
    """Return content and path of what a scenario was loaded from.

    A resolved scenario alone also holds keys that follow from others, which a sweep of it could contradict, and not
    the folder that its relative file names start at. Of one that was not loaded, it is all there is.
    """
    known = _SOURCES.get(id(scenario))
    return (scenario.model_dump(mode="json", exclude_none=True), MEMORY) if known is None else known


def _judged(
    raw: dict[str, Any],
    file: Path,
    lines: Mapping[Key, int] | None,
    sets: Sequence[str] | Mapping[str, Any],
    seed: int | None,
    studies: bool,
) -> Loaded:
    try:
        raw = plain(raw)
    except ConfigurationError as error:
        line = None if lines is None else line_of(lines, undotted(error.key or ""))
        raise ScenarioErrors([Problem(str(file), line, error.key or "", error.message)]) from None
    try:
        changes = _changes(sets) | ({} if seed is None else {("seed",): (f"--seed {seed}", plain(seed))})
        raw = merged(raw, {dotted(key): value for key, (_, value) in changes.items()})
    except ConfigurationError as error:
        culprit = next((text for text in sets if str(text).startswith(str(error.key))), error.key)
        option = "change" if isinstance(sets, Mapping) else "--set"
        raise ScenarioErrors([Problem(f"{option} {culprit}", None, "", error.message)]) from None
    scenario, found = examine(raw, file.parent)
    if studies:
        found += examine_studies(raw, set(found), lambda point: examine(point, file.parent)[1])
    problems: list[Problem] = []
    for found_key, message in found:
        origin = _origin(found_key, lines or {(): 1}, changes)
        line = line_of(lines, found_key) if origin is None and lines is not None else None
        told = message + _left_behind(found_key, message, changes)
        problems.append(Problem(origin or str(file), line, dotted(found_key), told))
    if problems or scenario is None:
        raise ScenarioErrors(sorted(problems, key=lambda problem: problem.line or 0))
    _SOURCES[id(scenario)] = (raw, file)
    weakref.finalize(scenario, _SOURCES.pop, id(scenario), None)
    return Loaded(scenario, raw, file)


def _left_behind(key: Key, message: str, changes: Mapping[Key, tuple[str, Any]]) -> str:
    """Return what to do about a key of the former kind of a table whose kind was changed; empty for other keys."""
    table = key[:-1]
    if (*table, "kind") not in changes or not message.startswith("unknown key"):
        return ""
    option, _ = changes[(*table, "kind")]
    name, word = dotted(table), json.dumps(changes[(*table, "kind")][1], default=str)
    return f"; {option} keeps the other keys of {name}: set the whole table, like {name} = {{ kind = {word}, ... }}"


def _changes(sets: Sequence[str] | Mapping[str, Any]) -> dict[Key, tuple[str, Any]]:
    """Map each changed key to the name of the change in messages and its value."""
    return changes_of(sets) if isinstance(sets, Mapping) else parse_sets(sets)


def located(error: ConfigurationError, file: Path) -> ConfigurationError:
    """Return an error found while building with file and line of its key, in the form that the loader uses."""
    if isinstance(error, ScenarioErrors) or error.key is None:
        return error
    text, _ = _read(file)
    return ScenarioErrors(
        [Problem(str(file), line_of(index(text), undotted(error.key)), error.key, error.message)]
    )


def warned(loaded: Loaded) -> list[Problem]:
    """Return warnings about settings that are valid but unlikely to work, with file and line of their keys."""
    lines = index(_read(loaded.path)[0])
    return [
        Problem(str(loaded.path), line_of(lines, key), dotted(key), f"warning: {message}")
        for key, message in tight(loaded.scenario)
    ]


def resolve(raw: Mapping[str, Any], base: Path | None = None) -> Scenario:
    """Check a scenario that is already in memory.

    Args:
        raw: the scenario in plain TOML types.
        base: the folder that relative file names start at; the working directory by default.

    Raises:
        ScenarioErrors: all problems of the scenario, without line numbers.
    """
    scenario, found = examine(dict(raw), base or Path())
    if scenario is None or found:
        raise ScenarioErrors([Problem("scenario", None, dotted(key), message) for key, message in found])
    return scenario


def examine(raw: dict[str, Any], base: Path) -> tuple[Scenario | None, list[tuple[Key, str]]]:
    """Validate and cross-check a scenario; return it with its problems, or None if one of its tables is invalid."""
    try:
        scenario = Scenario.model_validate(raw)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        found = [reword(error, raw) for error in errors]
        return None, found + check(_readable(raw, {str(error["loc"][0]) for error in errors}), base)
    return scenario, check(scenario, base)


def _readable(raw: dict[str, Any], broken: set[str]) -> dict[str, Any]:
    """Return the tables that are valid on their own, so that their cross-checks can run beside broken ones."""
    tables: dict[str, Any] = {}
    complete = filled(raw)
    for name, field in Scenario.model_fields.items():
        if name in broken:
            continue
        if name in complete:
            kind: Any = Annotated[field.annotation, field]
            tables[name] = TypeAdapter(kind).validate_python(complete[name])
        else:
            tables[name] = field.default
    return tables


# ---------------------------------------------------------------- reading


def shipped() -> list[str]:
    """Return the names of the scenarios that come with sottovoce; ``papers/NAME`` for those that follow papers."""
    return sorted(file.relative_to(LIBRARY).with_suffix("").as_posix() for file in LIBRARY.rglob("*.toml"))


def _find(path: Path) -> Path:
    """Return the file of a path, of a shipped scenario's name, or of a former path of a shipped scenario."""
    try:
        if "\0" in str(path):
            raise ValueError("it has a NUL character")
        if path.exists():
            return path
    except (OSError, ValueError) as error:  # too long, or with a NUL character
        told = error.strerror if isinstance(error, OSError) else str(error)
        raise ScenarioErrors(
            [Problem(repr(str(path))[:60], None, "", f"is no path of a file: {told}")]
        ) from None
    parts = path.parts[1:] if path.parts[:1] == ("scenarios",) else path.parts
    name = Path(*parts)
    file = LIBRARY / (name if name.suffix == ".toml" and name != path else f"{name}.toml")
    return file if file.is_file() and file.is_relative_to(LIBRARY) else path


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    def refuse(message: str, line: int | None = None) -> ScenarioErrors:
        return ScenarioErrors([Problem(str(file), line, "", message)])

    try:
        text = file.read_bytes().decode()
    except FileNotFoundError:
        raise refuse(
            "no such file; give the path of a scenario file or a name that `sottovoce list` prints"
        ) from None
    except IsADirectoryError:
        raise refuse("is a folder; give a scenario file") from None
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise refuse("not UTF-8 text, as TOML requires; save the file as UTF-8", line) from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        said = str(error) if place is None else str(error)[: place.start()]
        last = text.rstrip("\n").count("\n") + 1
        line = int(place[1]) if place and place[1] else last
        raise refuse(f"not TOML: {said[:1].lower()}{said[1:]}", line) from None
    except RecursionError:
        raise refuse("not readable as TOML: tables are nested too deeply; use fewer levels") from None


def _origin(key: Key, lines: Mapping[Key, int], changes: Mapping[Key, tuple[str, Any]]) -> str | None:
    """Return the --set that caused a problem: it set the key, or added a table that the file does not have."""
    if not changes:
        return None
    nearest = max(changes, key=lambda changed: (key[: len(changed)] == changed, len(common(key, changed))))
    set_here = key[: len(nearest)] == nearest
    return changes[nearest][0] if set_here or len(common(key, nearest)) > len(present(lines, key)) else None
