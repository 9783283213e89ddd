"""What studies and audits are given in place of a progress bar."""

from __future__ import annotations


def quiet(fraction: float, text: str) -> None:
    """Show nothing."""
