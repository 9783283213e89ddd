"""Read, draw and report runs and studies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from analysis import store
from sottovoce.arguments import path_of
from sottovoce.results import Pictures, Run, Study, kept_with

Result: TypeAlias = "store.Run | store.Study | str | Path"
"""A run or a study, or its folder."""


def folder_of(result: Result) -> Path:
    """Return the folder of a run or study."""
    return result.path if isinstance(result, store.Run | store.Study) else path_of(result, "result")


def read_run(path: str | Path) -> Run:
    """Open a run folder, also of a run that has not finished.

    Args:
        path: a folder that ``sottovoce run`` or :func:`~sottovoce.run` wrote.

    Returns:
        The run; its tables are polars frames, read when they are first asked for. Their ``.to_pandas()`` needs pandas
        and pyarrow: ``pip install "sottovoce[pandas]"``.

    Raises:
        StorageError: the folder is missing, is a study, is damaged, or is of a newer format.

    Example:
        >>> _ = sv.run("quickstart", changes={"protocol.rounds": 2}, out="mine")
        >>> run = sv.read_run("mine")
        >>> run.finished, run.messages["kind"].n_unique() > 1
        (True, True)
    """
    return Run(store.read_run(path_of(path, "path")).path)


def read_study(path: str | Path) -> Study:
    """Open the folder of a sweep or a what-if.

    Args:
        path: a folder that ``sottovoce sweep`` or ``whatif`` wrote.

    Returns:
        The study; ``summaries`` is a polars frame with a row for each run.

    Raises:
        StorageError: the folder is missing, is damaged, or is of a newer format.

    Example:
        >>> grid = {"sweep.grid": {"training.step": [1.0, 2.0]}, "sweep.seeds": 1, "protocol.rounds": 2}
        >>> _ = sv.sweep("quickstart", changes=grid, out="steps", jobs=1)
        >>> sv.read_study("steps").summaries.height
        2
    """
    return Study(store.read_study(path_of(path, "path")).path)


def plot(result: Result, format: Literal["png", "pdf", "svg"] = "png") -> Pictures:
    """Draw the figures that fit a run or a study into its plots/ folder.

    Args:
        result: a run or a study, or its folder.
        format: of the pictures.

    Returns:
        The pictures' paths; Jupyter shows the pictures, and the names of PDF files.

    Raises:
        ConfigurationError: a figure of a plug-in fails, or there is no such format.
        StorageError: the folder is missing, damaged, or cannot be written.

    Example:
        >>> run = sv.run("quickstart", changes={"protocol.rounds": 2})
        >>> "accuracy" in [picture.stem for picture in sv.plot(run)]
        True
    """
    from analysis.figures.catalogue import plot as draw  # not at import: it imports Matplotlib

    return kept_with(Pictures(draw(folder_of(result), format)), result)


def report(result: Result) -> Path:
    """Write report.html, one page with the tables and figures of a run or a study, into its folder.

    Args:
        result: a run or a study, or its folder.

    Returns:
        The path of the page; of a run in a temporary folder, there as long as the run.

    Raises:
        StorageError: the folder is missing, damaged, or cannot be written.

    Example:
        >>> run = sv.run("quickstart", changes={"protocol.rounds": 2})
        >>> sv.report(run).name
        'report.html'
    """
    from analysis.report import report as write  # not at import: it imports Matplotlib

    return write(folder_of(result))
