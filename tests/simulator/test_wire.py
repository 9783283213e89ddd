"""Frames: what arrives is what was sent, and what would not be is refused."""

from __future__ import annotations

import asyncio
import datetime
import enum
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from simulator.errors import ContractError
from simulator.runtime.wire import MAX_FRAME_BYTES, MAX_NESTING, Frame, decode, encode, read_frame

DTYPES = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    arrays.complex_number_dtypes(endianness="?", sizes=(64, 128)),
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    st.binary(max_size=20),
    arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
)
BODIES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12)


def frame(body: Any) -> Frame:
    return Frame(5, 3, "kind", -1, 40, 1.25, body)


def same(found: Any, sent: Any) -> bool:
    if type(found) is not type(sent):
        return False
    if isinstance(sent, tuple):
        return len(found) == len(sent) and all(map(same, found, sent))
    if isinstance(sent, np.ndarray):
        alike = (found.dtype, found.shape) == (sent.dtype, sent.shape)
        return alike and found.tobytes() == sent.tobytes() and not found.flags.writeable
    return bool(found == sent or (found != found and sent != sent))


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_bodies_come_back_with_their_types(body: Any) -> None:
    found = decode(encode(frame(body))[4:])
    assert same(found.body, body)
    assert msgspec.structs.replace(found, body=None) == frame(None)


class Colour(enum.Enum):
    RED = 1


@dataclass
class Record:
    x: int = 1


class Pair(NamedTuple):
    left: int
    right: int


@pytest.mark.parametrize(
    "body",
    [
        [1, 2],
        {"a": 1},
        {3},
        frozenset({3}),
        (1, [2]),
        object(),
        bytearray(b"b"),
        Colour.RED,
        Record(),
        Pair(1, 2),
        datetime.datetime(2020, 1, 1),
        np.float64(1.0),
        np.array(["text"]),
        np.array([object()]),
        np.zeros(2, [("a", "f4"), ("b", "i4")]),
    ],
    ids=lambda body: type(body).__name__,
)
def test_what_would_change_on_the_way_is_refused(body: Any) -> None:
    with pytest.raises(ContractError, match=r"a \w+ .*cannot travel"):
        encode(frame(body))


def test_bodies_beyond_the_limits_are_refused() -> None:
    body: Any = ()
    for _ in range(MAX_NESTING - 1):
        body = (body,)
    assert decode(encode(frame(body))[4:]).body == body
    with pytest.raises(ContractError, match="nested deeper"):
        encode(frame((body,)))
    with pytest.raises(ContractError, match="surrogates"):
        encode(frame("\ud800"))
    assert MAX_FRAME_BYTES < 2**31


def body_of(*tail: int) -> bytes:
    """A frame up to its body, then any bytes."""
    return encode(frame(None))[4:-1] + bytes(tail)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1garbage",
        encode(frame(None))[4:-1],
        encode(frame(None))[4:] + b"more",
        body_of(0x81, 0xA1, 0x61, 0x01),
        body_of(0xD6, 0xFF, 0, 0, 0, 0),
        body_of(0xD4, 9, 0),
        body_of(0xD4, 1, 0),
        body_of(*[0x91] * 5000, 0xC0),
        body_of(0xC7, 10, 1, 0x93, 0xA3, 0x3C, 0x66, 0x34, 0x91, 0x02, 0xC4, 0x01, 0x00),
        body_of(0xC7, 10, 1, 0x93, 0xA2, 0x7C, 0x4F, 0x91, 0x01, 0xC4, 0x02, 0x00, 0x00),
    ],
    ids=[
        "empty",
        "garbage",
        "cut",
        "long",
        "map",
        "timestamp",
        "extension",
        "no array",
        "deep",
        "short array",
        "objects",
    ],
)
def test_malformed_frames_are_refused(data: bytes) -> None:
    with pytest.raises(ContractError, match="malformed"):
        decode(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), BODIES, st.integers(0, 10_000), st.integers(0, 255))
def test_any_bytes_give_a_frame_or_a_contract_error(noise: bytes, body: Any, where: int, byte: int) -> None:
    data = bytearray(encode(frame(body))[4:])
    data[where % len(data)] = byte
    for bytes_ in (noise, bytes(data)):
        with suppress(ContractError):
            decode(bytes_)


def test_a_stream_is_read_frame_by_frame_until_it_ends() -> None:
    async def read(data: bytes) -> list[Any]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found = []
        while (got := await read_frame(reader)) is not None:
            found.append(got.body)
        return found

    two = encode(frame(1)) + encode(frame((2,)))
    assert asyncio.run(read(two)) == [1, (2,)]
    assert asyncio.run(read(two[:-1])) == [1]
    with pytest.raises(ContractError, match="announces"):
        asyncio.run(read(b"\xff\xff\xff\xff"))
