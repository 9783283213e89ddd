"""Commands ``plot``, ``report``, ``compare`` and ``trace``: results of finished runs and studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from scenarios.commands.options import Folders, PictureFormat, RunFolder, nodes_from, time_from
from scenarios.commands.progress import progress
from scenarios.commands.terminal import show

_Made = TypeVar("_Made")


def plot(folders: Folders, kind: PictureFormat = "png") -> None:
    """Draw the figures of runs or studies into their plots/ folder."""
    from analysis.figures.catalogue import plot as draw

    for pictures in _of_each("plot", "drawing", folders, lambda folder: draw(folder, kind)):
        for picture in pictures:
            typer.echo(str(picture))


def report(folders: Folders) -> None:
    """Write report.html into runs or studies.

    The file holds all tables and figures.
    """
    from analysis.report import report as write

    for page in _of_each("report", "writing that of", folders, write):
        typer.echo(str(page))


def _of_each(
    title: str, doing: str, folders: Sequence[Path], make: Callable[[Path], _Made]
) -> Iterator[_Made]:
    """Yield the result for each folder; show progress if it takes long."""
    for i, folder in enumerate(folders):
        with progress(title, quiet=False) as on_progress:
            on_progress(i / len(folders), f"{doing} {folder}")
            made = make(folder)
        yield made


def compare(folders: Folders) -> None:
    """Show runs or studies side by side.

    Also shows the differences between runs of the same seed.
    """
    from analysis.tables.compare import compare_below

    show(compare_below(folders))


def trace(
    folder: RunFolder,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Start, e.g. 2s or 500ms.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="End, e.g. 5s.")] = None,
    nodes: Annotated[
        str | None, typer.Option("--nodes", metavar="NODES", help="Show only these nodes, e.g. 0,3,7.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder to write into; by default the run's."),
    ] = None,
    kind: PictureFormat = "png",
) -> None:
    """Write the timeline of a run: trace.json.gz for ui.perfetto.dev, and plots/timeline.png.

    The timeline shows what each node was doing when, and all messages.
    """
    from analysis.figures.timeline import write_timeline
    from analysis.store import read_run
    from analysis.tables.perfetto import write_trace
    from analysis.tables.timeline import timeline

    shown = timeline(
        read_run(folder),
        nodes=None if nodes is None else nodes_from(nodes, "--nodes"),
        from_s=time_from(start, "--from"),
        until_s=time_from(until, "--until"),
    )
    for note in shown.notes:
        typer.echo(note, err=True)
    typer.echo(str(write_trace(shown, out or folder)))
    typer.echo(str(write_timeline(shown, out or folder, kind)))
