"""Declared tables: names and content of columns, and values filled in where older runs lack them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from simulator.errors import StorageError


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: in the file.
        dtype: of its values.
        doc: content, with its unit.
        null: when it is null; "" if it never is.
        stand_in: value assumed for older runs, which lack it; None if all runs have it.
        optional: whether older runs may lack it without a value being assumed.
    """

    name: str
    dtype: Any
    doc: str
    null: str = ""
    stand_in: pl.Expr | None = None
    optional: bool = False

    @property
    def required(self) -> bool:
        """Return whether every run has it."""
        return self.stand_in is None and not self.optional


@dataclass(frozen=True)
class TableFormat:
    """One table of run folders.

    Args:
        name: of the file, without its extension; ``N`` in it is the number of a node.
        doc: content of its rows.
        columns: in the order in which they are written.
        version: of the run-folder format that it belongs to.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    version: int = 1

    @property
    def dtypes(self) -> Mapping[str, Any]:
        """Return the type of every column, in order."""
        return {column.name: column.dtype for column in self.columns}

    def path(self, folder: Path, node: int | None = None) -> Path:
        """Return the path of the table in a run folder.

        Args:
            folder: of the run.
            node: number of the node, for tables of single nodes.
        """
        name = self.name if node is None else self.name.replace("N", str(node))
        return folder / f"{name}.parquet"

    def frame(self, columns: Mapping[str, Any]) -> pl.DataFrame:
        """Make a table from its columns.

        Raises:
            StorageError: a column is missing, unknown, or holds what its type cannot.
        """
        if columns.keys() != self.dtypes.keys():
            raise StorageError(
                f"{self.name}.parquet has the columns {', '.join(self.dtypes)}, not {', '.join(columns)}"
            )
        try:
            return pl.DataFrame(
                {name: columns[name] for name in self.dtypes}, schema=dict(self.dtypes), strict=False
            )
        except (pl.exceptions.PolarsError, TypeError) as error:
            raise StorageError(f"{self.name}.parquet: {first_line(error)}") from error

    def read(self, path: Path) -> pl.DataFrame:
        """Read a table unchanged from a file; see :meth:`whole`.

        Raises:
            StorageError: the file is missing or damaged, or lacks a column that every run has.
        """
        return read_table(path, frozenset(column.name for column in self.columns if column.required))

    def whole(self, frame: pl.DataFrame, path: Path) -> pl.DataFrame:
        """Return a table with every column in its type; columns that older runs lack are filled in.

        Raises:
            StorageError: a column holds what its type cannot, or is null where it never is.
        """
        missing = {c.name: c.stand_in for c in self.columns if c.name not in frame and c.stand_in is not None}
        frame = frame.with_columns(**missing)
        for column in self.columns:
            if column.name in frame:
                problem = _misfit(frame[column.name], column)
                if problem is not None:
                    raise StorageError(
                        f"{path}: {column.name}: {problem}; the file is damaged, restore it or run the scenario again"
                    )
        try:
            return frame.with_columns(
                pl.col(name).cast(dtype) for name, dtype in self.dtypes.items() if name in frame
            )
        except pl.exceptions.PolarsError as error:
            raise StorageError(f"{path}: a column is not of its type ({first_line(error)})") from error


def _misfit(values: pl.Series, column: Column) -> str | None:
    """Return what is wrong with a column of a file; None if nothing is."""
    if not _like(values.dtype, column.dtype):
        return f"expected {_told(column.dtype)}, found {_told(values.dtype)}"
    if not column.null and values.null_count():
        return f"expected {_told(column.dtype)} in every row, found null"
    return None


def _like(found: Any, dtype: Any) -> bool:
    """Return whether a type is that of a column, up to the width of numbers; null is of every type."""
    if isinstance(found, pl.List) and isinstance(dtype, pl.List):
        return _like(found.inner, dtype.inner)
    return found in (dtype, pl.Null) or (found.is_numeric() and dtype.is_numeric())


def _told(dtype: Any) -> str:
    """Return what a column of a type holds, in words."""
    names = {pl.String: "text", pl.Boolean: "true or false", pl.Null: "null"}
    if isinstance(dtype, pl.List):
        return f"lists of {_told(dtype.inner)}"
    return "numbers" if dtype.is_numeric() else names.get(dtype, str(dtype))


def read_table(path: Path, columns: frozenset[str]) -> pl.DataFrame:
    """Read a parquet file that must have some columns.

    Raises:
        StorageError: it is missing or damaged, or lacks one of them.
    """
    if not path.exists():
        raise StorageError(f"{path}: is missing; the run stopped before it was written, or it was deleted")
    try:
        # Globbing off: a folder name may hold brackets.
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StorageError(f"{path}: is not a whole parquet file ({first_line(error)})") from error
    missing = sorted(columns - set(frame.columns))
    if missing:
        raise StorageError(f"{path}: lacks the columns {', '.join(missing)}")
    return frame


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
