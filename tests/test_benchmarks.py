"""Benchmarks keep working; what they measure is read by people, not asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def test_the_network_benchmark_prints_a_line_a_case() -> None:
    asked = ["--nodes", "12", "24", "--messages", "100", "--repeats", "1"]
    lines = benchmark("network", *asked)
    assert [(line["case"], line["nodes"]) for line in lines] == [
        (case, nodes) for case in ("fifo", "fair", "fifo-receive") for nodes in (12, 24)
    ]
    for line in lines:
        assert line["messages"] == line["nodes"] * line["degree"] * line["rounds"]
        assert line["ratio_to_bare_timeout"] > 0
        assert line["us_per_message"] > 0
        assert 0 < line["bytes_per_node"] < 1_000_000


def test_the_learning_benchmark_prints_a_line_a_case() -> None:
    asked = ["--nodes", "12", "--rounds", "2", "--repeats", "1", "--case", "W1", "bound", "clipping"]
    lines = benchmark("learning", *asked)
    assert [(line["case"], line["evaluated"]) for line in lines] == [
        ("W1", "one"),
        ("W1", "all"),
        *((case, "one") for case in ("W1-bound", "W1-mlp-bound", "dp-mlp", "dp-cnn")),
    ]
    for line in lines:
        assert line["nodes"] == 12
        assert line["cpu_s_per_node_round"] > 0
        assert line["peak_mib"] > 0
        assert line["case"] == "W1" or line["ratio"] > 0


def test_the_sharing_benchmark_prints_a_line_a_case() -> None:
    lines = benchmark("sharing", "--size", "2000", "--repeats", "1")
    assert {(line["case"], line["field"]) for line in lines} == {
        (case, field) for case in ("deal", "recover", "name the wrong") for field in ("2^31-1", "2^61-1")
    }
    assert all(line["ratio"] > 0 for line in lines)


def test_the_aggregation_benchmark_prints_a_line_a_case() -> None:
    asked = ["--clients", "40", "--nodes", "24", "--rounds", "2", "--repeats", "1"]
    lines = benchmark("aggregation", *asked, "--case", "mask", "secagg", "runs")
    assert [line["case"] for line in lines] == ["mask"] * 3 + ["secagg"] * 6 + ["runs"]
    assert lines[-1]["sums_opened"] == 48
    for line in lines:
        assert line["ratio"] is None or line["ratio"] > 0


def test_the_ledger_benchmark_prints_a_line_a_case() -> None:
    lines = benchmark("ledger", "--small")
    assert [line["case"] for line in lines] == ["messages"] * 2 + ["secure sums"] * 2 + ["asynchronous"]
    for line in lines:
        assert line["largest_loss"] > 0
        assert line["ratio"] > 0


def benchmark(name: str, *asked: str) -> list[Any]:
    """The lines that a benchmark prints."""
    told = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", *asked],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_the_rules_benchmark_prints_a_line_a_rule() -> None:
    asked = ["--receivers", "4", "--vectors", "9", "--parameters", "50", "--block", "2", "--repeats", "1"]
    lines = benchmark("rules", *asked)
    assert len(lines) == 13
    for line in lines:
        assert line["ratio_to_partition"] > 0
        assert line["ratio_to_copy"] > 0
