"""Time that a round needs for its messages, computed from the tables alone, compared with the time-out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

from scenarios.format.locate import Key
from scenarios.kinds.protocols import Conditions, Need
from scenarios.kinds.secure import Secure
from scenarios.schema import Scenario
from simulator.contract.compute import VALUE_BYTES

TIMEOUT: Key = ("protocol", "timeout")


def need(scenario: Scenario) -> Need | None:
    """Return what a round waits for; None if no time-out applies, or more than one does."""
    alike = scenario.compute is None and not any(fault.slows for fault in scenario.fault)
    conditions = Conditions(
        neighbours=scenario.topology.least_degree or 1,
        nodes=scenario.topology.node_count or 2,
        step_cost_s=scenario.training.step_cost,
        alike=alike,
    )
    return scenario.protocol.need(conditions)


def hopeless(scenario: Scenario) -> Iterator[tuple[Key, str]]:
    """Yield an error for a time-out within which no request can be answered."""
    wanted, timeout_s = need(scenario), scenario.protocol.timeout_s
    if wanted is None or timeout_s is None or not wanted.certain:
        return
    least_s = wanted.legs * least_latency_s(scenario)
    if least_s > timeout_s:
        yield (
            TIMEOUT,
            f"must be more than {_ms(least_s)}, which a request and its answer take on these links at least, got "
            f"{_ms(timeout_s)}: no answer would arrive in time; use a longer one",
        )


def tight(scenario: Scenario) -> Iterator[tuple[Key, str]]:
    """Yield a warning for a time-out that is shorter than a round's messages usually take."""
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
            f"is {_ms(timeout_s)}, but the messages of a round usually take {_ms(usual_s)} ({', '.join(parts)}), so "
            "most will arrive too late; use a longer time-out",
        )


# ---------------------------------------------------------------- links


def least_latency_s(scenario: Scenario) -> float:
    """Return a lower bound of the latency of all messages, in seconds; 0 if laws or files have none."""
    network = scenario.network
    if scenario.topology.describes_links:
        return 0.0
    own = [link.latency for link in network.link if link.latency is not None]
    jitter_s = 0.0 if network.jitter is None else network.jitter.least_s
    return min([network.latency.least_s, *own]) + jitter_s


def typical_latency_s(scenario: Scenario) -> float | None:
    """Return the median latency plus the median jitter, in seconds; None if a file gives them."""
    network = scenario.network
    latency_s = network.latency.median_s
    if latency_s is None or scenario.topology.describes_links:
        return None
    return latency_s + (0.0 if network.jitter is None else network.jitter.median_s)


def slowest_uplink_bps(scenario: Scenario) -> float:
    """Return the smallest uplink rate, for all nodes or from a list, in bits per second; infinite without a limit."""
    rates = scenario.network.uplink
    if rates is None:
        return inf
    return float(min(rates)) if isinstance(rates, Sequence) else float(rates)


# ---------------------------------------------------------------- models


def model_bytes(scenario: Scenario) -> int | None:
    """Return the size of a model in a message, without headers; None if it is known only once data are loaded."""
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
