"""Run a scenario, simulated or live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protocols.learning.eager import EagerExecutor
from protocols.learning.task import Task
from scenarios.load import located
from scenarios.objects import Arrays, GossipProgram, Objects
from scenarios.run import run as run_scenario
from simulator.errors import ConfigurationError
from simulator.streams import Law
from sottovoce.arguments import function, path_of
from sottovoce.loading import Source, read
from sottovoce.results import Run, owned, temporary


def run(
    scenario: Source,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    seed: int | None = None,
    data: Arrays | None = None,
    task: Task | None = None,
    program: GossipProgram | None = None,
    latency: Law | None = None,
    eager: bool = False,
    on_progress: Callable[[float, str], None] | None = None,
) -> Run:
    """Run a scenario in virtual time.

    Objects in memory can replace tables of the scenario, which must be valid without them. The manifest then says
    that the scenario alone does not repeat the run, holds hashes of arrays and of the source of functions, and lists
    what these hashes do not cover.

    Args:
        scenario: a file, the name of a shipped scenario, nested dicts or a loaded scenario.
        out: the folder to write, which must be empty or absent; by default a temporary one, which is removed with the
            returned object (:meth:`~sottovoce.Run.save` keeps it).
        changes: dotted keys and their new values.
        seed: of every random stream, in place of the scenario's.
        data: arrays in place of [data]: ``(X, y)``, of which 20 % are drawn for testing;
            ``(train_x, train_y, test_x, test_y)``; or a mapping with these names and optionally ``groups``, the user
            of each training sample. Integers, booleans and text are classes, floating-point labels are regression
            targets.
        task: the model with its loss, in place of [model].
        program: ``async def program(node, learner, rounds)``, in place of the gossip protocol; see
            :func:`~sottovoce.send_model`. Of [protocol], only ``rounds`` and ``exchange`` are used. With [privacy], a
            message that has a body must declare what it releases.
        latency: quantile function of the one-way latency of every message, in place of network.latency: a
            non-decreasing map from an array of uniform numbers in (0, 1) to as many seconds.
        eager: compute one operation at a time, and name the first whose result is not finite.
        on_progress: called with (fraction done, text).

    Raises:
        scenarios.load.ScenarioErrors: all problems of the scenario.
        ConfigurationError: the scenario cannot be built, or the objects do not fit it.
        StorageError: the folder cannot be written.
        ProgramError: a protocol failed; what was recorded until then is in the folder.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(600, 5))
        >>> y = (x[:, 0] > 0).astype(int)
        >>> run = sv.run(
        ...     "quickstart", changes={"protocol.rounds": 5}, data=(x, y), latency=lambda u: 0.02 + 0.08 * u
        ... )
        >>> run.status, run.accuracy_mean > 0.5, run.messages.height > 0
        ('finished', True, True)
        >>> run.manifest["objects"]["data"]["arrays"]["train_x"]["shape"]
        [600, 5]
    """
    objects = Objects(data=data, task=task, program=program, latency=latency)
    return _run(scenario, changes, out, seed, objects, eager, on_progress, live=False)


def live(
    scenario: Source,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    seed: int | None = None,
    data: Arrays | None = None,
    task: Task | None = None,
    program: GossipProgram | None = None,
    on_progress: Callable[[float, str], None] | None = None,
) -> Run:
    """Run the same protocol code on real sockets of this machine, in real time.

    This also works in a running event loop, as in Jupyter, which is blocked until the run ends.

    Args:
        scenario: as for :func:`~sottovoce.run`, as are the other arguments.

    Raises:
        ConfigurationError: as :func:`~sottovoce.run`, or the scenario needs something that sockets cannot do.
        StorageError, ProgramError: as :func:`~sottovoce.run`.

    Example:
        >>> few = {"topology.nodes": 8, "protocol.rounds": 2, "fault": [], "protocol.exchange": "plain"}
        >>> run = sv.live("quickstart", changes=few)
        >>> run.mode, run.status
        ('live', 'finished')
    """
    objects = Objects(data=data, task=task, program=program)
    return _run(scenario, changes, out, seed, objects, False, on_progress, live=True)


def _run(
    source: Source,
    changes: Mapping[str, Any] | None,
    out: str | Path | None,
    seed: int | None,
    objects: Objects,
    eager: bool,
    on_progress: Callable[[float, str], None] | None,
    *,
    live: bool,
) -> Run:
    function(on_progress, "on_progress")
    folder = None if out is None else path_of(out, "out")
    loaded = read(source, changes, seed, studies=False)
    objects.check(loaded.scenario, live=live)
    result = Run(temporary() if folder is None else folder)
    if out is None:
        owned(result)
    try:
        run_scenario(
            loaded.scenario,
            result.path,
            base=loaded.path.parent,
            live=live,
            on_progress=on_progress,
            executor=EagerExecutor(finite=True) if eager else None,
            objects=objects,
        )
    except ConfigurationError as error:
        table = (error.key or "").partition(".")[0]
        if objects.data is not None and table in ("data", "partition"):
            key = f"{error.key}: " if table == "partition" else ""
            told = error.message.removeprefix("data: ")
            raise ConfigurationError(f"data in memory: {key}{told}", error.key) from error
        if not loaded.path.is_file():  # a scenario from memory has no lines
            raise
        raise located(error, loaded.path) from error
    return result
