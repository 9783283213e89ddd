"""No test depends on the machine's speed; this reads all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.paces import PACES, at_some_pace

FILES = sorted(Path(__file__).parent.rglob("*.py"))
CLOCKS = {
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "sleep",
    "thread_time",
}
LONG_S = 100
"""What no machine stands still for."""


def hurried(source: str) -> Iterator[str]:
    """What in a test depends on how fast it is played."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names) if any(name.name in ("time", "timeit") for name in names):
                yield "time is imported"
            case ast.ImportFrom(module="time" | "timeit"):
                yield "a clock is imported"
            case ast.Attribute(value=ast.Name(id="time"), attr=clock) if clock in CLOCKS:
                yield f"time.{clock}"
            case ast.Attribute(attr="Timer") | ast.Name(id="Timer"):
                yield "a timer"
            case ast.keyword(arg="deadline", value=ast.Constant(value=value)) if value is not None:
                yield "a deadline of an example"
            case ast.Call(func=ast.Attribute(attr="run"), keywords=keywords) if any(
                k.arg == "timeout" for k in keywords
            ):
                yield "a process with a time limit"
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="Live"), keywords=given)), keywords=ended
            ):
                if not any(k.arg == "pace" for k in given) and any(
                    k.arg == "until_s" and isinstance(k.value, ast.Constant) and k.value.value < LONG_S
                    for k in ended
                ):
                    yield "real seconds that are few"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_test_depends_on_the_machines_speed(file: Path) -> None:
    assert list(hurried(file.read_text())) == [] or file.name == "busy.py"


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from time import perf_counter",
        "@settings(deadline=200)\ndef f(): ...",
        "threading.Timer(0.3, f)",
        "subprocess.run(['x'], timeout=5)",
        "Live(world, program).run(until_s=10)",
    ],
)
def test_what_depends_on_speed_is_seen(source: str) -> None:
    assert len(list(hurried(source))) == 1


def test_examples_have_no_deadline() -> None:
    assert settings().deadline is None


def test_a_fault_is_there_at_any_pace_and_a_slow_machine_is_not() -> None:
    tried: list[float] = []

    def late(pace: float) -> None:
        tried.append(pace)
        assert pace > 1

    at_some_pace(late)
    assert tried == list(PACES[:2])

    def wrong(pace: float) -> None:
        raise AssertionError("wrong")

    with pytest.raises(AssertionError, match="wrong"):
        at_some_pace(wrong)
