"""Gossip protocols: a file each, or one for those that share a loop. Every module of this folder is imported."""

from importlib import import_module
from pkgutil import iter_modules

from scenarios.kinds.protocols.base import (
    Conditions,
    LinkNeeds,
    Need,
    Protocol,
    ProtocolContext,
    SecureSums,
    TimedProtocol,
    UntimedProtocol,
)

__all__ = [
    "Conditions",
    "LinkNeeds",
    "Need",
    "Protocol",
    "ProtocolContext",
    "SecureSums",
    "TimedProtocol",
    "UntimedProtocol",
]

FIRST = ("dsgd", "asynchronous", "pairwise", "push_sum", "tracking", "federation", "baselines")
"""Modules in the order in which their kinds are listed; those of other modules follow."""

for name in dict.fromkeys((*FIRST, *(module.name for module in iter_modules(__path__)))):
    import_module(f"{__name__}.{name}")
