"""Simulate secure decentralised learning and measure the trade-off of privacy, utility and latency.

::

    import sottovoce as sv

    run = sv.run("quickstart", changes={"protocol.rounds": 20})
    run.accuracy_mean, run.epsilon_worst, run.metrics

Names are imported when they are first used, so that ``import sottovoce`` itself is fast.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sottovoce.clash import clash, is_command

if TYPE_CHECKING:
    from protocols.gossip.learner import Learner, Model
    from protocols.learning.task import Task
    from scenarios.load import Loaded, ScenarioErrors
    from scenarios.schema import Scenario
    from simulator.contract.node import Message, Node
    from simulator.errors import (
        ConfigurationError,
        ContractError,
        ProgramError,
        SottovoceError,
        StorageError,
    )
    from sottovoce.accounts import audit, infer, privacy
    from sottovoce.loading import kinds, load
    from sottovoce.looking import plot, read_run, read_study, report
    from sottovoce.programs import received_model, send_model
    from sottovoce.results import Run, Study
    from sottovoce.running import live, run
    from sottovoce.studying import sweep, whatif

    __version__: str

__all__ = [
    "ConfigurationError",
    "ContractError",
    "Learner",
    "Loaded",
    "Message",
    "Model",
    "Node",
    "ProgramError",
    "Run",
    "Scenario",
    "ScenarioErrors",
    "SottovoceError",
    "StorageError",
    "Study",
    "Task",
    "__version__",
    "audit",
    "infer",
    "kinds",
    "live",
    "load",
    "plot",
    "privacy",
    "read_run",
    "read_study",
    "received_model",
    "report",
    "run",
    "send_model",
    "sweep",
    "whatif",
]

_HOMES = {
    "protocols.gossip.learner": ("Learner", "Model"),
    "protocols.learning.task": ("Task",),
    "scenarios.load": ("Loaded", "ScenarioErrors"),
    "scenarios.schema": ("Scenario",),
    "simulator.contract.node": ("Message", "Node"),
    "simulator.errors": (
        "ConfigurationError",
        "ContractError",
        "ProgramError",
        "SottovoceError",
        "StorageError",
    ),
    "sottovoce.accounts": ("audit", "infer", "privacy"),
    "sottovoce.loading": ("kinds", "load"),
    "sottovoce.looking": ("plot", "read_run", "read_study", "report"),
    "sottovoce.programs": ("received_model", "send_model"),
    "sottovoce.results": ("Run", "Study"),
    "sottovoce.running": ("live", "run"),
    "sottovoce.studying": ("sweep", "whatif"),
}
"""Module of each name; the imports above declare the same for type checkers."""
_HOME = {name: module for module, names in _HOMES.items() for name in names}

_hidden = clash()
if _hidden is not None and not is_command():
    raise ImportError(_hidden)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = version("sottovoce")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(
            f"module 'sottovoce' has no attribute {name!r}; it has {', '.join(__all__)}", name=name
        )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
