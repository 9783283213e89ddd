"""Messages as bytes: length-prefixed msgpack frames between real endpoints. Never pickle."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np

from simulator.errors import ContractError

MAX_FRAME_BYTES = 256 * 2**20
"""A longer frame is refused before it is read."""
_LENGTH_BYTES = 4
_ARRAY = 1


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """What travels: a message without its release tag, which is measurement and stays with the sender's process.

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


def _to_wire(value: Any) -> Any:
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        array = _Array(value.dtype.str, value.shape, value.tobytes())
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(array))
    raise ContractError(
        f"a {type(value).__name__} cannot travel; bodies hold None, numbers, strings, bytes, tuples and arrays"
    )


def _from_wire(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise ContractError(f"unknown extension {code} in a frame")
    array = msgspec.msgpack.decode(data, type=_Array)
    # frombuffer on bytes gives a read-only array: a receiver cannot change what others may share.
    return np.frombuffer(array.data, dtype=np.dtype(array.dtype)).reshape(array.shape)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_to_wire)
_DECODER = msgspec.msgpack.Decoder(Frame, ext_hook=_from_wire)


def encode(frame: Frame) -> bytes:
    """The bytes of a frame, its length first.

    Raises:
        ContractError: the body holds something that cannot travel, or is too long.
    """
    _refuse_lists(frame.body)
    data = _ENCODER.encode(frame)
    if len(data) > MAX_FRAME_BYTES:
        raise ContractError(f"a frame of {len(data)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def decode(data: bytes) -> Frame:
    """The frame in ``data`` (without its length). Sequences come back as tuples.

    Raises:
        ContractError: malformed bytes.
    """
    try:
        frame = _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise ContractError(f"malformed frame: {error}") from error
    return msgspec.structs.replace(frame, body=_tuples(frame.body))


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame of a connection; None where it ends.

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


def _refuse_lists(body: Any) -> None:
    """A list would come back as a tuple; say so where it is sent."""
    if isinstance(body, list | dict | set):
        _to_wire(body)
    if isinstance(body, tuple):
        for part in body:
            _refuse_lists(part)


def _tuples(body: Any) -> Any:
    return tuple(_tuples(part) for part in body) if isinstance(body, list) else body
