"""Twin runs: the same scenario twice, with the same randomness and one node's data changed, compared with the ledger.

Differences between the two runs are caused by the data. Where the ledger charges nothing, everything that an observer
gets must therefore be identical: bodies, kinds, sizes, times, refusals. Protected bodies count as hidden until the
record says that they were opened; opened sums count as seen by the node that opened them. :func:`compare` lists
violations: releases that are not charged. It checks whether something is charged, not whether the amount is enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from protocols.learning.bank import Bank
from protocols.learning.executor import BatchedExecutor
from protocols.privacy.entries import Contribution, Entry, Release
from protocols.privacy.exposure import expose
from protocols.privacy.ledger import Claim, label_of
from protocols.privacy.lineage import PUBLIC, WIRE, Entrusted, Held, Masked, Revealed, Share, Visible
from protocols.privacy.linear_view import ancestors
from protocols.privacy.record import Record, read_record
from scenarios.build import build
from scenarios.run import assemble, claim, end_of, listener
from scenarios.schema import Scenario
from simulator.adversary.wiretap import Wiretap
from simulator.contract.compute import Executor, values_of
from simulator.contract.node import Delivery
from simulator.runtime.virtual import Kernel

HIDING = (Share, Masked, Held, Revealed, Entrusted)
"""Releases of messages whose body shows nothing by itself."""
SLACK_S = 1e-9
"""Rounding of times, which are whole nanoseconds."""


class Seen(NamedTuple):
    """A message or an opened sum that reached an observer.

    Args:
        t_s: virtual time.
        observer: a node, or the wire.
        outside: visible even if the content is protected: sender, receiver, kind, round, size.
        content: readable content; None if it is hidden.
        states: the lineage states that it is declared to show.
        parts: its parts of protected sums.
    """

    t_s: float
    observer: int
    outside: tuple[Any, ...]
    content: Any
    states: tuple[int, ...]
    parts: tuple[Share | Masked | Revealed, ...] = ()


@dataclass
class Transcript:
    """Everything that observers got in one run, and the ledger's claims about it.

    Args:
        byzantine: nodes that pool what they see with all observers.
        seen: in order of time.
        opened: opened sums, with the node that opened them.
        entries: the record of releases.
        claims: of the run.
    """

    byzantine: frozenset[int]
    seen: list[Seen] = field(default_factory=list)
    opened: list[Seen] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def of(self, observers: Collection[int]) -> list[Seen]:
        """Return what reached some observers; for the public, every opened sum."""
        public = PUBLIC in observers
        sums = [one for one in self.opened if public or one.observer in observers]
        return [one for one in self.seen if one.observer in observers] + sums


def altered(victim: int) -> Callable[[Bank], Bank]:
    """Return a change of one node's data: as many samples, other features, its own labels in another order."""

    def change(bank: Bank) -> Bank:
        x, y = bank.x.copy(), bank.y.copy()
        x[victim] = np.float32(1.0) - x[victim]
        count = int(bank.mask[victim].sum())
        y[victim, :count] = np.roll(y[victim, :count], 1)
        return Bank(x, y, bank.mask)

    return change


def transcribe(scenario: Scenario, base: Path, victim: int | None = None) -> Transcript:
    """Run a scenario in virtual time and record everything that is received, tapped or opened.

    Args:
        scenario: the scenario to run.
        base: the folder that relative file names start at.
        victim: the node whose data are changed; None: none.

    Raises:
        ContractError: a body cannot be compared.
        ProgramError: a protocol failed.
    """
    executor = BatchedExecutor()
    parts = build(scenario, executor, base, None if victim is None else altered(victim))
    recorder = listener(scenario, parts, executor)
    told = Transcript(byzantine=parts.cast.corrupt)

    def tap(node: int, delivery: Delivery) -> None:
        message = delivery.message
        outside = (delivery.src, node, message.kind, message.round, message.size_bytes)
        content = _readable(message.body, message.release)
        told.seen.append(Seen(delivery.delivered_s, node, outside, content, *_tags(message.release)))

    def record(t_s: float, node: int, kind: str, fields: Mapping[str, Any]) -> None:
        recorder.record(t_s, node, kind, fields)
        if kind == "opened":
            outside = (node, "opened", fields["round"], tuple(fields["members"]))
            told.opened.append(Seen(t_s, node, outside, fields["value"], ()))

    world = assemble(scenario, parts, executor, recorder)
    everybody = frozenset(range(len(parts.neighbors)))
    heard: dict[int, Any] = {}
    wires = world.adversary.wires
    if wires is not None:
        wires = _listened(wires, heard)
    adversary = replace(world.adversary, curious=everybody, tap=tap, tap_own=None, wires=wires)
    kernel = Kernel(replace(world, adversary=adversary, record=record), parts.link, parts.program)
    if scenario.privacy is not None and scenario.privacy.when_spent == "run":
        recorder.stop = kernel.stop
    end_s = end_of(kernel.run(scenario.stop_after), recorder.finished_s)
    for index, row in enumerate(() if wires is None else wires.rows()):
        release = heard.get(index)
        outside = (row.src, row.dst, row.kind, row.round, row.size_bytes, row.arrived_s)
        content = None if row.kind is None else _readable(row.body, release)
        told.seen.append(Seen(row.left_s, WIRE, outside, content, *_tags(release)))
    told.entries = parts.learner.lineage.record()
    told.claims = claim(scenario, parts, end_s)
    _read(told, executor)
    return told


