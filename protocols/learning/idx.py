"""IDX format of MNIST and its successors: finding the files of a folder, and reading them."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigurationError

_BYTES = 0x08
_GZIP = b"\x1f\x8b"
_NAME = re.compile(
    r"(?:emnist-(?P<part>[a-z]+)-)?(?P<role>train|t10k|test)-(?P<what>images|labels)[-.]idx[13]-ubyte(?:\.gz)?"
)


class Pair(NamedTuple):
    """The files of images and of their labels."""

    images: Path
    labels: Path


def find(folder: Path, part: str | None) -> Mapping[str, Pair]:
    """Find the pairs of files in a folder.

    Args:
        folder: holds files named like train-images-idx3-ubyte, t10k-labels-idx1-ubyte or
            emnist-balanced-test-images-idx3-ubyte; a dot may stand before idx, and .gz at the end. A plain file
            is preferred to a gzipped one.
        part: the word after emnist; None for files without it.

    Returns:
        A mapping with the keys "train" and "test", or the one whose files exist.

    Raises:
        ConfigurationError: there is no such folder or no such file, or images without labels.
    """
    try:
        names = sorted(file.name for file in folder.iterdir())
    except OSError as error:
        raise ConfigurationError(
            f"there is no readable folder {folder} ({error.strerror}); paths start at the scenario file",
            "data.path",
        ) from error
    found: dict[str, dict[str, Path]] = {}
    parts: set[str] = set()
    for match in filter(None, map(_NAME.fullmatch, names)):
        if match["part"]:
            parts.add(match["part"])
        if match["part"] == part:
            role = "train" if match["role"] == "train" else "test"
            found.setdefault(role, {}).setdefault(match["what"], folder / match[0])
    whole = {role: Pair(**files) for role, files in found.items() if len(files) == 2}
    half = [role for role in found if role not in whole]
    if half:
        (here,) = found[half[0]]
        lacking = "labels" if here == "images" else "images"
        raise ConfigurationError(f"{folder} has {half[0]} {here} but no {half[0]} {lacking}", "data.path")
    if not whole:
        prefix = "" if part is None else f"emnist-{part}-"
        there = f"; there are parts of EMNIST: {', '.join(sorted(parts))}" if parts else ""
        raise ConfigurationError(
            f"{folder} has no files named {prefix}train-images-idx3-ubyte and {prefix}train-labels-idx1-ubyte, or "
            f"the same with t10k or test{there}",
            "data.part" if parts else "data.path",
        )
    return whole


def read_pair(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read images (samples, rows, columns) and their labels (samples,).

    Raises:
        ConfigurationError: a file is broken, or there is not one label for each image.
    """
    x, y = read(images, 3), read(labels, 1)
    _same_number(images, len(x), labels, len(y))
    return x, y


def samples(pair: Pair) -> int:
    """Return how many samples a pair of files holds, from their headers alone.

    Raises:
        ConfigurationError: a file is broken, or there is not one label for each image.
    """
    counts = []
    for file, axes in ((pair.images, 3), (pair.labels, 1)):
        with _Opened(file) as opened:
            counts.append(_header(opened, file, axes)[0])
    _same_number(pair.images, counts[0], pair.labels, counts[1])
    return counts[0]


def read(file: Path, axes: int) -> NDArray[np.uint8]:
    """Read an array of unsigned bytes.

    Args:
        file: plain or gzipped, recognised by content.
        axes: required number of dimensions.

    Raises:
        ConfigurationError: the file cannot be read, is too short or too long, or has another content type.
    """
    with _Opened(file) as opened:
        shape = _header(opened, file, axes)
        body = opened.read()
    size = int(np.prod(shape, dtype=np.int64))
    if len(body) != size:
        raise ConfigurationError(
            f"data: {file} holds {len(body)} bytes after its header, which announces {size}; is it complete?",
            "data.path",
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _same_number(images: Path, x: int, labels: Path, y: int) -> None:
    if x != y:
        raise ConfigurationError(f"data: {images} holds {x} images, {labels} {y} labels", "data.path")


def _header(opened: IO[bytes], file: Path, axes: int) -> tuple[int, ...]:
    magic = opened.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ConfigurationError(
            f"data: {file} is not an IDX file: it begins with {magic.hex(' ')}", "data.path"
        )
    if magic[2] != _BYTES or magic[3] != axes:
        raise ConfigurationError(
            f"data: {file} holds elements of type 0x{magic[2]:02x} in {magic[3]} dimensions; expected unsigned bytes "
            f"(0x{_BYTES:02x}) in {axes}",
            "data.path",
        )
    lengths = opened.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ConfigurationError(f"data: {file} ends within its header", "data.path")
    return tuple(int(n) for n in np.frombuffer(lengths, dtype=">u4"))


class _Opened:
    """File, decompressed if its first bytes mark it as gzipped; its errors name it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> IO[bytes]:
        try:
            with self._file.open("rb") as raw:
                zipped = raw.read(2) == _GZIP
            self._opened = cast(IO[bytes], gzip.open(self._file, "rb") if zipped else self._file.open("rb"))
        except OSError as error:
            raise self._refused(error) from error
        return self._opened

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._opened.close()
        if isinstance(error, OSError | EOFError | zlib.error):
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(f"data: {self._file} cannot be read ({error})", "data.path")
