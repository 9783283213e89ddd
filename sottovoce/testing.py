"""Batteries for those who extend sottovoce: :func:`check_kind` checks a plug-in against what its family promises."""

from __future__ import annotations

from scenarios.conformance.check import check_kind
from scenarios.conformance.findings import Report

__all__ = ["Report", "check_kind"]
