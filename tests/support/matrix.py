"""Split matrices of cases: ``make test`` runs a part that covers all laws and kinds, ``make test-all`` the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest


def covering(cases: Iterable[Any], kept: Collection[Any] | Callable[[Any], bool]) -> list[Any]:
    """Return the parameters of a test, of which all but ``kept`` are marked slow.

    Args:
        cases: all parameters; tuples, if the test takes several.
        kept: those that ``make test`` runs, or a function that says so of a case.

    Raises:
        ValueError: no case is kept, or one is kept that is not there.
    """
    cases = list(cases)
    stays = kept if callable(kept) else kept.__contains__
    quick = [case for case in cases if stays(case)]
    if not quick or not (callable(kept) or len(quick) == len(kept)):
        raise ValueError(f"kept are {kept}, of the cases {cases}: expected one or more of them")
    return [case if stays(case) else _slow(case) for case in cases]


def _slow(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.slow)
