"""Progress of long commands: a bar on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeAlias

import typer

Progress: TypeAlias = Callable[[float, str], None]

FIRST_LINE_S, NEXT_LINE_S = 2.0, 15.0
"""Seconds until the first line, and between lines, without a terminal."""


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Progress]:
    """Show progress on standard error while the block runs.

    Args:
        title: name of the work, in a word or two.
        quiet: show nothing.

    Yields:
        A function to call with the fraction done, 0 to 1, and a few words.
    """
    if quiet:
        yield lambda fraction, text: None
    else:
        with _bar(title) if sys.stderr.isatty() else _lines(title) as update:
            yield update


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.fields[title]}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0, title=title)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=text)


@contextmanager
def _lines(title: str) -> Iterator[Progress]:
    """Print a line every quarter of a minute, also during a long step; short commands print nothing."""
    told = (0.0, "starting")
    over = Event()

    def update(fraction: float, text: str) -> None:
        nonlocal told
        told = (fraction, text)

    def tell() -> None:
        wait_s = FIRST_LINE_S
        while not over.wait(wait_s):
            fraction, text = told
            typer.echo(f"{title}: {fraction:.0%} {text}", err=True)
            wait_s = NEXT_LINE_S

    teller = Thread(target=tell, name="sottovoce-progress", daemon=True)
    teller.start()
    try:
        yield update
    finally:
        over.set()
        teller.join()
