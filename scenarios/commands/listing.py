"""Commands ``validate``, ``schema`` and ``list``: scenario files and their kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def schema(
    as_markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print the reference of every table and key in Markdown instead."),
    ] = False,
) -> None:
    """Print the JSON Schema of scenario files, for editors, or their reference."""
    from scenarios.reading import json_schema, reference

    typer.echo(reference.markdown() if as_markdown else json_schema.written(), nl=False)


def list_() -> None:
    """Print every kind there is, those of plug-ins with their package, and the scenarios that come with sottovoce."""
    from scenarios.load import shipped
    from scenarios.reading.choices import KINDS
    from scenarios.reading.packages import packages_at
    from simulator.plugins import packages

    width = max(map(len, KINDS))

    def tell(key: str, words: Iterable[str], package: Mapping[str, str]) -> None:
        told = (f"{word} ({package[word]})" if word in package else word for word in words)
        typer.echo(f"{key:{width}}  {', '.join(told)}")

    for key, words in KINDS.items():
        tell(key, words, packages_at(key))
    for name in ("metrics", "figures"):
        if brought := packages(f"sottovoce.{name}"):
            tell(name, brought, brought)
    tell("scenarios", shipped(), {})
