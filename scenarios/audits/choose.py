"""Choose and carry out an audit; slow imports follow only after arguments are checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from scenarios.load import Loaded

TRIALS, TRIALS_OF_RUNS = 1000, 200
"""Default numbers of trials of each arm: of games about single updates or sums, and about whole runs."""


def check_choice(
    *, canary: str, sums: bool, one_run: bool, view: Sequence[int] | None, victim: int | None
) -> None:
    """Check that the arguments of an audit can be combined.

    Raises:
        ConfigurationError: an argument would have no effect.
    """
    if one_run and not sums:
        raise ConfigurationError(
            "one-run needs sums, since its canaries are in an opened sum; give sums as well"
        )
    if sums and view is not None:
        raise ConfigurationError(
            "sums and view are different audits, of one sum and of whole runs; give one of them"
        )
    if victim is not None and view is None:
        raise ConfigurationError("victim needs view, since a coalition attacks it; give view as well")
    if canary != "gradient" and (sums or view is not None):
        raise ConfigurationError(
            f'canary must be "gradient" with sums or view, where nodes have no records, got "{canary}"; leave out '
            "canary"
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
    """Carry out an audit.

    Args:
        loaded: the scenario.
        trials: number of trials of each arm, at least 4; None: :data:`TRIALS`, or :data:`TRIALS_OF_RUNS` with
            ``view``.
        canary: gradient, mislabelled or features.
        sums: attack opened sums instead of single updates.
        one_run: with ``sums``, one sum with as many canaries as trials.
        view: coalition that attacks with its view of whole runs; None: no such audit.
        victim: with ``view``, the node with the canary; None: the node that loses most.
        jobs: with ``view``, number of runs at a time; None: all cores.
        on_progress: called with (fraction done, text).

    Returns:
        Quantity -> value, as :func:`scenarios.audits.audit.audit` and its siblings.

    Raises:
        ConfigurationError: arguments do not go together, or there is nothing to audit.
    """
    check_choice(canary=canary, sums=sums, one_run=one_run, view=view, victim=victim)
    if trials is not None and trials < 4:
        raise ConfigurationError(f"trials must be at least 4, got {trials}; use more")
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
