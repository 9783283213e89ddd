"""Pages of documentation name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("simulator", "protocols", "analysis", "scenarios", "benchmarks", "tests")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
NAMED = re.compile(r"(?<![\w./-])(?:[\w-]+/)*[\w-]+\.py\b")


def exists(name: str) -> bool:
    """Whether a path from the root is a file; a name without folders may be in any of ours."""
    if "/" in name:
        return (ROOT / name).is_file()
    return (ROOT / name).is_file() or any(any((ROOT / folder).rglob(name)) for folder in FOLDERS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = set(NAMED.findall(page.read_text()))
    assert [name for name in sorted(named) if not exists(name)] == []
    assert page.name != "architecture.md" or len(named) > 40
