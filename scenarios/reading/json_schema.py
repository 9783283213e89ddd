"""The JSON Schema of scenario files, shaped for editors that show one wrong key, not every kind it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scenarios.schema import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID = "urn:sottovoce:scenario:1"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file, with all kinds that are installed.

    A table with a ``kind`` is checked against that kind alone (``if``/``then``), so that an editor marks the key that
    is wrong. Absent keys are absent: TOML has no null.
    """
    return {"$schema": DIALECT, "$id": ID} | _shaped(Scenario.model_json_schema())


def _shaped(node: Any) -> Any:
    if isinstance(node, list):
        return [_shaped(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _shaped(value) for key, value in node.items() if not (key == "default" and value is None)}
    if "anyOf" in node:
        given = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        node = {**given[0], **rest} if len(given) == 1 else {**rest, "anyOf": given}
    if "discriminator" in node:
        node = _by_kind(node)
    return node


def _by_kind(node: Mapping[str, Any]) -> dict[str, Any]:
    name, mapping = node["discriminator"]["propertyName"], node["discriminator"]["mapping"]
    rest = {key: value for key, value in node.items() if key not in ("discriminator", "oneOf")}
    words: dict[str, list[str]] = {}
    for word, target in mapping.items():
        words.setdefault(target, []).append(word)
    return {
        **rest,
        "type": "object",
        "required": [name],
        "properties": {name: {"enum": list(mapping)}},
        "allOf": [
            {
                "if": {"properties": {name: {"enum": which}}, "required": [name]},
                "then": {"$ref": target},
            }
            for target, which in words.items()
        ],
    }
