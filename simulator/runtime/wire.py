"""Messages as bytes: length-prefixed msgpack frames between real endpoints. Never pickle.

What arrives has the type of what was sent: a value msgpack would quietly turn into another type (a list, an
enumeration, a dataclass) is refused where it is sent.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np

from simulator.errors import ContractError

MAX_FRAME_BYTES = 256 * 2**20
"""A longer frame is refused before it is read."""
MAX_NESTING = 32
_LENGTH_BYTES = 4
_ARRAY, _INTEGER = 1, 2
_ARRAY_KINDS = "biufc"
_PLAIN = (type(None), bool, float, str, bytes)


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """A message on a socket, without its release tag, which is measurement and stays with the sender's process.

    Args:
        number: the message's number in the run's log.
        src: who sent it.
        kind, round, size_bytes: of the message.
        sent_s: when.
        body: its content.
    """

    number: int
    src: int
    kind: str
    round: int
    size_bytes: int
    sent_s: float
    body: Any


class _Array(msgspec.Struct, array_like=True, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def _to_wire(value: Any, depth: int = 0) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        if -(2**63) <= value < 2**63:
            return value
        size = value.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(_INTEGER, value.to_bytes(size, "big", signed=True))
    if kind is tuple:
        if depth >= MAX_NESTING:
            raise ContractError(f"a body nested deeper than {MAX_NESTING} tuples cannot travel")
        return [_to_wire(part, depth + 1) for part in value]
    if kind is np.ndarray and value.dtype.kind in _ARRAY_KINDS:
        array = _Array(value.dtype.str, value.shape, value.tobytes())
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(array))
    what = f"{kind.__name__} of {value.dtype}" if kind is np.ndarray else kind.__name__
    raise ContractError(
        f"a {what} cannot travel; bodies hold None, bool, int, float, str, bytes, tuples and arrays of numbers"
    )


def _extension(code: int, data: memoryview) -> Any:
    if code == _INTEGER:
        return int.from_bytes(data, "big", signed=True)
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code}")
    array = msgspec.msgpack.decode(data, type=_Array)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in _ARRAY_KINDS:
        raise ValueError(f"an array of {dtype}")
    # frombuffer on bytes gives a read-only array: a receiver cannot change what others may share.
    return np.frombuffer(array.data, dtype=dtype).reshape(array.shape)


def _from_wire(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_from_wire(part) for part in value)
    if isinstance(value, int | np.ndarray) or type(value) in _PLAIN:
        return value
    raise ValueError(f"a body with a {type(value).__name__}")


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Frame, ext_hook=_extension)


def encode(frame: Frame) -> bytes:
    """Encode a frame as bytes, its length first.

    Raises:
        ContractError: the body holds something that cannot travel, or is too long.
    """
    try:
        data = _ENCODER.encode(msgspec.structs.replace(frame, body=_to_wire(frame.body)))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise ContractError(f"message {frame.kind!r} of node {frame.src} cannot travel: {error}") from error
    if len(data) > MAX_FRAME_BYTES:
        raise ContractError(f"a frame of {len(data)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def decode(data: bytes) -> Frame:
    """Decode the frame in ``data`` (without its length). Sequences come back as tuples.

    Raises:
        ContractError: malformed bytes.
    """
    try:
        frame = _DECODER.decode(data)
        return msgspec.structs.replace(frame, body=_from_wire(frame.body))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise ContractError(f"malformed frame: {error}") from error


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """Read the next frame of a connection; None where it ends, even if inside a frame (its sender crashed).

    Raises:
        ContractError: a frame that is malformed or too long.
    """
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        if length > MAX_FRAME_BYTES:
            raise ContractError(f"a frame announces {length} bytes; at most {MAX_FRAME_BYTES} are allowed")
        return decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
