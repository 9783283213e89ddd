"""Studies: a sweep (grid x series x seeds) or a what-if (baseline against variants, paired seeds).

A study is a folder of run folders named by the hash of their resolved scenario. A finished run is never repeated, so
a stopped study can be continued.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import polars as pl

from analysis.store import read_inference, read_run, read_study
from analysis.tables.estimate import estimate
from scenarios.kinds.studies import STUDY_TABLES, seeds_of
from scenarios.load import Loaded, merged, resolve
from simulator.errors import ConfigurationError, SottovoceError, StorageError

FORMAT = 1
DONE = ("finished", "diverged")
INFINITE = ("inf", "-inf")
"""Infinities in the JSON files of run folders."""

LEAKS = {
    "leak_determined": (("linear reconstruction",), ("others",)),
    "leak_updates": (("update reconstruction",), ("likeness", "cosine")),
    "leak_samples": (("gradient inversion",), ("samples",)),
    "leak_members": (("membership by loss", "membership by loss from sums"), ("members scored", "AUC")),
}
"""Columns of a study's summaries with the mean of some findings: names of their attacks, and first words of their
measures in current and in older runs."""

Progress = Callable[[float, str], None]


@dataclass
class Planned:
    """One run of a study.

    Args:
        raw: its whole scenario without study tables.
        seed: its seed.
        set: changes to the scenario, dotted key -> value.
        infer: whether the views of its curious nodes are attacked afterwards.
        series: name of its series in a sweep.
        variant: name of its variant in a what-if; None for the baseline.
        status: ``"planned"``, later the status in its run folder.
    """

    raw: dict[str, Any] = field(repr=False)
    seed: int
    set: dict[str, Any]
    infer: bool = False
    series: str | None = None
    variant: str | None = None
    status: str = "planned"
    id: str = ""

    def __post_init__(self) -> None:
        text = json.dumps([self.raw, self.series, self.variant], sort_keys=True)
        self.id = sha256(text.encode()).hexdigest()[:12]


def plan_sweep(loaded: Loaded) -> list[Planned]:
    """Return the runs of a sweep, seeds innermost."""
    sweep = loaded.scenario.sweep
    if sweep is None:
        raise ConfigurationError(f"{loaded.path} has no [sweep] table to run; add one", "sweep")
    series: Sequence[Any] = sweep.series or (None,)
    runs = []
    for one in series:
        grid = sweep.grid if one is None or one.grid is None else one.grid
        fixed = {} if one is None else dict(one.set)
        for values in product(*grid.values()):
            changes = fixed | dict(zip(grid, values, strict=True))
            runs += [
                _planned(loaded, changes, seed, series=None if one is None else one.name)
                for seed in seeds_of(sweep.seeds, loaded.scenario.seed)
            ]
    return runs


def plan_whatif(loaded: Loaded) -> list[Planned]:
    """Return the runs of a what-if: the baseline and every variant with the same seeds."""
    scenario = loaded.scenario
    if not scenario.whatif:
        raise ConfigurationError(f"{loaded.path} has no [[whatif]] table to run; add one", "whatif")
    seeds = seeds_of(scenario.study.seeds, scenario.seed)
    variants: list[tuple[str | None, Mapping[str, Any]]] = [(None, {})]
    variants += [(variant.name, variant.set) for variant in scenario.whatif]
    return [
        _planned(loaded, dict(changes), seed, variant=name) for seed in seeds for name, changes in variants
    ]


def sweep(loaded: Loaded, out: Path, *, jobs: int, on_progress: Progress) -> Path:
    """Run the sweep of a scenario into ``out``; finished runs there are kept."""
    return carry_out("sweep", loaded, plan_sweep(loaded), out, jobs, on_progress)


def whatif(loaded: Loaded, out: Path, *, jobs: int, on_progress: Progress) -> Path:
    """Run baseline and variants of a scenario into ``out``; finished runs there are kept."""
    return carry_out("whatif", loaded, plan_whatif(loaded), out, jobs, on_progress)


def _planned(
    loaded: Loaded,
    changes: dict[str, Any],
    seed: int,
    *,
    series: str | None = None,
    variant: str | None = None,
) -> Planned:
    raw = merged(loaded.raw, changes | {"seed": seed})
    return Planned(
        {k: v for k, v in raw.items() if k not in STUDY_TABLES},
        seed,
        changes,
        loaded.scenario.study.infer,
        series=series,
        variant=variant,
    )


def carry_out(
    kind: str, loaded: Loaded, runs: list[Planned], out: Path, jobs: int, on_progress: Progress
) -> Path:
    """Carry out the unfinished runs of a list in a study folder.

    Raises:
        StorageError: the folder is another study's, or cannot be written.
        SottovoceError: runs failed; the others are in the folder.
    """
    head = {"format": FORMAT, "kind": kind, "name": loaded.scenario.name, "scenario": loaded.raw}
    _claim(out, head)
    for run in runs:
        run.status = _status_of(out / "runs" / run.id)
    todo = [run for run in runs if run.status not in DONE]
    done = len(runs) - len(todo)
    on_progress(done / len(runs), f"{done} of {len(runs)} runs were there")
    results = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(
        joblib.delayed(_worker)(os.getpid(), run, loaded.path.parent, out / "runs" / run.id) for run in todo
    )
    by_id = {run.id: run for run in runs}
    problems: dict[str, str] = {}
    try:
        for id, status, problem in results:
            by_id[id].status = status
            if problem is not None:
                problems[id] = problem
            done += 1
            on_progress(done / len(runs), f"{done} of {len(runs)} runs")
    finally:
        _conclude(out, head, runs)
    if problems:
        first, reason = next(iter(problems.items()))
        raise SottovoceError(
            f"{len(problems)} of {len(runs)} runs failed, the others are in {out}; "
            f"the first, {first} (seed {by_id[first].seed}, {by_id[first].set}): {reason}"
        )
    return out


def _claim(out: Path, head: Mapping[str, Any]) -> None:
    """Create the study's folder, or check that it holds the same study."""
    file = out / "study.json"
    if file.exists():
        try:
            before = read_study(out).description
        except StorageError as error:
            raise StorageError(f"{error}; nothing was overwritten") from error
        if any(before.get(key) != head[key] for key in ("kind", "scenario")):
            raise StorageError(f"{out} holds another study; nothing was overwritten, choose another --out")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise StorageError(
                f"{out} is not empty and holds no study; nothing was overwritten, choose another --out"
            )
        file.write_text(json.dumps({**head, "runs": []}, indent=2))
    except OSError as error:
        raise StorageError(f"cannot create the study folder {out}: {error.strerror}") from error


