"""What all tables of a scenario file have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from scenarios.format.locate import Key

Node: TypeAlias = Annotated[int, Field(ge=0, title="node", description="node number, from 0")]
Nodes: TypeAlias = Annotated[tuple[Node, ...], Field(strict=False, title="list of nodes")]
Problems: TypeAlias = Iterator[tuple[Key, str]]
"""What is wrong with a table: key, as seen from the table, and message."""


def written(text: str) -> Any:
    """A default as a file would write it, so that the JSON Schema shows it; validation makes it a float."""
    return text


class Table(BaseModel):
    """A TOML table: no unknown keys, no silent conversions, never changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    def problems(self) -> Problems:
        """Yield what is wrong with this table by itself, beyond the ranges of single keys."""
        yield from ()


def keys_of(model: type[Table]) -> dict[str, FieldInfo]:
    """The keys of a table as files write them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def missing_file(base: Path, path: str) -> Problems:
    """Find that the file of a key ``path``, relative to the folder ``base``, is not there."""
    if not (base / path).is_file():
        yield ("path",), f"there is no file {base / path}; paths start at the scenario file"


def is_node_list(value: Any) -> bool:
    """Whether a value is a list of node numbers."""
    return isinstance(value, list | tuple) and all(is_count(node, 0) for node in value)


def _pairs(value: Any) -> Any:
    if isinstance(value, list | tuple) and value and all(is_node_list(p) and len(p) == 2 for p in value):
        return tuple(tuple(pair) for pair in value)
    raise PydanticCustomError("choice", "expected a list of pairs of nodes, like [[0, 1], [2, 5]]")


def _all_or_pairs(value: Any) -> Any:
    return value if value == "all" else _pairs(value)


_PAIR = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2}
_PAIRS = {"type": "array", "items": _PAIR, "minItems": 1, "title": "list of pairs"}
Pairs: TypeAlias = Annotated[tuple[tuple[int, int], ...], BeforeValidator(_pairs), WithJsonSchema(_PAIRS)]
AllOrPairs: TypeAlias = Annotated[
    Literal["all"] | tuple[tuple[int, int], ...],
    BeforeValidator(_all_or_pairs),
    WithJsonSchema({"anyOf": [{"const": "all"}, _PAIRS], "title": '"all" or list of pairs'}),
]


def is_count(value: Any, least: int) -> bool:
    """Whether a value is a whole number (true and false are not) of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
