"""Write what is generated again: docs/formats.md, the JSON Schema, contents of long pages (`make formats`)."""

from __future__ import annotations

from pathlib import Path

from analysis.formats.markdown import markdown as run_folder
from scenarios.reading.reference import markdown as scenario
from tests.support.headings import contents
from tests.support.members import STARTS, members
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "formats.md"
LISTED = ("extending.md", "limits.md")
"""Pages written by hand whose contents are generated."""
STUDY = "## Study, format 1"
"""Start of the only section that is not generated."""


def written(page: str) -> str:
    """Return the page with its contents, and its generated sections as the classes have them now."""
    body = f"{scenario().rstrip()}\n\n{run_folder()}\n\n{page[page.index(STUDY) :]}"
    return f"# Formats\n\n{contents(body)}\n\n{body}"


def with_members(page: str) -> str:
    """Return docs/python.md with the tables of what a program may use as the classes have it now."""
    start, end = map(page.index, STARTS)
    return f"{page[:start]}{members()}{page[end:]}"


def relisted(page: str) -> str:
    """Return a page with its contents as its headings are now; they are the list before the first section."""
    start = page.index("\n## ") + 1
    before, body = page[:start], page[start:]
    return f"{before[: before.index('- [')]}{contents(body)}\n\n{body}"


def main() -> None:
    """Write the page, the schema, and the contents of long pages."""
    import json

    from scenarios.reading.json_schema import json_schema

    PAGE.write_text(written(PAGE.read_text()))
    python = ROOT / "docs" / "python.md"
    python.write_text(with_members(python.read_text()))
    for name in LISTED:
        page = ROOT / "docs" / name
        page.write_text(relisted(page.read_text()))
    schema = Path(ROOT / "scenarios" / "library" / "scenario.schema.json")
    schema.write_text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
