"""Commands ``validate``, ``schema`` and ``list``: scenario files and their kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.commands.endings import BAD_ARGUMENT
from scenarios.commands.options import Sets
from scenarios.commands.progress import progress


def validate(
    scenarios: Annotated[list[Path], typer.Argument(metavar="SCENARIO...", help="Scenario files.")],
    sets: Sets = None,
) -> None:
    """Check scenario files without running them.

    Prints all errors at once, as file:line: key: message, and warnings in the same form.
    """
    from scenarios.load import ScenarioErrors, load, warned

    refused = False
    for i, scenario in enumerate(scenarios):
        try:
            with progress("validate", quiet=False) as on_progress:
                on_progress(i / len(scenarios), f"checking {scenario}")
                loaded = load(scenario, sets or ())
        except ScenarioErrors as errors:
            refused = True
            typer.echo(str(errors), err=True)
        else:
            typer.echo(f"{loaded.path}: valid")
            for warning in warned(loaded):
                typer.echo(str(warning), err=True)
    if refused:
        raise typer.Exit(BAD_ARGUMENT)


def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    import json

    from scenarios.schema import Scenario

    document = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Scenario.model_json_schema()
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def list_() -> None:
    """Print the kinds that each key can take, and the names of the shipped scenarios."""
    from scenarios.load import shipped
    from scenarios.reading.choices import KINDS

    width = max(map(len, KINDS))
    for key, words in KINDS.items():
        typer.echo(f"{key:{width}}  {', '.join(words)}")
    typer.echo(f"{'scenarios':{width}}  {', '.join(shipped())}")
