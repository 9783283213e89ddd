"""Runs and studies for notebooks: tables as polars frames, numbers as attributes."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from analysis import store
from analysis.tables.study import study_rows
from analysis.tables.summary import summary_rows, worst_node
from simulator.errors import StorageError

_Part = TypeVar("_Part")


class Run(store.Run):
    """One run folder: numbers, tables and figures of a run.

    Every key of the summary is an attribute (``run.accuracy_mean``). The tables ``metrics``, ``messages``,
    ``activity``, ``releases`` and ``privacy`` are polars frames; their ``.to_pandas()`` needs pandas and pyarrow,
    which ``pip install "sottovoce[pandas]"`` brings. Jupyter shows the summary as a table.

    Args:
        path: the run folder.

    Example:
        >>> run = sv.run("quickstart", changes={"protocol.rounds": 2})
        >>> run.rounds == run.summary["rounds"] == 2
        True
        >>> run.metrics.columns
        ['t_s', 'round', 'node', 'metric', 'value']
        >>> run.acuracy_mean
        Traceback (most recent call last):
        AttributeError: no 'acuracy_mean' in the summary of this run; did you mean 'accuracy_mean'?
    """

    def __getattr__(self, name: str) -> Any:
        summary = {} if name.startswith("_") else self.summary or {}
        if name in summary:
            return summary[name]
        near = get_close_matches(name, [*summary, *dir(type(self))], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"no {name!r} in the summary of this run{hint}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(self.summary or {})})

    def save(self, folder: str | Path) -> Run:
        """Copy the run into a folder that stays, and return it from there.

        Args:
            folder: must not exist, or be empty.

        Raises:
            StorageError: the folder holds something, or cannot be written.
        """
        return Run(_copied(self.path, Path(folder)))

    def __reduce__(self) -> tuple[type[Run | Study], tuple[Path]]:
        return _pickled(self)

    def __repr__(self) -> str:
        return f"<run {self.path}: {self.manifest['name']}, {self.manifest['status']}>"

    def _repr_html_(self) -> str:
        if self.summary is None:
            return f"<p>{escape(repr(self))}</p>"
        rows = summary_rows(self.summary, worst_node(self))
        return _html_table([{"": name, self.manifest["name"]: text} for name, text in rows])


class Study(store.Study):
    """A study folder: the runs of a sweep or of a what-if, and one table of all their summaries.

    ``study.summaries`` is a polars frame with a row for each run, ``study.run(id)`` one of the runs. Jupyter shows
    means over the seeds of each series or variant.

    Args:
        path: the study folder.

    Example:
        >>> grid = {"sweep.grid": {"training.step": [1.0, 2.0]}, "sweep.seeds": 1, "protocol.rounds": 2}
        >>> study = sv.sweep("quickstart", changes=grid, jobs=1)
        >>> study.kind, study.summaries.height
        ('sweep', 2)
        >>> study.run(study.summaries["id"][0]).accuracy_mean > 0
        True
    """

    def run(self, identity: str) -> Run:
        """Return one of the study's runs by its ``id``.

        Raises:
            StorageError: there is no such run, or it has not finished.
        """
        return kept_with(Run(super().run(identity).path), self)

    def save(self, folder: str | Path) -> Study:
        """Copy the study into a folder that stays, and return it from there.

        Args:
            folder: must not exist, or be empty.

        Raises:
            StorageError: the folder holds something, or cannot be written.
        """
        return Study(_copied(self.path, Path(folder)))

    def __reduce__(self) -> tuple[type[Run | Study], tuple[Path]]:
        return _pickled(self)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.path}: {self.name}, {len(self.description['runs'])} runs>"

    def _repr_html_(self) -> str:
        names, rows = study_rows(self)
        return _html_table([dict(zip(names, row, strict=True)) for row in rows])


class Pictures(tuple[Path, ...]):
    """Paths of pictures; Jupyter shows them."""

    def _repr_html_(self) -> str:
        return "\n".join(map(_html_picture, self))


def temporary() -> Path:
    """Return a new folder for a result without ``out``; see :func:`owned`."""
    return Path(tempfile.mkdtemp(prefix="sottovoce-"))


def owned(result: Run | Study) -> None:
    """Remove the folder of a result when nothing refers to the result any more, or Python ends."""
    object.__setattr__(result, "_temporary", True)
    weakref.finalize(result, shutil.rmtree, result.path, ignore_errors=True)


def kept_with(part: _Part, whole: object) -> _Part:
    """Return a part of a result after tying the result's folder to its lifetime."""
    object.__setattr__(part, "_whole", whole)
    return part


def _html_picture(path: Path) -> str:
    media = {".png": "image/png", ".svg": "image/svg+xml"}.get(path.suffix)
    if media is None:
        return f"<p>{escape(str(path))}</p>"
    data = b64encode(path.read_bytes()).decode()
    return f'<img src="data:{media};base64,{data}" alt="{escape(path.stem)}">'


def _pickled(result: Run | Study) -> tuple[type[Run | Study], tuple[Path]]:
    """Return what pickle makes a result from again: its class and folder.

    Raises:
        StorageError: the folder goes with this result, and the copy would be empty.
    """
    if any("_temporary" in vars(one) for one in (result, vars(result).get("_whole", result))):
        raise StorageError(
            f"{result.path}: a result that is in a temporary folder cannot be pickled, since the folder is removed "
            "with it; keep it with save(folder), or give out="
        )
    return type(result), (result.path,)


def _copied(source: Path, folder: Path) -> Path:
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StorageError(f"{folder} exists and is not an empty folder; nothing was overwritten")
        shutil.copytree(source, folder, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"cannot copy {source} to {folder}: {error}") from error
    return folder


def _html_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names: Iterable[str] = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(row.get(name, '')))}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
