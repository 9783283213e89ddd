"""``python -m scenarios`` is ``sottovoce``."""

from scenarios.commands.cli import main

main()
