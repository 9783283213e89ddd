"""Commands ``audit``, ``infer`` and ``privacy``: attacks on a run and its accounting."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from scenarios.commands.options import Jobs, Quiet, RunFolder, ScenarioFile, Seed, Sets, nodes_from
from scenarios.commands.progress import progress
from scenarios.commands.terminal import show_rows
from simulator.errors import SottovoceError


def audit(
    scenario: ScenarioFile,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=4,
            help="Trials with and without the canary, each; 1000 by default, 200 whole runs with --view.",
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
        typer.Option(
            "--view", metavar="NODES", help="Attack everything that these nodes see in whole runs, e.g. 3,7."
        ),
    ] = None,
    victim: Annotated[
        int | None,
        typer.Option(
            "--victim", min=0, help="With --view: node with the canary; by default the one that loses most."
        ),
    ] = None,
    jobs: Jobs = None,
    sets: Sets = None,
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """Test the epsilon of a scenario by attacking its noise.

    The attack finds a lower bound of epsilon, which must stay below the ledger's claim; exit code 1 if it does not.
    """
    from scenarios.audits.choose import carry_out, check_choice

    nodes = None if view is None else nodes_from(view, "--view")
    check_choice(canary=canary, sums=sums, one_run=one_run, view=nodes, victim=victim)

    from scenarios.load import load

    loaded = load(scenario, sets or (), seed, studies=False)
    with progress("audit", quiet=quiet) as on_progress:
        found = carry_out(
            loaded,
            trials=trials,
            canary=canary,
            sums=sums,
            one_run=one_run,
            view=nodes,
            victim=victim,
            jobs=jobs,
            on_progress=on_progress,
        )
    show_rows([{"quantity": key, "value": value} for key, value in found.items()])

    from scenarios.audits.verdict import violation

    contradiction = violation(found)
    if contradiction is not None:
        raise SottovoceError(f"{loaded.path}: {contradiction}")


def infer(
    folder: RunFolder,
    coalition: Annotated[
        str | None,
        typer.Option(
            "--coalition",
            metavar="NODES",
            help="Curious nodes that pool their views, e.g. 3,7; all by default.",
        ),
    ] = None,
    shadows: Annotated[
        int,
        typer.Option(
            "--shadows", min=0, help="Number of shadow models of likelihood-ratio attacks; 0: none."
        ),
    ] = 32,
    quiet: Quiet = False,
) -> None:
    """Attack the data of honest nodes with what curious nodes of a run recorded.

    Tries reconstruction, gradient inversion, membership inference and traffic analysis, and shows the ledger's
    epsilon beside each result.
    """
    from scenarios.studies.infer import infer as attack
    from scenarios.studies.infer import table, terms

    members = None if coalition is None else nodes_from(coalition, "--coalition")
    with progress("infer", quiet=quiet) as on_progress:
        findings = attack(folder, coalition=members, shadow_models=shadows, on_progress=on_progress)
    show_rows(table(findings))
    typer.echo(terms(folder, members))


def privacy(
    folder: RunFolder,
    observers: Annotated[
        list[str] | None,
        typer.Option(
            "--observers",
            metavar="SET",
            help="Observers that pool what they see: 3,7 or public, wire, random:10, degree:2, "
            "neighbours:5. Repeatable.",
        ),
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="record or node.")] = None,
    adjacency: Annotated[
        str | None, typer.Option("--adjacency", help="add-remove, replace or zero-out.")
    ] = None,
    delta: Annotated[float | None, typer.Option("--delta", help="Strictly between 0 and 1.")] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", help="An epsilon: also show the noise_multiplier that would give it."),
    ] = None,
    per_message: Annotated[
        bool,
        typer.Option("--per-message", help="Also show a published sum over messages; it is no bound."),
    ] = False,
) -> None:
    """Compute the privacy loss of a finished run again.

    Observers, unit, adjacency and delta may differ from the run's; nothing is run again.
    """
    from scenarios.studies.terms import check_terms

    check_terms(observers, unit, adjacency, delta, target)

    from scenarios.studies.reaccount import reaccount

    with progress("privacy", quiet=False) as on_progress:
        on_progress(0.0, f"accounting {folder}")
        rows = reaccount(
            folder,
            jobs=os.cpu_count() or 1,
            observers=observers,
            unit=unit,
            adjacency=adjacency,
            delta=delta,
            target=target,
            per_message=per_message,
            on_progress=on_progress,
        )
    show_rows(rows)
