"""The reference of scenario files in Markdown, generated from the classes of its tables."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from scenarios.format.kind import Kind
from scenarios.format.tables import Table, keys_of
from scenarios.reading.choices import described, kinds_of, models_of
from scenarios.schema import Scenario

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_PLURALS = {"true or false": "true or false", "text": "text"}


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
class Section:
    """The reference of one table: its name in a file, what is to know about it, and its keys."""

    name: str
    notes: str
    rows: tuple[Row, ...]


def markdown() -> str:
    """Return the reference of every table of a scenario, with all kinds that are installed."""
    return "\n\n".join(_written(section) for section in sections()) + "\n"


def sections() -> Iterator[Section]:
    """List the tables of a scenario file, the top level first, each after the table that holds it."""
    yield Section("Top level", "", tuple(_rows([Scenario])))
    yield from _below([Scenario], "")


def _below(models: Sequence[type[Table]], prefix: str) -> Iterator[Section]:
    held: dict[str, list[FieldInfo]] = {}
    for model in models:
        for name, field in keys_of(model).items():
            if models_of(field.annotation):
                held.setdefault(name, []).append(field)
    for name, fields in held.items():
        inner = list(dict.fromkeys(m for field in fields for m in models_of(field.annotation)))
        title = f"{prefix}{name}"
        brackets = f"[[{title}]]" if _is_list(fields[0].annotation) else f"[{title}]"
        yield Section(brackets, _notes(fields, inner), tuple(_rows(inner)))
        yield from _below(inner, f"{title}.")


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(map(_is_list, get_args(annotation)))


def _notes(fields: Sequence[FieldInfo], models: Sequence[type[Table]]) -> str:
    """Return the docstring of the family or table without its first line, which the key's meaning repeats."""
    family = next((f for field in fields for f in _families(field.annotation)), None)
    owner = family or (models[0] if len(models) == 1 else None)
    text = cleandoc(owner.__doc__ or "") if owner is not None else ""
    return text.partition("\n\n")[2]


def _families(annotation: Any) -> Iterator[type[Kind]]:
    if isinstance(annotation, type) and issubclass(annotation, Kind) and annotation.is_family():
        yield annotation
    for inner in get_args(annotation):
        yield from _families(inner)


def _rows(models: Sequence[type[Table]]) -> Iterator[Row]:
    """List keys, one row for all kinds that say the same of a key."""
    found: dict[tuple[str, str, str, str, str], list[str]] = {}
    for model in models:
        for name, field in keys_of(model).items():
            row = (name, type_of(field), _default(field), _example(name, field), described(field))
            found.setdefault(row, []).extend(kinds_of(model))
    for (name, kind, default, example, meaning), words in found.items():
        yield Row(name, tuple(words), kind, default, example, meaning)


def type_of(field: FieldInfo) -> str:
    """Return what may be written for a key, in words."""
    title = next((words for item in field.metadata if (words := _titled(item))), None)
    return title or _type(field.annotation)


def _titled(metadata: Any) -> str | None:
    """Return the title of a JSON Schema that an annotation brings along, as quantities with units do."""
    schema = getattr(metadata, "json_schema", None)
    return schema.get("title") if isinstance(schema, dict) else None


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if models_of(annotation):
        return "list of tables" if _is_list(annotation) else "table"
    if origin is Literal:
        return " | ".join(f"`{_toml(word)}`" for word in inner)
    if origin is Union or origin is types.UnionType:
        return " | ".join(dict.fromkeys(_type(part) for part in inner if part is not type(None)))
    if origin is tuple:
        word = _type(inner[0])
        return f"list of {_PLURALS.get(word, word + 's')}"
    if hasattr(annotation, "__metadata__"):  # Annotated
        title = next((words for item in annotation.__metadata__ if (words := _titled(item))), None)
        return title or _type(inner[0])
    if origin in (dict,) or annotation is dict:
        return "table"
    return _WORDS.get(annotation, "table")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "none"
    if models_of(field.annotation):
        return "none" if field.default == () else "its defaults"
    return f"`{_toml(_plain(field.default, field))}`"


def _example(name: str, field: FieldInfo) -> str:
    if models_of(field.annotation):
        return "below"
    if field.examples:
        return f"`{_toml(field.examples[0])}`"
    if name == "kind" or not (field.is_required() or field.default is None):
        value = get_args(field.annotation)[0] if field.is_required() else _plain(field.default, field)
        return f"`{_toml(value)}`"
    words = [word for word in get_args(field.annotation) if isinstance(word, str | int)]
    return f"`{_toml(words[0])}`" if words else ""


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


def _written(section: Section) -> str:
    kinds = any(row.kinds for row in section.rows)
    every = tuple(dict.fromkeys(word for row in section.rows for word in row.kinds))
    head = ["key", *(["of kind"] if kinds else []), "type", "default", "example", "meaning"]
    lines = [f"### {section.name}", ""]
    if section.notes:
        lines += [section.notes, ""]
    lines += [_line(head), _line(["---"] * len(head))]
    for row in section.rows:
        of = "all" if row.kinds == every and len(every) > 1 else ", ".join(row.kinds)
        cells = [f"`{row.key}`", *([of] if kinds else [])]
        lines.append(_line([*cells, row.type, row.default, row.example, row.meaning]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
