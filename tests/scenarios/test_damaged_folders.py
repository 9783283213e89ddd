"""Damaged run and study folders: every command ends with one line that names the file, never with a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pytest

import sottovoce as sv
from analysis.formats.forms import MANIFEST_FORMS, SUMMARY_FORMS
from analysis.formats.keys import MANIFEST, SUMMARY
from analysis.formats.tables import WIRETAP
from analysis.views import Views
from scenarios.commands import cli

SMALL: dict[str, Any] = {
    "topology.nodes": 8,
    "partition": {"kind": "iid"},
    "protocol.rounds": 2,
    "protocol.exchange": "ldp",
    "privacy.noise": "member",
    "fault": [{"kind": "outage", "node": 2, "down_at": "300 ms"}],
}
CURIOUS = {"adversary.curious": {"nodes": [1]}, "adversary.wiretap.links": "all"}
LIGHT = (("privacy", "--observers", "3"), ("compare",))
READING = (*LIGHT, ("report",), ("plot",), ("trace",), ("infer", "--shadows", "0"))
SLOWLY = (("privacy",), ("compare",), ("report",), ("trace",), ("infer", "--shadows", "0"))
"""Commands that take long; a report draws what plot draws."""
OF_STUDIES = (("compare",), ("report",), ("plot",))
Place: TypeAlias = tuple[str | int, ...]
Command: TypeAlias = tuple[str, ...]


DRAWING = ("report", "plot")
"""Commands of which every so many keys is tried."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "run"
    sv.run("quickstart", folder, changes=SMALL | CURIOUS)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "study"
    swept = {"sweep": {"seeds": 1, "grid": {"training.step": [1.0, 2.0]}}}
    sv.sweep("quickstart", folder, changes=SMALL | swept, jobs=1)
    return folder


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[Command, Path], tuple[int, list[str]]]:
    """Return a function that calls a command on a folder, and returns its exit code and the lines of its errors."""

    def call(command: Command, folder: Path) -> tuple[int, list[str]]:
        capsys.readouterr()
        folders = [str(folder)] * (2 if command[0] == "compare" else 1)
        with pytest.raises(SystemExit) as left:
            cli.main([command[0], *folders, *command[1:]])
        assert isinstance(left.value.code, int)
        return left.value.code, capsys.readouterr().err.splitlines()

    return call


