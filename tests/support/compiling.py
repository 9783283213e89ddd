"""Compile what a test calls many times with arrays of few shapes: once a shape, not operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax


@cache
def compiled(function: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """Return a function of arrays, compiled once for every shape; the same one for the same ``fixed`` arguments."""
    return jax.jit(partial(function, **fixed))
