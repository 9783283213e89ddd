"""Places: matrices and coordinates from files, distances against published ones, nodes at their places."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ConfigurationError
from simulator.network import geography


def written(folder: Path, text: str) -> Path:
    file = folder / "delays.csv"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(folder: Path, text: str, **options: Any) -> str:
    """What is said of a matrix, without the folder."""
    with pytest.raises(ConfigurationError) as caught:
        geography.delay_matrix(written(folder, text), "rtt", 1e-3, **options)
    assert caught.value.key == "network.latency.path"
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder}/")


# ---------------------------------------------------------------- matrices


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0,10\n20,2\n", ("0", "1")),
        ("\ufeff0, 10\n\n# a comment\n 20 ,2", ("0", "1")),
        ("Oslo,Rome\n0,10\n20,2\n", ("Oslo", "Rome")),
        ("Oslo,0,10\nRome,20,2\n", ("Oslo", "Rome")),
        (",Oslo,Rome\nOslo,0,10\nRome,20,2\n", ("Oslo", "Rome")),
        ('city,"Oslo, NO",Rome\n"Oslo, NO",0,10\nRome,20,2\n', ("Oslo, NO", "Rome")),
        (",7,9\n7,0,10\n9,20,2\n", ("7", "9")),
    ],
)
def test_a_matrix_is_read_with_and_without_names(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    file = written(tmp_path, text)
    one_way = geography.delay_matrix(file, "one-way", 1e-3)
    assert one_way.names == names
    assert one_way.filled == 0
    np.testing.assert_allclose(one_way.delay_s, [[0, 0.01], [0.02, 0.002]])
    np.testing.assert_allclose(geography.delay_matrix(file, "rtt", 1.0).delay_s, [[0, 5], [10, 1]])
    even = geography.delay_matrix(file, "rtt", 1.0, symmetric=True).delay_s
    np.testing.assert_allclose(even, [[0, 7.5], [7.5, 1]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n1,-0.5\n", "delays.csv:2: '-0.5' is no delay; if it stands for a failed measurement"),
        ("0,nan\n1,0\n", "delays.csv:1: 'nan' is no delay; if it stands for a failed measurement"),
        ("0,1\n,0\n", "delays.csv:2: '' is no delay; if it stands for a failed measurement"),
        ("0,1\n1,inf\n", "delays.csv:2: 'inf' is no delay; expected a number of at least 0"),
        ("0,1\n1,x\n", "delays.csv:2: 'x' is no delay; expected a number of at least 0"),
        ("0,1,2\n1,0,2\n1,0\n", "delays.csv:3: 2 delays in a matrix of 3 rows, expected 3"),
        ("0,1\n1,0\n1,2\n", "delays.csv:1: 2 delays in a matrix of 3 rows, expected 3"),
        ("0,1o\n1,0\n", "delays.csv:2: 2 delays in a matrix of 1 rows, expected 1; line 1 was read as names"),
        (
            "0o,1\n1,0\n",
            "delays.csv:1: 1 delays in a matrix of 2 rows, expected 2; the first column was read",
        ),
        ("a,b,c\nd,0,1\ne,1,0,4\n", "delays.csv:3: 3 delays in a matrix of 2 rows, expected 2"),
        ("a\nb,0,1\nc,1,0\n", "delays.csv:1: 1 names for 2 columns"),
        (",a,b\na,0,1\nc,1,0\n", "delays.csv:3: row 'c' where the header has 'b'"),
        ("a,b\n", "delays.csv: there are names but no delays"),
        ("\n# nothing\n", "delays.csv is empty"),
        ("0;1\n1;0\n", "delays.csv:1: one cell; columns are separated by commas"),
        ('0,"1\n1,0\n', "delays.csv is no readable CSV file: "),
    ],
)
def test_a_matrix_that_is_none_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_what_cannot_be_read_or_meant_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "delays.csv"
    with pytest.raises(ConfigurationError, match=r"delays\.csv does not exist"):
        geography.delay_matrix(file, "rtt", 1.0)
    file.write_bytes(b"\xff\xfe0,1")
    with pytest.raises(ConfigurationError, match="no readable CSV file"):
        geography.delay_matrix(file, "rtt", 1.0)
    with pytest.raises(ConfigurationError, match="no readable CSV file"):
        geography.delay_matrix(tmp_path, "rtt", 1.0)
    file.write_text("0")
    with pytest.raises(ConfigurationError, match="'rtt' or 'one-way' delays, got 'ping'"):
        geography.delay_matrix(file, "ping", 1.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the unit must be above 0 seconds, got 0"):
        geography.delay_matrix(file, "rtt", 0.0)


def test_failed_measurements_are_filled_in_on_request(tmp_path: Path) -> None:
    """The opposite direction first; where both failed the shortest way over a third place; 0 on the diagonal."""
    text = "-1,-0.5,4,9\nnan,0,2,1\n5,,0,1\n-1,3,1,0\n"
    matrix = geography.delay_matrix(written(tmp_path, text), "one-way", 1.0, fill=True)
    # 0-1 failed both ways: over 2 it takes 4 + 2 (back: 2 + 5), over 3 longer. 2-1 and 3-0 have an opposite.
    assert matrix.delay_s.tolist() == [[0, 6, 4, 9], [7, 0, 2, 1], [5, 2, 0, 1], [9, 3, 1, 0]]
    assert matrix.filled == 5
    assert refusal(tmp_path, "0,-1\n-1,0\n", fill=True) == (
        "delays.csv:1: no way to fill in the delay to column 2: none was measured"
    )
    assert refusal(tmp_path, "0,-1,1\n-1,0,-1\n1,-1,0\n", fill=True).startswith(
        "delays.csv:1: no way to fill"
    )


# ---------------------------------------------------------------- coordinates


@pytest.mark.parametrize(
    "text",
    [
        "London,51.5,-0.1,Europe\nLima,-12,-77,America\n",
        "name,latitude,longitude,region\nLondon,51.5,-0.1,Europe\nLima,-12,-77,America\n",
        "id,Region,Longitude,Latitude,Name\n1,Europe,-0.1,51.5,London\n2,America,-77,-12,Lima\n",
    ],
)
def test_coordinates_are_read_with_columns_in_order_or_by_name(tmp_path: Path, text: str) -> None:
    points = geography.coordinates(written(tmp_path, text))
    assert points.names == ("London", "Lima")
    assert points.latitude_deg.tolist() == [51.5, -12]
    assert points.longitude_deg.tolist() == [-0.1, -77]
    assert points.regions == ("Europe", "America")
    assert geography.coordinates(written(tmp_path, "London,51.5,-0.1\n")).regions is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "London,51.5,-0.1\nTokyo,139.7,35.7\n",
            ":2: latitude '139.7' is no number of degrees from -90 to 90",
        ),
        ("London,51.5,-190\n", ":1: longitude '-190' is no number of degrees from -180 to 180"),
        ("London,51.5,nan\n", ":1: longitude 'nan' is no number of degrees from -180 to 180"),
        ("London,51.5,-0.1\nLima,-12\n", ":2: 2 cells, expected 3"),
        ("name,latitude,longitude,region\nLondon,51.5,-0.1\n", ":2: 3 cells, expected 4"),
        ("name,lat,lon\nLondon,51.5,-0.1\n", ":1: no column 'latitude'; expected name, latitude, longitude"),
        ("London\n", ":1: no column 'name'; expected name, latitude, longitude and, if any, region"),
        ("name,latitude,longitude\n", ": there is a header but no places"),
    ],
)
def test_coordinates_that_are_none_are_refused_by_their_line(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        geography.coordinates(file)
    assert str(caught.value).removeprefix(str(file)).startswith(message)
    assert caught.value.key == "network.latency.path"


# ---------------------------------------------------------------- distances


def at(*positions: tuple[float, float]) -> geography.Points:
    latitude, longitude = np.array(positions, np.float64).T
    return geography.Points(tuple(map(str, range(len(positions)))), latitude, longitude)


LONDON, NEW_YORK, PARIS, TOKYO = (
    (51.5074, -0.1278),
    (40.7128, -74.0060),
    (48.8566, 2.3522),
    (35.6762, 139.6503),
)


@pytest.mark.parametrize(
    ("a", "b", "km", "tolerance_km"),
    [
        (LONDON, NEW_YORK, 5570, 1),
        (PARIS, TOKYO, 9712, 1),
        # Nashville to Los Angeles airport: Rosetta Code, "Haversine formula", 2887.2599506 km at 6372.8 km radius.
        ((36.12, -86.67), (33.94, -118.40), 2887.2599506 * 6371.0088 / 6372.8, 1e-6),
        ((90, 0), (0, 33), 6371.0088 * np.pi / 2, 1e-6),
        # Near the antipode the haversine loses half of the digits: a few centimetres.
        ((0, 0), (0, 180), 6371.0088 * np.pi, 1e-4),
        ((30, 50), (-30, -130), 6371.0088 * np.pi, 1e-4),
        ((0, 0), (0, 1e-6), 6371.0088 * np.pi / 180e6, 1e-12),
        (
            (10, 179.5),
            (10, -179.5),
            2 * 6371.0088 * np.arcsin(np.cos(np.pi / 18) * np.sin(np.pi / 360)),
            1e-9,
        ),
    ],
)
def test_distances_agree_with_published_and_exact_ones(
    a: tuple[float, float], b: tuple[float, float], km: float, tolerance_km: float
) -> None:
    there = geography.great_circle_km(at(a, b))(0, np.array([1]))[0]
    assert there == pytest.approx(km, abs=tolerance_km)


positions = st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=2, max_size=6)


@given(positions=positions)
def test_distances_are_the_haversine_formula_and_a_metric(positions: list[tuple[float, float]]) -> None:
    points = at(*positions)
    everywhere = np.arange(len(positions))
    measured = geography.great_circle_km(points)
    km = np.array([measured(i, everywhere) for i in everywhere])
    assert (km == km.T).all()
    assert (np.diagonal(km) == 0).all()
    assert (km <= 6371.0088 * np.pi + 1e-6).all()
    assert (km[:, None, :] <= km[:, :, None] + km[None, :, :] + 1e-3).all()
    assert all(measured(i, everywhere[j : j + 1])[0] == km[i, j] for i in everywhere for j in everywhere)
    latitude, longitude = np.radians(np.array(positions).T)
    haversine = (
        np.sin((latitude[:, None] - latitude) / 2) ** 2
        + np.cos(latitude[:, None]) * np.cos(latitude) * np.sin((longitude[:, None] - longitude) / 2) ** 2
    )
    textbook = 2 * 6371.0088 * np.arcsin(np.sqrt(np.minimum(haversine, 1)))
    np.testing.assert_allclose(km, textbook, atol=1e-3)


def test_light_takes_its_time_along_the_cable() -> None:
    """London to New York: 5570 km at two thirds of the speed of light take 27.87 ms, one way."""
    points, place_of = at(LONDON, NEW_YORK), (0, 1, 0, 1)
    others = np.arange(4)
    plain = geography.geographic_base(points, place_of)
    assert plain(0, others) == pytest.approx([0, 0.02787, 0, 0.02787], abs=1e-5)
    assert plain(3, others)[2] == plain(2, others)[3]
    longer = geography.geographic_base(points, place_of, fibre=1.0, detour=1.5, per_hop_s=0.001)
    assert longer(0, others) == pytest.approx(0.001 + plain(0, others) * 2 / 3 * 1.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fibre": 0.0}, "fibre must be above 0 and at most 1, got 0"),
        ({"fibre": 1.5}, "fibre must be above 0 and at most 1, got 1.5"),
        ({"detour": 0.9}, "detour must be at least 1, got 0.9"),
        ({"per_hop_s": -1.0}, "per_hop must be at least 0 seconds, got -1"),
    ],
)
def test_impossible_cables_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        geography.geographic_base(at(LONDON, NEW_YORK), (0, 1), **options)
    assert str(caught.value) == message
    assert caught.value.key == "network.latency." + message.split()[0]


# ---------------------------------------------------------------- nodes at places


def test_base_delays_follow_the_places_of_both_ends(tmp_path: Path) -> None:
    matrix = geography.delay_matrix(written(tmp_path, "2,10\n20,4\n"), "one-way", 1e-3)
    base = geography.matrix_base(matrix, (0, 1, 0, 1))
    assert base(0, np.arange(4)).tolist() == [0.002, 0.01, 0.002, 0.01]
    assert base(1, np.array([2, 3])).tolist() == [0.02, 0.004]
    assert base(1, np.array([], np.int64)).shape == (0,)


def test_nodes_at_places_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="node 2 is at place 5; there are 2, numbered from 0"):
        geography.geographic_base(at(LONDON, NEW_YORK), (0, 1, 5))
    with pytest.raises(ConfigurationError, match="there must be at least one place, got 0"):
        geography.assign(0, 3, "in-order", 1)
    with pytest.raises(ConfigurationError, match="nodes are placed 'in-order' or 'random', got 'alike'"):
        geography.assign(2, 3, "alike", 1)  # type: ignore[arg-type]


def test_places_in_order_wrap_around() -> None:
    assert geography.assign(3, 7, "in-order", 1) == (0, 1, 2, 0, 1, 2, 0)


@given(count=st.integers(1, 40), nodes=st.integers(0, 200), more=st.integers(0, 50), seed=st.integers(0, 99))
def test_random_places_fill_evenly_and_stay_when_nodes_are_added(
    count: int, nodes: int, more: int, seed: int
) -> None:
    drawn = geography.assign(count, nodes, "random", seed)
    taken = Counter({place: 0 for place in range(count)})
    taken.update(drawn)
    assert len(taken) == count
    assert max(taken.values()) - min(taken.values()) <= 1
    assert geography.assign(count, nodes + more, "random", seed)[:nodes] == drawn


def test_random_places_depend_on_the_seed_and_favour_none() -> None:
    """First places of 6,000 seeds: 1,000 each of 6, within 5.6 deviations of 28.9; error below 2e-7."""
    firsts = Counter(geography.assign(6, 1, "random", seed)[0] for seed in range(6000))
    assert all(abs(firsts[place] - 1000) < 5.6 * 28.9 for place in range(6))
