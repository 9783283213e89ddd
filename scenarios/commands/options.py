"""Arguments and options that several commands share, and parsers of their texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from simulator.errors import ConfigurationError

RUNS = Path("runs")
"""Default folder of runs and studies."""

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
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Folder to write, which must be empty or absent; in runs/ by default."
    ),
]
StudyOut: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Folder to write, or the folder of this study, to continue it."
    ),
]
Jobs: TypeAlias = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Number of runs at a time; by default one per core.")
]
Quiet: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Show no progress and no summary; print only the folder, or what was asked for."
    ),
]
Folders: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="RUN_OR_STUDY...", help="Run or study folders.")
]
PictureFormat: TypeAlias = Annotated[
    Literal["png", "pdf", "svg"],
    typer.Option("--format", help="Format of the pictures: png, or pdf or svg for papers."),
]
RunFolder: TypeAlias = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


def nodes_from(text: str, option: str) -> tuple[int, ...]:
    """Return the node numbers of a text like ``3,7``, ascending, without repetition.

    Raises:
        ConfigurationError: the text has another form; the message names the option.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigurationError(f"{option}: must be node numbers separated by commas, like 3,7, got {text}")
    return tuple(sorted({int(part) for part in parts}))


def time_from(text: str | None, option: str) -> float | None:
    """Return the seconds of a text like ``500ms``; None stays None.

    Raises:
        ConfigurationError: the time has no unit or is negative; the message names the option.
    """
    if text is None:
        return None
    from simulator.units import DURATIONS, parse

    try:
        found = parse(text, DURATIONS, "2 s")
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
    if found < 0:
        raise ConfigurationError(f"{option}: must be at least 0 s, got {text}")
    return found
