"""Requirements of metrics and figures."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from scenarios.conformance import worlds
from scenarios.conformance.findings import Report, expect

if TYPE_CHECKING:
    from analysis.figures.declared import Figure
    from analysis.metrics.declared import Metric, Snapshot

NAME = re.compile(r"[a-z][a-z0-9_]*")


def metric(report: Report, one: Metric, base: Path) -> None:
    """Check a metric on the evaluations and events of a small world."""
    import numpy as np

    from analysis.metrics.declared import EVALUATION, Event

    _named(report, one.name, one.doc)
    with report.must("it is over time, at the end, or both"):
        expect(one.over_time or one.at_end, "it is in no file")
    if one.event == EVALUATION:
        snapshot = _snapshot(base)
        with report.must("it gives a number, or one of each node, and the same for the same evaluation"):
            found, again = list(one.values(snapshot)), list(one.values(snapshot))
            expect(repr(found) == repr(again), f"{found} and {again}")
            for name, value in found:
                expect(np.ndim(value) in (0, 1), f"{name} has {np.ndim(value)} dimensions")
                np.asarray(value, dtype=np.float64)
        with report.must("it copes with an evaluation in which no node is up"):
            list(one.values(_nobody(snapshot)))
        return
    kept: Any = None
    outcome = worlds.run(worlds.scenario_of(), base)
    for t_s, node, told in [event[:2] + event[3:] for event in outcome.events if event[2] == one.event]:
        with report.must("it takes events in"):
            kept = one.folded(kept, Event(t_s, node, told))
    with report.must("it gives a number of what it has kept, also of nothing"):
        for state in (None, kept):
            number = one.counted(state)
            expect(number is None or np.ndim(number) == 0, f"{number!r}")
    if kept is None:
        report.skip("it takes events in", f'no event "{one.event}" in the world of the battery')


def _named(report: Report, name: str, words: str) -> None:
    with report.must("its name is made of a-z, 0-9 and _, and it says what it is"):
        expect(NAME.fullmatch(name), f"name {name!r}")
        expect(words.strip(), "there are no words")


def _snapshot(base: Path) -> Snapshot:
    outcome = worlds.run(worlds.scenario_of(), base)
    outcome.recorder.conclude(outcome.ended_s, frozenset())
    return outcome.recorder.snapshots[-1]


def _nobody(snapshot: Snapshot) -> Snapshot:
    """Return the evaluation with no node in it."""
    from dataclasses import replace

    found = snapshot.found
    none = found._replace(
        accuracy=found.accuracy[:0],
        loss=found.loss[:0],
        diverged=found.diverged[:0],
        by_class=found.by_class[:0],
        disagreement=float("nan"),
        others={name: values[:0] for name, values in found.others.items()},
    )
    return replace(snapshot, nodes=(), found=none, rounds=(), consensus_distance=float("nan"))


def figure(report: Report, one: Figure, base: Path) -> None:
    """Check a figure on a run, or on a sweep of two values and two seeds, of a small world."""
    from matplotlib import figure as pictures

    _named(report, one.name.replace("-", "_"), one.caption)
    with TemporaryDirectory() as folder:
        subject = _subject(one.of, Path(folder) / "made")
        with report.must("fits() says whether there is something to draw"):
            fits = one.fits(subject)
            expect(isinstance(fits, bool | int), f"it gives {fits!r}")
        if not one.fits(subject):
            report.skip("the picture", f"it does not fit the {one.of} of the battery")
            return
        with report.must("draw() gives a picture that can be saved"):
            drawn = one.draw(subject)
            expect(isinstance(drawn, pictures.Figure), f"it gives a {type(drawn).__name__}")
            drawn.savefig(Path(folder) / "picture.png")
    with report.must("its words can be completed"):
        expect(one.words("8 seeds").strip(), "nothing is left of the caption")


def _subject(of: str, folder: Path) -> Any:
    from analysis.store import read_run, read_study
    from scenarios.load import load_dict
    from scenarios.run import run
    from scenarios.studies.study import sweep

    if of == "run":
        run(worlds.scenario_of(), folder)
        return read_run(folder)
    table = {"seeds": 2, "grid": {"training.step": [0.25, 0.5]}}
    loaded = load_dict({**worlds.WORLD, "sweep": table}, {}, None, studies=True)
    return read_study(sweep(loaded, folder, jobs=1, on_progress=lambda *_: None))
