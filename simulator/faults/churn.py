"""Churn: nodes that come and go, by laws of their session lengths or by a recorded availability trace.

Sessions are an alternating renewal process (D. R. Cox, Renewal Theory, 1962, chapter 7): up times of one law,
down times of another, all independent. Every length is quantised to nanoseconds when it is drawn, and is at
least one.
"""

from __future__ import annotations

import csv
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import count, pairwise
from math import gamma, inf, isfinite, isinf
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.core.clock import to_ns, to_s
from simulator.errors import ConfigurationError
from simulator.faults.plan import Arrival, Churn, Fault, Outage
from simulator.streams import Law, Prefix

_COLUMNS = ("node", "up_s", "down_s")
_CELLS = 2**16
_DEPTH = 28.0  # the quantile function is integrated up to the probability 1 - exp(-28)
_HEAVY = 1e-3


def weibull(mean_s: float, shape: float = 1.0) -> Law:
    """Weibull with the given mean; shape 1 is exponential, below 1 has a heavier tail.

    Measured session lengths of peer-to-peer systems have shapes of 0.3 to 0.6 (D. Stutzbach and R. Rejaie,
    Understanding Churn in Peer-to-Peer Networks, IMC 2006).
    """
    scale_s = mean_s / gamma(1 + 1 / shape)
    return lambda u: scale_s * (-np.log1p(-u)) ** (1 / shape)


def session_times(sessions: Churn, node: int, seed: int) -> Iterator[tuple[float, float]]:
    """Yield when ``node`` goes down and when it is up again, without end and in order.

    The draws are those of the stream (seed, "sessions", node), or (seed, "sessions", "together", lowest node)
    if the nodes come and go together; no other node and no other fault changes them. A start in equilibrium
    draws the state by the law's means and the rest of the running time from the equilibrium law: a length
    drawn with probability proportional to itself, cut at a uniform point. Means and lengths come from the
    quantile function by quadrature (relative error below 1e-4 for laws with a smooth one). A node that is
    down in equilibrium goes down at ``from_s`` itself.

    Args:
        sessions: the laws.
        node: one of the nodes.
        seed: of the run.

    Returns:
        (down_s, up_s): seconds, each later than the last. If a law gives infinity, the iterator ends, with an
        infinite ``up_s`` if the node is then down.

    Raises:
        ConfigurationError: a start in equilibrium with a mean that is infinite or nearly so.
    """
    key = ("together", min(sessions.nodes)) if sessions.together else (node,)
    draws = Prefix(seed, "sessions", *key)
    return _alternate(sessions, draws, *_start(sessions, draws))


def availability(sessions: Churn) -> float:
    """Long-run share of time a node is up: E[up] / (E[up] + E[down]), whatever the laws' shapes.

    Raises:
        ConfigurationError: a mean is infinite or nearly so.
    """
    up_s, down_s = _lengths(sessions.up).mean_s, _lengths(sessions.down).mean_s
    return up_s / (up_s + down_s)


def downtimes(faults: Iterable[Fault], seed: int) -> dict[int, Iterator[Outage]]:
    """Every node that is ever down, with its outages in order, neither overlapping nor touching.

    A node is down while an outage or a session says so. What began before another ended is one outage; it
    loses the disk if any part of it does. The iterators are lazy, and endless for nodes with sessions.
    """
    plans: defaultdict[int, list[Outage]] = defaultdict(list)
    endless: defaultdict[int, list[Churn]] = defaultdict(list)
    for fault in faults:
        if isinstance(fault, Outage):
            plans[fault.node].append(fault)
        elif isinstance(fault, Churn):
            for node in fault.nodes:
                endless[node].append(fault)
    merged: dict[int, Iterator[Outage]] = {}
    for node in sorted(plans.keys() | endless.keys()):
        sources = [_outages(s, node, seed) for s in endless[node]]
        planned = iter(sorted(plans[node], key=lambda o: o.down_s))
        merged[node] = _joined(heapq.merge(planned, *sources, key=lambda o: o.down_s))
    return merged


def availability_trace(
    file: Path, nodes: int | None = None, *, keeps_disk: bool = True
) -> list[Outage | Arrival]:
    """Read when nodes were there from a CSV file with the columns ``node``, ``up_s``, ``down_s``.

    A row is an interval in which the node is there, in seconds since the start; an empty ``down_s`` means that
    it stays. Rows may come in any order, intervals that touch are one, and nodes without a row are always
    there. A first interval after 0 is an arrival, a gap an outage.

    Args:
        file: the trace.
        nodes: how many nodes there are, if known; the rows' numbers are checked against it.
        keeps_disk: whether nodes find their disks when they return.

    Raises:
        ConfigurationError: the file and line, and what is wrong there.
    """
    rows: defaultdict[int, list[_Row]] = defaultdict(list)
    for row in _rows(file, nodes):
        rows[row.node].append(row)
    plan: list[Outage | Arrival] = []
    for node in sorted(rows):
        plan += _absences(file, node, sorted(rows[node], key=lambda row: row.up_s), keeps_disk)
    return plan


def _start(sessions: Churn, draws: Prefix) -> tuple[bool, int]:
    """Return whether the node is up at the start, and nanoseconds to its first change; -1 for a fresh up time."""
    if not sessions.stationary:
        return True, -1
    at, where = draws.uniforms("start", "state")
    up = at < availability(sessions)
    length_s = _lengths(sessions.up if up else sessions.down).biased_s(draws.uniforms("start", "length")[0])
    return up, max(1, to_ns(length_s * where))


