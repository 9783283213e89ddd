"""A scenario with everything in it that can happen to nodes, links and messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from scenarios.load import load
from scenarios.run import run
from simulator.errors import ConfigurationError

FILE = Path(__file__).parent / "weather.toml"


def ran(out: Path, *changes: str) -> dict[str, Any]:
    return run(load(FILE, changes).scenario, out, base=FILE.parent)


@pytest.mark.slow
def test_everything_at_once_is_recorded_and_repeated(tmp_path: Path) -> None:
    first = ran(tmp_path / "a")
    messages = pl.read_parquet(tmp_path / "a" / "messages.parquet")
    counts = dict(messages.group_by("status").len().iter_rows())
    assert sum(counts.values()) == first["messages_sent"] == len(messages)
    assert {"delivered", "dropped"} <= counts.keys()
    assert counts.get("lost", 0) == 0, "a reliable transport loses nothing, it gives up"
    assert messages["attempts"].max() > 1
    assert set(messages["kind"]) == {"model", "heartbeat"}
    activity = pl.read_parquet(tmp_path / "a" / "activity.parquet")
    assert set(activity["state"]) == {"computing", "waiting", "down"}
    down = activity.filter(pl.col("state") == "down")
    assert {0, 1, 2, 3, 15} <= set(down["node"])
    assert down.filter(pl.col("node") == 15)["until_s"].to_list() == [2.0]
    heard = pl.read_parquet(tmp_path / "a" / "views" / "wiretap.parquet")
    assert set(zip(heard["src"], heard["dst"], strict=True)) <= {(8, 9), (9, 8)}
    assert heard["kind"].null_count() == len(heard), "the links are encrypted"
    # Node 18 is a sybil, 14 an attacker around the victim: both are curious.
    assert {p.stem for p in (tmp_path / "a" / "views").iterdir()} >= {"9", "14", "18", "wiretap"}
    assert first["trace_hash"] == ran(tmp_path / "b")["trace_hash"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("adversary.wiretap.enabled=false", "fault"),
        ("fault=[]", "compute"),
    ],
)
def test_a_live_run_refuses_what_it_would_ignore(tmp_path: Path, change: str, key: str) -> None:
    with pytest.raises(ConfigurationError, match="real sockets cannot do this") as refused:
        run(load(FILE, [change]).scenario, tmp_path / "live", base=FILE.parent, live=True)
    assert refused.value.key == key
