"""Types of keys in words: what may be written in a scenario file."""

from __future__ import annotations

import json
import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from scenarios.reading.choices import models_of

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_PLURALS = {"text": "text"}


def type_of(field: FieldInfo) -> str:
    """Return what may be written for a key, in words.

    A type is named by its title: of the field, of an annotation (``Field(title=…)``), or of the JSON Schema that an
    annotation brings along, as quantities with units do.
    """
    title = next((words for item in (field, *field.metadata) if (words := _titled(item))), None)
    return title or _type(field.annotation)


def is_list(annotation: Any) -> bool:
    """Return whether a field holds a list, looking through options and annotations."""
    return get_origin(annotation) is tuple or any(map(is_list, get_args(annotation)))


def _titled(metadata: Any) -> str | None:
    if isinstance(metadata, FieldInfo):
        return metadata.title
    schema = getattr(metadata, "json_schema", None)
    return schema.get("title") if isinstance(schema, dict) else None


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if models_of(annotation):
        return "list of tables" if is_list(annotation) else "table"
    if hasattr(annotation, "__metadata__"):  # Annotated
        return next((words for item in annotation.__metadata__ if (words := _titled(item))), _type(inner[0]))
    if origin is Literal:
        return " | ".join(f"`{json.dumps(word, ensure_ascii=False)}`" for word in inner)
    if origin is Union or origin is types.UnionType:
        return " | ".join(dict.fromkeys(_type(part) for part in inner if part is not type(None)))
    if origin is tuple:
        word = _type(inner[0])
        return f"list of {_PLURALS.get(word, word + 's')}"
    return "table" if origin is dict else _WORDS[annotation]
