"""Tables printed to the terminal or, if output is redirected, to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 120
"""Width of tables that are printed to a file, in characters."""


def show(table: Any) -> None:
    """Print a rich table."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table whose header is their keys; privacy losses and noise are rounded up."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(name, row.get(name))) for name in names))
    show(table)


def _cell(name: str, value: Any) -> str:
    from analysis.tables.summary import upper  # not at import: slow, and not needed by checks

    if not isinstance(value, float):
        return str(value)
    return upper(value, 4) if name.startswith(("epsilon", "noise")) else f"{value:.4g}"