def _status_of(folder: Path) -> str:
    """Return the status of a run of the study; its folder is there only if it ended.

    Raises:
        StorageError: the folder is damaged.
    """
    if not folder.exists():
        return "planned"
    try:
        summary = read_run(folder).summary
    except StorageError as error:
        raise StorageError(f"{error}; or remove {folder}, and the run is repeated") from error
    return "planned" if summary is None else str(summary["status"])


def _worker(parent: int, run: Planned, base: Path, folder: Path) -> tuple[str, str, str | None]:
    if os.getpid() != parent:
        # Ctrl-C is sent to the whole process group; the parent handles it and ends its workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _execute(run, base, folder)


def _execute(run: Planned, base: Path, folder: Path) -> tuple[str, str, str | None]:
    """Carry out one run; the folder appears under its name only when it is complete."""
    from scenarios.run import run as run_scenario

    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        scenario = resolve(run.raw, base)
        summary = run_scenario(scenario, part, base=base, series=run.series, variant=run.variant)
        if run.infer and (part / "views").is_dir():
            _attack(part, base)
        part.rename(folder)
    except SottovoceError as error:
        return run.id, "failed", str(error)
    except OSError as error:
        return run.id, "failed", f"{folder}: {error}"
    return run.id, str(summary["status"]), None


def _attack(folder: Path, base: Path) -> None:
    from scenarios.studies.infer import infer

    infer(folder, coalition=None, shadow_models=0, on_progress=lambda *_: None, base=base)


def _conclude(out: Path, head: Mapping[str, Any], runs: Iterable[Planned]) -> None:
    """Write the list of runs and the table of all summaries so far."""
    listed = [{k: v for k, v in asdict(run).items() if k != "raw"} for run in runs]
    rows = []
    for run in runs:
        file = out / "runs" / run.id / "summary.json"
        if file.exists():
            whole = json.loads(file.read_text())
            summary = {k: v for k, v in whole.items() if not isinstance(v, (list, dict))}
            if isinstance(whole.get("observers"), list):  # tables must name the observers of their ε
                summary["observers"] = _sets_in_words(whole["observers"])
            summary["warnings"] = " ".join(whole.get("warnings") or ()) or None
            changed = {f"set.{key}": value for key, value in run.set.items()}
            place = {"id": run.id, "series": run.series, "variant": run.variant, "seed": run.seed}
            rows.append(summary | leaks_in(file.with_name("inference.json")) | place | changed)
    try:
        (out / "study.json").write_text(json.dumps({**head, "runs": listed}, indent=2))
        if rows:
            _frame(rows).write_parquet(out / "summaries.parquet")
    except OSError as error:
        raise StorageError(f"cannot write the tables of the study {out}: {error}") from error


def _sets_in_words(observers: Iterable[Any]) -> str:
    """Return sets of observers as one text, with commas between nodes and semicolons between sets."""
    return ";".join(",".join(map(str, one)) if isinstance(one, list) else str(one) for one in observers)


def leaks_in(file: Path) -> dict[str, float]:
    """Return the mean finding of each attack on a run, by column of :data:`LEAKS`; empty without attacks."""
    if not file.exists():
        return {}
    values: dict[str, list[float]] = {}
    for finding in read_inference(file)["findings"]:
        for key, (attacks, measures) in LEAKS.items():
            if finding["attack"] in attacks and finding["measure"].startswith(measures):
                values.setdefault(key, []).append(float(finding["value"]))
    return {key: estimate(found).mean for key, found in values.items()}


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return a frame with a column per key; numbers mixed with :data:`INFINITE` make a float column."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: dict[str, pl.Series] = {}
    for name in names:
        cells = [row.get(name) for row in rows]
        numeric = any(isinstance(c, (int, float)) and not isinstance(c, bool) for c in cells)
        if numeric and all(c is None or c in INFINITE or isinstance(c, (int, float)) for c in cells):
            columns[name] = pl.Series(
                name, [None if c is None else float(c) for c in cells], dtype=pl.Float64
            )
        else:
            texts = [None if c is None else c if isinstance(c, (str, bool)) else json.dumps(c) for c in cells]
            same = {type(t) for t in texts if t is not None}
            columns[name] = pl.Series(name, texts if len(same) <= 1 else [str(t) for t in texts])
    return pl.DataFrame(list(columns.values()))
