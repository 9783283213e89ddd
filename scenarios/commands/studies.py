"""Commands ``sweep``, ``whatif`` and ``breaking``: studies of many runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from scenarios.commands.endings import keeping
from scenarios.commands.options import RUNS, Jobs, Quiet, ScenarioFile, Sets, StudyOut
from scenarios.commands.progress import progress
from scenarios.commands.terminal import show, show_rows
from simulator.errors import ConfigurationError

AGAIN = "; repeat the command to continue"


def sweep(
    scenario: ScenarioFile,
    sets: Sets = None,
    out: StudyOut = None,
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Run the [sweep] table of a scenario.

    With sweep.baseline, the other series are also compared with it, seed by seed. Finished runs are not repeated.
    """
    _study("sweep", scenario, sets, out, jobs, quiet)


def whatif(
    scenario: ScenarioFile,
    sets: Sets = None,
    out: StudyOut = None,
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Compare a scenario with its [[whatif]] variants.

    All use the same seeds, and differences are taken seed by seed. Finished runs are not repeated.
    """
    _study("whatif", scenario, sets, out, jobs, quiet)


def _study(
    kind: str, file: Path, sets: list[str] | None, out: Path | None, jobs: int | None, quiet: bool
) -> None:
    from scenarios.load import load

    loaded = load(file, sets or ())
    missing = loaded.scenario.sweep is None if kind == "sweep" else not loaded.scenario.whatif
    if missing:
        table = "[sweep]" if kind == "sweep" else "[[whatif]]"
        raise ConfigurationError(f"{loaded.path}: has no {table} table to run; add one")
    folder = out or RUNS / f"{loaded.scenario.name}-{kind}"

    from scenarios.studies import study

    execute = study.sweep if kind == "sweep" else study.whatif
    with keeping(folder, again=AGAIN), progress(loaded.scenario.name, quiet=quiet) as on_progress:
        folder = execute(loaded, folder, jobs=jobs or os.cpu_count() or 1, on_progress=on_progress)
    if not quiet:
        from analysis.store import read_study
        from analysis.tables.study import paired_table, study_table

        done = read_study(folder)
        show(study_table(done))
        compared = paired_table(done)
        if compared is not None:
            show(compared)
    typer.echo(str(folder))


def breaking(
    scenario: ScenarioFile,
    out: StudyOut = None,
    drop: Annotated[
        float, typer.Option("--drop", min=0.001, max=1.0, help="Accuracy lost that counts as broken.")
    ] = 0.1,
    most: Annotated[int, typer.Option("--most", min=1, help="Largest number of Byzantine nodes to try.")] = 8,
    jobs: Jobs = None,
    sets: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Find the smallest number of Byzantine nodes that breaks a scenario.

    Bisects over adversary.byzantine.count, on the seeds of [study].
    """
    from analysis.tables.estimate import ONE_SEED
    from scenarios.load import load
    from scenarios.studies.breaking import breaking_point

    loaded = load(scenario, sets or ())
    folder = out or RUNS / f"{loaded.scenario.name}-breaking"
    jobs = jobs or os.cpu_count() or 1
    with keeping(folder, again=AGAIN), progress("breaking", quiet=quiet) as on_progress:
        point = breaking_point(loaded, folder, drop=drop, most=most, jobs=jobs, on_progress=on_progress)
    rows = [
        {
            "Byzantine nodes": cost.byzantine,
            "accuracy lost": f"{100 * cost.mean:.1f} points",
            "95 % t interval": (
                ONE_SEED
                if cost.low is None or cost.high is None
                else f"{100 * cost.low:.1f} to {100 * cost.high:.1f} points"
            ),
            "seeds": cost.seeds,
        }
        for cost in point.costs
    ]
    show_rows(rows)
    found = f"more than {point.most}" if point.byzantine is None else str(point.byzantine)
    nodes = "Byzantine node" if found == "1" else "Byzantine nodes"
    typer.echo(f"breaking point (a mean loss of {100 * drop:g} percentage points or more): {found} {nodes}")
    typer.echo(str(folder))
