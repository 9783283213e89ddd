"""What can be chosen where in a scenario file, read off its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from pydantic.fields import FieldInfo

from scenarios.format.kind import Kind
from scenarios.format.locate import Key
from scenarios.format.tables import Table, keys_of
from scenarios.schema import Scenario


def models_of(annotation: Any) -> list[type[Table]]:
    """List the tables a field may hold, looking through families, unions, options, lists and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, Kind) and annotation.is_family():
        return list(dict.fromkeys(annotation.kinds().values()))
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_of(inner)]


def kinds_of(model: type[Table]) -> tuple[str, ...]:
    """Return the values ``kind`` may have in a table; empty when it has none."""
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


def tables_at(key: Key, model: type[Table] = Scenario) -> list[type[Table]]:
    """List the tables that may stand at a key of a scenario, of every kind there is; none if there is no such key."""
    models = [model]
    for part in key:
        if isinstance(part, str):
            fields = [keys_of(m)[part] for m in models if part in keys_of(m)]
            models = [inner for field in fields for inner in models_of(field.annotation)]
    return models


def described(field: FieldInfo) -> str:
    """Return what a key means: its own description, or else what the family it holds is."""
    if field.description:
        return field.description
    family = next((inner for inner in families_of(field.annotation)), None)
    return "" if family is None else family.about()


def families_of(annotation: Any) -> Iterator[type[Kind]]:
    """List the families of kinds that a field may hold, looking through options, lists and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, Kind) and annotation.is_family():
        yield annotation
    for inner in get_args(annotation):
        yield from families_of(inner)


def choices_of(annotation: Any) -> list[str]:
    """The words a key chooses from, through options and annotations."""
    if getattr(annotation, "__origin__", None) is Literal:
        return [word for word in get_args(annotation) if isinstance(word, str)]
    return [word for inner in get_args(annotation) for word in choices_of(inner)]


def _collect(models: list[type[Table]], prefix: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for model in models:
        for name, field in keys_of(model).items():
            below = models_of(field.annotation)
            key = prefix if name == "kind" else f"{prefix}.{name}".lstrip(".")
            words = choices_of(field.annotation) if not below else []
            found.setdefault(key, [])
            found[key] += [word for word in words if word not in found[key]]
            for inner_key, inner in _collect(below, key).items():
                found[inner_key] = list(dict.fromkeys(found.get(inner_key, []) + inner))
    return {key: words for key, words in found.items() if words}


KINDS: Mapping[str, list[str]] = _collect([Scenario], "")
"""Every key that chooses between words, and the words: {"topology": ["ring", ...], ...}."""
