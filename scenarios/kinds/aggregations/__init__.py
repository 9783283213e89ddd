"""Aggregation protocols: how the sums of neighbours' models are secured. Every module of this folder is imported."""

from importlib import import_module
from pkgutil import iter_modules

from scenarios.kinds.aggregations.base import Aggregation, SuiteContext, SuiteFactory

__all__ = ["Aggregation", "SuiteContext", "SuiteFactory"]

FIRST = ("masks", "sharing", "cesar", "trusted", "gopa")
"""Modules in the order in which their kinds are listed; those of other modules follow."""

for name in dict.fromkeys((*FIRST, *(module.name for module in iter_modules(__path__)))):
    import_module(f"{__name__}.{name}")
