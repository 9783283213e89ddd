"""Fixtures of tests that compute with JAX themselves."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module")
def wide() -> Iterator[None]:
    """Compute a module's tests in double precision."""
    with jax.enable_x64(True):
        yield
