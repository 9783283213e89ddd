"""Write the generated files again: docs/formats.md and the shipped JSON Schema (`make formats`)."""

from __future__ import annotations

from pathlib import Path

from analysis.formats.markdown import markdown as run_folder
from scenarios.reading.reference import markdown as scenario
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "formats.md"
STARTS = ("## Scenario, format 1", "## Study, format 1")


def written(page: str) -> str:
    """Return the page with its generated sections as the classes have them now."""
    tables, study = map(page.index, STARTS)
    return f"{page[:tables]}{scenario().rstrip()}\n\n{run_folder()}\n\n{page[study:]}"


def main() -> None:
    """Write both files."""
    import json

    from scenarios.reading.json_schema import json_schema

    PAGE.write_text(written(PAGE.read_text()))
    schema = Path(ROOT / "scenarios" / "library" / "scenario.schema.json")
    schema.write_text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
