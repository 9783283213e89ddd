"""The JSON Schema of scenario files, for editors."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from scenarios.schema import Scenario

ID = "urn:sottovoce:scenario:1"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file, with all kinds that are installed.

    A table with a ``kind`` is checked against that kind alone (``if``/``then``), so that an editor marks the key that
    is wrong. A key may be absent, but never null, which TOML does not have.
    """
    schema = Scenario.model_json_schema(schema_generator=_Generator)
    return {"$schema": GenerateJsonSchema.schema_dialect, "$id": ID, **_shaped(schema)}


def written() -> str:
    """Return the JSON Schema as text, which is what ``scenarios/library/scenario.schema.json`` holds."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


class _Generator(GenerateJsonSchema):
    """Makes no title out of a key's own name; titles are the names of types."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


_BOUNDS = ("gt", "ge", "lt", "le")
"""What pydantic writes for bounds of quantities, which are text in a file; JSON Schema has no such keywords."""


def _shaped(node: Any) -> Any:
    if isinstance(node, list):
        return [_shaped(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _shaped(value) for key, value in node.items() if _says_something(key, value)}
    if {"type": "null"} not in node.get("anyOf", ()):
        return node
    given = [choice for choice in node.pop("anyOf") if choice != {"type": "null"}]
    return {**given[0], **node} if len(given) == 1 else {**node, "anyOf": given}


def _says_something(key: str, value: Any) -> bool:
    return not (key == "default" and value is None) and not (
        key in _BOUNDS and isinstance(value, int | float)
    )
