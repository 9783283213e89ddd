"""Command line, as ``python -m sottovoce`` and as the script ``sottovoce``."""

from __future__ import annotations

import sys

from sottovoce.clash import clash


def main() -> None:
    """Run the command line and leave the process with its exit code; 2 if a package of sottovoce is hidden."""
    hidden = clash()
    if hidden is not None:
        sys.stderr.write(hidden + "\n")
        sys.exit(2)
    from scenarios.commands.cli import main as command

    command()


if __name__ == "__main__":
    main()
