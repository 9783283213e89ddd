"""What a time-out has to leave room for: how long messages take by the tables alone, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

from scenarios.format.locate import Key
from scenarios.kinds.protocols import Conditions, Need
from scenarios.kinds.secure import Secure
from scenarios.schema import Scenario

TIMEOUT: Key = ("protocol", "timeout")
VALUE_BYTES = 4
"""A parameter travels as one 32-bit number."""


def need(scenario: Scenario) -> Need | None:
    """Return what a round waits for; None where no time-out decides, or more than one does."""
    alike = scenario.compute is None and not any(fault.slows for fault in scenario.fault)
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
    """Size of a model on the wire, without headers; None where only loading the data or building the model tells."""
    features = scenario.data.feature_count
    if features is None:
        return None
    parameters = scenario.model.parameters(features, scenario.data.class_count)
    if parameters is None:
        return None
    return parameters * _word_bytes(scenario.secure if scenario.protocol.exchange == "secure" else None)


def _word_bytes(secure: Secure | None) -> int:
    return VALUE_BYTES if secure is None else -(-secure.modulus_bits // 8)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.4g} ms" if seconds < 1 else f"{seconds:.4g} s"
