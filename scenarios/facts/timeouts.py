"""What a time-out has to leave room for: how long messages take by the tables alone, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, log
from statistics import median
from typing import TypeAlias

from scenarios.checks.topology import least_degree
from scenarios.format.locate import Key
from scenarios.kinds import data as data_tables
from scenarios.kinds import latencies as tables
from scenarios.kinds import protocols
from scenarios.kinds import training as training_tables
from scenarios.kinds.aggregations import Secure
from scenarios.schema import Scenario

TIMEOUT: Key = ("protocol", "timeout")
VALUE_BYTES = 4
"""A parameter travels as one 32-bit number."""
AnyLaw: TypeAlias = "tables.Law | tables.DrawnLatency | tables.ConstantLaw"


@dataclass(frozen=True)
class Need:
    """What has to fit into one time-out.

    Args:
        legs: latencies, one after another: 2 for a request and its answer.
        models: models that an uplink sends meanwhile, one after another.
        computing_s: local training in between.
        certain: whether nothing happens at all when legs alone do not fit.
    """

    legs: int
    models: int
    computing_s: float
    certain: bool


def need(scenario: Scenario) -> Need | None:
    """What a round waits for; None where no time-out decides, or more than one does."""
    protocol, around = scenario.protocol, least_degree(scenario) or 1
    cost_s = scenario.training.step_cost
    match protocol:
        case protocols.DsgdProtocol() | protocols.FedavgProtocol() if protocol.exchange == "secure":
            return Need(2, around if isinstance(protocol, protocols.DsgdProtocol) else 1, 0.0, certain=True)
        case protocols.FedavgProtocol():
            # A server that trains too starts to wait when its own training is over.
            training_s = 0.0 if protocol.inner_train else protocol.mix_every * cost_s
            alike = scenario.compute is None and not any(fault.slows for fault in scenario.fault)
            clients = max(1, getattr(scenario.topology, "nodes", 2) - 1)
            return Need(2, clients + 1, training_s, certain=alike or not protocol.inner_train)
        case protocols.DsgdProtocol() | protocols.PushSumProtocol():
            return Need(1, around, 0.0, certain=False)
        case protocols.TrackingProtocol():
            return Need(1, 2 * around, 0.0, certain=False)
        case protocols.PairwiseProtocol():
            return Need(2, 2, -cost_s, certain=False)
        case _:
            return None


def hopeless(scenario: Scenario) -> Iterator[tuple[Key, str]]:
    """A time-out within which no request can be answered is refused: nothing would ever be averaged."""
    wanted, timeout_s = need(scenario), getattr(scenario.protocol, "timeout", None)
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
    wanted, timeout_s = need(scenario), getattr(scenario.protocol, "timeout", None)
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
    if getattr(scenario.topology, "attributes", False):
        return 0.0
    base_s = _least(network.latency)
    own = [link.latency for link in network.link if link.latency is not None]
    jitter_s = 0.0 if network.jitter is None else _least(network.jitter)
    return min([base_s, *own]) + jitter_s


def typical_latency_s(scenario: Scenario) -> float | None:
    """The median of the latency law, and of jitter on top; None where a file decides."""
    network = scenario.network
    if isinstance(network.latency, tables.MatrixLatency | tables.GeographicLatency):
        return None
    if getattr(scenario.topology, "attributes", False):
        return None
    return _median(network.latency) + (0.0 if network.jitter is None else _median(network.jitter))


def slowest_uplink_bps(scenario: Scenario) -> float:
    """The smallest sending rate that the tables give to all nodes alike or in a list; infinite without a limit."""
    rates = scenario.network.uplink
    if rates is None:
        return inf
    return float(min(rates)) if isinstance(rates, Sequence) else float(rates)


def _least(law: tables.Law | tables.Latency) -> float:
    match law:
        case tables.ConstantLaw():
            return law.value
        case tables.UniformLaw():
            return law.low
        case tables.ParetoLaw():
            return law.minimum
        case tables.EmpiricalLaw():
            return min(law.samples)
        case tables.LognormalLaw(sigma=0):
            return law.median
        case tables.GeographicLatency():
            return law.per_hop
        case _:
            return 0.0


def _median(law: AnyLaw) -> float:
    match law:
        case tables.ConstantLaw():
            return law.value
        case tables.UniformLaw():
            return (law.low + law.high) / 2
        case tables.LognormalLaw():
            return law.median
        case tables.NormalLaw():
            return law.mean  # before the cut at zero, which moves it up a little
        case tables.GammaLaw():
            return float(law.mean * max(0.0, 1 - 1 / (9 * law.shape)) ** 3)  # Wilson and Hilferty 1931
        case tables.ExponentialLaw():
            return law.mean * log(2)
        case tables.WeibullLaw():
            return float(law.scale * log(2) ** (1 / law.shape))
        case tables.ParetoLaw():
            return float(law.minimum * 2 ** (1 / law.tail))
        case tables.EmpiricalLaw():
            return float(median(law.samples))


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
