"""What a program may use of its node and its learner, as docs/python.md shows it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cached_property

from protocols.gossip.learner import Learner
from simulator.contract.node import Node

STARTS = ("**What a node offers.**", "**What the ledger counts.**")
"""Beginnings of the generated part of the page and of what follows it."""
_NOT_FOR_PROGRAMS = ("noise",)
"""Members for protocols that account for their noise themselves."""
_START = "| `learner.start` | the public initial model, the same on every node |"


def members() -> str:
    """Return the two tables, from the classes' own docstrings."""
    head = "| member | what it is |\n|---|---|"
    node, learner = ("\n".join(_rows(kind, name)) for kind, name in ((Node, "node"), (Learner, "learner")))
    return (
        f"**What a node offers.** `await` what is marked so; times are in virtual seconds.\n\n{head}\n{node}\n\n"
        f"**What the learner offers.** A model is `sv.Model(params, state)`.\n\n{head}\n{_START}\n{learner}\n\n"
    )


def _rows(kind: type, name: str) -> Iterator[str]:
    for member, value in vars(kind).items():
        shown = isinstance(value, property | cached_property) or inspect.isfunction(value)
        if member.startswith("_") or member in _NOT_FOR_PROGRAMS or not shown:
            continue
        text = inspect.getdoc(value) or ""
        words = " ".join(text.partition("\n\n")[0].split()).replace("``", "`").replace(":meth:", "")
        await_ = "await " if inspect.iscoroutinefunction(value) else ""
        yield f"| `{await_}{name}.{member}{_arguments(value)}` | {words.replace('|', '&#124;')} |"


def _arguments(value: object) -> str:
    if not inspect.isfunction(value):
        return ""
    told = []
    for parameter in list(inspect.signature(value).parameters.values())[1:]:
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        told.append(f"{star}{parameter.name}{default}")
    return f"({', '.join(told)})"
