"""The ``sottovoce`` command.

Exit codes: 0 done; 2 a bad scenario, argument or folder, one line per error; 1 a run that failed; 130 stopped by the
user with everything recorded so far kept. What is heavy is imported inside the commands that need it, so that help,
``validate``, ``schema`` and ``list`` start at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from scenarios.commands.endings import BAD_ARGUMENT, guarded, keeping
from scenarios.commands.progress import progress
from scenarios.commands.terminal import show, show_rows
from simulator.errors import ConfigurationError, SottovoceError, StorageError

RUNS = Path("runs")

app = typer.Typer(
    name="sottovoce",
    help="Simulate secure decentralised learning: what privacy, utility and latency cost each other.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_ScenarioFile = Annotated[
    Path,
    typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of one from `sottovoce list`."),
]
_Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key, e.g. protocol.rounds=20. Repeatable."),
]
_Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of every random stream.")]
_Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write; empty or absent.")]
_StudyOut = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder to write, or to go on with if it is this study."),
]
_Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Runs at a time; all cores if not given.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, and only the folder as output.")]
_Folders = Annotated[list[Path], typer.Argument(metavar="RUN_OR_STUDY...", help="Run or study folders.")]
_RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Args:
        arguments: in place of those of the process.
    """
    sys.exit(guarded(typer.main.get_command(app), arguments))


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"sottovoce {installed('sottovoce')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# ---------------------------------------------------------------- running


@app.command()
def run(
    scenario: _ScenarioFile,
    sets: _Sets = None,
    seed: _Seed = None,
    out: _Out = None,
    quiet: _Quiet = False,
    eager: Annotated[
        bool, typer.Option("--eager", help="Compute one operation at a time; the first that fails is named.")
    ] = False,
) -> None:
    """Run a scenario in virtual time."""
    _run(scenario, sets, seed, out, quiet, eager=eager)


@app.command()
def live(
    scenario: _ScenarioFile,
    sets: _Sets = None,
    seed: _Seed = None,
    out: _Out = None,
    quiet: _Quiet = False,
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
            "training diverged: a model holds no finite numbers; try a smaller training.step", err=True
        )


def _fresh(folder: Path) -> Path:
    """The folder, or the first of -2, -3, ... that does not exist."""
    count, candidate = 1, folder
    while candidate.exists():
        count += 1
        candidate = folder.with_name(f"{folder.name}-{count}")
    return candidate


def _unused(folder: Path) -> Path:
    """Refuse a folder that holds something before any work is done."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StorageError(f"{folder} exists and is not an empty folder; nothing was overwritten")
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror}") from error
    return folder


@app.command()
def sweep(
    scenario: _ScenarioFile,
    sets: _Sets = None,
    out: _StudyOut = None,
    jobs: _Jobs = None,
    quiet: _Quiet = False,
) -> None:
    """Run the [sweep] table of a scenario.

    With sweep.baseline, series are also compared with that one, seed by seed. Runs that are there already are not
    repeated.
    """
    _study("sweep", scenario, sets, out, jobs, quiet)


@app.command()
def whatif(
    scenario: _ScenarioFile,
    sets: _Sets = None,
    out: _StudyOut = None,
    jobs: _Jobs = None,
    quiet: _Quiet = False,
) -> None:
    """Compare a scenario with its [[whatif]] variants.

    All run on the same seeds, and differences are taken seed by seed. Runs that are there already are not repeated.
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
        raise ConfigurationError(f"{loaded.path}: has no {table} table, so there is nothing to run")
    folder = out or RUNS / f"{loaded.scenario.name}-{kind}"

    from scenarios.studies import study

    execute = study.sweep if kind == "sweep" else study.whatif
    again = "; the same command goes on from there"
    with keeping(folder, again=again), progress(loaded.scenario.name, quiet=quiet) as on_progress:
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