@dataclass(frozen=True)
class Comparison:
    """Result of two twin runs.

    Args:
        broken: violations, as sentences; empty if everything is charged.
        messages: number of messages that were received or tapped in the first run.
        differing: number of messages or sums that were seen in one run and not in the other.
        sets: number of sets of observers that saw any of those.
    """

    broken: list[str]
    messages: int
    differing: int
    sets: int


def compare(scenario: Scenario, victim: int, base: Path, sets: Sequence[tuple[int, ...]]) -> Comparison:
    """Run a scenario as it is and with one node's data changed, and compare both with the ledger.

    Args:
        scenario: with a mechanism, and data with classes.
        victim: an honest node, whose data are changed.
        base: the folder that relative file names start at.
        sets: sets of observers that pool what they get, beside all single nodes. Byzantine nodes belong to every set.
    """
    one, other = transcribe(scenario, base), transcribe(scenario, base, victim)
    broken = list(_unnamed(one, other, victim))
    for told in (one, other):
        broken += _left_out(told)
    records = [read_record(told.entries) for told in (one, other)]
    nodes = {seen.observer for seen in one.seen + other.seen if seen.observer >= 0} - {victim}
    differing_sets = 0
    for observers in dict.fromkeys([*((node,) for node in sorted(nodes - one.byzantine)), *sets]):
        coalition = frozenset(observers) | one.byzantine
        if victim in coalition:
            continue
        seen = [min((d.t_s for d in _differing(one.of(coalition), other.of(coalition))), default=None)]
        seen += [_first_completed(told.of(coalition), coalition, victim) for told in (one, other)]
        first_s = min((t_s for t_s in seen if t_s is not None), default=None)
        if first_s is None:
            continue
        differing_sets += 1
        who = label_of(observers)
        charged_s = max(_charged_from(record, coalition, victim) for record in records)
        if charged_s > first_s + SLACK_S:
            when = "never" if charged_s == np.inf else f"from {charged_s:g} s on"
            broken.append(
                f"observers {who} see a difference at {first_s:g} s, and node {victim} is charged {when}"
            )
        broken += _claimed_nothing(one, observers, victim)
    differing = len(_differing(one.seen + one.opened, other.seen + other.opened))
    return Comparison(broken, len(one.seen), differing, differing_sets)


def _unnamed(one: Transcript, other: Transcript, victim: int) -> Iterator[str]:
    """Yield messages that differ and carry no release that names the victim."""
    named = [_names(told.entries, victim) for told in (one, other)]
    sides = []
    for told, names in zip((one, other), named, strict=True):
        messages = Counter(
            (m.t_s, m.observer, m.outside, m.content, any(map(names, m.states))) for m in told.seen
        )
        sides.append(messages)
    for mine, theirs in (sides, sides[::-1]):
        for (t_s, observer, outside, content, is_named), count in (mine - theirs).items():
            if not is_named:
                what = "content" if content is not None else "size, time or existence"
                yield (
                    f"{count} message(s) {outside} to {label_of((observer,))} at {t_s:g} s differ in {what} and "
                    f"carry no release that names node {victim}"
                )


def _names(entries: Iterable[Entry], victim: int) -> Callable[[int], bool]:
    """Return a test whether a state depends on a contribution of the victim."""
    record = read_record(entries)
    known: dict[int, bool] = {}

    def names(state: int) -> bool:
        if state not in known:
            columns = record.column[ancestors(record, [state], bytearray(len(record.kinds)))]
            columns = columns[columns >= 0]
            known[state] = bool(((record.owner[columns] == victim) & (record.sensitivity[columns] > 0)).any())
        return known[state]

    return names


def _left_out(told: Transcript) -> Iterator[str]:
    """Yield unrecorded deliveries, releases later than the last claim, and unrecorded reuse of noise."""
    on_record = {
        (entry.t_s, entry.node, entry.parents[0])
        for entry in told.entries
        if isinstance(entry, Release) and len(entry.parents) == 1
    }
    for seen in told.seen:
        for state in seen.states:
            if (seen.t_s, seen.observer, state) not in on_record:
                yield f"what {label_of((seen.observer,))} got at {seen.t_s:g} s {seen.outside} is not on record"
    last_s = max((made.t_s for made in told.claims), default=np.inf)
    late = sum(entry.t_s > last_s for entry in told.entries)
    if late:
        yield f"{late} entries of the record are later than the last claim, at {last_s!r} s"
    record = read_record(told.entries)
    made_s: dict[tuple[int, int], set[float]] = {}
    for entry in told.entries:
        if isinstance(entry, Contribution) and entry.sensitivity > 0:
            made_s.setdefault((entry.node, entry.round), set()).add(entry.t_s)
    for (node, round), times in made_s.items():
        if len(times) > 1 and (node, round) not in record.repeated:
            yield f"node {node} made its update of round {round} {len(times)} times, and the record does not say so"


