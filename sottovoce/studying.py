"""Run sweeps and what-if studies."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scenarios.load import Loaded
from scenarios.studies import study
from sottovoce.arguments import function, path_of, whole
from sottovoce.loading import Source, load
from sottovoce.results import Study, owned, temporary


def sweep(
    scenario: Source,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    on_progress: Callable[[float, str], None] | None = None,
) -> Study:
    """Run the [sweep] table of a scenario: its grid, for every series and seed.

    Args:
        scenario: a file, the name of a shipped scenario, nested dicts or a loaded scenario.
        out: the folder to write, or the folder of this study, to continue it; by default a temporary one, which is
            removed with the returned object (:meth:`~sottovoce.Study.save` keeps it).
        changes: dotted keys and their new values; ``"sweep.grid"`` and ``"sweep.seeds"`` make a sweep.
        jobs: runs at a time; all cores by default.
        on_progress: called with (fraction done, text).

    Raises:
        scenarios.load.ScenarioErrors: all problems of the scenario and of any point of the sweep.
        ConfigurationError: the scenario has no sweep.
        StorageError: the folder is another study's, or cannot be written.
        SottovoceError: runs failed; the others are in the folder.

    Example:
        >>> grid = {"sweep.grid": {"network.loss": [0.0, 0.1]}, "sweep.seeds": 1, "protocol.rounds": 2}
        >>> sv.sweep("quickstart", changes=grid, jobs=1).summaries["set.network.loss"].to_list()
        [0.0, 0.1]
    """
    return _study(study.sweep, load(scenario, changes), out, jobs, on_progress)


def whatif(
    scenario: Source,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    on_progress: Callable[[float, str], None] | None = None,
) -> Study:
    """Run a scenario and its [[whatif]] variants on the same seeds.

    Args:
        scenario, out, changes, jobs, on_progress: as for :func:`~sottovoce.sweep`; ``"whatif"`` takes a list of
            tables with ``name`` and ``set``, ``"study.seeds"`` the number of seeds.

    Raises:
        ConfigurationError: the scenario is wrong, or has no variants.
        StorageError, SottovoceError: as :func:`~sottovoce.sweep`.

    Example:
        >>> lossy = {"name": "lossy", "set": {"network.loss": 0.1}}
        >>> variants = {"whatif": [lossy], "study.seeds": 1, "protocol.rounds": 2}
        >>> study = sv.whatif("quickstart", changes=variants, jobs=1)
        >>> study.summaries["variant"].to_list()
        [None, 'lossy']
    """
    return _study(study.whatif, load(scenario, changes), out, jobs, on_progress)


def _study(
    carry_out: Callable[..., Path],
    loaded: Loaded,
    out: str | Path | None,
    jobs: int | None,
    on_progress: Callable[[float, str], None] | None,
) -> Study:
    function(on_progress, "on_progress")
    folder, jobs = None if out is None else path_of(out, "out"), whole(jobs, "jobs", 1)
    result = Study(temporary() if folder is None else folder)
    if out is None:
        owned(result)
    carry_out(
        loaded,
        result.path,
        jobs=jobs or os.cpu_count() or 1,
        on_progress=on_progress or (lambda fraction, text: None),
    )
    return result