@app.command()
def breaking(
    scenario: _ScenarioFile,
    out: _StudyOut = None,
    drop: Annotated[
        float, typer.Option("--drop", min=0.001, max=1.0, help="Accuracy lost that counts as broken.")
    ] = 0.1,
    most: Annotated[int, typer.Option("--most", min=1, help="Liars to try at most.")] = 8,
    jobs: _Jobs = None,
    sets: _Sets = None,
    quiet: _Quiet = False,
) -> None:
    """Find the smallest number of liars that breaks a scenario.

    Bisects over adversary.byzantine.count, on the seeds of [study].
    """
    from analysis.tables.estimate import ONE_SEED
    from scenarios.load import load
    from scenarios.studies.breaking import breaking_point

    loaded = load(scenario, sets or ())
    folder = out or RUNS / f"{loaded.scenario.name}-breaking"
    jobs = jobs or os.cpu_count() or 1
    again = "; the same command goes on from there"
    with keeping(folder, again=again), progress("breaking", quiet=quiet) as on_progress:
        point = breaking_point(loaded, folder, drop=drop, most=most, jobs=jobs, on_progress=on_progress)
    rows = [
        {
            "liars": cost.liars,
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
    found = f"more than {point.most}" if point.liars is None else str(point.liars)
    liars = "liar" if found == "1" else "liars"
    typer.echo(f"breaking point (a mean loss of {100 * drop:g} percentage points or more): {found} {liars}")
    typer.echo(str(folder))


@app.command()
def audit(
    scenario: _ScenarioFile,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=4,
            help="Times each arm of the game is played; 1000, or 200 whole runs with --view.",
        ),
    ] = None,
    canary: Annotated[
        str,
        typer.Option(
            "--canary",
            metavar="KIND",
            help="gradient: a contribution of exactly the clipping norm; mislabelled or features: a record.",
        ),
    ] = "gradient",
    sums: Annotated[
        bool, typer.Option("--sums", help="Attack opened sums instead of single updates.")
    ] = False,
    one_run: Annotated[
        bool, typer.Option("--one-run", help="With --sums: one sum with as many canaries as trials.")
    ] = False,
    view: Annotated[
        str | None,
        typer.Option("--view", metavar="NODES", help="Attack all that these nodes see in whole runs: 3,7."),
    ] = None,
    victim: Annotated[
        int | None,
        typer.Option("--victim", min=0, help="With --view: whose canary; the node that loses most."),
    ] = None,
    jobs: _Jobs = None,
    sets: _Sets = None,
    seed: _Seed = None,
    quiet: _Quiet = False,
) -> None:
    """Attack the noise of a scenario, to test its epsilon.

    The lower bound the attack finds must stay below what the ledger claims; exit code 1 if it does not.
    """
    if one_run and not sums:
        raise ConfigurationError("--one-run puts its canaries into an opened sum; give --sums as well")
    if sums and view is not None:
        raise ConfigurationError("--sums attacks one sum and --view whole runs; give one of them")
    if victim is not None and view is None:
        raise ConfigurationError("--victim says whose data a coalition is after; give --view as well")
    if canary != "gradient" and (sums or view is not None):
        raise ConfigurationError(
            f"--canary {canary} is a record, and with --sums and --view nobody has data; leave out --canary"
        )
    from scenarios.load import load

    loaded = load(scenario, sets or (), seed, studies=False)
    trials = trials or (1000 if view is None else 200)

    with progress("audit", quiet=quiet) as on_progress:
        if sums:
            from scenarios.audits.sums import audit_sums

            found = audit_sums(loaded, trials=trials, on_progress=on_progress, one_run=one_run)
        elif view is not None:
            from scenarios.audits.view import audit_view

            found = audit_view(
                loaded,
                _nodes(view, "--view"),
                victim=victim,
                trials=trials,
                jobs=jobs or os.cpu_count() or 1,
                on_progress=on_progress,
            )
        else:
            from scenarios.audits.audit import audit as run_audit
            from scenarios.audits.canaries import canary_named

            kind = canary_named(canary)
            found = run_audit(loaded, trials=trials, on_progress=on_progress, canary=kind)
    show_rows([{"quantity": key, "value": value} for key, value in found.items()])

    from scenarios.audits.verdict import violation

    contradiction = violation(found)
    if contradiction is not None:
        raise SottovoceError(f"{loaded.path}: {contradiction}")


@app.command()
def infer(
    folder: _RunFolder,
    coalition: Annotated[
        str | None,
        typer.Option(
            "--coalition", metavar="NODES", help="Curious nodes that pool their views: 3,7; all if absent."
        ),
    ] = None,
    shadows: Annotated[
        int, typer.Option("--shadows", min=0, help="Shadow models of likelihood-ratio attacks; 0: none.")
    ] = 32,
    quiet: _Quiet = False,
) -> None:
    """Attack what curious nodes of a run recorded.

    Reconstruction, gradient inversion, membership and traffic analysis, beside the ledger's epsilon.
    """
    from scenarios.studies.infer import infer as attack
    from scenarios.studies.infer import table, terms

    members = None if coalition is None else _nodes(coalition, "--coalition")
    with progress("infer", quiet=quiet) as on_progress:
        findings = attack(folder, coalition=members, shadow_models=shadows, on_progress=on_progress)
    show_rows(table(findings))
    typer.echo(terms(folder, members))


# ---------------------------------------------------------------- looking


@app.command()
def plot(folders: _Folders) -> None:
    """Draw the figures of runs or studies into their plots/ folder."""
    from analysis.figures.catalogue import plot as draw

    for folder in folders:
        for picture in draw(folder):
            typer.echo(str(picture))


@app.command()
def report(folders: _Folders) -> None:
    """Write report.html into runs or studies.

    One file with tables and figures.
    """
    from analysis.report import report as write

    for folder in folders:
        typer.echo(str(write(folder)))


