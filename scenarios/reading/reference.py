"""The reference of scenario files in Markdown, generated from the classes of its tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from inspect import cleandoc
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from scenarios.format.kind import Kind
from scenarios.format.tables import Table, keys_of
from scenarios.reading.choices import described, families_of, kinds_of, models_of
from scenarios.reading.types import is_list, type_of
from scenarios.schema import Scenario
from simulator.units import DURATIONS, PERCENT, RATES, SIZES

_HEAD = """\
## Scenario, format 1

A scenario is a TOML file of tables. Unknown keys are refused, and so are numbers where a unit is needed.
`sottovoce schema` prints the JSON Schema for editors, `sottovoce list` every kind, and `sottovoce validate` all
errors of a file at once.

{types}

A table that has kinds is shown in two parts: its kinds, each with the keys it has, then the keys with the kinds
that have them (*of kind*). Such a table needs its `kind` as soon as it is written, unless a usual one is named. In
the column *default*, "required" means that the key must be there, and "none" that it may be absent; what then
holds is said
under *meaning*. A default in the form `kind = "…"` is the table that holds where none is written."""


@dataclass(frozen=True)
class Row:
    """A key as the reference shows it.

    Args:
        key: its name.
        kinds: the kinds of its table that have it; empty where the table has no kinds.
        type: what may be written, in words.
        default: what an absent key means: a value in TOML, "none", or "required".
        example: a valid value in TOML; "below" for tables.
        meaning: of the key.
    """

    key: str
    kinds: tuple[str, ...]
    type: str
    default: str
    example: str
    meaning: str


@dataclass(frozen=True)
class KindRow:
    """One kind of a table, or several that are one class.

    Args:
        words: what ``kind`` is.
        meaning: of the kind.
        keys: that the kind has beside ``kind``.
        notes: paragraphs on the kind.
    """

    words: tuple[str, ...]
    meaning: str
    keys: tuple[str, ...]
    notes: str


@dataclass(frozen=True)
class Section:
    """The reference of one table.

    Args:
        title: the name of the table in brackets, as files write it.
        about: what the table is, in one sentence.
        notes: paragraphs on the whole table.
        usual: the kind of a table that names none; empty where there is no such kind.
        kinds: its kinds; empty for a table without kinds.
        rows: its keys, without ``kind`` where there are kinds.
    """

    title: str
    about: str
    notes: str
    usual: str
    kinds: tuple[KindRow, ...]
    rows: tuple[Row, ...]


def markdown() -> str:
    """Return the part of docs/formats.md about scenario files, with all kinds that are installed."""
    parts, before = [_HEAD.format(types=_types())], dict[tuple[Any, ...], str]()
    for section in sections():
        content = (section.usual, section.kinds, section.rows)
        parts.append(_written(section, before.get(content)))
        before.setdefault(content, section.title)
    return "\n\n".join(parts) + "\n"


def sections() -> Iterator[Section]:
    """List the tables of a scenario file, the top level first, each after the table that holds it."""
    yield Section("Top level", "", "", "", (), tuple(_rows([Scenario])))
    yield from _below([Scenario], "")


def _below(models: Sequence[type[Table]], prefix: str) -> Iterator[Section]:
    held: dict[str, list[FieldInfo]] = {}
    for model in models:
        for name, field in keys_of(model).items():
            if models_of(field.annotation):
                held.setdefault(name, []).append(field)
    for name, fields in held.items():
        inner = list(dict.fromkeys(m for field in fields for m in models_of(field.annotation)))
        family = next((f for field in fields for f in families_of(field.annotation)), None)
        title = f"{prefix}{name}"
        about, notes = _told(family or inner[0])
        yield Section(
            f"[[{title}]]" if is_list(fields[0].annotation) else f"[{title}]",
            about,
            notes,
            "" if family is None else family.usual,
            tuple(_kind_rows(family)) if family is not None else (),
            tuple(_rows(inner, kinds_apart=family is not None)),
        )
        yield from _below(inner, f"{title}.")


def _told(table: type[Table]) -> tuple[str, str]:
    """Return the first line of a table's docstring, and the paragraphs after it."""
    first, _, notes = cleandoc(table.__doc__ or "").partition("\n\n")
    return " ".join(first.split()).replace("``", "`"), notes.replace("``", "`")


def _kind_rows(family: type[Kind]) -> Iterator[KindRow]:
    for kind in dict.fromkeys(family.kinds().values()):
        fields = keys_of(kind)
        keys = tuple(name for name in fields if name != "kind")
        yield KindRow(kind.words(), described(fields["kind"]), keys, _told(kind)[1])


