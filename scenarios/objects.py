"""Objects in memory that replace tables of a scenario: arrays, a task, a program, a latency law.

A run with objects cannot be repeated from its scenario alone. Its manifest says so: it holds hashes of the arrays and
of the source of functions, and lists what these hashes do not cover.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.learning.data_files import Choices, Raw, assemble
from protocols.learning.dataset import Dataset
from protocols.learning.task import Task
from scenarios.declared import form_of, guard_for
from scenarios.kinds.latencies import PROBED, problem_of_law
from simulator import streams
from simulator.contract.node import Node, Program
from simulator.errors import ConfigurationError
from simulator.streams import Law

if TYPE_CHECKING:
    from protocols.gossip.learner import Learner
    from scenarios.schema import Scenario

TEST_FRACTION = 0.2
"""Fraction of a pair (X, y) that is used for testing."""
ARRAYS = ("train_x", "train_y", "test_x", "test_y")

GossipProgram: TypeAlias = "Callable[[Node, Learner, int], Coroutine[Any, Any, None]]"
"""``program(node, learner, rounds)``."""
Arrays: TypeAlias = "Mapping[str, Any] | tuple[Any, Any] | tuple[Any, Any, Any, Any] | Dataset"


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Objects that a caller gives in place of tables of the scenario; None keeps the table.

    Args:
        data: in place of [data]. ``(X, y)``, of which 20 % are drawn for testing (stream "data");
            ``(train_x, train_y, test_x, test_y)``; a mapping with these four names and optionally ``groups`` (the
            user of each training sample); or a :class:`~protocols.learning.dataset.Dataset`. Features are numbers of
            shape (samples, *shape), labels have shape (samples,): integers, booleans and text are classes,
            floating-point numbers are regression targets.
        task: in place of [model].
        program: in place of the gossip protocol: ``async def program(node, learner, rounds)``. Of [protocol] only
            ``rounds`` and ``exchange`` are used. With [privacy], its messages are of the kinds in its attribute
            ``messages`` (``("model",)`` by default), with at most ``public_numbers`` (0) numbers beside their models.
        latency: in place of network.latency: a quantile function, drawn for every message. It maps an array of
            uniform numbers in (0, 1) to an array of as many seconds, at least 0 and non-decreasing, as the functions
            of :mod:`simulator.network.latency` do.
    """

    data: Arrays | None = None
    task: Task | None = None
    program: GossipProgram | None = None
    latency: Law | None = None

    def __bool__(self) -> bool:
        return any(given is not None for given in (self.data, self.task, self.program, self.latency))

    def check(self, scenario: Scenario, *, live: bool = False) -> None:
        """Check that the objects can be used with a scenario.

        Raises:
            ConfigurationError: an object has the wrong type, or the scenario has a setting that it would ignore.
        """
        problem = next(self._problems(scenario, live), None)
        if problem is not None:
            raise ConfigurationError(problem)

    def _problems(self, scenario: Scenario, live: bool) -> Iterator[str]:
        if self.task is not None and not isinstance(self.task, Task):
            yield f"task: expected a protocols.learning.task.Task, got {_kind(self.task)}"
        if self.program is not None:
            yield from _program_problems(self.program, scenario)
        if self.latency is not None:
            yield from _latency_problems(self.latency, scenario, live)

    def dataset(self, seed: int) -> Dataset | None:
        """Return the given data as a data set; None if none are given.

        Args:
            seed: of the scenario; the split of a pair is drawn from it.

        Raises:
            ConfigurationError: the arrays differ in length, or hold values that are neither numbers nor labels.
        """
        if self.data is None or isinstance(self.data, Dataset):
            return self.data
        arrays = _arrays(self.data)
        train = Raw(arrays["train_x"], arrays["train_y"], arrays.get("groups"))
        test = Raw(arrays["test_x"], arrays["test_y"], None) if "test_x" in arrays else None
        choices = Choices(
            target="number" if train.y.dtype.kind == "f" else "class",
            test_fraction=TEST_FRACTION if test is None else None,
        )
        return assemble(train, test, choices, streams.generator(seed, "data"))

    def task_for(self, dataset: Dataset) -> Task | None:
        """Return the task after checking that it fits the data; None if none is given.

        Raises:
            ConfigurationError: its number of classes differs from the data's, or its parameters do not have its size.
        """
        task = self.task
        if task is None:
            return None
        if task.classes != dataset.classes:
            raise ConfigurationError(
                f"task: {task.name} has {task.classes or 'no'} classes, the data have {dataset.classes or 'none'}; "
                "give Task(classes=...) the number of classes of the data, None for regression"
            )
        start = np.shape(task.init(np.random.default_rng(0)))
        if start != (task.size,):
            raise ConfigurationError(
                f"task: init of {task.name} returns parameters of shape {start}; expected ({task.size},), its size"
            )
        return task

    def program_for(self, learner: Learner, scenario: Scenario) -> Program | None:
        """Return the program that every node runs; None if none is given.

        With a [privacy] table, messages must declare what they reveal, and the learner is that of the scenario
        (:class:`~scenarios.declared.Guard`).
        """
        program, rounds = self.program, scenario.protocol.rounds
        if program is None:
            return None
        if scenario.privacy is None:
            return lambda node: program(node, learner, rounds)
        guard = guard_for(scenario, learner, program)
        guarded, node_of = guard.learner, guard.node
        return lambda node: program(node_of(node), guarded, rounds)

    def facts(self) -> dict[str, Any] | None:
        """Return the manifest's description of the objects, JSON-ready; None without objects.

        Hashes of arrays cover type, shape and content. Hashes of functions cover their source only: outside variables
        that a function refers to are listed with it (``uses``), and the hash is null if its source cannot be read.
        """
        if not self:
            return None
        found: dict[str, Any] = {"reproducible_from_scenario_alone": False}
        if self.data is not None:
            found["data"] = {"replaces": "data", **_facts_of_data(self.data)}
        if self.task is not None:
            task = self.task
            functions = {name: describe(getattr(task, name)) for name in ("init", "loss", "evaluate")}
            found["task"] = {
                "replaces": "model",
                "name": task.name,
                "parameters": task.size,
                "classes": task.classes,
                **functions,
            }
        if self.program is not None:
            found["program"] = {"replaces": "protocol.kind", **describe(self.program)}
        if self.latency is not None:
            quantiles = dict(zip(map(str, PROBED), self.latency(np.array(PROBED)).tolist(), strict=True))
            found["latency"] = {
                "replaces": "network.latency",
                **describe(self.latency),
                "quantiles_s": quantiles,
            }
        return found

    def warning(self) -> str | None:
        """Return a warning for the summary that the scenario alone does not repeat the run; None without objects."""
        names = [name for name in ("data", "task", "program", "latency") if getattr(self, name) is not None]
        if not names:
            return None
        text = (
            f"Objects in memory replaced tables of the scenario: {', '.join(names)}. The scenario alone does not "
            "repeat this run; manifest.json holds their hashes under objects."
        )
        if self.program is not None:
            text += " Privacy losses count only what the program's messages declare as released."
        return text


