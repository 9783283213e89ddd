"""Arguments and options that several commands share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from simulator.errors import ConfigurationError

RUNS = Path("runs")
"""Where runs and studies go if nobody says."""

ScenarioFile: TypeAlias = Annotated[
    Path,
    typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of one from `sottovoce list`."),
]
Sets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key, e.g. protocol.rounds=20. Repeatable."),
]
Seed: TypeAlias = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of every random stream.")]
Out: TypeAlias = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder to write; empty or absent.")
]
StudyOut: TypeAlias = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder to write, or to go on with if it is this study."),
]
Jobs: TypeAlias = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Runs at a time; all cores if not given.")
]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, and only the folder as output.")
]
Folders: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="RUN_OR_STUDY...", help="Run or study folders.")
]
RunFolder: TypeAlias = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


def nodes_from(text: str, option: str) -> tuple[int, ...]:
    """Return the node numbers of a text like ``3,7``, ascending, each once.

    Raises:
        ConfigurationError: it is something else; the message names the option.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigurationError(
            f"{option} takes node numbers with commas between them, like 3,7; got {text}"
        )
    return tuple(sorted({int(part) for part in parts}))


def time_from(text: str | None, option: str) -> float | None:
    """Return the seconds of a text like ``500ms``; None stays None.

    Raises:
        ConfigurationError: it has no unit of time or lies before the start of a run; the message names the option.
    """
    if text is None:
        return None
    from simulator.units import DURATIONS, parse

    try:
        found = parse(text, DURATIONS, "2 s")
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
    if found < 0:
        raise ConfigurationError(f"{option}: a run starts at 0 s, got {text}")
    return found
