"""Which audit is meant, and what it needs; nothing heavy is imported before that is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from scenarios.load import Loaded

TRIALS, TRIALS_OF_RUNS = 1000, 200
"""Times each arm of a game is played if nobody says: a game of single updates or sums, and one of whole runs."""


def check_choice(
    *, canary: str, sums: bool, one_run: bool, view: Sequence[int] | None, victim: int | None
) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigurationError: some argument would have no effect.
    """
    if one_run and not sums:
        raise ConfigurationError("one-run puts its canaries into an opened sum; give sums as well")
    if sums and view is not None:
        raise ConfigurationError("sums attacks one sum and view whole runs; give one of them")
    if victim is not None and view is None:
        raise ConfigurationError("victim says whose data a coalition is after; give view as well")
    if canary != "gradient" and (sums or view is not None):
        raise ConfigurationError(
            f"canary {canary} is a record, and with sums and view nobody has data; leave out canary"
        )


def carry_out(
    loaded: Loaded,
    *,
    trials: int | None,
    canary: str,
    sums: bool,
    one_run: bool,
    view: Sequence[int] | None,
    victim: int | None,
    jobs: int | None,
    on_progress: Callable[[float, str], None],
) -> dict[str, Any]:
    """Carry out the audit that is asked for.

    Args:
        loaded: the scenario.
        trials: times each arm of the game is played, at least 4; None: :data:`TRIALS`, or :data:`TRIALS_OF_RUNS`
            with ``view``.
        canary: gradient, mislabelled or features.
        sums: attack opened sums instead of single updates.
        one_run: with ``sums``, one sum with as many canaries as trials.
        view: nodes whose view of whole runs is attacked with; None: no whole runs.
        victim: with ``view``, whose canary; None: the node that loses most.
        jobs: with ``view``, runs at a time; None: all cores.
        on_progress: called with (fraction done, text).

    Returns:
        Quantity -> value, as :func:`scenarios.audits.audit.audit` and its siblings.

    Raises:
        ConfigurationError: arguments do not go together, or there is nothing to audit.
    """
    check_choice(canary=canary, sums=sums, one_run=one_run, view=view, victim=victim)
    if trials is not None and trials < 4:
        raise ConfigurationError(f"trials must be at least 4, got {trials}")
    trials = trials or (TRIALS if view is None else TRIALS_OF_RUNS)
    if sums:
        from scenarios.audits.sums import audit_sums

        return audit_sums(loaded, trials=trials, on_progress=on_progress, one_run=one_run)
    if view is not None:
        from scenarios.audits.view import audit_view

        return audit_view(
            loaded,
            tuple(view),
            victim=victim,
            trials=trials,
            jobs=jobs or os.cpu_count() or 1,
            on_progress=on_progress,
        )
    from scenarios.audits.audit import audit
    from scenarios.audits.canaries import canary_named

    return audit(loaded, trials=trials, on_progress=on_progress, canary=canary_named(canary))
