"""Find another module that hides one of sottovoce's packages, such as a user's own ``simulator.py``."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("simulator", "protocols", "analysis", "scenarios")
ROOT = Path(__file__).resolve().parent.parent
"""Folder of sottovoce's packages."""


def clash() -> str | None:
    """Return one line about a package of sottovoce that Python would not find; None if it finds them all."""
    return next((line for line in map(_hidden, PACKAGES) if line is not None), None)


def is_command() -> bool:
    """Return whether this process is the command line, which prints the line of :func:`clash` itself."""
    asked = sys.orig_argv
    by_module = "-m" in asked[:-1] and asked[asked.index("-m") + 1] == "sottovoce"
    return by_module or any(Path(word).stem == "sottovoce" for word in asked[1:2])


def _hidden(name: str) -> str | None:
    spec = _spec(name)
    if spec is None:
        return (
            f"sottovoce is not installed completely: its package {name} is missing; install sottovoce again"
        )
    own = ROOT / name / "__init__.py"
    if spec.origin is not None and Path(spec.origin).resolve() == own:
        return None
    places = (
        [spec.origin] if spec.origin is not None else list(spec.submodule_search_locations or ("nowhere",))
    )
    return (
        f"sottovoce cannot be used here: `import {name}` finds {places[0]}, which hides a package of sottovoce; "
        "rename it, or run from a folder that does not hold it"
    )


def _spec(name: str) -> ModuleSpec | None:
    module = sys.modules.get(name)
    if module is None:
        return find_spec(name)
    return module.__spec__ or ModuleSpec(name, None, origin=getattr(module, "__file__", None))