def places(content: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the place of every value of a JSON document; of lists, of the first element."""
    if at:
        yield at
    if isinstance(content, dict):
        for key, value in content.items():
            yield from places(value, (*at, key))
    elif isinstance(content, list) and content:
        yield from places(content[0], (*at, 0))


def inner(content: Any, place: Place) -> Any:
    for key in place:
        content = content[key]
    return content


def others(value: Any) -> tuple[Any, ...]:
    """Return values of other types than one."""
    if isinstance(value, str):
        return (7, {"x": 1}, [[]])
    if isinstance(value, bool):
        return ("x", [[]])
    if isinstance(value, list):
        return ("x", 3, {"x": 1})
    if value is None:  # what it would be otherwise is not known
        return ([["x"]], {"x": 1})
    return ("x", [["x"]]) if isinstance(value, dict) else ("x", [["x"]], {"x": 1})


def damaged(file: Path, place: Place, change: Callable[[Any, Any], None]) -> Callable[[], None]:
    """Damage one place of a JSON file, and return what repairs it."""
    text = file.read_text()
    content = json.loads(text)
    change(inner(content, place[:-1]), place[-1])
    file.write_text(json.dumps(content))

    def repair() -> None:
        file.write_text(text)

    return repair


def remove(holder: Any, key: Any) -> None:
    del holder[key]


def put(value: Any) -> Callable[[Any, Any], None]:
    def change(holder: Any, key: Any) -> None:
        holder[key] = value

    return change


def free(name: str, place: Place) -> bool:
    """Return whether any value may stand at a place, since nothing reads it."""
    if name == "manifest.json" and place[0] in ("network", "objects"):
        return len(place) > 1
    if name == "study.json":
        return place[0] == "scenario" or place[-1] == "set" or "set" in place
    return False


@pytest.mark.parametrize("name", ["manifest.json", "summary.json"])
def test_a_value_of_another_type_is_one_line_that_names_file_and_key(name: str, run: Path) -> None:
    file = run / name
    for place in places(json.loads(file.read_text())):
        for value in () if free(name, place) else others(inner(json.loads(file.read_text()), place)):
            repair = damaged(file, place, put(value))
            with pytest.raises(sv.StorageError) as caught:
                _ = sv.read_run(run).summary
            repair()
            line = str(caught.value)
            assert line.startswith(f"{file}: "), line
            assert str(place[0]) in line, line
            assert "\n" not in line


def test_a_key_that_is_missing_is_one_line_that_names_file_and_key(run: Path, told: Any) -> None:
    file = run / "manifest.json"
    for place in places(json.loads(file.read_text())):
        if place[0] != "scenario" and isinstance(place[-1], str):
            repair = damaged(file, place, remove)
            code, lines = told(LIGHT[0], run)
            repair()
            assert code in (0, 2), (place, lines)
            assert code == 0 or (len(lines) == 1 and str(file) in lines[0]), (place, lines)


@pytest.mark.slow
@pytest.mark.parametrize("command", SLOWLY, ids=lambda command: command[0])
@pytest.mark.parametrize("name", ["manifest.json", "summary.json"])
def test_no_key_that_is_null_or_missing_is_an_internal_error(
    name: str, command: Command, run: Path, told: Any
) -> None:
    """Values of other types are refused when the file is read, a changed scenario by its hash."""
    file = run / name
    step = 9 if command[0] in DRAWING else 1  # a report draws all figures
    for place in list(places(json.loads(file.read_text())))[::step]:
        if place[0] in ("scenario", "versions") or not isinstance(place[-1], str):
            continue
        for change in (put(None), remove):
            repair = damaged(file, place, change)
            code, lines = told(command, run)
            repair()
            assert code in (0, 2), (command, place, lines)
            assert code == 0 or len(lines) == 1, (command, place, lines)


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
@pytest.mark.parametrize("damage", ["", '{"format": 1', "[1]", "null", "{}", "[" * 100_000, "\udcff"])
def test_a_manifest_that_is_none_is_one_line(command: Command, damage: str, run: Path, told: Any) -> None:
    file = run / "manifest.json"
    text = file.read_text()
    file.write_bytes(damage.encode("utf-8", "surrogateescape"))
    code, lines = told(command, run)
    file.write_text(text)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"{file}: "), lines


def test_a_scenario_that_was_changed_after_the_run_is_refused(run: Path, told: Any) -> None:
    """Otherwise the privacy loss would be told of another noise than that of the run."""
    file = run / "manifest.json"
    repair = damaged(file, ("scenario", "privacy", "delta"), put(1e-3))
    refused = [told(command, run) for command in READING]
    repair()
    for code, lines in refused:
        assert code == 2, lines
        assert len(lines) == 1
        assert "scenario: does not have the hash scenario_sha256" in lines[0]


def test_a_node_that_the_run_does_not_have_is_refused(run: Path, told: Any) -> None:
    for key in ("byzantine", "curious", "down_at_end"):
        repair = damaged(run / "manifest.json", (key,), put([8]))
        code, (line,) = told(LIGHT[0], run)
        repair()
        assert code == 2
        assert f"{key}: names a node above 7" in line


def test_a_run_whose_plugin_is_gone_names_package_and_version(run: Path, told: Any) -> None:
    file = run / "manifest.json"
    text = file.read_text()
    manifest = json.loads(text)
    manifest["scenario"]["partition"]["kind"] = "gone"
    manifest["scenario_sha256"] = sha256(
        json.dumps(manifest["scenario"], sort_keys=True).encode()
    ).hexdigest()
    file.write_text(json.dumps(manifest | {"plugins": {"partition": "others 1.2"}}))
    refused = [told(command, run) for command in READING if command[0] in ("privacy", "infer")]
    file.write_text(json.dumps(manifest))
    unnamed, other = (told(command, run) for command in LIGHT)
    file.write_text(text)
    line = f"{file}: scenario.partition: the kind 'gone' of this run is of package others 1.2, which is not installed"
    assert refused == [(2, [f"{line}; install it"])] * 2
    assert unnamed[0] == 2
    assert "the kind 'gone' is not installed, and the file names no package of it" in unnamed[1][0]
    assert other == (0, [])


def columns(run: Path) -> list[tuple[str, str]]:
    files = sorted(run.rglob("*.parquet"))
    return [(str(file.relative_to(run)), name) for file in files for name in pl.read_parquet_schema(file)]


def read(run: Path, name: str) -> Any:
    """Read a table as commands do."""
    folder = sv.read_run(run)
    if name.startswith("views/wiretap"):
        return WIRETAP.whole(WIRETAP.read(run / name), run / name)
    return Views(folder, [1]) if name.startswith("views") else getattr(folder, name.removesuffix(".parquet"))


def test_a_damaged_column_is_one_line_that_names_file_and_column(run: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    for name, column in columns(run):
        file = run / name
        shutil.copy(file, whole)
        frame = pl.read_parquet(whole)
        text = frame.schema[column] == pl.String
        for damage in (pl.lit(7 if text else "x"), pl.lit([["x"]])):
            frame.with_columns(damage.alias(column)).write_parquet(file)
            with pytest.raises(sv.StorageError) as caught:
                read(run, name)
            assert str(caught.value).startswith(f"{file}: {column}: expected "), caught.value
            assert "\n" not in str(caught.value)
        shutil.copy(whole, file)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Matplotlib's, about axes that impossible times squeeze
@pytest.mark.parametrize("command", SLOWLY, ids=lambda command: command[0])
def test_no_damage_of_a_table_is_an_internal_error(
    command: Command, run: Path, told: Any, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.parquet"
    step = 5 if command[0] in DRAWING else 1
    for name, column in list(columns(run))[::step]:
        file = run / name
        shutil.copy(file, whole)
        frame = pl.read_parquet(whole)
        damages = [frame.drop(column), frame.clear(), frame.with_columns(pl.lit(None).alias(column))]
        if frame.schema[column].is_numeric():
            damages += [frame.with_columns(pl.lit(value).alias(column)) for value in (-5, 10**6)]
        elif frame.schema[column] == pl.String:
            damages.append(frame.with_columns(pl.lit("nothing known").alias(column)))
        for damage in damages:
            damage.write_parquet(file)
            code, lines = told(command, run)
            assert code in (0, 2), (name, column, lines)
            assert code == 0 or len(lines) == 1, (name, column, lines)
        shutil.copy(whole, file)


def test_every_key_of_a_study_is_checked(study: Path) -> None:
    file = study / "study.json"
    for place in places(json.loads(file.read_text())):
        for value in () if free("study.json", place) else others(inner(json.loads(file.read_text()), place)):
            repair = damaged(file, place, put(value))
            with pytest.raises(sv.StorageError) as caught:
                sv.read_study(study)
            repair()
            assert str(caught.value).startswith(f"{file}: ")
            assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("command", OF_STUDIES, ids=lambda command: command[0])
def test_no_damage_of_a_study_is_an_internal_error(command: Command, study: Path, told: Any) -> None:
    file = study / "study.json"
    step = 9 if command[0] in DRAWING else 1
    for place in list(places(json.loads(file.read_text())))[::step]:
        value = inner(json.loads(file.read_text()), place)
        changes = [put(other) for other in (*others(value), None)]
        for change in [*changes, *([remove] if isinstance(place[-1], str) else [])]:
            repair = damaged(file, place, change)
            code, lines = told(command, study)
            repair()
            assert code in (0, 2), (place, lines)
            assert code == 0 or len(lines) == 1, (place, lines)


def test_every_key_has_a_form() -> None:
    assert {key.name for key in MANIFEST} | {"metrics", "plugins", "objects"} == set(MANIFEST_FORMS)
    metrics = {"accuracy_mean"}  # keys that are metrics are numbers too
    assert {key.name for key in SUMMARY} == set(SUMMARY_FORMS) | metrics