@app.command()
def compare(folders: _Folders) -> None:
    """Put runs or studies side by side.

    Runs of the same seed are also subtracted from each other.
    """
    from analysis.tables.compare import compare as side_by_side

    show(side_by_side(folders))


@app.command()
def privacy(
    folder: _RunFolder,
    observers: Annotated[
        list[str] | None,
        typer.Option(
            "--observers",
            metavar="SET",
            help="Who pools what they see: 3,7 or public, wire, random:10, degree:2, neighbours:5. Repeatable.",
        ),
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="record or node.")] = None,
    adjacency: Annotated[
        str | None, typer.Option("--adjacency", help="add-remove, replace or zero-out.")
    ] = None,
    delta: Annotated[float | None, typer.Option("--delta", help="Strictly between 0 and 1.")] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", help="An epsilon: also say which noise_multiplier would give it."),
    ] = None,
    per_message: Annotated[
        bool,
        typer.Option("--per-message", help="Also what a published sum over messages would say; no bound."),
    ] = False,
) -> None:
    """Account a finished run again.

    For other observers, units, adjacencies or deltas; nothing is run again.
    """
    from scenarios.format.observers import check_observers
    from scenarios.reading.choices import KINDS

    for option, word in (("unit", unit), ("adjacency", adjacency)):
        if word is not None and word not in KINDS[f"privacy.{option}"]:
            raise ConfigurationError(
                f"--{option} is one of {', '.join(KINDS[f'privacy.{option}'])}, got {word}"
            )
    if target is not None and not target > 0:
        raise ConfigurationError(f"--target must be above 0, got {target:g}")
    if delta is not None and not 0 < delta < 1:
        raise ConfigurationError(f"--delta must lie strictly between 0 and 1, got {delta:g}")
    for text in observers or ():
        wrong = check_observers(text)
        if wrong is not None:
            raise ConfigurationError(f"--observers: {wrong}")

    from scenarios.studies.reaccount import reaccount

    cores = os.cpu_count() or 1
    with progress("accounting", quiet=False) as on_progress:
        rows = reaccount(
            folder,
            jobs=cores,
            observers=observers,
            unit=unit,
            adjacency=adjacency,
            delta=delta,
            target=target,
            per_message=per_message,
            on_progress=on_progress,
        )
    show_rows(rows)


def _nodes(text: str, option: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigurationError(
            f"{option} takes node numbers with commas between them, like 3,7; got {text}"
        )
    return tuple(sorted({int(part) for part in parts}))


@app.command()
def trace(
    folder: _RunFolder,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Start, like 2s or 500ms.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="End, like 5s.")] = None,
    nodes: Annotated[
        str | None, typer.Option("--nodes", metavar="NODES", help="Only these nodes: 0,3,7.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder to write into; the run's if not given."),
    ] = None,
) -> None:
    """Write trace.json.gz, a timeline for ui.perfetto.dev, and plots/timeline.png, a picture of it.

    What each node was doing when, and every message between them.
    """
    from analysis.figures.timeline import write_timeline
    from analysis.store import read_run
    from analysis.tables.perfetto import write_trace
    from analysis.tables.timeline import timeline

    shown = timeline(
        read_run(folder),
        nodes=None if nodes is None else _nodes(nodes, "--nodes"),
        from_s=_time(start, "--from"),
        until_s=_time(until, "--until"),
    )
    for note in shown.notes:
        typer.echo(note, err=True)
    typer.echo(str(write_trace(shown, out or folder)))
    typer.echo(str(write_timeline(shown, out or folder)))


def _time(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    from simulator.units import DURATIONS, parse

    try:
        found = parse(text, DURATIONS, "2 s")
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
    if found < 0:
        raise ConfigurationError(f"{option}: a run starts at 0 s, got {text}")
    return found


# ---------------------------------------------------------------- scenario files


@app.command()
def validate(
    scenarios: Annotated[list[Path], typer.Argument(metavar="SCENARIO...", help="Scenario files.")],
    sets: _Sets = None,
) -> None:
    """Check scenario files without running them.

    Every error at once, as file:line: key: message; warnings in the same form.
    """
    from scenarios.load import ScenarioErrors, load, warned

    refused = False
    for scenario in scenarios:
        try:
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


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    import json

    from scenarios.schema import Scenario

    document = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Scenario.model_json_schema()
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@app.command(name="list")
def list_() -> None:
    """Print every kind there is, and the scenarios that come with sottovoce."""
    from scenarios.load import shipped
    from scenarios.reading.choices import KINDS

    width = max(map(len, KINDS))
    for key, words in KINDS.items():
        typer.echo(f"{key:{width}}  {', '.join(words)}")
    typer.echo(f"{'scenarios':{width}}  {', '.join(shipped())}")