def _rows(models: Sequence[type[Table]], *, kinds_apart: bool = False) -> Iterator[Row]:
    """List keys, one row for all kinds that say the same of a key."""
    found: dict[tuple[str, str, str, str, str], list[str]] = {}
    for model in models:
        for name, field in keys_of(model).items():
            if not (kinds_apart and name == "kind"):
                row = (name, type_of(field), default_of(field), example_of(name, field), described(field))
                found.setdefault(row, []).extend(kinds_of(model) if kinds_apart else ())
    names = list(dict.fromkeys(name for name, *_ in found))
    for row, words in sorted(found.items(), key=lambda item: names.index(item[0][0])):
        name, kind, default, example, meaning = row
        yield Row(name, tuple(words), kind, default, example, meaning)


def default_of(field: FieldInfo) -> str:
    """Return what an absent key means, as the reference writes it."""
    if field.is_required():
        return "required"
    if field.default is None or (field.default == () and models_of(field.annotation)):
        return "none"
    if isinstance(field.default, Kind):
        return f"`kind = {_toml(field.default.kind)}`"
    if models_of(field.annotation):
        return "its defaults"
    return f"`{_toml(_plain(field.default, field))}`"


def example_of(name: str, field: FieldInfo) -> str:
    """Return a valid value of a key, as the reference writes it; "below" for a table."""
    if models_of(field.annotation):
        return "below"
    if field.examples:
        return f"`{_toml(field.examples[0])}`"
    if name == "kind" or field.is_required():
        return f"`{_toml(get_args(field.annotation)[0])}`"
    return f"`{_toml(_plain(field.default, field))}`"


def _plain(value: Any, field: FieldInfo) -> Any:
    """Return a default as a file would write it."""
    if isinstance(value, str | bool | int):
        return value
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or Any)
    return adapter.dump_python(value, mode="json") if value != () else []


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value).replace("e-0", "e-")
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return json.dumps(name) if "." in name else name


# ---------------------------------------------------------------- Markdown


def _types() -> str:
    def names(units: Mapping[str, Decimal]) -> str:
        return ", ".join(units)

    rows = [
        ("duration", 'text with a unit: `"50 ms"`', names(DURATIONS).replace("us", "us (or µs)")),
        ("rate", 'text with a unit: `"10 Mbit/s"`', names(RATES)),
        (
            "size",
            'text with a unit: `"40 B"`',
            f"{names(SIZES)} (kB, MB, GB: powers of 1000; KiB, MiB, GiB: powers of 1024)",
        ),
        ("fraction", 'a number or a percentage: `0.01`, `"1 %"`', names(PERCENT)),
        ("number, whole number", "without a unit: `0.5`, `3`", "none"),
        ("node", "its number in the topology, from 0: `3`", "none"),
        ("pair", "two nodes: `[0, 1]`", "none"),
        ("table of dotted keys", 'changes of a scenario: `{ "protocol.rounds" = 20 }`', "of the keys"),
    ]
    return _table(("type", "how it is written", "units"), rows)


def _written(section: Section, same: str | None) -> str:
    parts = [f"### {section.title}", section.about, section.notes]
    if same is not None:
        parts.append(
            f"Kinds and keys are those of {same}." if section.kinds else f"Keys are those of {same}."
        )
        return "\n\n".join(filter(None, parts))
    every = tuple(word for kind in section.kinds for word in kind.words)
    if section.usual:
        parts.append(f'Without `kind` it is `"{section.usual}"`.')
    if section.kinds:
        parts.append(_kinds(section.kinds))
        parts += [f"{_words(kind.words)}: {kind.notes}" for kind in section.kinds if kind.notes]
    rows = [
        (
            f"`{row.key}`",
            *((_of(row, every),) if every else ()),
            row.type,
            row.default,
            row.example,
            row.meaning,
        )
        for row in section.rows
    ]
    head = ("key", *(("of kind",) if every else ()), "type", "default", "example", "meaning")
    parts.append(_table(head, rows) if rows else "")
    return "\n\n".join(filter(None, parts))


def _kinds(kinds: Sequence[KindRow]) -> str:
    if not any(kind.keys for kind in kinds):
        return _table(("kind", "meaning"), [(_words(kind.words), kind.meaning) for kind in kinds])
    rows = [
        (_words(kind.words), kind.meaning, ", ".join(f"`{key}`" for key in kind.keys) or "–")
        for kind in kinds
    ]
    return _table(("kind", "meaning", "keys"), rows)


def _words(words: Sequence[str]) -> str:
    return ", ".join(f'`"{word}"`' for word in words)


def _of(row: Row, every: Sequence[str]) -> str:
    return "all" if set(row.kinds) == set(every) and len(every) > 1 else ", ".join(row.kinds)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
