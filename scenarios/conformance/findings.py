"""Requirements of a battery: those that hold, those that do not, and those that could not be checked."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST = 400
"""Characters of an error that a line quotes."""


class Unmet(Exception):
    """A requirement that does not hold; the message says what was found and what was expected."""


@dataclass
class Report:
    """Outcome of a battery.

    Args:
        subject: what was checked.
        checked: requirements that hold.
        skipped: requirements that could not be checked, each with the reason.
        failures: requirements that do not hold, each with what was found.
    """

    subject: str
    checked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def must(self, requirement: str) -> Iterator[None]:
        """Note whether a requirement holds: it does unless the block raises, whatever it is."""
        try:
            yield
        except Unmet as unmet:
            self.failures.append(f"{requirement}: {unmet}")
        except (Exception, SystemExit) as error:  # whatever a kind of others raises
            self.failures.append(f"{requirement}: {raised(error)}")
        else:
            if requirement not in self.checked:
                self.checked.append(requirement)

    def skip(self, requirement: str, reason: str) -> None:
        """Note that a requirement could not be checked."""
        line = f"{requirement}: {reason}"
        if line not in self.skipped:
            self.skipped.append(line)

    def conclude(self) -> Report:
        """Return the report.

        Raises:
            AssertionError: a requirement does not hold; the message has a line for each.
        """
        if self.failures:
            lines = "\n".join(f"  {line}" for line in dict.fromkeys(self.failures))
            count = len(dict.fromkeys(self.failures))
            raise AssertionError(f"{self.subject} does not meet {count} of its requirements:\n{lines}")
        return self

    def __str__(self) -> str:
        left_out = "".join(f"\n  not checked: {line}" for line in self.skipped)
        return f"{self.subject} meets {len(self.checked)} requirements{left_out}"


def raised(error: BaseException) -> str:
    """Return one line about an error: its type, what it says, and the function and line that raised it."""
    told = " ".join(str(error).split())[:LONGEST]
    steps = traceback.extract_tb(error.__traceback__)
    place = (
        f" (raised by {steps[-1].name}, line {steps[-1].lineno} of {Path(steps[-1].filename).name})"
        if steps
        else ""
    )
    return f"{type(error).__name__}: {told}{place}"


def expect(holds: Any, told: str | Callable[[], str]) -> None:
    """Refuse what does not hold.

    Args:
        holds: what is expected to be true.
        told: what was found and what was expected, or what makes that text.

    Raises:
        Unmet: it is not.
    """
    if not holds:
        raise Unmet(told if isinstance(told, str) else told())
