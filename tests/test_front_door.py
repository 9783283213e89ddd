"""``import sottovoce``: every name, objects in place of tables, notebooks, hidden packages, the command."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import sottovoce as sv

NAMES = [name for name in sv.__all__ if not name.startswith("_")]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_an_example_that_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    found = doctest.DocTestFinder(recurse=False).find(getattr(sv, name), name, globs={"sv": sv})
    assert sum(len(one.examples) for one in found) > 0, f"{name} has no example"
    for one in found:
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(one, out=told.append)
    assert told == []
