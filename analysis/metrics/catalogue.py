"""All metrics: those of sottovoce, in the order in which they are written, and those of plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from analysis.formats.keys import SUMMARY
from analysis.metrics.declared import EVALUATION, EVENTS, GROUP, Event, Metric, Snapshot, Value
from simulator import plugins
from simulator.errors import ConfigurationError
from simulator.plugins import OURSELVES, declared

POINTS = "0 to 1"
ALIKE = 0.8
"""Likeness (of difflib) from which an unknown event is taken for a misspelt one."""
RESERVED = frozenset(key.name for key in SUMMARY)
"""Names of the summary, which no metric of a plug-in can have."""


@cache
def metrics() -> Mapping[str, Metric]:
    """Map names to all metrics, those of plug-ins last.

    Raises:
        ConfigurationError: a plug-in cannot be loaded, is no metric, counts an event that only resembles one that
            there is, or a name is taken twice.
    """
    found = declared(GROUP, Metric, OWN, RESERVED)
    for metric in found.values():
        problem = _problem(metric)
        if problem is not None:
            raise ConfigurationError(f"{metric.told}: {problem}")
    return found


def _problem(metric: Metric) -> str | None:
    """Return what is wrong with the declaration of a metric; None if nothing is."""
    texts = {"event": metric.event, "doc": metric.doc, "unit": metric.unit}
    for name, text in texts.items():
        if not isinstance(text, str):
            return f"{name} must be text, got {type(text).__name__}"
    for name, function in (("reduce", metric.reduce), ("value", metric.value)):
        if not callable(function):
            return f"{name} must be a function, got {type(function).__name__}"
    near = [] if _known(metric.event) else get_close_matches(metric.event, (EVALUATION, *EVENTS), 1, ALIKE)
    return f'there is no event "{metric.event}", did you mean "{near[0]}"?' if near else None


def _known(event: str) -> bool:
    return event == EVALUATION or event in EVENTS


def unrecorded(recorded: Container[str]) -> Iterator[str]:
    """Yield a sentence for each metric whose event is none of sottovoce's and was not recorded either.

    Args:
        recorded: kinds of the events of a run.
    """
    for metric in metrics().values():
        if not _known(metric.event) and metric.event not in recorded:
            yield (
                f'The {metric.told} measured nothing: no program recorded its event "{metric.event}", and sottovoce '
                f"itself has only {', '.join(EVENTS)}."
            )


def measured(snapshot: Snapshot, shown: Callable[[Metric], bool]) -> Iterator[tuple[Metric, dict[str, Any]]]:
    """Yield the metrics of a selection with their values at an evaluation, by name.

    Args:
        snapshot: of the evaluation.
        shown: selects metrics.

    Raises:
        ConfigurationError: a metric fails, or a name that it returns is used by another metric or by the summary.
    """
    by: dict[str, Metric] = {}
    for metric in metrics().values():
        values = dict(metric.values(snapshot)) if shown(metric) else {}
        for name in values:
            other = by.setdefault(name, metrics().get(name, metric))
            reserved = name in RESERVED and metric not in OWN
            if reserved or other is not metric:
                owner = OURSELVES if reserved else other.told
                raise ConfigurationError(
                    f'{metric.told} returned a value named "{name}", which is a name of {owner}; rename it'
                )
        if shown(metric):
            yield metric, values


def names() -> list[str]:
    """List the names of all metrics.

    Raises:
        ConfigurationError: as :func:`metrics`.
    """
    return list(metrics())


def of_plugins() -> dict[str, Metric]:
    """Map names to the metrics of plug-ins.

    Raises:
        ConfigurationError: as :func:`metrics`.
    """
    own = {metric.name for metric in OWN}
    return {name: metric for name, metric in metrics().items() if name not in own}


def packages() -> dict[str, str]:
    """Map the names of metrics of plug-ins to package and version."""
    return plugins.packages(GROUP)


def _local(part: str) -> Callable[[Snapshot], Value]:
    return lambda s: None if s.local is None else getattr(s.local, part)


def _over_nodes(of: Callable[[Snapshot], Any]) -> Callable[[Snapshot], Value]:
    """Make a reduction over all nodes: None if no node is up, or there is nothing to measure."""

    def reduce(snapshot: Snapshot) -> Value:
        found = of(snapshot) if snapshot.nodes else None
        return None if found is None else float(found)

    return reduce


def _by_class(snapshot: Snapshot) -> dict[str, float]:
    if not snapshot.nodes:
        return {}
    by_class = snapshot.found.by_class
    return {f"accuracy_class_{label}": by_class[:, label].mean() for label in range(by_class.shape[1])}


def _of_nodes(name: str, reduce: Callable[[Snapshot], Any], doc: str, unit: str = "") -> Metric:
    """Declare a metric of single nodes."""
    return Metric(name, EVALUATION, reduce, doc, unit, at_end=False)


def _of_all(name: str, of: Callable[[Snapshot], Any], doc: str, unit: str = "") -> Metric:
    """Declare a metric of all honest nodes that are up."""
    return Metric(name, EVALUATION, _over_nodes(of), doc, unit)


def _count(name: str, event: str, doc: str) -> Metric:
    """Declare a count of events."""
    return Metric(
        name,
        event,
        lambda kept, _: (kept or 0) + 1,
        doc,
        value=lambda kept: kept or 0,
        over_time=False,
    )


def _clip(_: Any, event: Event) -> float:
    return float(event.fields["value"])


OWN = (
    _of_nodes("accuracy", lambda s: s.accuracy, "test accuracy of the node's model", POINTS),
    _of_nodes("loss", lambda s: s.loss, "mean test loss of the node's model"),
    _of_nodes("task", lambda s: s.found.others, "further measurements of the task, each under its own name"),
    _of_nodes(
        "local_accuracy", _local("accuracy"), "accuracy on the test samples that the node keeps", POINTS
    ),
    _of_nodes("local_loss", _local("loss"), "loss on the test samples that the node keeps"),
    _of_nodes(
        "backdoor_success", lambda s: s.backdoor, "fraction of samples on which a trigger works", POINTS
    ),
    _of_all("accuracy_mean", lambda s: s.accuracy.mean(), "mean of `accuracy`", POINTS),
    _of_all("accuracy_worst", lambda s: s.accuracy.min(), "lowest `accuracy`", POINTS),
    _of_all("loss_mean", lambda s: s.loss.mean(), "mean of `loss`"),
    _of_all("loss_worst", lambda s: s.loss.max(), "largest `loss`"),
    _of_all(
        "consensus_distance",
        lambda s: s.consensus_distance,
        "root mean square distance of honest models to their mean",
    ),
    _of_all(
        "disagreement",
        lambda s: s.found.disagreement,
        "chance that two different models predict different classes for a test sample",
        POINTS,
    ),
    Metric(
        "accuracy_class",
        EVALUATION,
        _by_class,
        "mean accuracy on the test samples of one class: `accuracy_class_0`, `accuracy_class_1` and so on",
        POINTS,
        at_end=False,
    ),
    _of_all(
        "local_accuracy_mean",
        lambda s: None if s.local is None else s.local.accuracy.mean(),
        "mean of `local_accuracy`",
        POINTS,
    ),
    _of_all(
        "backdoor_success_mean",
        lambda s: None if s.backdoor is None else s.backdoor.mean(),
        "mean of `backdoor_success`",
        POINTS,
    ),
    Metric("bytes_sent", EVALUATION, lambda s: s.bytes_sent, "by all nodes so far", "bytes", at_end=False),
    Metric("clip", "clip", _clip, "last norm of adaptive clipping", over_time=False),
    _count("unanswered", "unanswered", "offers without an answer in time"),
    _count("stale", "stale", "models discarded by their age"),
    _count("sums_opened", "opened", "secure sums that were opened"),
    _count("sums_skipped", "skipped", "attempts at secure sums that failed"),
    _count("lists_refused", "refused", "requests refused by members of sums"),
    _count("late_answers", "late", "answers that came after their sum had ended"),
    _count("wrong_shares", "wrong_share", "shares that were corrected"),
    _count("withheld", "withheld", "vectors out of range"),
    _count("confined", "confined", "models that were outside the public range"),
    _count("keys_refused", "key_refused", "public keys with a wrong proof or signature"),
    _count("malformed", "malformed", "messages that could not be read"),
    _count("attacks_in_the_dark", "attack in the dark", "attacks that had no honest model in view"),
)
"""Metrics of sottovoce."""
