"""Types of keys that hold quantities with units: "50 ms", "10 Mbit/s", "40 B", "1 %".

Models hold plain floats in base units (seconds, bits per second, bytes, fractions); serialising writes the
shortest text that parses back to exactly the same float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from simulator.units import DURATIONS, PERCENT, RATES, SIZES, parse, pattern, read, show


def _reader(units: Mapping[str, Decimal], example: str) -> Callable[[Any], float]:
    def reader(value: Any) -> float:
        try:
            return read(value, units, example)
        except ValueError as error:
            raise _refused(str(error)) from None

    return reader


def _fraction(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return parse(value, PERCENT, "1 %")
        except ValueError as error:
            raise _refused(f"{error}; a plain fraction such as 0.01 is allowed too") from None
    return value


def _refused(message: str) -> PydanticCustomError:
    # braces would be read as a template by pydantic
    return PydanticCustomError("unit", "{text}", {"text": message})


def _quantity(units: Mapping[str, Decimal], example: str, what: str) -> Any:
    schema = {"type": "string", "pattern": pattern(units), "examples": [example], "title": what}
    return (
        BeforeValidator(_reader(units, example)),
        PlainSerializer(lambda value: show(value, units), return_type=str),
        WithJsonSchema(schema),
    )


_duration = _quantity(DURATIONS, "50 ms", "duration")
_rate = _quantity(RATES, "10 Mbit/s", "rate")
_size = _quantity(SIZES, "40 B", "size")

Duration = Annotated[float, _duration[0], _duration[1], _duration[2]]
"""Seconds; written as text with a unit."""
Rate = Annotated[float, _rate[0], _rate[1], _rate[2]]
"""Bits per second; written as text with a unit."""


def not_later(key: str, end_s: float, start: str, start_s: float) -> str:
    """Word the error that a key ends a time before another key begins it; both in seconds."""
    return (
        f"{key} must be later than {start} ({show(start_s, DURATIONS)}), got {show(end_s, DURATIONS)}; "
        f"raise it, or remove it"
    )


def _every(value: Any) -> Any:
    if value == "round":
        return value
    if isinstance(value, str) and not value.strip()[:1].isdigit():
        raise _refused(f'expected "round" or a duration like "10 s", got "{value}"')
    seconds = _duration[0].func(value)
    if seconds <= 0:
        raise _refused(f'must be "round" or a duration greater than 0, got "{value}"')
    return seconds


def _rates(value: Any) -> Any:
    single = not isinstance(value, list | tuple)
    rates = [_rate[0].func(rate) for rate in ([value] if single else value)]
    if not rates:
        raise _refused("the list is empty; give one rate for all nodes, or a list with one rate per node")
    if min(rates) <= 0:
        raise _refused("a rate must be greater than 0")
    return rates[0] if single else tuple(rates)


Size = Annotated[float, _size[0], _size[1], _size[2]]
"""Bytes; written as text with a unit."""
Every = Annotated[
    Literal["round"] | float,
    BeforeValidator(_every),
    PlainSerializer(lambda value: value if value == "round" else show(value, DURATIONS), return_type=str),
    WithJsonSchema({"anyOf": [{"const": "round"}, _duration[2].json_schema], "title": '"round" or duration'}),
]
"""The word "round", or seconds above 0 written as text with a unit."""
Rates = Annotated[
    float | tuple[float, ...],
    BeforeValidator(_rates),
    PlainSerializer(
        lambda value: (
            [show(rate, RATES) for rate in value] if isinstance(value, tuple) else show(value, RATES)
        )
    ),
    WithJsonSchema(
        {
            "anyOf": [
                _rate[2].json_schema,
                {"type": "array", "items": _rate[2].json_schema, "minItems": 1},
            ],
            "title": "rate or list of rates",
        }
    ),
]
"""Bits per second of every node: one rate above 0 for all, or a list with one for each."""
Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": pattern(PERCENT)},
            ],
            "examples": ["1 %", 0.01],
            "title": "fraction",
        }
    ),
]
"""A fraction of one; written as a number or as text in per cent."""
