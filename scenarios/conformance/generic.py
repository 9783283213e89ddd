"""Requirements of every kind, whatever its family: documentation, examples, facts, round trips, light imports."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from inspect import isabstract
from typing import Any

from scenarios.conformance.examples import NoExample, documented, made, variants
from scenarios.conformance.findings import Report, Unmet, expect
from scenarios.format.kind import Kind
from scenarios.format.tables import keys_of
from scenarios.reading.choices import described

HEAVY = ("jax", "optax", "matplotlib", "sklearn", "polars")
"""Libraries that validating a scenario must not import: it has to be quick."""


def check(report: Report, kind: type[Kind], more: Sequence[Mapping[str, Any]]) -> list[Kind]:
    """Check what every kind owes.

    Args:
        report: is told what holds and what does not.
        kind: its class.
        more: tables beside those made of the examples, as a file would have them.

    Returns:
        The tables that nothing is wrong with, for the requirements of the family.
    """
    with report.must("it is complete and has a docstring"):
        expect(not isabstract(kind), f"it does not define {', '.join(sorted(kind.__abstractmethods__))}")
        expect(
            (kind.__dict__.get("__doc__") or "").strip(), "expected a docstring that says what the kind is"
        )
    for name, field in keys_of(kind).items():
        with report.must("every key has a description and an example or a default"):
            expect(described(field), f"key {name} has no description; give Field(description=...)")
            expect(
                documented(field) or name == "kind", f"key {name} has no example; give Field(examples=[...])"
            )
    tables = list(_tables(report, kind, more))
    for table in tables:
        _facts(report, table)
        _round_trips(report, table)
    _schema(report, kind)
    sound = [table for table in tables if _sound(report, table)]
    with report.must("a table made of examples has no problems"):
        expect(
            sound or not tables,
            f"all have: {_problems(tables[0]) if tables else ''}; repair the examples, or pass a table to check_kind",
        )
    return sound


def _tables(report: Report, kind: type[Kind], more: Sequence[Mapping[str, Any]]) -> Iterator[Kind]:
    given: list[tuple[str, dict[str, Any]]] = []
    with report.must("examples of required keys"):
        try:
            given = list(variants(kind))
        except NoExample as missing:
            raise Unmet(f"key {missing} has none; give Field(examples=[...])") from None
    for name, raw in [*given, *(("", dict(table)) for table in more)]:
        table: Kind | str = "it raises"
        with report.must("defaults and examples are valid"):
            table = made(kind, raw)
            expect(isinstance(table, Kind), f"key {name or '(required)'}, table {raw}: {table}")
        if isinstance(table, Kind):
            yield table


def _facts(report: Report, table: Kind) -> None:
    """Ask every property that families and kinds declare."""
    names = {
        name
        for base in type(table).__mro__
        if issubclass(base, Kind)
        for name, value in vars(base).items()
        if isinstance(value, property) and not name.startswith("_")
    }
    for name in sorted(names - {"model_extra", "model_fields_set"}):
        with report.must("every fact is answered"):
            try:
                getattr(table, name)
            except Exception as error:
                raise Unmet(f"{name} of {_shown(table)}: {type(error).__name__}: {error}") from error


def _problems(table: Kind) -> list[Any]:
    return list(table.problems())


def _sound(report: Report, table: Kind) -> bool:
    found: list[Any] = []
    with report.must("problems() yields pairs of a key and a message"):
        found = _problems(table)
        for one in found:
            right = (
                isinstance(one, tuple)
                and len(one) == 2
                and isinstance(one[0], tuple)
                and all(isinstance(part, str | int) for part in one[0])
                and isinstance(one[1], str)
            )
            expect(right, f'got {one!r}; expected (("key",), "message")')
            expect(
                not one[0] or one[0][0] in keys_of(type(table)),
                f"{one[0][0] if one[0] else ''} is no key of the table",
            )
    return not found


def _round_trips(report: Report, table: Kind) -> None:
    with report.must("a table survives pickle"):
        expect(pickle.loads(pickle.dumps(table)) == table, f"{_shown(table)} comes back as another table")
    with report.must("a table survives TOML"):
        plain = table.model_dump(mode="json", exclude_none=True)
        expect(_is_plain(plain), f"{plain} has values that TOML does not know")
        again = type(table).model_validate(json.loads(json.dumps(plain)))
        expect(again == table, f"{_shown(table)} comes back as {_shown(again)}")
    with report.must("equal tables are equal and hash alike"):
        copy = table.model_copy()
        expect(copy == table and hash(copy) == hash(table), f"{_shown(table)} and its copy differ")


def _is_plain(value: Any) -> bool:
    """Return whether TOML can hold a value."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    return (
        all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, str | bool | int | float)
    )


def _schema(report: Report, kind: type[Kind]) -> None:
    with report.must("the JSON Schema describes every key"):
        schema = kind.model_json_schema()
        json.dumps(schema)
        missing = keys_of(kind).keys() - schema.get("properties", {}).keys()
        expect(not missing, f"keys {', '.join(sorted(missing))} are not in it")
        kinds = schema["properties"]["kind"]
        said = kinds.get("enum", [kinds.get("const")])
        expect(sorted(said) == sorted(kind.words()), f"kind is {said} there, expected {list(kind.words())}")


def light(report: Report, kind: type[Kind], tables: Sequence[Kind]) -> None:
    """Check that importing the module and validating tables brings no library for computing.

    A process of its own does it, so that what was imported here does not count.
    """
    code = (
        "import json, sys\nfrom importlib import import_module\n"
        "module, name, raws = json.loads(sys.stdin.read())\n"
        "kind = getattr(import_module(module), name)\n"
        "for raw in raws:\n    list(kind.model_validate(raw).problems())\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
    )
    with report.must("importing the module and validating a table brings no library for computing"):
        expect("<locals>" not in kind.__qualname__, "the class is made in a function; define it in a module")
        raws = [table.model_dump(mode="json", exclude_none=True) for table in tables]
        ran = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps([kind.__module__, kind.__qualname__, raws]),
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        last = (ran.stderr.strip().splitlines() or [""])[-1]
        expect(ran.returncode == 0, f"module {kind.__module__} cannot be used: {last}")
        heavy = json.loads(ran.stdout.splitlines()[-1])
        expect(not heavy, f"{', '.join(heavy)} is imported; import it inside of methods")


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _shown(table: Kind) -> str:
    return str(table.model_dump(mode="json", exclude_none=True))
