"""Privacy losses of finished runs, inference attacks and audits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import polars as pl

from scenarios.audits.choose import carry_out
from scenarios.studies.infer import infer as attack
from scenarios.studies.infer import table
from scenarios.studies.reaccount import reaccount
from scenarios.studies.terms import check_terms
from sottovoce.arguments import function, nodes, number, texts, whole
from sottovoce.loading import Source, read
from sottovoce.looking import Result, folder_of

Progress = Callable[[float, str], None]


def _quiet(fraction: float, text: str) -> None:
    """Show nothing."""


def privacy(
    run: Result,
    *,
    observers: Sequence[str] | None = None,
    unit: Literal["record", "node"] | None = None,
    adjacency: Literal["add-remove", "replace", "zero-out"] | None = None,
    delta: float | None = None,
    target: float | None = None,
    per_message: bool = False,
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> pl.DataFrame:
    """Account a finished run again, for other observers or in other terms; nothing is run again.

    Args:
        run: a run or its folder.
        observers: sets that pool what they see, such as ``"3,7"``, ``"public"``, ``"wire"``, ``"random:10"``,
            ``"degree:2"`` or ``"neighbours:5"``; every single node by default.
        unit, adjacency, delta: in place of the run's own; delta strictly between 0 and 1.
        target: an ε above 0; rows then also have the noise_multiplier with which the worst victim would lose just
            that.
        per_message: add a published sum over messages, which is no bound.
        jobs: number of processes; all cores by default.
        on_progress: called with (fraction done, text).

    Returns:
        A row for each set of observers and basis: its worst and its median victim.

    Raises:
        ConfigurationError: the run has no mechanism, or an argument is out of range.
        StorageError: the folder cannot be read.

    Guarantees:
        Those of the ledger, for what the run recorded (docs/privacy.md).

    Example:
        >>> noised = {"protocol.exchange": "ldp", "protocol.rounds": 2, "privacy.noise": "member"}
        >>> run = sv.run("quickstart", changes=noised)
        >>> rows = sv.privacy(run, observers=["3,7", "random:4"], delta=1e-6, jobs=1)
        >>> rows["observers"].n_unique(), rows["epsilon (worst victim)"].max() < float("inf")
        (2, True)
    """
    function(on_progress, "on_progress")
    observers, jobs = texts(observers, "observers", '["3,7", "public"]'), whole(jobs, "jobs", 1)
    delta, target = number(delta, "delta"), number(target, "target")
    check_terms(observers, unit, adjacency, delta, target)
    rows = reaccount(
        folder_of(run),
        observers=observers,
        unit=unit,
        adjacency=adjacency,
        delta=delta,
        target=target,
        per_message=per_message,
        jobs=jobs or os.cpu_count() or 1,
        on_progress=on_progress or _quiet,
    )
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def infer(
    run: Result,
    *,
    coalition: Sequence[int] | None = None,
    shadows: int = 32,
    on_progress: Progress | None = None,
) -> pl.DataFrame:
    """Attack the data of honest nodes with the views of curious nodes; write inference.json into the run folder.

    Args:
        run: a finished run with ``adversary.curious`` or ``adversary.wiretap``, or its folder; relative file names in
            its scenario start at the working directory.
        coalition: curious nodes that pool their views; all by default.
        shadows: number of shadow models of likelihood-ratio attacks; 0: these attacks are left out.
        on_progress: called with (fraction done, text).

    Returns:
        A row for each attack and measure, beside the ledger's ε for the worst victim.

    Raises:
        ConfigurationError: the run has no curious nodes, or was given data, a task or a program in memory.
        StorageError: the folder cannot be read or written.

    Example:
        >>> plain = {"protocol.exchange": "plain", "protocol.rounds": 2, "adversary.curious.enabled": True}
        >>> found = sv.infer(sv.run("quickstart", changes=plain), shadows=0)
        >>> "gradient inversion" in found["attack"]
        True
    """
    function(on_progress, "on_progress")
    members, models = nodes(coalition, "coalition"), whole(shadows, "shadows", 0) or 0
    found = attack(folder_of(run), coalition=members, shadow_models=models, on_progress=on_progress or _quiet)
    return pl.DataFrame(table(found), infer_schema_length=None, strict=False)


def audit(
    scenario: Source,
    *,
    changes: Mapping[str, Any] | None = None,
    seed: int | None = None,
    trials: int | None = None,
    canary: Literal["gradient", "mislabelled", "features"] = "gradient",
    sums: bool = False,
    one_run: bool = False,
    view: Sequence[int] | None = None,
    victim: int | None = None,
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Attack the noise of a scenario; the lower bound that the attack finds must stay below the ledger's claim.

    Args:
        scenario: as for :func:`~sottovoce.run`; it needs [privacy] and noise.
        changes: dotted keys and their new values.
        seed: of every random stream, in place of the scenario's.
        trials: number of trials of each arm of the game, at least 4; 1000 by default, 200 with ``view``.
        canary: kind of canary: a contribution of exactly the clipping norm, or a record.
        sums: attack opened sums instead of single updates.
        one_run: with ``sums``, one sum with as many canaries as trials.
        view: attack everything that these nodes see in whole runs.
        victim: with ``view``, the node with the canary; by default the one that loses most.
        jobs: with ``view``, number of runs at a time; all cores by default.
        on_progress: called with (fraction done, text).

    Returns:
        Quantity -> value; ``"verdict"`` is ``"consistent"``, ``"violated"`` or the reason why it is neither.

    Raises:
        ConfigurationError: the scenario cannot be audited, or arguments cannot be combined.

    Guarantees:
        Lower bounds hold with 95 % confidence each; a true claim is called violated with probability at most 5 %.

    Example:
        >>> noised = {"protocol.exchange": "ldp", "protocol.rounds": 2, "privacy.noise": "member"}
        >>> sv.audit("quickstart", changes=noised, trials=20)["verdict"]
        'consistent'
    """
    function(on_progress, "on_progress")
    trials, jobs, victim = whole(trials, "trials", 4), whole(jobs, "jobs", 1), whole(victim, "victim", 0)
    view = nodes(view, "view")
    return carry_out(
        read(scenario, changes, seed, studies=False),
        trials=trials,
        canary=canary,
        sums=sums,
        one_run=one_run,
        view=view,
        victim=victim,
        jobs=jobs,
        on_progress=on_progress or _quiet,
    )
