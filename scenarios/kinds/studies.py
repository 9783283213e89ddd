"""Tables of studies: the changes of a sweep or a what-if, and the seeds of its runs."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from scenarios.format.tables import Table, is_count

STUDY_TABLES = ("sweep", "study", "whatif")
"""The tables a single run ignores."""


SEEDS = 2**63
"""Seeds are below this."""
MOST = 1_000_000
"""Largest number of seeds of a study."""


def _seeds(value: Any) -> Any:
    if is_count(value, 1):
        if value > MOST:
            raise PydanticCustomError(
                "choice", f"must be at most {MOST:_} seeds, or a list of seeds".replace("_", ",")
            )
        return value
    if isinstance(value, list | tuple) and any(is_count(seed, SEEDS) for seed in value):
        raise PydanticCustomError("choice", "every seed must be below 2**63; use smaller seeds")
    if isinstance(value, list | tuple) and value and all(is_count(seed, 0) for seed in value):
        if len(set(value)) == len(value):
            return tuple(value)
        raise PydanticCustomError(
            "choice", "the same seed is listed twice, which would count one run twice; list each seed once"
        )
    raise PydanticCustomError(
        "choice", "expected how many seeds (at least 1) or a list of whole numbers from 0, like [1, 2, 3]"
    )


Seeds: TypeAlias = Annotated[
    int | tuple[int, ...],
    BeforeValidator(_seeds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "exclusiveMaximum": SEEDS},
                    "minItems": 1,
                    "uniqueItems": True,
                },
            ],
            "title": "count or list of seeds",
        }
    ),
]
Values: TypeAlias = Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]
Grid: TypeAlias = Annotated[dict[str, Values], Field(title="table of lists")]
Changes: TypeAlias = Annotated[dict[str, Any], Field(title="table of dotted keys")]


class Series(Table):
    """One curve of a sweep."""

    name: str = Field(min_length=1, examples=["LDP gossip"], description="name in plots and tables")
    set: Changes = Field(
        default={},
        examples=[{"protocol.exchange": "ldp"}],
        description='fixed changes by quoted dotted key: {"protocol.exchange" = "ldp"}',
    )
    grid: Grid | None = Field(
        default=None,
        examples=[{"privacy.noise_multiplier": [10, 20]}],
        description="values to sweep, in place of [sweep.grid]",
    )


class Sweep(Table):
    """Runs over a grid of values, several seeds each.

    A sweep runs every combination of a series and its grid under every seed. In ``set`` and ``grid``, keys are dotted
    and quoted.

    Differences of a variant to its baseline, or of a series to that named by ``sweep.baseline``, are taken between
    runs of one seed: mean and 95 % Student t interval over pairs. A point of a sweep is compared with the baseline's
    point at the same values of the keys that the baseline sweeps. Where one of two values is infinite, so is the
    difference and its mean; two infinite ones have none, and no mean.
    """

    seeds: Seeds = Field(
        default=1, examples=[8], description="number of seeds, from the scenario's own on, or a list of seeds"
    )
    grid: Grid = Field(
        default={},
        examples=[{"privacy.noise_multiplier": [5, 10]}],
        description='lists of values by quoted dotted key: "privacy.noise_multiplier" = [5, 10]',
    )
    series: tuple[Series, ...] = Field(
        default=(), strict=False, description="curves; absent: one without a name"
    )
    baseline: str | None = Field(
        default=None,
        min_length=1,
        examples=["LDP gossip"],
        description="name of the series that the others are compared with, seed by seed; absent: no "
        "comparison",
    )


class Study(Table):
    """Seeds of a what-if study, and attacks on its runs."""

    seeds: Seeds = Field(
        default=1,
        examples=[[1, 2, 3]],
        description="number of seeds, from the scenario's own on, or a list of seeds",
    )
    infer: bool = Field(
        default=False,
        examples=[True],
        description="also attack what curious nodes recorded, in every run of a what-if or sweep "
        "(sottovoce infer)",
    )


class Whatif(Table):
    """Variant of the scenario.

    A what-if runs the scenario itself and every variant under the same seeds.
    """

    name: str = Field(min_length=1, examples=["one sign flipper"], description="name in plots and tables")
    set: Changes = Field(
        min_length=1,
        examples=[{"adversary.byzantine.enabled": True}],
        description='changes by quoted dotted key: {"adversary.byzantine.enabled" = true}',
    )


def seeds_of(seeds: int | tuple[int, ...], first: int) -> tuple[int, ...]:
    """The seeds a study runs: the list given, or that many from ``first`` on."""
    return seeds if isinstance(seeds, tuple) else tuple(range(first, first + seeds))