NOTHING = Objects()
"""No objects: the tables of the scenario are used."""


def refuse_objects(manifest: Mapping[str, Any], folder: Path) -> None:
    """Check that a run used no objects in memory, so that it can be rebuilt from its manifest.

    Raises:
        ConfigurationError: the run was given data, a task or a program in memory.
    """
    given = [name for name in ("data", "task", "program") if name in (manifest.get("objects") or {})]
    if given:
        raise ConfigurationError(
            f"{folder}: this run was given {', '.join(given)} in memory, which its folder does not hold, so it "
            "cannot be rebuilt; run it from a scenario file that describes all its parts"
        )


def describe(function: Callable[..., Any]) -> dict[str, Any]:
    """Describe a function: its name, the hash of its source and the outside variables it uses, JSON-ready.

    Returns:
        ``name`` (module and qualified name), ``sha256`` (of the source; None if it cannot be read), and ``uses``:
        outside variables that the source refers to, with their values if those are plain and their types otherwise.
    """
    plain = inspect.unwrap(function)
    if not inspect.isroutine(plain):
        plain = getattr(type(plain), "__call__", plain)  # noqa: B004
    owner = function if hasattr(function, "__qualname__") else type(function)
    try:
        source: str | None = inspect.getsource(plain)
    except (OSError, TypeError):
        source = None
    try:
        held = inspect.getclosurevars(plain)
        uses = {**held.globals, **held.nonlocals}
    except (TypeError, ValueError):  # written in C
        uses = {}
    return {
        "name": f"{owner.__module__}.{owner.__qualname__}",
        "sha256": None if source is None else sha256(source.encode()).hexdigest(),
        "uses": {name: _noted(value) for name, value in sorted(uses.items()) if not inspect.ismodule(value)},
    }


