"""The failure detector: no false suspicion on timely links, a bounded delay for the dead, no free knowledge."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.faults.detector import HeartbeatDetector, Suspicions

DETECTOR = HeartbeatDetector(period_s=1.0, timeout_s=2.5)
PERIOD_NS, TIMEOUT_NS = to_ns(DETECTOR.period_s), to_ns(DETECTOR.timeout_s)
TIMELY_NS = TIMEOUT_NS - PERIOD_NS - 1
PEER = 3


def arrivals(sent_ns: list[int], latencies_ns: list[int]) -> list[int]:
    return [sent + latency for sent, latency in zip(sent_ns, latencies_ns, strict=True)]


def suspected(watcher: Suspicions, t_ns: int) -> bool:
    return watcher.suspects(t_ns, [PEER]) == {PEER}


LATENCIES = st.lists(st.integers(0, TIMELY_NS), min_size=1, max_size=30)


@given(LATENCIES, st.integers(0, 100), st.integers(0, 50 * 10**9))
def test_on_timely_lossless_links_nobody_is_suspected_falsely(
    latencies_ns: list[int], seed: int, started_ns: int
) -> None:
    """Heartbeats may overtake each other; silence is looked at just before each arrival, when it is longest."""
    watcher = Suspicions(DETECTOR, started_ns)
    first_ns = DETECTOR.first_ns(PEER, seed, started_ns)
    sent = [first_ns + i * PERIOD_NS for i in range(len(latencies_ns))]
    for t_ns in sorted(arrivals(sent, latencies_ns)):
        assert not suspected(watcher, t_ns)
        watcher.heard(PEER, t_ns)
        assert not suspected(watcher, t_ns)


@given(LATENCIES, st.integers(0, 100))
def test_a_dead_node_is_suspected_within_a_timeout_of_its_last_words(
    latencies_ns: list[int], seed: int
) -> None:
    watcher = Suspicions(DETECTOR, 0)
    first_ns = DETECTOR.first_ns(PEER, seed, 0)
    sent = [first_ns + i * PERIOD_NS for i in range(len(latencies_ns))]
    arrived = arrivals(sent, latencies_ns)
    for t_ns in sorted(arrived):
        watcher.heard(PEER, t_ns)
    assert not suspected(watcher, max(arrived) + TIMEOUT_NS)
    assert suspected(watcher, max(arrived) + TIMEOUT_NS + 1)
    assert max(arrived) <= sent[-1] + max(latencies_ns)


def test_the_bound_on_latency_is_sharp() -> None:
    """A heartbeat that takes timeout - period longer than the one before leaves a silence of a time-out."""
    for extra_ns, false in ((0, False), (1, True)):
        watcher = Suspicions(DETECTOR, 0)
        watcher.heard(PEER, 0)
        next_ns = PERIOD_NS + (TIMEOUT_NS - PERIOD_NS) + extra_ns
        assert suspected(watcher, next_ns) is false


def test_a_peer_never_heard_counts_from_the_start() -> None:
    watcher = Suspicions(DETECTOR, 10**9)
    assert not suspected(watcher, 10**9 + TIMEOUT_NS)
    assert suspected(watcher, 10**9 + TIMEOUT_NS + 1)
    assert watcher.suspected_from_ns(PEER) == 10**9 + TIMEOUT_NS + 1


def test_only_what_was_heard_counts() -> None:
    """Nothing but calls of ``heard`` can end a suspicion, and each ends that of its peer only."""
    watcher = Suspicions(DETECTOR, 0)
    late = TIMEOUT_NS + 1
    watcher.heard(1, 10**9)
    assert watcher.suspects(late, [1, 2, PEER]) == {2, PEER}
    assert watcher.suspects(late, [1]) == frozenset()
    watcher.heard(PEER, late)
    assert watcher.suspects(late, [1, 2, PEER]) == {2}


def test_old_news_does_not_make_a_silence_longer() -> None:
    watcher = Suspicions(DETECTOR, 0)
    watcher.heard(PEER, 5 * 10**9)
    watcher.heard(PEER, 1 * 10**9)
    assert watcher.suspected_from_ns(PEER) == 5 * 10**9 + TIMEOUT_NS + 1


def test_a_new_neighbour_is_not_blamed_for_its_silence_before() -> None:
    watcher = Suspicions(DETECTOR, 0)
    watcher.heard(PEER, 10**9)
    watcher.met(PEER, 20 * 10**9)
    assert not suspected(watcher, 20 * 10**9 + TIMEOUT_NS)
    assert suspected(watcher, 20 * 10**9 + TIMEOUT_NS + 1)


def test_first_heartbeats_are_spread_over_a_period() -> None:
    starts = [DETECTOR.first_ns(node, 5, 7) - 7 for node in range(1000)]
    assert all(0 <= t < PERIOD_NS for t in starts)
    assert starts[:10] == [DETECTOR.first_ns(node, 5, 7) - 7 for node in range(10)]
    # each quarter holds 250 of 1000 uniforms; 5 standard deviations are 68 (fails by chance below 1e-6 each)
    assert all(abs(sum(q <= 4 * t / PERIOD_NS < q + 1 for t in starts) - 250) < 70 for q in range(4))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ((0.0, 1.0), "heartbeats every 0.0 s; a period is above 0"),
        ((nan, 1.0), "heartbeats every nan s; a period is above 0"),
        ((1.0, 1.0), "a time-out of 1.0 s; it is finite and longer than the 1.0 s between heartbeats"),
        ((1.0, inf), "a time-out of inf s"),
        ((1.0, 2.0, -1), "a heartbeat has -1 bytes; expected 0 or more"),
    ],
)
def test_a_detector_that_cannot_be_is_refused(made: tuple[float, ...], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        HeartbeatDetector(*made)  # type: ignore[arg-type]
    assert caught.value.key == "detector"
