"""What can be chosen where in a scenario file, read off its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from scenarios.format.tables import Table, keys_of
from scenarios.schema import Scenario


def models_of(annotation: Any) -> list[type[Table]]:
    """The tables a field may hold, looking through unions, options, lists and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_of(inner)]


def kinds_of(model: type[Table]) -> tuple[str, ...]:
    """The values ``kind`` may have in a table; empty when it has none."""
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


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
