"""What holds of all tests: no dependence on the machine's speed, and no compiled program kept after its module."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Examples of Hypothesis have no deadline and may be drawn slowly.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="module", autouse=True)
def programs_are_freed() -> Iterator[None]:
    """Free what JAX compiled for a module at its end: a worker would keep gigabytes that nobody uses again."""
    yield
    if (jax := sys.modules.get("jax")) is not None:
        jax.clear_caches()
