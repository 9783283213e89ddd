"""What holds of all tests: no dependence on the machine's speed; compiled programs are on disk, not in memory."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.places import ROOT

# Examples of Hypothesis have no deadline and may be drawn slowly.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


# Background jobs of a shell, and all that they start, ignore Ctrl-C: tests that press it would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What XLA compiles is kept beside pytest's cache: once for all modules, workers, subprocesses and runs. The key of a
# program has its text, its options and the version of XLA in it. JAX reads the variables when it is imported.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture(scope="module", autouse=True)
def programs_are_freed() -> Iterator[None]:
    """Free what JAX compiled for a module at its end: a worker would keep gigabytes that nobody uses again."""
    yield
    if (jax := sys.modules.get("jax")) is not None:
        jax.clear_caches()
