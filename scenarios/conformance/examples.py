"""Tables of a kind, made of the examples and defaults of its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from scenarios.format.kind import Kind
from scenarios.format.tables import Table, keys_of
from scenarios.reading.choices import models_of

Raw = dict[str, Any]


class NoExample(Exception):
    """A required key without an example; the message names it."""


def least(table: type[Table], word: str | None = None) -> Raw:
    """Return a table with its required keys alone, as a file would have it.

    Args:
        table: its class.
        word: of ``kind``; the first one by default.

    Raises:
        NoExample: a required key has no example.
    """
    raw: Raw = {}
    for name, field in keys_of(table).items():
        if name == "kind" and issubclass(table, Kind):
            raw["kind"] = word or table.words()[0]
        elif field.is_required():
            raw[name] = example(name, field)
    return raw


def example(name: str, field: FieldInfo) -> Any:
    """Return a valid value of a key, as a file would have it.

    Raises:
        NoExample: it has none.
    """
    if field.examples:
        return field.examples[0]
    if models := models_of(field.annotation):
        table = least(models[0])
        return [table] if _is_list(field.annotation) else table
    words = [word for word in get_args(field.annotation) if get_origin(field.annotation) is Literal]
    if not words:
        raise NoExample(name)
    return words[0]


def documented(field: FieldInfo) -> bool:
    """Return whether a key shows a value: an example, a default or words to choose from."""
    if field.examples or models_of(field.annotation):
        return True
    return get_origin(field.annotation) is Literal or not (field.is_required() or field.default is None)


def variants(kind: type[Kind]) -> Iterator[tuple[str, Raw]]:
    """List tables of a kind, each with the key whose example it shows; "" for those with required keys alone.

    Raises:
        NoExample: a required key has no example.
    """
    for word in kind.words():
        yield "", least(kind, word)
    base = least(kind)
    for name, field in keys_of(kind).items():
        if name == "kind" or not documented(field):
            continue
        if field.examples:
            for value in field.examples:
                yield name, base | {name: value}
        elif not field.is_required() and models_of(field.annotation):
            yield name, base | {name: example(name, field)}
        elif get_origin(field.annotation) is Literal:
            for value in get_args(field.annotation):
                yield name, base | {name: value}


def made(kind: type[Kind], raw: Mapping[str, Any]) -> Kind | str:
    """Return the table of its class, or in words why it is refused."""
    try:
        return kind.model_validate(dict(raw))
    except ValidationError as refused:
        return "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in refused.errors(include_url=False)
        )


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(map(_is_list, get_args(annotation)))