def _differing(one: Sequence[Seen], other: Sequence[Seen]) -> list[Seen]:
    """Return what was seen in one of two runs and not in the other."""
    sides = [Counter(seen._replace(states=(), parts=()) for seen in side) for side in (one, other)]
    return [*(sides[0] - sides[1]), *(sides[1] - sides[0])]


def _first_completed(seen: Sequence[Seen], coalition: frozenset[int], victim: int) -> float | None:
    """Return the time at which a coalition has all parts of a sum that contains the victim.

    It needs the shares of all other members, or enough answers and the vectors of all other members.
    """
    shares: dict[Any, set[int]] = {}
    vectors: dict[Any, set[int]] = {}
    answers: dict[Any, set[int]] = {}
    asked: dict[Any, Revealed] = {}
    for one in sorted(seen, key=lambda one: one.t_s):
        for tag in one.parts:
            if isinstance(tag, Share):
                have = shares.setdefault((tag.key, tag.members), set())
                have.add(tag.member)
                if victim in tag.members and tag.members <= have | coalition:
                    return one.t_s
            elif isinstance(tag, Masked):
                vectors.setdefault(tag.key, set()).add(tag.member)
            else:
                answers.setdefault((tag.key, tag.members), set()).add(tag.holder)
                asked[tag.key, tag.members] = tag
        for (key, members), holders in answers.items():
            enough = len(holders) >= asked[key, members].threshold
            if enough and victim in members and members <= vectors.get(key, set()) | coalition:
                return one.t_s
    return None


def _charged_from(record: Record, coalition: frozenset[int], victim: int) -> float:
    """Return the time from which what a coalition saw depends on a contribution of the victim."""
    exposure = expose(record, coalition, 1.0)
    columns = (record.owner == victim) & (exposure.shift > 0)
    return float(exposure.reach.first_s[columns].min(initial=np.inf))


def _claimed_nothing(told: Transcript, observers: tuple[int, ...], victim: int) -> Iterator[str]:
    """Yield final claims of zero although something was seen."""
    last_s = max((made.t_s for made in told.claims), default=0.0)
    who = label_of(observers)
    for made in told.claims:
        about = made.victim == victim and made.observers == who and made.t_s == last_s
        if about and made.epsilon == 0 and not made.mu2:
            yield f"observers {who} see a difference, and the {made.basis} figure is 0"


def _tags(release: Any) -> tuple[tuple[int, ...], tuple[Share | Masked | Revealed, ...]]:
    """Return the states that a message declares to show, and its parts of protected sums."""
    tags = release if type(release) is tuple else (release,)
    states = tuple(tag.state for tag in tags if isinstance(tag, Visible))
    return states, tuple(tag for tag in tags if isinstance(tag, Share | Masked | Revealed))


def _readable(body: Any, release: Any) -> Any:
    """Return a body in the form in which it is compared; None if it is protected."""
    parts = release if isinstance(release, tuple) else (release,)
    if any(isinstance(part, HIDING) for part in parts):
        return None
    return (body,)


def _listened(wires: Wiretap, heard: dict[int, Any]) -> Wiretap:
    """Return a wiretap that also records the release of each of its rows."""
    inner = wires.heard

    def hear(t_s: float, round: int, release: Any) -> None:
        heard[len(listening) - 1] = release
        if inner is not None:
            inner(t_s, round, release)

    listening = replace(wires, heard=hear)
    return listening


def _read(told: Transcript, executor: Executor) -> None:
    """Replace all deferred vectors by their values."""
    pending: list[Any] = []

    def collect(body: Any) -> Any:
        if body is None or isinstance(body, bool | int | float | str | bytes):
            return body
        if isinstance(body, tuple):
            return tuple(collect(part) for part in body)
        if isinstance(body, np.generic):
            return body.item()
        if isinstance(body, np.ndarray) or hasattr(body, "size"):
            pending.append(body)
            return _Place(len(pending) - 1)
        return type(body).__name__  # a token of ideal cryptography, whose type and size are all it shows

    held = [[collect(seen.content) for seen in side] for side in (told.seen, told.opened)]
    values = [np.ascontiguousarray(vector).tobytes() for vector in values_of(executor, pending)]

    def put(body: Any) -> Any:
        if isinstance(body, tuple) and not isinstance(body, _Place):
            return tuple(map(put, body))
        return values[body.index] if isinstance(body, _Place) else body

    told.seen = [
        seen._replace(content=put(content)) for seen, content in zip(told.seen, held[0], strict=True)
    ]
    told.opened = [
        seen._replace(content=put(content)) for seen, content in zip(told.opened, held[1], strict=True)
    ]


@dataclass(frozen=True)
class _Place:
    """Place of a deferred value in a body."""

    index: int