def _noted(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else f"<{_kind(value)}>"


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


# ---------------------------------------------------------------- data


def _arrays(data: Any) -> dict[str, NDArray[Any]]:
    if isinstance(data, Mapping):
        unknown = sorted(set(data) - {*ARRAYS, "groups"})
        missing = [name for name in ARRAYS if name not in data]
        if unknown or missing:
            told = f"no {', '.join(missing)}" if missing else f"unknown names {', '.join(map(str, unknown))}"
            raise ConfigurationError(f"data: {told}; expected {', '.join(ARRAYS)} and optionally groups")
        named = dict(data)
    elif isinstance(data, tuple | list) and len(data) in (2, 4):
        named = dict(zip(ARRAYS, data, strict=False))
    else:
        raise ConfigurationError(
            f"data: expected (X, y), (train_x, train_y, test_x, test_y) or a mapping with these names, got "
            f"{_kind(data)}" + (f" of {len(data)}" if isinstance(data, tuple | list) else "")
        )
    arrays = {name: _text(np.asarray(values)) for name, values in named.items()}
    for name in ("train_x", "test_x"):
        if name in arrays and arrays[name].dtype.kind not in "biuf":
            raise ConfigurationError(f"data: {name} must hold numbers, got {arrays[name].dtype}; convert it")
    return arrays


def _text(values: NDArray[Any]) -> NDArray[Any]:
    """Convert text labels that are Python objects, as in tables, to an array of text."""
    only_text = values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat)
    return values.astype(np.str_) if only_text else values


def _facts_of_data(data: Any) -> dict[str, Any]:
    if isinstance(data, Dataset):
        arrays = {name: np.asarray(getattr(data, name)) for name in ARRAYS}
        arrays |= {} if data.groups is None else {"groups": data.groups}
    else:
        arrays = _arrays(data)
    whole, shapes = sha256(), {}
    for name, values in sorted(arrays.items()):
        shapes[name] = {"dtype": str(values.dtype), "shape": list(values.shape)}
        whole.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        whole.update(np.ascontiguousarray(values).tobytes())
    drawn = {"test_fraction": TEST_FRACTION} if "test_x" not in arrays else {}
    return {"sha256": whole.hexdigest(), "arrays": shapes, **drawn}


# ---------------------------------------------------------------- program and latency


def _program_problems(program: Any, scenario: Scenario) -> Iterator[str]:
    form = "async def program(node, learner, rounds)"
    if not inspect.iscoroutinefunction(program):
        yield f"program: expected {form}, got {_kind(program)}"
        return
    try:
        inspect.signature(program).bind(None, None, 1)
    except TypeError as error:
        yield f"program: expected {form}; calling {program.__qualname__} with these arguments fails: {error}"
    try:
        form_of(scenario, program)
    except ConfigurationError as error:
        yield str(error)
    protocol, privacy = scenario.protocol, scenario.privacy
    if protocol.exchange == "secure":
        yield (
            'protocol.exchange: must be "plain" or "ldp" with program, got "secure": a program has no secure sums'
        )
    if protocol.pools_data:
        yield f'protocol.kind: "{protocol.kind}" pools all data at one node and runs no program; use "dsgd"'
    if protocol.rule is not None:
        yield "protocol.robust: has no effect with program, which replaces the mixing; remove it"
    if privacy is not None and privacy.correlated is not None:
        yield "privacy.correlated: has no effect with program, which replaces the protocol that adds it; remove it"


def _latency_problems(law: Any, scenario: Scenario, live: bool) -> Iterator[str]:
    form = "latency: expected a function from an array of numbers in (0, 1) to as many seconds"
    if live:
        yield "latency: has no effect in a live run, whose messages travel over real sockets; leave it out"
    if not callable(law):
        yield f"{form}, got {_kind(law)}"
        return
    problem = problem_of_law(law)
    if problem is not None:
        yield f"{form}; {problem}"
    network = scenario.network
    if network.jitter is not None:
        yield "network.jitter: has no effect with latency, which is drawn for every message; remove jitter"
    if any(link.latency is not None for link in network.link) or scenario.topology.describes_links:
        yield (
            "network.link: latencies of single links have no effect with latency, which is drawn for every message; "
            "remove them, and topology.attributes"
        )
