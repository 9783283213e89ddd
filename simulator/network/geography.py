"""Base delays by the places of nodes: a measured matrix of delays, or distances over the Earth.

A place is a city, a region or a data centre of a CSV file; ``place_of[node]`` is the number of a node's place.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator import streams
from simulator.errors import ConfigurationError
from simulator.network.latency import BaseDelay

EARTH_RADIUS_KM = 6371.0088
"""Mean radius R1 of the GRS 80 ellipsoid (Moritz 2000)."""

LIGHT_KM_S = 299_792.458

Meaning: TypeAlias = Literal["rtt", "one-way"]

_KEY = "network.latency.path"

_Row: TypeAlias = tuple[int, list[str]]


@dataclass(frozen=True)
class Matrix:
    """Delays between places.

    Args:
        delay_s: float64[places, places], one way from the row's place to the column's; the diagonal is the delay
            between two nodes of one place.
        names: of the places; their numbers if the file has no names.
        filled: how many delays were not measured but filled in.
    """

    delay_s: NDArray[np.float64] = field(repr=False)
    names: tuple[str, ...]
    filled: int = 0


@dataclass(frozen=True)
class Points:
    """Places on the Earth.

    Args:
        names: of the places.
        latitude_deg: float64[places], -90 to 90, north positive.
        longitude_deg: float64[places], -180 to 180, east positive.
        regions: of the places; None if the file has no such column.
    """

    names: tuple[str, ...]
    latitude_deg: NDArray[np.float64] = field(repr=False)
    longitude_deg: NDArray[np.float64] = field(repr=False)
    regions: tuple[str, ...] | None = None


def delay_matrix(
    file: Path, meaning: Meaning, unit_s: float, *, symmetric: bool = False, fill: bool = False
) -> Matrix:
    """Read delays between places from a square CSV of numbers.

    A header row and a first column of names are recognised by holding no numbers, or by an empty corner; blank
    lines and lines that begin with # are skipped.

    Args:
        file: one row a source, one column a destination, separated by commas.
        meaning: whether the numbers are round-trip times, which are halved, or one-way delays.
        unit_s: seconds in the file's unit: 1e-3 for milliseconds.
        symmetric: replace both directions by their mean.
        fill: take cells that are empty, negative or NaN for measurements that failed, and fill in the opposite
            direction, or else the shortest way over one other place (0 on the diagonal).

    Raises:
        ConfigurationError: the file cannot be read, is not square, or a cell is no delay; names the line.
    """
    if meaning not in ("rtt", "one-way"):
        raise ConfigurationError(
            f"a delay matrix holds 'rtt' or 'one-way' delays, got {meaning!r}", "network.latency.meaning"
        )
    if not 0 < unit_s < inf:
        raise ConfigurationError(f"the unit must be above 0 seconds, got {unit_s:g}", "network.latency.unit")
    rows = list(_rows(file))
    header = rows.pop(0) if _is_header(rows[0][1]) else None
    if not rows:
        raise ConfigurationError(f"{file}: there are names but no delays", _KEY)
    named = _number(rows[0][1][0]) is None or (header is not None and header[1][0] == "")
    labels = [cells.pop(0) for _, cells in rows] if named else []
    size = len(rows)
    for line, cells in rows:
        if len(cells) != size:
            read = "" if header is None else f"; line {header[0]} was read as names"
            read += "; the first column was read as names" if named else ""
            raise _at(file, line, f"{len(cells)} delays in a matrix of {size} rows, expected {size}{read}")
    delay = np.array([[_delay(file, line, cell, fill) for cell in cells] for line, cells in rows])
    columns = [] if header is None else header[1][len(header[1]) - size :]
    if header is not None and len(header[1]) not in (size, size + named):
        raise _at(file, header[0], f"{len(header[1])} names for {size} columns")
    if labels and columns and labels != columns:
        row = next(i for i in range(size) if labels[i] != columns[i])
        raise _at(file, rows[row][0], f"row {labels[row]!r} where the header has {columns[row]!r}")
    filled = _fill(delay)
    if np.isnan(delay).any():
        row, column = np.argwhere(np.isnan(delay))[0]
        raise _at(
            file, rows[row][0], f"no way to fill in the delay to column {column + 1}: none was measured"
        )
    delay *= unit_s / 2 if meaning == "rtt" else unit_s
    if symmetric:
        delay = (delay + delay.T) / 2
    return Matrix(delay, tuple(labels or columns or map(str, range(size))), filled)


def coordinates(file: Path) -> Points:
    """Read places from a CSV with the columns name, latitude, longitude and, if there are regions, region.

    With a header row the columns may stand in any order among others; without one, in this order alone.

    Raises:
        ConfigurationError: the file cannot be read, lacks a column, or a cell is out of range; names the line.
    """
    rows = list(_rows(file))
    wanted = ["name", "latitude", "longitude", "region"]
    column = {name: i for i, name in enumerate(wanted[: len(rows[0][1])])}
    if len(rows[0][1]) < 3 or _number(rows[0][1][1]) is None:
        line, header = rows.pop(0)
        found = [cell.lower() for cell in header]
        column = {name: found.index(name) for name in wanted if name in found}
        missing = [name for name in wanted[:3] if name not in column]
        if missing:
            raise _at(
                file,
                line,
                f"no column {missing[0]!r}; expected name, latitude, longitude and, if any, region",
            )
    if not rows:
        raise ConfigurationError(f"{file}: there is a header but no places", _KEY)
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width or width <= max(column.values()):
            raise _at(file, line, f"{len(cells)} cells, expected {max(width, 1 + max(column.values()))}")
    latitude = [_angle(file, line, cells[column["latitude"]], "latitude", 90) for line, cells in rows]
    longitude = [_angle(file, line, cells[column["longitude"]], "longitude", 180) for line, cells in rows]
    names, regions = (
        tuple(cells[column[name]] for _, cells in rows) if name in column else None
        for name in ("name", "region")
    )
    return Points(names or (), np.array(latitude), np.array(longitude), regions)


def assign(places: int, nodes: int, how: Literal["in-order", "random"], seed: int) -> tuple[int, ...]:
    """Assign a place to every node.

    Args:
        places: how many there are, at least 1.
        nodes: how many nodes to put there.
        how: "in-order" puts node i at place i mod places; "random" shuffles the places (stream (seed, "places",
            turn)) anew each time all are taken. So no place has two nodes more than another, and more nodes move
            none of those there were.
        seed: the run's.
    """
    if places < 1:
        raise ConfigurationError(f"there must be at least one place, got {places}", _KEY)
    if how == "in-order":
        return tuple(node % places for node in range(nodes))
    if how == "random":
        turns = [
            streams.generator(seed, "places", turn).permutation(places) for turn in range(-(-nodes // places))
        ]
        return tuple(np.concatenate(turns)[:nodes].tolist()) if turns else ()
    raise ConfigurationError(
        f"nodes are placed 'in-order' or 'random', got {how!r}", "network.latency.placement"
    )


def matrix_base(matrix: Matrix, place_of: Sequence[int]) -> BaseDelay:
    """Base delays by the places of the two ends."""
    place = _places(place_of, len(matrix.names))
    return lambda src, dst: matrix.delay_s[place[src], place[dst]]


def great_circle_km(points: Points) -> BaseDelay:
    """(place, places) to kilometres along the surface of a sphere: the haversine formula, by the chord.

    Half the chord between two unit vectors is the root of the haversine of their angle; written so, the
    distance is exactly the same both ways, and exactly zero from a place to itself.
    """
    latitude, longitude = np.radians(points.latitude_deg), np.radians(points.longitude_deg)
    across = np.cos(latitude)
    vectors = np.stack([across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)], axis=1)

    def distance(place: int, places: NDArray[np.int64]) -> NDArray[np.float64]:
        half = (vectors[places] - vectors[place]) / 2
        half *= half
        # Summed by hand: a library's order of summation could differ between the shapes of two questions.
        haversine = np.minimum(half[..., 0] + half[..., 1] + half[..., 2], 1.0)
        angle: NDArray[np.float64] = 2 * np.arcsin(np.sqrt(haversine))
        return EARTH_RADIUS_KM * angle

    return distance


def geographic_base(
    points: Points,
    place_of: Sequence[int],
    *,
    fibre: float = 2 / 3,
    detour: float = 1.0,
    per_hop_s: float = 0.0,
) -> BaseDelay:
    """Base delays of light in fibre along great circles.

    Args:
        points: the places.
        place_of: of every node.
        fibre: speed in fibre as a fraction of that of light, above 0 to 1; about 2/3 in glass.
        detour: length of the cable over that of the great circle, at least 1; 1.5 to 2 is common.
        per_hop_s: seconds that every link takes besides: routers and access networks.
    """
    if not 0 < fibre <= 1:
        raise ConfigurationError(
            f"fibre must be above 0 and at most 1, got {fibre:g}", "network.latency.fibre"
        )
    if not 1 <= detour < inf:
        raise ConfigurationError(f"detour must be at least 1, got {detour:g}", "network.latency.detour")
    if not 0 <= per_hop_s < inf:
        raise ConfigurationError(
            f"per_hop must be at least 0 seconds, got {per_hop_s:g}", "network.latency.per_hop"
        )
    place = _places(place_of, len(points.names))
    distance_km = great_circle_km(points)
    s_per_km = detour / (fibre * LIGHT_KM_S)
    return lambda src, dst: distance_km(int(place[src]), place[dst]) * s_per_km + per_hop_s


def _places(place_of: Sequence[int], places: int) -> NDArray[np.int64]:
    for node, place in enumerate(place_of):
        if not 0 <= place < places:
            raise ConfigurationError(
                f"node {node} is at place {place}; there are {places}, numbered from 0",
                "network.latency.placement",
            )
    return np.asarray(place_of, np.int64)


def _rows(file: Path) -> Iterator[_Row]:
    """Line numbers and stripped cells; at least one row."""
    found = False
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, skipinitialspace=True, strict=True)
            for cells in reader:
                if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                    continue
                if len(cells) == 1 and (";" in cells[0] or "\t" in cells[0]):
                    raise _at(file, reader.line_num, "one cell; columns are separated by commas")
                found = True
                yield reader.line_num, [cell.strip() for cell in cells]
    except FileNotFoundError:
        raise ConfigurationError(f"{file} does not exist", _KEY) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{file} is no readable CSV file: {error}", _KEY) from error
    if not found:
        raise ConfigurationError(f"{file} is empty", _KEY)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_header(cells: list[str]) -> bool:
    # A name in the first cell alone may be that of a row.
    return not cells[0] or any(cell and _number(cell) is None for cell in cells[1:] or cells)


def _delay(file: Path, line: int, cell: str, fill: bool) -> float:
    value = _number(cell or "nan")
    if value is not None and 0 <= value < inf:
        return value
    if value is None or value == inf:
        raise _at(file, line, f"{cell!r} is no delay; expected a number of at least 0")
    if not fill:
        raise _at(
            file,
            line,
            f"{cell!r} is no delay; if it stands for a failed measurement, ask to have it filled in",
        )
    return nan


def _fill(delay: NDArray[np.float64]) -> int:
    """Fill in what is NaN, in place; return how many there were. Where nothing was measured NaN remains."""
    missing = np.isnan(delay)
    known = np.where(missing, delay.T, delay)
    np.fill_diagonal(known, np.where(np.diagonal(missing), 0.0, np.diagonal(delay)))
    for src, dst in np.argwhere(np.isnan(known)):
        over = np.delete(known[src] + known[:, dst], [src, dst])
        delay[src, dst] = np.fmin.reduce(over, initial=nan)
    measured = ~np.isnan(known)
    delay[measured] = known[measured]
    return int(missing.sum())


def _angle(file: Path, line: int, cell: str, name: str, most: int) -> float:
    value = _number(cell)
    if value is None or not -most <= value <= most:
        raise _at(file, line, f"{name} {cell!r} is no number of degrees from -{most} to {most}")
    return value


def _at(file: Path, line: int, message: str) -> ConfigurationError:
    return ConfigurationError(f"{file}:{line}: {message}", _KEY)
