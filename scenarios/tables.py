"""What all tables of a scenario file have in common."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Node: TypeAlias = Annotated[int, Field(ge=0, description="node number, from 0")]
Nodes: TypeAlias = Annotated[tuple[Node, ...], Field(strict=False)]
Pair: TypeAlias = Annotated[tuple[Node, Node], Field(strict=False)]
Pairs: TypeAlias = Annotated[tuple[Pair, ...], Field(strict=False, min_length=1)]


def written(text: str) -> Any:
    """A default as a file would write it, so that the JSON Schema shows it; validation makes it a float."""
    return text


class Table(BaseModel):
    """A TOML table: no unknown keys, no silent conversions, never changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


def keys_of(model: type[Table]) -> dict[str, FieldInfo]:
    """The keys of a table as files write them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def is_count(value: Any, least: int) -> bool:
    """Whether a value is a whole number (true and false are not) of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
