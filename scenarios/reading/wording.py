"""What pydantic finds, in plain words: what is wrong, what was expected, the nearest word that exists."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from scenarios.format.locate import Key
from scenarios.format.tables import Table, keys_of
from scenarios.reading.choices import choices_of, described, kinds_of, models_of, tables_at
from scenarios.schema import Scenario

_EXPECTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_WHY_REQUIRED = {
    ("privacy", "clip"): "noise without a clipping norm protects nothing: give clip, the most one unit may "
    "contribute to a sum, like clip = 1.0",
}


def reword(error: ErrorDetails, raw: Mapping[str, Any]) -> tuple[Key, str]:
    """One pydantic error as (key in the file, message in plain words)."""
    key, model = _place(error["loc"])
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    got = f", got {show(value)}"
    if kind == "extra_forbidden":
        return key, _unknown_key(str(key[-1]), model, key[:-1])
    if kind == "missing":
        return key, _missing(key, model)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        kinds = _kinds_at(key)
        if kind == "union_tag_not_found":
            return (*key, "kind"), f"required and missing; it is one of: {', '.join(kinds)}"
        return (*key, "kind"), _unknown_word(context.get("tag"), kinds)
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        if not words:
            return key, f"expected {context['expected']}{got}"
        return key, _unknown_word(value, words) + _whose_word(key, model, value)
    if kind in _BOUNDS:
        name, words_before = _BOUNDS[kind]
        unit = " in base units" if isinstance(value, str) else ""
        return key, f"must be {words_before} {context[name]:g}{unit}{got}"
    if kind in _EXPECTED:
        return key, f"expected {_EXPECTED[kind]}{got}{_quote_hint(key, value)}"
    if kind == "string_pattern_mismatch":
        return key, f'expected only a-z, 0-9, "_" and "-"{got}'
    if kind in ("too_short", "string_too_short"):
        return key, "must not be empty"
    if kind == "unit":
        return key, str(context["text"])
    return key, f"{error['msg'][:1].lower()}{error['msg'][1:]}{got}"


def _place(loc: Sequence[str | int]) -> tuple[Key, type[Table] | None]:
    """The key an error is about, without the union tags pydantic puts in, and the table that key stands in."""
    key: Key = ()
    models: list[type[Table]] = [Scenario]
    holder: type[Table] | None = Scenario
    for part in loc:
        tagged = [model for model in models if part in kinds_of(model)]
        if len(models) > 1 and tagged:
            models = tagged
            continue
        key = (*key, part)
        if isinstance(part, str):
            holder = models[0] if len(models) == 1 else None
            fields = [keys_of(model)[part] for model in models if part in keys_of(model)]
            models = [inner for field in fields for inner in models_of(field.annotation)]
    return key, holder


def _kinds_at(key: Key) -> list[str]:
    return list(dict.fromkeys(kind for model in tables_at(key) for kind in kinds_of(model)))


def _unknown_key(name: str, model: type[Table] | None, above: Key) -> str:
    known = list(keys_of(model)) if model else []
    siblings = [m for m in tables_at(above) if m is not model and name in keys_of(m)]
    if siblings:
        owners = ", ".join(kind for sibling in siblings for kind in kinds_of(sibling))
        return f"unknown key for this kind; it belongs to {owners}; possible here: {', '.join(known)}"
    return f"unknown key{nearest(name, known)}; possible here: {', '.join(known)}"


def _missing(key: Key, model: type[Table] | None) -> str:
    if key in _WHY_REQUIRED:
        return _WHY_REQUIRED[key]
    field = keys_of(model).get(str(key[-1])) if model else None
    what = "table" if field is not None and models_of(field.annotation) else "key"
    about = "" if field is None else described(field)
    return f"required {what} is missing{about and f': {about}'}"


def _unknown_word(value: Any, words: Sequence[str]) -> str:
    known = ", ".join(f'"{word}"' for word in words)
    near = nearest(value, words) if isinstance(value, str) else ""
    return f"{show(value)} is not one of: {known}{near}"


def _whose_word(key: Key, model: type[Table] | None, value: Any) -> str:
    """Another kind of the same table may know the word."""
    name = str(key[-1])
    owners = [
        kind
        for sibling in tables_at(key[:-1])
        if sibling is not model and name in keys_of(sibling)
        if value in choices_of(keys_of(sibling)[name].annotation)
        for kind in kinds_of(sibling)
    ]
    return f"; {show(value)} needs kind = {' or '.join(map(show, owners))}" if owners else ""


def nearest(name: str, known: Sequence[str], prefix: str = "") -> str:
    """``, did you mean 'x'?`` for the known word most like ``name``; nothing if none is."""
    close = get_close_matches(name.lower().replace("_", "-"), [word.replace("_", "-") for word in known], n=1)
    original = {word.replace("_", "-"): word for word in known}
    if not close:
        return ""
    return f", did you mean '{prefix}{'.' if prefix else ''}{original[close[0]]}'?"


def _quote_hint(key: Key, value: Any) -> str:
    if isinstance(value, dict) and "grid" in key:
        return '; write the swept key in quotes, like "protocol.rounds" = [10, 20]'
    return ""


def show(value: Any) -> str:
    """A value as the user would recognise it."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, str | bool | int | float | list | tuple):
        text = json.dumps(value, default=str, ensure_ascii=False)
        return text if len(text) <= 60 else text[:57] + "..."
    return f"{kind_of(value)} {value}"


def kind_of(value: Any) -> str:
    """What a TOML value is, in words."""
    names = {
        bool: "true or false",
        str: "text",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a table",
        datetime: "a date",
        date: "a date",
        time: "a time",
    }
    return names.get(type(value), type(value).__name__)
