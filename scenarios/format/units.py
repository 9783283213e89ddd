"""Quantities with units, as scenario files write them: "50 ms", "10 Mbit/s", "40 B", "1 %".

Models hold plain floats in base units (seconds, bits per second, bytes, fractions); serialising writes the
shortest text that parses back to exactly the same float.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

DURATIONS: Mapping[str, Decimal] = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
}
RATES: Mapping[str, Decimal] = {
    "bit/s": Decimal(1),
    "kbit/s": Decimal(10**3),
    "Mbit/s": Decimal(10**6),
    "Gbit/s": Decimal(10**9),
    "kB/s": Decimal(8 * 10**3),
    "MB/s": Decimal(8 * 10**6),
    "GB/s": Decimal(8 * 10**9),
}
SIZES: Mapping[str, Decimal] = {
    "B": Decimal(1),
    "kB": Decimal(10**3),
    "MB": Decimal(10**6),
    "GB": Decimal(10**9),
    "KiB": Decimal(2**10),
    "MiB": Decimal(2**20),
    "GiB": Decimal(2**30),
}
PERCENT: Mapping[str, Decimal] = {"%": Decimal("0.01")}

_QUANTITY = re.compile(r"\s*([+-]?[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")
_SAME_UNIT = {"µs": "us", "μs": "us"}  # micro sign and Greek mu look alike and are both typed


def parse(text: str, units: Mapping[str, Decimal], example: str) -> float:
    """Read a number followed by a unit.

    Args:
        text: what the user wrote, for example ``"50 ms"``; the space is optional.
        units: the unit names allowed and their size in base units.
        example: a correct value for the error message.

    Returns:
        The value in base units, rounded once.

    Raises:
        ValueError: no number, no unit or no such unit; the message lists the units that exist.
    """
    known = ", ".join(units)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f'expected a number and a unit ({known}) like "{example}", got "{text}"')
    number, unit = match[1], _SAME_UNIT.get(match[2], match[2])
    if not unit:
        raise ValueError(f'"{text}" has no unit; units are {known}, for example "{example}"')
    if unit not in units:
        raise ValueError(f'unknown unit "{unit}"{_nearest(unit, units)}; units are {known}')
    try:
        value = float(Decimal(number.replace("_", "")) * units[unit])
    except ArithmeticError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f'"{text}" is too large or too small')
    return value


def show(value: float, units: Mapping[str, Decimal]) -> str:
    """Write a value in the unit that makes it whole and short; :func:`parse` gives the same float back."""
    exact = Decimal(repr(value))
    texts = [f"{(exact / size).normalize():f} {unit}" for unit, size in units.items()]
    exact_texts = [text for text in texts if parse(text, units, text) == value]
    return min(exact_texts, key=lambda text: ("." in text, len(text)))


def _nearest(unit: str, units: Mapping[str, Decimal]) -> str:
    folded = {name.lower(): name for name in units}
    close = get_close_matches(unit.lower(), folded, n=1, cutoff=0.5)
    return f', did you mean "{folded[close[0]]}"?' if close else ""


def _reader(units: Mapping[str, Decimal], example: str) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, str):
            try:
                return parse(value, units, example)
            except ValueError as error:
                raise _refused(str(error)) from None
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise _refused(f'a bare number says no unit; write it as text with one, like "{example}"')
        raise _refused(f'expected text with a unit, like "{example}"')

    return read


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
    pattern = r"^\s*[0-9][0-9_.eE+-]*\s*(" + "|".join(units) + r")\s*$"
    schema = {"type": "string", "pattern": pattern, "examples": [example], "title": what}
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
    WithJsonSchema({"anyOf": [{"const": "round"}, _duration[2].json_schema], "title": "round or duration"}),
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
    WithJsonSchema({"anyOf": [_rate[2].json_schema, {"type": "array", "items": _rate[2].json_schema}]}),
]
"""Bits per second of every node: one rate above 0 for all, or a list with one for each."""
Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\s*[0-9][0-9.]*\s*%\s*$"},
            ],
            "examples": ["1 %", 0.01],
            "title": "fraction",
        }
    ),
]
"""A fraction of one; written as a number or as text in per cent."""
