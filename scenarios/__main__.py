"""``python -m scenarios`` is ``sottovoce``."""

from scenarios.cli import main

main()
