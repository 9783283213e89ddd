"""What a time-out has to leave room for: how long messages take by the tables alone, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf

from scenarios.format.locate import Key
from scenarios.kinds import data as data_tables
from scenarios.kinds import training as training_tables
from scenarios.kinds.protocols import Conditions, Need
from scenarios.kinds.secure import Secure
from scenarios.schema import Scenario

TIMEOUT: Key = ("protocol", "timeout")
VALUE_BYTES = 4
"""A parameter travels as one 32-bit number."""


def need(scenario: Scenario) -> Need | None:
    """Return what a round waits for; None where no time-out decides, or more than one does."""
    alike = scenario.compute is None and all(fault.kind != "slow" for fault in scenario.fault)
    conditions = Conditions(
        neighbours=scenario.topology.least_degree or 1,
        nodes=scenario.topology.node_count or 2,
        step_cost_s=scenario.training.step_cost,
        alike=alike,
    )
    return scenario.protocol.need(conditions)


def hopeless(scenario: Scenario) -> Iterator[tuple[Key, str]]:
    """A time-out within which no request can be answered is refused: nothing would ever be averaged."""
    wanted, timeout_s = need(scenario), scenario.protocol.timeout_s
    if wanted is None or timeout_s is None or not wanted.certain:
        return
    least_s = wanted.legs * least_latency_s(scenario)
    if least_s > timeout_s:
        yield (
            TIMEOUT,
            f"a request and its answer take at least {_ms(least_s)} on these links, longer than the time-out of "
            f"{_ms(timeout_s)}, so nothing would ever be averaged; use more than {_ms(least_s)}",
        )


def tight(scenario: Scenario) -> Iterator[tuple[Key, str]]:
    """Warn of a time-out that is shorter than what has to fit into it usually takes."""
    wanted, timeout_s = need(scenario), scenario.protocol.timeout_s
    latency_s = typical_latency_s(scenario)
    if wanted is None or timeout_s is None or latency_s is None:
        return
    travelling_s, sending_s = wanted.legs * latency_s, 0.0
    size, bps = model_bytes(scenario), slowest_uplink_bps(scenario)
    parts = [f"{wanted.legs} x {_ms(latency_s)} of latency"]
    if size is not None and bps < inf:
        sending_s = wanted.models * 8 * size / bps
        parts.append(f"{_ms(sending_s)} to send {wanted.models} models of {size} bytes")
    if wanted.computing_s > 0:
        parts.append(f"{_ms(wanted.computing_s)} of training")
    usual_s = travelling_s + sending_s + wanted.computing_s
    if usual_s > timeout_s:
        yield (
            TIMEOUT,
            f"usually {_ms(usual_s)} pass until what a round waits for is there ({', '.join(parts)}), and the "
            f"time-out is {_ms(timeout_s)}: most of what is waited for will come too late",
        )


# ---------------------------------------------------------------- links


def least_latency_s(scenario: Scenario) -> float:
    """No message takes less; 0 where laws or files do not say."""
    network = scenario.network
    if scenario.topology.describes_links:
        return 0.0
    own = [link.latency for link in network.link if link.latency is not None]
    jitter_s = 0.0 if network.jitter is None else network.jitter.least_s
    return min([network.latency.least_s, *own]) + jitter_s


def typical_latency_s(scenario: Scenario) -> float | None:
    """The median of the latency law, and of jitter on top; None where a file decides."""
    network = scenario.network
    latency_s = network.latency.median_s
    if latency_s is None or scenario.topology.describes_links:
        return None
    return latency_s + (0.0 if network.jitter is None else network.jitter.median_s)


def slowest_uplink_bps(scenario: Scenario) -> float:
    """The smallest sending rate that the tables give to all nodes alike or in a list; infinite without a limit."""
    rates = scenario.network.uplink
    if rates is None:
        return inf
    return float(min(rates)) if isinstance(rates, Sequence) else float(rates)


# ---------------------------------------------------------------- models


def model_bytes(scenario: Scenario) -> int | None:
    """Size of a model on the wire, without headers; None where only the data files or the task know it."""
    shape = _shape(scenario)
    if shape is None:
        return None
    features, outputs = shape
    match scenario.model:
        case training_tables.SoftmaxModel() | training_tables.LinearModel():
            widths = [features, outputs]
        case training_tables.MlpModel(hidden=hidden):
            widths = [features, *([hidden] if isinstance(hidden, int) else hidden), outputs]
        case _:
            return None
    parameters = sum((a + 1) * b for a, b in pairwise(widths))
    return parameters * _word_bytes(scenario.secure if scenario.protocol.exchange == "secure" else None)


def _word_bytes(secure: Secure | None) -> int:
    return VALUE_BYTES if secure is None else -(-secure.modulus_bits // 8)


def _shape(scenario: Scenario) -> tuple[int, int] | None:
    """Features of a sample, and outputs of a model."""
    match scenario.data:
        case data_tables.BlobsData() as data:
            return data.features, data.classes
        case data_tables.LinearData() as data:
            return data.features, 1
        case data_tables.DigitsData():
            return 64, 10
        case data_tables.BreastCancerData():
            return 30, 2
        case data_tables.WineData():
            return 13, 3
        case data_tables.DiabetesData():
            return 10, 1
        case _:
            return None


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.4g} ms" if seconds < 1 else f"{seconds:.4g} s"
