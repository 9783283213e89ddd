"""Tables on the terminal, or in a file when output goes there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 120
"""Of tables that go into a file."""


def show(table: Any) -> None:
    """Print a rich table."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table with their keys as its head."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        cells = (row.get(name) for name in names)
        table.add_row(*(Text(f"{cell:.4g}" if isinstance(cell, float) else str(cell)) for cell in cells))
    show(table)
