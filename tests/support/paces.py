"""Tests in real time that mean the same on a machine with other work.

What happens on sockets is compared with what a program waited for, so a machine that stands still for longer than the
program waits makes a right program look wrong. Such a test is played again in slow motion; a fault is there at any
pace, and what the machine did is gone once a step is long enough.
"""

from __future__ import annotations

from collections.abc import Callable

PACES = (1.0, 8.0, 60.0)
"""Real seconds for each second of a program."""


def at_some_pace(check: Callable[[float], None]) -> None:
    """Pass if the check does at one of the paces.

    Args:
        check: plays everything anew at the pace that it is given, and asserts.

    Raises:
        AssertionError: as the check at the slowest pace.
    """
    for pace in PACES[:-1]:
        try:
            return check(pace)
        except AssertionError:
            pass
    return check(PACES[-1])
