"""Quantities with units as files and the command line write them: "50 ms", "10 Mbit/s", "40 B", "1 %"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches

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

_NUMBER = r"[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_QUANTITY = re.compile(rf"\s*([+-]?{_NUMBER})\s*(\S*)\s*")
_SAME_UNIT = {"µs": "us", "μs": "us"}  # micro sign and Greek mu look alike and are both typed


def pattern(units: Mapping[str, Decimal]) -> str:
    """Return a regular expression, for Python and for JSON Schema, of the texts that :func:`parse` reads.

    Texts with a minus sign are left out, as no quantity of a scenario file is negative.
    """
    names = [*units, *(written for written, unit in _SAME_UNIT.items() if unit in units)]
    return rf"^\s*\+?{_NUMBER}\s*({'|'.join(names)})\s*$"


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


def read(value: object, units: Mapping[str, Decimal], example: str) -> float:
    """Read a quantity that has to be text with a unit, whatever a file has in its place.

    Args:
        value: what the file has; a bare number is refused.
        units: the unit names allowed and their size in base units.
        example: a correct value for the error message.

    Returns:
        The value in base units, rounded once.

    Raises:
        ValueError: as :func:`parse` does, or the value is no text.
    """
    if isinstance(value, str):
        return parse(value, units, example)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'a bare number says no unit; write it as text with one, like "{example}"')
    raise ValueError(f'expected text with a unit, like "{example}"')


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
