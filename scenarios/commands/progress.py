"""How far a long command is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import typer

Progress: TypeAlias = Callable[[float, str], None]

FIRST_LINE_S, NEXT_LINE_S = 2.0, 15.0


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Progress]:
    """Show progress on standard error while the block runs.

    Args:
        title: what is going on, in a word or two.
        quiet: show nothing.

    Yields:
        A function to call with the fraction done, 0 to 1, and a few words.
    """
    if quiet:
        yield lambda fraction, text: None
    elif sys.stderr.isatty():
        with _bar(title) as update:
            yield update
    else:
        yield _lines(title)


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


def _lines(title: str) -> Progress:
    """Short commands stay silent; long ones say a line every quarter of a minute."""
    due = time.monotonic() + FIRST_LINE_S

    def update(fraction: float, text: str) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + NEXT_LINE_S
            typer.echo(f"{title}: {fraction:.0%} {text}", err=True)

    return update
