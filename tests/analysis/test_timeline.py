"""The timeline: its tables and the picture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver

from analysis.figures import style
from analysis.figures.timeline import CLEAR_ARROWS, timeline_figure
from analysis.store import read_run
from analysis.tables.timeline import Timeline, arrows, timeline
from simulator.errors import ConfigurationError, StorageError
from tests.support.synthetic_gossip import make_barrier_run, make_tiny_run


def shown(path: Path, **options: Any) -> Timeline:
    return timeline(read_run(path), **options)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60), st.integers(0, 20)), max_size=25))
@settings(max_examples=40, deadline=None)
def test_overlapping_waits_are_one(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, int]]
) -> None:
    rows = [(node, "waiting", start / 100, (start + length) / 100) for node, start, length in drawn]
    found = shown(make_tiny_run(tmp_path_factory.mktemp("run"), [], rows)).intervals
    covered = [
        (node, t)
        for node, _, start, end, _ in found.iter_rows()
        for t in range(round(start / 1e7), round(end / 1e7))
    ]
    assert sorted(covered) == sorted(
        {(n, t) for n, start, length in drawn for t in range(start, start + length)}
    )
    assert found["tasks"].sum() == sum(length > 0 for *_, length in drawn)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nodes": [0, 99]}, "no node 99 .* nodes 0 to 7"),
        ({"from_s": 5.0}, "ends at 1.2521 s"),
        ({"from_s": 0.5, "until_s": 0.5}, "no stretch of time"),
    ],
)
def test_what_cannot_be_shown(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        shown(make_barrier_run(tmp_path / "run"), **options)


DAMAGE = {
    "a text for a time": {"sent_s": pl.lit("soon")},
    "a node that is not there": {"dst": pl.lit(99)},
    "left before it was sent": {"left_s": pl.col("sent_s") - 1},
    "no time": {"sent_s": pl.lit(None, dtype=pl.Float64)},
    "not a number": {"sent_s": pl.lit(float("nan"))},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_messages_that_make_no_sense_are_refused(tmp_path: Path, damage: str) -> None:
    path = make_barrier_run(tmp_path / "run")
    file = path / "messages.parquet"
    pl.read_parquet(file).with_columns(**DAMAGE[damage]).write_parquet(file)
    with pytest.raises(StorageError, match=r"messages\.parquet: ") as caught:
        shown(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"from_s": pl.col("until_s") + 1}, {"node": pl.lit(-1)}, {"until_s": pl.lit("x")}]
)
def test_activity_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, pl.Expr]) -> None:
    path = make_barrier_run(tmp_path / "run")
    pl.read_parquet(path / "activity.parquet").with_columns(**change).write_parquet(path / "activity.parquet")
    with pytest.raises(StorageError, match=r"activity\.parquet: "):
        shown(path)


def title(part: Timeline) -> str:
    return str(timeline_figure(part).axes[0].get_title(loc="left"))


def arrows_drawn(part: Timeline) -> int:
    (quiver,) = [c for c in timeline_figure(part).axes[0].collections if isinstance(c, Quiver)]
    return int(quiver.N)


def test_the_picture_shows_the_run(tmp_path: Path) -> None:
    part = shown(make_barrier_run(tmp_path / "run"))
    figure = timeline_figure(part)
    (ax,) = figure.axes
    assert ax.get_title(loc="left") == "all 8 nodes; rounds 0 to 3"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("virtual time (s)", "node")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [str(node) for node in range(8)]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["waiting", "computing", "sending", "down", "message", "message that never arrives"]
    bars = {
        to_hex(c.get_facecolor()[0]): len(c.get_paths()) for c in ax.collections if not isinstance(c, Quiver)
    }
    count = Counter(part.intervals["state"].to_list())
    assert bars[style.BLUE.lower()] == count["computing"]
    assert bars[style.ORANGE.lower()] == part.messages.height  # a queue: one transmission each
    assert arrows_drawn(part) == arrows(part).height
    assert style.save(figure, tmp_path / "picture.png").stat().st_size > 20_000


def test_the_picture_of_a_large_run_is_a_close_up(tmp_path: Path) -> None:
    large = make_barrier_run(tmp_path / "large", nodes=60, rounds=12)
    few = shown(large)
    assert title(few) == "18 of 60 nodes: node 5, which goes down, and those around it; rounds 0 to 1"
    assert arrows_drawn(few) <= CLEAR_ARROWS
    chosen = shown(large, nodes=range(24), until_s=4.0)
    assert title(chosen).startswith("24 of 60 nodes; 400 of ")
    assert arrows_drawn(chosen) == 400
    old = shown(make_barrier_run(tmp_path / "old", nodes=24, rounds=12, old=True))
    assert title(old) == "all 24 nodes; the first 150 messages"


def test_a_close_up_of_less_than_a_second_far_into_a_run_is_in_seconds(tmp_path: Path) -> None:
    messages = [(11.5001, 11.5002, 11.5003, 0, 1, "m", "delivered")]
    part = shown(make_tiny_run(tmp_path / "run", messages, []), from_s=11.5, until_s=12.4)
    assert timeline_figure(part).axes[0].get_xlabel() == "virtual time (s)"


def test_a_late_close_up_counts_from_its_start(tmp_path: Path) -> None:
    messages = [(900.0001, 900.0002, 900.0003, 0, 1, "m", "delivered")]
    part = shown(make_tiny_run(tmp_path / "run", messages, []), from_s=900.0, until_s=900.001)
    assert timeline_figure(part).axes[0].get_xlabel() == "virtual time since 900 s (ms)"
