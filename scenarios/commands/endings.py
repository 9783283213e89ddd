"""Exit codes of commands, and messages in place of tracebacks."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from simulator.errors import ConfigurationError, SottovoceError, StorageError

DONE, FAILED, BAD_ARGUMENT, STOPPED = 0, 1, 2, 130


class Stopped(Exception):
    """A command was stopped by the user; the message says what is kept."""


def guarded(command: Any, arguments: Sequence[str] | None) -> int:
    """Run a command; return its exit code, and print errors as lines without a traceback."""
    # Depending on its version, typer uses its own click or the installed one; both have this class name.
    usage_errors = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    try:
        code = command.main(
            args=None if arguments is None else list(arguments), prog_name="sottovoce", standalone_mode=False
        )
        return code if isinstance(code, int) else DONE
    except ConfigurationError as error:
        return _say(str(error), BAD_ARGUMENT)
    except StorageError as error:
        return _say(str(error), BAD_ARGUMENT)
    except SottovoceError as error:
        return _say(str(error), FAILED)
    except Stopped as stopped:
        return _say(str(stopped), STOPPED)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", STOPPED)
    except Exception as error:
        if isinstance(error, usage_errors):
            told = " ".join(error.format_message().split())  # type: ignore[attr-defined]
            told = told.replace(": Value error, ", ": ")
            return _say(f"{told[:1].lower()}{told[1:]}  (sottovoce --help)", BAD_ARGUMENT)
        if os.environ.get("SOTTOVOCE_DEBUG") == "1":
            traceback.print_exc()
        hint = "set SOTTOVOCE_DEBUG=1 to see the traceback"
        return _say(f"internal error: {type(error).__name__}: {error} ({hint})", FAILED)


def _say(message: str, code: int) -> int:
    typer.echo(message, err=True)
    return code


@contextmanager
def keeping(folder: Path, *, again: str = "") -> Iterator[None]:
    """Add to the message of a stopped or failed command what is kept in its folder."""

    def kept() -> str:
        held = folder.is_dir() and any(folder.iterdir())
        return f"what was recorded so far is in {folder}{again}" if held else "nothing was recorded yet"

    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {kept()}") from None
    except (ConfigurationError, StorageError):
        raise
    except SottovoceError as error:
        raise SottovoceError(f"{error}\n{kept()}") from error
