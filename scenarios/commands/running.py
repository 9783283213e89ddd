"""Commands ``run`` and ``live``: one run of a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.commands.endings import keeping
from scenarios.commands.options import RUNS, Out, Quiet, ScenarioFile, Seed, Sets
from scenarios.commands.progress import progress
from scenarios.commands.terminal import show
from simulator.errors import ConfigurationError, StorageError


def run(
    scenario: ScenarioFile,
    sets: Sets = None,
    seed: Seed = None,
    out: Out = None,
    quiet: Quiet = False,
    eager: Annotated[
        bool,
        typer.Option(
            "--eager", help="Compute one operation at a time, and name the first that is not finite."
        ),
    ] = False,
) -> None:
    """Run a scenario in virtual time."""
    _run(scenario, sets, seed, out, quiet, eager=eager)


def live(
    scenario: ScenarioFile,
    sets: Sets = None,
    seed: Seed = None,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Run the same protocol code on real sockets, in real time."""
    _run(scenario, sets, seed, out, quiet, live=True)


def _run(
    file: Path,
    sets: list[str] | None,
    seed: int | None,
    out: Path | None,
    quiet: bool,
    *,
    live: bool = False,
    eager: bool = False,
) -> None:
    from scenarios.load import load, located, warned

    loaded = load(file, sets or (), seed, studies=False)
    if not live and not quiet:
        for warning in warned(loaded):
            typer.echo(str(warning), err=True)
    name = f"{loaded.scenario.name}-{loaded.scenario.seed}" + ("-live" if live else "")
    folder = _fresh(RUNS / name) if out is None else _unused(out)

    from protocols.learning.eager import EagerExecutor
    from scenarios.run import run as run_scenario

    try:
        with keeping(folder), progress(loaded.scenario.name, quiet=quiet) as on_progress:
            summary = run_scenario(
                loaded.scenario,
                folder,
                base=loaded.path.parent,
                live=live,
                on_progress=on_progress,
                executor=EagerExecutor(finite=True) if eager else None,
            )
    except ConfigurationError as error:
        raise located(error, loaded.path) from error
    if not quiet:
        from analysis.store import read_run
        from analysis.tables.summary import summary_table

        show(summary_table(read_run(folder).summary or summary))
    typer.echo(str(folder))
    if summary["status"] == "diverged":
        typer.echo(
            "training diverged: a model has values that are not finite; use a smaller training.step", err=True
        )


def _fresh(folder: Path) -> Path:
    """Return the folder, or the first of -2, -3, ... that does not exist."""
    count, candidate = 1, folder
    while candidate.exists():
        count += 1
        candidate = folder.with_name(f"{folder.name}-{count}")
    return candidate


def _unused(folder: Path) -> Path:
    """Check that a folder is empty or absent, before any work is done."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StorageError(f"{folder} exists and is not an empty folder; nothing was overwritten")
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror}") from error
    return folder
