"""The ``sottovoce`` command.

Exit codes: 0 success; 2 a bad scenario, argument or folder, one line per error; 1 a run that failed; 130 stopped by
the user, with everything recorded so far kept. Slow imports are inside the commands that need them, so that help,
``validate``, ``schema`` and ``list`` start at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from scenarios.commands.attacks import audit, infer, privacy
from scenarios.commands.endings import guarded
from scenarios.commands.listing import list_, schema, validate
from scenarios.commands.pictures import compare, plot, report, trace
from scenarios.commands.running import live, run
from scenarios.commands.studies import breaking, sweep, whatif

app = typer.Typer(
    name="sottovoce",
    help="Simulate secure decentralised learning: what privacy, utility and latency cost each other.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: tuple[Callable[..., None], ...] = (
    *(run, live, sweep, whatif, breaking, audit, infer),
    *(plot, report, compare, privacy, trace),
    *(validate, schema, list_),
)
"""Commands, in the order of the help."""
for command in COMMANDS:
    app.command(name=command.__name__.rstrip("_"))(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Args:
        arguments: command line to use in place of the process's own.
    """
    sys.exit(guarded(typer.main.get_command(app), arguments))


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"sottovoce {installed('sottovoce')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
