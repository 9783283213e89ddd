"""No test depends on how fast the machine is: examples of Hypothesis have no deadline and may be drawn slowly."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
