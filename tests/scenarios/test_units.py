"""Quantities with units: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from scenarios.format.units import Duration, Fraction, Rate, Size
from simulator.units import DURATIONS, RATES, SIZES, parse, show


class Quantities(BaseModel):
    model_config = ConfigDict(strict=True)

    duration: Duration
    rate: Rate
    size: Size
    fraction: Fraction


def quantities(**changes: object) -> Quantities:
    values = {"duration": "50 ms", "rate": "10 Mbit/s", "size": "40 B", "fraction": "1 %"}
    return Quantities.model_validate(values | changes)


def test_units_become_base_units() -> None:
    read = quantities()
    assert (read.duration, read.rate, read.size, read.fraction) == (0.05, 1e7, 40.0, 0.01)
    assert quantities(fraction=0.01) == read


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120 us", 120e-6),
        ("120µs", 120e-6),
        ("1.5 s", 1.5),
        ("2e3 ms", 2.0),
        ("1_000 ns", 1e-6),
        ("2 min", 120.0),
        ("1 h", 3600.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse(text, DURATIONS, "50 ms") == seconds


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("duration", "50 msec", 'unknown unit "msec", did you mean "ms"?; units are ns, us, ms, s, min, h'),
        ("duration", "50", "has no unit"),
        ("duration", 50, 'a bare number says no unit; write it as text with one, like "50 ms"'),
        ("duration", True, "expected text with a unit"),
        ("duration", "soon", "expected a number and a unit (ns, us, ms, s, min, h)"),
        ("duration", "1e999999999 s", "too large"),
        ("rate", "10 mbit/s", 'did you mean "Mbit/s"?'),
        ("rate", "10 ms", "units are bit/s"),
        ("size", "40 bytes", "units are B, kB"),
        ("fraction", "one", "a plain fraction such as 0.01 is allowed too"),
        ("fraction", True, "valid number"),
    ],
)
def test_refusals_say_what_is_possible(field: str, value: object, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        quantities(**{field: value})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("value", "units", "text"),
    [
        (0.05, DURATIONS, "50 ms"),
        (0.5, DURATIONS, "500 ms"),
        (0.0, DURATIONS, "0 s"),
        (90.0, DURATIONS, "90 s"),
        (1.2e-4, DURATIONS, "120 us"),
        (1e7, RATES, "10 Mbit/s"),
        (40.0, SIZES, "40 B"),
        (2.0**20, SIZES, "1 MiB"),
    ],
)
def test_writing_is_short(value: float, units: Mapping[str, Decimal], text: str) -> None:
    assert show(value, units) == text


@given(
    st.floats(min_value=0, max_value=1e15, allow_subnormal=False),
    st.sampled_from([DURATIONS, RATES, SIZES]),
)
def test_writing_and_reading_give_the_same_float(value: float, units: Mapping[str, Decimal]) -> None:
    assert parse(show(value, units), units, "") == value


def test_a_dumped_model_reads_back() -> None:
    read = quantities(duration="0.1234567 s", rate="3 kB/s")
    assert Quantities.model_validate(read.model_dump(mode="json")) == read
