"""No test depends on how fast the machine is: examples of Hypothesis have no deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
