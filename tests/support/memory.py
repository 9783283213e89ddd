"""What an object holds on to."""

from __future__ import annotations

import gc
from typing import Any


def reachable(thing: Any) -> dict[int, Any]:
    """Return all that can be reached from a thing by any reference, code apart, by id."""
    seen: dict[int, Any] = {}
    waiting = [thing]
    while waiting:
        current = waiting.pop()
        if id(current) in seen or isinstance(current, type) or callable(current):
            continue
        seen[id(current)] = current
        waiting.extend(gc.get_referents(current))
    return seen
