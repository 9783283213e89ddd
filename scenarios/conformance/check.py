"""Check a kind, metric or figure against everything that its family has to respect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from scenarios.conformance import generic
from scenarios.conformance.findings import Report
from scenarios.format.kind import Kind
from simulator.errors import ConfigurationError

Battery: TypeAlias = Callable[[Report, Any, Path], None]


def check_kind(
    kind: Any, *tables: Mapping[str, Any], base: Path | str | None = None, imports: bool = True
) -> Report:
    """Run the conformance battery of a plug-in author over a kind, a metric or a figure.

    Every kind is checked for documentation, examples, facts, round trips and light imports, then for what its family
    promises, with every table that its examples make: quantiles of a law, the record of releases of a protocol, the
    sum that an aggregation opens and so on. A kind need not be installed for that.

    Args:
        kind: the class of a kind; or a :class:`~analysis.metrics.declared.Metric` or
            :class:`~analysis.figures.declared.Figure`.
        tables: more tables to check, as a file would have them, beside those that examples make.
        base: folder that relative file names start at; the working directory by default.
        imports: whether to check in a process of its own that the module imports no library for computing.

    Returns:
        What was checked and what could not be, for example for want of a file.

    Raises:
        AssertionError: a requirement does not hold; one line for each, with the key or value it is about.
        ConfigurationError: it is nothing that a battery is for.

    Example:
        >>> from scenarios.kinds.latencies.laws import GammaLaw
        >>> from sottovoce.testing import check_kind
        >>> print(check_kind(GammaLaw, imports=False))
        gamma meets 17 requirements
    """
    folder = Path.cwd() if base is None else Path(base)
    if isinstance(kind, type) and issubclass(kind, Kind) and kind.words():
        return _kind(kind, tables, folder, imports)
    battery = _declared(kind)
    if battery is None:
        raise ConfigurationError(
            f"no battery is for {kind!r}; expected the class of a kind, with a key kind, a Metric or a Figure"
        )
    report = Report(kind.name)
    with report.must("it can be used"):
        battery(report, kind, folder)
    return report.conclude()


def _kind(kind: type[Kind], tables: tuple[Mapping[str, Any], ...], base: Path, imports: bool) -> Report:
    report = Report(" | ".join(kind.words()))
    sound = generic.check(report, kind, tables)
    if imports:
        generic.light(report, kind, sound)
    battery = _of_family(kind)
    for i, table in enumerate(sound):
        with report.must("it can be used"):
            try:
                battery(report, table, base)
            except ConfigurationError as refused:
                if i == 0:
                    raise
                keys = table.model_dump(mode="json", exclude_defaults=True)
                report.skip(f"the table {keys}", f"it does not fit what the battery uses: {refused}")
    return report.conclude()


def _of_family(kind: type[Kind]) -> Battery:
    batteries = batteries_of_families()
    for family in kind.__mro__:
        if family in batteries:
            return batteries[family]
    raise ConfigurationError(
        f"{kind.__module__}.{kind.__qualname__} belongs to no family with a battery; derive it from one of "
        f"{', '.join(sorted(family.__name__ for family in batteries))}"
    )


def batteries_of_families() -> Mapping[type[Kind], Battery]:
    """Map each family of kinds to what checks a table of it."""
    from scenarios.conformance import adversary, learning, network, protocols
    from scenarios.kinds.aggregations import Aggregation
    from scenarios.kinds.attacks import Attack
    from scenarios.kinds.compute import Slowdown
    from scenarios.kinds.data import Data
    from scenarios.kinds.faults import Fault
    from scenarios.kinds.groupings import Grouping
    from scenarios.kinds.latencies import DelayLaw, Latency
    from scenarios.kinds.mixing import Mixing
    from scenarios.kinds.optimizers import Optimizer
    from scenarios.kinds.partitions import Partition
    from scenarios.kinds.privacy import CorrelatedNoise
    from scenarios.kinds.protocols import Protocol
    from scenarios.kinds.robust_rules import RobustRule
    from scenarios.kinds.schedules import Schedule
    from scenarios.kinds.tampering import Tamper
    from scenarios.kinds.tasks import Model
    from scenarios.kinds.topologies import Topology
    from scenarios.kinds.transports import Transport

    return {
        DelayLaw: network.law,
        Latency: network.latency,
        Topology: network.topology,
        Mixing: network.mixing,
        Transport: network.transport,
        Fault: network.fault,
        Slowdown: network.slowdown,
        Data: learning.data,
        Partition: learning.partition,
        Model: learning.model,
        Optimizer: learning.optimizer,
        Schedule: learning.schedule,
        RobustRule: adversary.rule,
        Attack: adversary.attack,
        Tamper: adversary.tamper,
        Protocol: protocols.protocol,
        Grouping: protocols.grouping,
        Aggregation: protocols.aggregation,
        CorrelatedNoise: protocols.mechanism,
    }


def _declared(one: Any) -> Battery | None:
    from analysis.figures.declared import Figure
    from analysis.metrics.declared import Metric
    from scenarios.conformance import declared

    if isinstance(one, Metric):
        return declared.metric
    return declared.figure if isinstance(one, Figure) else None
