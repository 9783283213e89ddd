"""Latencies between places that a file lists."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from scenarios.format.tables import Problems, missing_file, written
from scenarios.format.units import Duration
from scenarios.kinds.latencies.family import Delays, Latency
from simulator.units import DURATIONS


class _PlaceLatency(Latency):
    """Latency between places of a file, at which nodes are."""

    path: str = Field(
        min_length=1, examples=["delays/cities.csv"], description="a CSV file, relative to the scenario file"
    )
    assign: Literal["in-order", "random"] = Field(
        default="in-order",
        examples=["random"],
        description="in-order: node i is at place i modulo the number of places; random: places are "
        "shuffled by the seed",
    )

    @property
    def per_message(self) -> bool:
        """Never: a link has the latency of its places."""
        return False

    @property
    def median_s(self) -> None:
        """Unknown before the file is read."""

    def file_problems(self, base: Path) -> Problems:
        """Find that the file is not there."""
        yield from missing_file(base, self.path)


class MatrixLatency(_PlaceLatency):
    """Measured delays between places."""

    kind: Literal["matrix"] = Field(description="measured delays between places, a square CSV file")
    meaning: Literal["rtt", "one-way"] = Field(
        examples=["rtt"], description="whether the file holds round-trip times (halved) or one-way delays"
    )
    unit: Literal["ns", "us", "ms", "s"] = Field(
        examples=["ms"], description="unit of the numbers in the file"
    )
    symmetric: bool = Field(
        default=False, examples=[True], description="replace both directions by their mean"
    )
    fill: bool = Field(
        default=False,
        examples=[True],
        description="fill in cells without a delay: by the opposite direction, else over one other place",
    )

    @property
    def least_s(self) -> float:
        """Zero: only the file knows better."""
        return 0.0

    def delays(self, seed: int, nodes: int, base: Path) -> Delays:
        """Return the delays of the file, and the place of every node.

        Raises:
            ConfigurationError: the file is missing or wrong.
        """
        from simulator.network import geography

        matrix = geography.delay_matrix(
            base / self.path,
            self.meaning,
            float(DURATIONS[self.unit]),
            symmetric=self.symmetric,
            fill=self.fill,
        )
        place_of = geography.assign(len(matrix.names), nodes, self.assign, seed)
        notes = {"places": [matrix.names[place] for place in place_of], "filled": matrix.filled}
        return Delays(None, geography.matrix_base(matrix, place_of), notes)


class GeographicLatency(_PlaceLatency):
    """Light in fibre along great circles."""

    kind: Literal["geographic"] = Field(
        description="propagation in fibre between places, a CSV file with name, latitude, longitude"
    )
    fibre: float = Field(
        default=2 / 3, gt=0, le=1, examples=[0.67], description="speed in fibre / speed of light, 0 to 1"
    )
    detour: float = Field(
        default=1.0,
        ge=1,
        le=1000,
        examples=[1.5],
        description="length of the cable / great circle, at least 1",
    )
    per_hop: Duration = Field(
        default=written("0 s"),
        ge=0,
        examples=["2 ms"],
        description='delay added to every link, for routers and access: "2 ms"',
    )

    @property
    def least_s(self) -> float:
        """The key per_hop."""
        return self.per_hop

    def delays(self, seed: int, nodes: int, base: Path) -> Delays:
        """Return the delays between the places of the file, and the place of every node.

        Raises:
            ConfigurationError: the file is missing or wrong.
        """
        from simulator.network import geography

        points = geography.coordinates(base / self.path)
        place_of = geography.assign(len(points.names), nodes, self.assign, seed)
        base_s = geography.geographic_base(
            points, place_of, fibre=self.fibre, detour=self.detour, per_hop_s=self.per_hop
        )
        at = [(float(points.latitude_deg[place]), float(points.longitude_deg[place])) for place in place_of]
        notes = {"places": [points.names[place] for place in place_of], "coordinates_deg": at}
        return Delays(None, base_s, notes)
