"""Latencies: laws of a delay, delays between places of a file, and what each comes to on the links of a run.

A law is a subclass of :class:`DelayLaw`; it may then be used for ``network.latency`` and for ``network.jitter``. A
latency that is no law is a subclass of :class:`Latency`.
"""

from __future__ import annotations

from scenarios.kinds.latencies import laws, places
from scenarios.kinds.latencies.family import PROBED, DelayLaw, Delays, Latency, named, problem_of_law

__all__ = ["PROBED", "DelayLaw", "Delays", "Latency", "laws", "named", "places", "problem_of_law"]
