"""Graphs and schedules of graphs from files, with what they say of each link."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import IO, TypeAlias

import networkx as nx

from simulator.contract.node import Link
from simulator.errors import ConfigurationError

Schedule: TypeAlias = list[tuple[float, list[Link]]]


@dataclass(frozen=True)
class GraphFile:
    """A graph as a file gives it.

    Args:
        graph: undirected, on 0..n-1, without attributes; of a directed file the union of both directions.
        labels: the name of each node in the file; numbered in their order, numeric if all are whole numbers.
        attributes: (from, to) -> the attributes of the link in that direction, raw: numbers or text such as
            "50 ms". Every link of the graph has an entry for each direction: in an undirected file the same two,
            in a directed one an empty one where the file has no such edge.
    """

    graph: nx.Graph
    labels: tuple[str, ...]
    attributes: Mapping[Link, Mapping[str, object]]


def read(file: Path, format: str) -> GraphFile:
    """Read a graph: graphml, gml, edgelist (``1 2 {'latency': 5}`` gives attributes) or adjlist.

    Self-loops are dropped. A link that is listed more than once is one link, if it is the same each time.

    Raises:
        ConfigurationError: the file is missing or broken, holds fewer than two nodes, or lists a link
            twice with different attributes.
    """
    if format not in _READERS:
        known = ", ".join(_READERS)
        raise ConfigurationError(
            f"topology format {format!r} is unknown; expected one of {known}", "topology.format"
        )
    raw = _parsed(file, format)
    if len(raw) < 2:
        raise ConfigurationError(f"topology file {file} holds fewer than two nodes", "topology.path")
    numeric = all(_INTEGER.fullmatch(str(label)) for label in raw)
    ordered = sorted(raw, key=(lambda label: int(label)) if numeric else str)
    number = {label: i for i, label in enumerate(ordered)}
    attributes: dict[Link, Mapping[str, object]] = {}
    for a, b, data in raw.edges(data=True):
        if a == b:
            continue
        link = (number[a], number[b])
        if attributes.setdefault(link, dict(data)) != data:
            raise ConfigurationError(
                f"topology file {file} lists the link from {a} to {b} more than once, with different attributes",
                "topology.path",
            )
    if not raw.is_directed():
        attributes |= {(b, a): data for (a, b), data in attributes.items()}
    graph = nx.empty_graph(len(ordered))
    graph.add_edges_from(attributes)
    for a, b in list(attributes):
        attributes.setdefault((b, a), {})
    return GraphFile(graph, tuple(map(str, ordered)), attributes)


def mixing_weights(found: GraphFile) -> dict[Link, float]:
    """(receiver, source) -> the attribute ``weight`` of the link from the source to the receiver.

    Raises:
        ConfigurationError: a link has no weight or one that is no number.
    """
    weights = {}
    for (source, receiver), data in found.attributes.items():
        value = data.get("weight")
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ConfigurationError(
                f"the link from {found.labels[source]} to {found.labels[receiver]} has "
                + (
                    "no attribute weight"
                    if value is None
                    else f"weight {value!r}, which is no number; expected one from 0 to 1"
                ),
                "mixing.kind",
            )
        weights[receiver, source] = float(value)
    return weights


def read_schedule(file: Path, nodes: int) -> Schedule:
    """Read the links that hold from one time to the next: a CSV file with the columns from, a and b.

    A row is an undirected link between node numbers ``a`` and ``b`` that holds from ``from`` (seconds or a
    round, 0 or more) until the next time in the file; times ascend. A row with a time alone says that no links
    hold from then on.

    Returns:
        The times, ascending, each with its links (smaller number first).

    Raises:
        ConfigurationError: the file is missing or a row is wrong; it is named by its line.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as lines:
            rows = list(_rows(csv.reader(lines, strict=True), file, nodes))
    except FileNotFoundError:
        raise ConfigurationError(f"schedule file {file} does not exist", "topology.path") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigurationError(
            f"schedule file {file} is no readable CSV: {_line(error)}", "topology.path"
        ) from error
    if not rows:
        raise ConfigurationError(
            f"schedule file {file} is empty; expected at least one row of from, a, b", "topology.path"
        )
    return [(time, [link for _, link in at if link]) for time, at in groupby(rows, key=lambda row: row[0])]


def _rows(reader: Iterator[list[str]], file: Path, nodes: int) -> Iterator[tuple[float, Link | None]]:
    def wrong(problem: str) -> ConfigurationError:
        return ConfigurationError(f"{file}:{line}: {problem}", "topology.path")

    before, seen, line = 0.0, set[Link | None](), 1
    head = [name.strip() for name in next(reader, [])]
    if sorted(head) != ["a", "b", "from"]:
        raise wrong(f"the columns are {', '.join(head) or 'missing'}; expected from, a, b")
    for cells in reader:
        line = reader.line_num  # type: ignore[attr-defined]
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            raise wrong(f"{len(cells)} columns; expected 3: {', '.join(head)}")
        row = {name: cell.strip() for name, cell in zip(head, cells, strict=True)}
        try:
            time = float(row["from"])
        except ValueError:
            time = -1.0
        if not (time >= 0 and isfinite(time)):
            raise wrong(f"from is {row['from']!r}; expected seconds or a round, 0 or more")
        if time < before:
            raise wrong(f"from is {time:g} after {before:g}; expected times that ascend")
        if time > before:
            before, seen = time, set()
        ends = [row["a"], row["b"]]
        link = None
        if any(ends):
            for name, end in zip("ab", ends, strict=True):
                if not (end.isascii() and end.isdigit() and int(end) < nodes):
                    raise wrong(f"{name} is {end!r}; expected a node from 0 to {nodes - 1}")
            low, high = sorted(map(int, ends))
            if low == high:
                raise wrong(f"node {low} is linked to itself; expected two different nodes")
            link = (low, high)
        if link in seen or (seen and (link is None or None in seen)):
            raise wrong(
                f"the link {link[0]}-{link[1]} is listed twice at {time:g}"
                if link in seen and link
                else f"at {time:g} there are both links and a row that says there are none"
            )
        seen.add(link)
        yield time, link


def _gml(file: Path) -> nx.Graph:
    try:
        return nx.read_gml(file)
    except nx.NetworkXError:
        return nx.read_gml(file, label="id")


@nx.utils.open_file(0, mode="rb")  # type: ignore[untyped-decorator]
def _adjlist(file: IO[bytes]) -> nx.Graph:
    """Parse as networkx does, with blank lines skipped, at which it fails."""
    lines = (line.decode().partition("#")[0] for line in file)
    return nx.parse_adjlist(line for line in lines if line.strip())


_INTEGER = re.compile(r"-?[0-9]+")

_READERS: dict[str, Callable[[Path], nx.Graph]] = {
    "graphml": nx.read_graphml,
    "gml": _gml,
    # A multigraph keeps repeated links apart, so that contradictions are seen.
    "edgelist": partial(nx.read_edgelist, create_using=nx.MultiGraph),
    "adjlist": _adjlist,
}


def _parsed(file: Path, format: str) -> nx.Graph:
    try:
        return _READERS[format](file)
    except FileNotFoundError:
        raise ConfigurationError(f"topology file {file} does not exist", "topology.path") from None
    except (
        nx.NetworkXException,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OSError,
        EOFError,
        SyntaxError,
        RecursionError,
    ) as error:
        raise ConfigurationError(
            f"topology file {file} is no readable {format}: {_line(error)}", "topology.path"
        ) from error


def _line(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
