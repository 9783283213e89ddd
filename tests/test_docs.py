"""Pages of documentation name files that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.formats import with_members
from tests.support.headings import contents, headings

ROOT = Path(__file__).parent.parent
FOLDERS = ("simulator", "protocols", "analysis", "scenarios", "benchmarks", "tests")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
LONG = [ROOT / "docs" / name for name in ("formats.md", "extending.md", "limits.md")]
LINKED = re.compile(r"\]\(((?!https?:|mailto:)[^)\s]+)\)")
NAMED = re.compile(r"(?<![\w./-])(?:[\w-]+/)*[\w-]+\.py\b")


def exists(name: str) -> bool:
    """Whether a path from the root is a file; a name without folders may be in any of ours."""
    if "/" in name:
        return (ROOT / name).is_file()
    return (ROOT / name).is_file() or any(any((ROOT / folder).rglob(name)) for folder in FOLDERS)


def test_the_members_that_a_program_may_use_are_those_of_the_classes() -> None:
    """Repair: make formats."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert with_members(page) == page


def test_a_shipped_scenario_has_the_name_of_its_file() -> None:
    """So that `sottovoce run NAME` writes into a folder that begins with NAME."""
    for file in sorted((ROOT / "scenarios" / "library").rglob("*.toml")):
        assert tomllib.loads(file.read_text(encoding="utf-8"))["name"] == file.stem


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_goes_to_a_file_or_a_heading(page: Path) -> None:
    for target in LINKED.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in {found for *_, found in headings(file.read_text(encoding="utf-8"))}, target


def test_the_contents_of_long_pages_name_all_their_sections() -> None:
    """Repair: make formats."""
    for page in LONG:
        text = page.read_text(encoding="utf-8")
        start = text.index("\n## ") + 1
        assert contents(text[start:]) in text[:start], page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = set(NAMED.findall(page.read_text()))
    assert [name for name in sorted(named) if not exists(name)] == []
    assert page.name != "architecture.md" or len(named) > 40