def _alternate(sessions: Churn, draws: Prefix, up: bool, residual_ns: int) -> Iterator[tuple[float, float]]:
    now_ns = to_ns(sessions.from_s)
    for cycle in count():
        at, back = draws.uniforms(cycle)
        if residual_ns < 0:
            up_ns, down_ns = _length_ns(sessions.up, at), _length_ns(sessions.down, back)
        elif up:
            up_ns, down_ns = residual_ns, _length_ns(sessions.down, back)
        else:
            up_ns, down_ns = 0, residual_ns
        residual_ns = -1
        if up_ns is None:
            return
        if down_ns is None:
            yield to_s(now_ns + up_ns), inf
            return
        yield to_s(now_ns + up_ns), to_s(now_ns + up_ns + down_ns)
        now_ns += up_ns + down_ns


def _length_ns(law: Law, at: float) -> int | None:
    with np.errstate(over="ignore"):
        length_s = float(law(np.array([at]))[0])
    return None if isinf(length_s) else max(1, to_ns(length_s))


class _Lengths(NamedTuple):
    """A law's lengths as an interval that covers a random instant sees them: long ones more often."""

    law: Law
    mass: NDArray[np.float64]

    @property
    def mean_s(self) -> float:
        return float(self.mass[-1])

    def biased_s(self, at: float) -> float:
        """Return the length below which the share ``at`` of all time is spent."""
        cell = int(np.searchsorted(self.mass[1:], at * self.mean_s))
        inside = (at * self.mean_s - self.mass[cell]) / (self.mass[cell + 1] - self.mass[cell])
        depth = (cell + inside) * (_DEPTH / _CELLS)
        return float(self.law(np.array([max(-np.expm1(-depth), 2.0**-53)]))[0])


@lru_cache(maxsize=16)
def _lengths(law: Law) -> _Lengths:
    # Cells are even in -log(1 - u), so that the tail, which carries much of the time, is resolved.
    edges = np.linspace(0.0, _DEPTH, _CELLS + 1)
    with np.errstate(over="ignore"):
        lengths_s = law(-np.expm1(-(edges[1:] + edges[:-1]) / 2))
    mass = np.concatenate([[0.0], np.cumsum(lengths_s * -np.diff(np.exp(-edges)))])
    beyond = lengths_s[-1] * np.exp(-_DEPTH)
    if not (isfinite(mass[-1]) and beyond <= _HEAVY * mass[-1]):
        raise ConfigurationError(
            "a law of session times has an infinite mean, or nearly so; choose a lighter tail", "fault"
        )
    return _Lengths(law, mass)


def _outages(sessions: Churn, node: int, seed: int) -> Iterator[Outage]:
    for down_s, up_s in session_times(sessions, node, seed):
        yield Outage(node, down_s, None if isinf(up_s) else up_s, sessions.keeps_disk)


def _joined(outages: Iterator[Outage]) -> Iterator[Outage]:
    """Join outages that overlap or touch; they come ordered by their beginnings."""
    current = next(outages, None)
    if current is None:
        return
    for after in outages:
        if (before_s := current.up_s) is None:
            break
        if to_ns(after.down_s) > to_ns(before_s):
            yield current
            current = after
        else:
            up_s = None if after.up_s is None else max(before_s, after.up_s)
            current = replace(current, up_s=up_s, keeps_disk=current.keeps_disk and after.keeps_disk)
    yield current


class _Row(NamedTuple):
    line: int
    node: int
    up_s: float
    down_s: float


def _rows(file: Path, nodes: int | None) -> Iterator[_Row]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if sorted(header) != sorted(_COLUMNS):
                expected, found = ", ".join(_COLUMNS), ", ".join(header) or "none"
                raise ConfigurationError(f"{file}:1: the columns are {expected}, not {found}", "fault")
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield _row(f"{file}:{reader.line_num}", reader.line_num, header, cells, nodes)
    except FileNotFoundError:
        raise ConfigurationError(f"availability trace {file} does not exist", "fault") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"availability trace {file} is no readable CSV: {error}", "fault") from error


def _row(where: str, line: int, header: list[str], cells: list[str], nodes: int | None) -> _Row:
    if len(cells) != len(header):
        raise ConfigurationError(f"{where}: {len(cells)} cells, but {len(header)} columns", "fault")
    texts: Mapping[str, str] = dict(zip(header, (cell.strip() for cell in cells), strict=True))
    if not (texts["node"].isascii() and texts["node"].isdigit()):
        raise ConfigurationError(f"{where}: node is a number from 0, not {texts['node']!r}", "fault")
    node = int(texts["node"])
    if nodes is not None and node >= nodes:
        raise ConfigurationError(f"{where}: node {node}, but nodes are 0..{nodes - 1}", "fault")
    up_s = _seconds(where, "up_s", texts["up_s"])
    down_s = _seconds(where, "down_s", texts["down_s"]) if texts["down_s"] else inf
    if not isinf(down_s) and to_ns(down_s) <= to_ns(up_s):
        raise ConfigurationError(f"{where}: down_s {down_s} is not later than up_s {up_s}", "fault")
    return _Row(line, node, up_s, down_s)


def _seconds(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (isfinite(value) and value >= 0):
        raise ConfigurationError(f"{where}: {name} is seconds from 0, not {text!r}", "fault")
    return value


def _absences(file: Path, node: int, rows: list[_Row], keeps_disk: bool) -> Iterator[Outage | Arrival]:
    if rows[0].up_s > 0:
        yield Arrival(node, rows[0].up_s)
    for before, after in pairwise(rows):
        if after.up_s < before.down_s:
            raise ConfigurationError(
                f"{file}:{after.line}: node {node} is there already since line {before.line}", "fault"
            )
        if to_ns(after.up_s) > to_ns(before.down_s):
            yield Outage(node, before.down_s, after.up_s, keeps_disk)
    if not isinf(rows[-1].down_s):
        yield Outage(node, rows[-1].down_s, None, keeps_disk)
