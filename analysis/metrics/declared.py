"""Declared metrics, and their inputs: evaluations of models, and events that programs record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigurationError
from simulator.plugins import in_words, packages

if TYPE_CHECKING:
    from protocols.learning.evaluate import Evaluation
    from protocols.learning.local_test import LocalEvaluation

GROUP = "sottovoce.metrics"
"""Entry points of metrics of other packages."""
EVALUATION = "evaluation"
"""Value of ``Metric.event`` for metrics computed at evaluations."""

EVENTS = (
    *(
        "attack in the dark",
        "averaged",
        "budget spent",
        "clip",
        "common model",
        "confined",
        "finished",
        "gave up",
    ),
    *(
        "key_refused",
        "keys_missing",
        "late",
        "malformed",
        "mass",
        "mixed",
        "model",
        "opened",
        "refused",
        "skipped",
    ),
    *("stale", "sum ended", "surplus", "too few to compare", "unanswered", "withheld", "wrong_dealing"),
    *("wrong_share", "wrong_shares"),
)
"""Kinds of events that the protocols of sottovoce record; programs and protocols of others may record more."""

Vector: TypeAlias = NDArray[np.float64]
Value: TypeAlias = float | Vector | None
"""One number for all honest nodes that are up, or one for each; None where there is no value."""


@dataclass(frozen=True, slots=True)
class Event:
    """Event that a program recorded with ``node.record``.

    Args:
        t_s: time, seconds.
        node: node that recorded it.
        fields: recorded content.
    """

    t_s: float
    node: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Honest nodes that were up at one evaluation.

    Args:
        t_s: time, seconds.
        nodes: their numbers, ascending.
        found: results on the common test set, one value per node.
        consensus_distance: root mean square distance to the mean model; NaN without nodes.
        bytes_sent: by all nodes so far.
        rounds: finished rounds of each node.
        local: accuracy and loss on the test samples that each node keeps; None without any.
        backdoor: fraction of triggered samples to which each model assigns the target class; None without a backdoor.
        counted: values of the metrics computed from events, so far.
    """

    t_s: float
    nodes: tuple[int, ...]
    found: Evaluation
    consensus_distance: float
    bytes_sent: int
    rounds: tuple[int, ...]
    local: LocalEvaluation | None = None
    backdoor: Vector | None = None
    counted: Mapping[str, Value] = field(default_factory=dict)

    @property
    def accuracy(self) -> Vector:
        """Return the accuracy of each node's model; NaN in regression."""
        return self.found.accuracy

    @property
    def loss(self) -> Vector:
        """Return the loss of each node's model."""
        return self.found.loss

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """Return whether each node's model holds NaN or infinity (its accuracy counts as chance)."""
        return self.found.diverged


@dataclass(frozen=True)
class Metric:
    """Measurement of a run over time and at its end.

    Args:
        name: in metrics.parquet and summary.json.
        event: input of the metric: :data:`EVALUATION`, or a kind of event that programs record.
        reduce: for an evaluation, called with its :class:`Snapshot`; returns a number, an array with one number for
            each of ``snapshot.nodes``, a mapping from further names to these, or None. For an event, called with its
            last result (None at first) and the :class:`Event`; returns the new result.
        doc: description.
        unit: of its values; "" for numbers without a unit.
        value: from the last result for events (None if there was none) to a number, or None.
        over_time: whether it is in metrics.parquet.
        at_end: whether it is in summary.json; an array as its mean.
    """

    name: str
    event: str
    reduce: Callable[..., Any]
    doc: str
    unit: str = ""
    value: Callable[[Any], float | None] = lambda kept: kept
    over_time: bool = True
    at_end: bool = True

    def folded(self, kept: Any, event: Event) -> Any:
        """Return the result after one more event.

        Raises:
            ConfigurationError: the metric fails.
        """
        return self._guarded(self.reduce, kept, event)

    def counted(self, kept: Any) -> Value:
        """Return the value of the result for events.

        Raises:
            ConfigurationError: the metric fails.
        """
        return self._checked(self.name, self._guarded(self.value, kept), None)

    def values(self, snapshot: Snapshot) -> Iterator[tuple[str, float | Vector]]:
        """Yield name and value of every measurement at an evaluation, NaN left out.

        Raises:
            ConfigurationError: the metric fails, or does not return one number per node.
        """
        made = self.event == EVALUATION
        found = self._guarded(self.reduce, snapshot) if made else snapshot.counted.get(self.name)
        for name, value in found.items() if isinstance(found, Mapping) else ((self.name, found),):
            if not isinstance(name, str):
                raise ConfigurationError(
                    f"{self.told} returned a value named {name!r:.60}; expected text as name"
                )
            checked = self._checked(name, value, len(snapshot.nodes))
            if checked is not None:
                yield name, checked

    @property
    def told(self) -> str:
        """Return what an error calls the metric: its name and, of a plug-in, package and version."""
        package = packages(GROUP).get(self.name)
        return f"metric {self.name}" + ("" if package is None else f" of package {package}")

    def _checked(self, name: str, value: Any, nodes: int | None) -> Value:
        """Return a number, or an array with one of each node if there are ``nodes``; None where there is no value."""
        if value is None:
            return None
        if type(value) in (int, float):
            return None if value != value else value
        try:
            array = np.asarray(value)
        except Exception as error:  # lists of lists of unequal lengths, for example
            raise self._no_value(name, value) from error
        if array.dtype.kind not in "biuf":
            raise self._no_value(name, value)
        if array.ndim and array.shape != (nodes,):
            wanted = (
                "one number" if nodes is None else f"one number, or one for each of {nodes} snapshot.nodes"
            )
            raise ConfigurationError(
                f"{self.told} returned an array of shape {array.shape} as {name}; expected {wanted}"
            )
        numbers = array.astype(np.float64) if array.dtype != np.float64 else array
        if np.isnan(numbers).all():
            return None
        return numbers if array.ndim else float(numbers)

    def _no_value(self, name: str, value: Any) -> ConfigurationError:
        return ConfigurationError(
            f"{self.told} returned a value of type {type(value).__name__} as {name}; a metric may return a number, "
            "an array with a number for each node, a mapping from names to these, or None"
        )

    def _guarded(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:  # a metric of a plug-in may raise anything
            raise ConfigurationError(
                f"{self.told} failed: {in_words(error)}; repair it or uninstall its package"
            ) from error
