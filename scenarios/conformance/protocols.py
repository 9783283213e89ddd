"""Requirements of gossip protocols, aggregation protocols and correlated noise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.conformance import worlds
from scenarios.conformance.findings import Report, Unmet, expect
from scenarios.conformance.worlds import Outcome
from scenarios.format.tables import keys_of
from scenarios.kinds.aggregations import Aggregation
from scenarios.kinds.groupings import Grouping
from scenarios.kinds.privacy import CorrelatedNoise
from scenarios.kinds.protocols import Conditions, Need, Protocol
from scenarios.reading.choices import choices_of
from simulator import streams

if TYPE_CHECKING:
    from protocols.gossip.grouping import Group

AWAY = 2
"""The node that crashes."""
CLOSE = 2e-3
"""Relative difference of single-precision vectors that counts as none."""


def protocol(report: Report, table: Protocol, base: Path) -> None:
    """Check a gossip protocol in small worlds: what it sends, records and does when a node crashes."""
    small = table.model_copy(update={"rounds": worlds.ROUNDS})
    exchanges = choices_of(keys_of(type(table))["exchange"].annotation)
    with report.must("it knows the exchange plain, or secure alone"):
        expect("plain" in exchanges or tuple(exchanges) == ("secure",), f"exchange is one of {exchanges}")
    need = table.need(Conditions(neighbours=3, nodes=worlds.NODES, step_cost_s=0.01, alike=True))
    with report.must("need() gives what has to fit into the time-out, or None"):
        expect(need is None or isinstance(need, Need), f"it gives {need!r}")
        expect(need is None or table.timeout_s is not None, "there is a need, and timeout_s is None")
    for exchange in exchanges:
        _exchange(report, small.model_copy(update={"exchange": exchange}), base)


def grouping(report: Report, table: Grouping, base: Path) -> None:
    """Check a schedule of groups: disjoint, large enough, inside the links, and a function of public inputs."""
    from scenarios.kinds.groupings import GroupingContext

    nodes, least, rounds = 16, 3, range(6)
    ring = [sorted({(v + step) % nodes for step in (-2, -1, 1, 2)}) for v in range(nodes)]
    links = [[w for w in range(nodes) if w != v] for v in range(nodes)] if table.needs_all_links else ring
    context = GroupingContext(nodes, least, partial(streams.generator, 5, "groups"), lambda round: links)
    one, other = (table.build(context) for _ in range(2))
    smallest = table.smallest(min(map(len, links)), nodes)
    with report.must("smallest() is a number of members, or None"):
        expect(smallest is None or smallest >= 1, f"it is {smallest!r}")
    for round in rounds:
        groups = one.groups(round)
        members = [v for group in groups for v in group.members]
        with report.must("groups are disjoint sets of nodes"):
            expect(len(set(members)) == len(members), f"round {round} has a node twice")
            expect(set(members) <= set(range(nodes)), f"round {round} has members {sorted(set(members))}")
        with report.must("groups have as many members as they must, ascending"):
            expect(
                all(len(group.members) >= least for group in groups),
                f"round {round} has a group of {min((len(group.members) for group in groups), default=0)}",
            )
            expect(
                all(list(g.members) == sorted(g.members) for g in groups), f"round {round} is not in order"
            )
        with report.must("those who may open a sum are members"):
            expect(
                all(group.order and set(group.order) <= set(group.members) for group in groups),
                f"round {round}",
            )
        with report.must("every node computes the same groups"):
            expect(groups == other.groups(round), f"round {round} differs between two nodes")
        with report.must("groups keep to the links"):
            for group in groups:
                _linked(group, links, table.by_tree, round)
    with report.must("somebody takes part"):
        expect(any(one.groups(round) for round in rounds), "no round has a group")


def _linked(group: Group, links: Sequence[Sequence[int]], by_tree: bool, round: int) -> None:
    if by_tree:
        above = group.parents
        expect(set(above) == set(group.members) - {group.order[0]}, f"round {round} has no tree")
        expect(all(parent in links[v] for v, parent in above.items()), f"round {round} leaves the links")
        expect(group.height(group.order[0]) < len(group.members), f"round {round} has a cycle")
        return
    for opener in group.order:
        expect(
            set(group.members) <= {opener, *links[opener]}, f"round {round}: {opener} has no link to a member"
        )


def _tables(table: Protocol) -> dict[str, Any]:
    """Return the tables of a world that the protocol can run in, beside its own."""
    return {"topology": {"kind": "star", "nodes": worlds.NODES}} if table.links.tree_levels else {}


def _scenario(table: Protocol) -> Any:
    """Return a world with the protocol, checked with a shipped one of the same exchange."""
    stand_in: dict[str, Any] = {"kind": "dsgd", "rounds": table.rounds, "exchange": table.exchange}
    tables = _tables(table)
    if table.links.tree_levels:
        stand_in |= {"kind": "fedavg"}
    if table.exchange != "plain":
        tables |= {"privacy": worlds.PRIVACY}
    if table.exchange == "secure":  # integer noise is for equal weights only, and a table may have others
        secure: dict[str, Any] = {"crypto": "ideal"}
        if table.states_are_public:  # groups as small as can be, and trees that nobody may be missing from
            secure |= {"tolerated_dropouts": 0}
        tables |= {"secure": secure, "privacy": worlds.PRIVACY | {"law": "gaussian"}}
        stand_in |= {"inner_train": False} if table.links.tree_levels else {}
    return worlds.scenario_of(protocol=stand_in, **tables).model_copy(update={"protocol": table})


def _exchange(report: Report, table: Protocol, base: Path) -> None:
    scenario, way = _scenario(table), f'with exchange = "{table.exchange}" '
    first = worlds.run(scenario, base)
    with report.must(way + "every node finishes its rounds and records its models"):
        expect(not first.stopped, f'nodes {sorted(first.stopped)} never finish; record "finished" and return')
        behind = [node for node in range(worlds.NODES) if first.recorder.rounds.get(node) != table.rounds]
        expect(not behind, f'nodes {behind[:3]} recorded no "model" of round {table.rounds}')
    with report.must(way + "two runs of one seed have the same events and models"):
        again = worlds.run(scenario, base)
        expect(first.trace == again.trace, "events differ")
        expect(_difference(first, again) == 0.0, f"models differ by {_difference(first, again):g}")
    _messages(report, first, way)
    _ledger(report, first, way)
    _dropout(report, first, base, way)


def _messages(report: Report, outcome: Outcome, way: str) -> None:
    table = outcome.scenario.protocol
    expected = set(table.messages)
    if table.exchange == "secure":
        assert outcome.scenario.secure is not None
        expected = {*outcome.scenario.secure.aggregation.messages, *table.messages_beside_sums}
    with report.must(way + "messages are of the kinds that the protocol names"):
        strange = outcome.kinds - expected
        expect(not strange, f"{', '.join(sorted(strange))} was sent; name it in messages")


def _ledger(report: Report, outcome: Outcome, way: str) -> None:
    """Check that the record of releases has everything that was shown, as it was shown."""
    from protocols.privacy.entries import Contribution

    table = outcome.scenario.protocol
    made = [entry for entry in outcome.entries if isinstance(entry, Contribution)]
    if table.exchange == "ldp":
        with report.must(way + "every local update is recorded once, with its noise"):
            for node in range(worlds.NODES):
                rounds = [entry.round for entry in made if entry.node == node]
                expect(
                    len(rounds) <= table.rounds,
                    f"node {node} has {len(rounds)} contributions in {table.rounds} rounds",
                )
                expect(
                    len(set(rounds)) == len(rounds),
                    f"node {node} contributes twice in a round: its noise is reused",
                )
            expect(made, "nothing was contributed; train with learner.local_update or learner.merge_update")
            expect(all(entry.sigma > 0 for entry in made), "a contribution has no noise")
    if table.exchange == "secure":
        with report.must(way + "no member of a sum shows a model"):
            members = [
                message
                for node, message in outcome.sent
                if not (table.served and node == 0) and message.kind not in table.shows_sums
            ]
            shown = {message.kind for message in members if _states(message)}
            expect(not shown, f"{', '.join(sorted(shown))} does")
        with report.must(way + "sums are opened"):
            due = table.updates_between_sums <= table.rounds and table.asked_part == 1.0
            expect(made and (outcome.recorder.counts["opened"] or not due), "none was opened")
        return
    with report.must(way + "every vector that is sent is in the record of releases"):
        for node, message in outcome.sent:
            vectors = _vectors(message.body)
            told = f"message {message.kind} of node {node} has {len(vectors)} and releases {len(_states(message))}"
            expect(
                len(vectors) == len(_states(message)), told + "; make it with protocols.gossip.messages.show"
            )
    with report.must(way + "a vector that is sent is what the record says it is"):
        _faithful(outcome)


def _faithful(outcome: Outcome) -> None:
    import numpy as np

    from simulator.contract.compute import values_of

    states = worlds.values(outcome)
    for node, message in outcome.sent:
        vectors = values_of(outcome.recorder.executor, _vectors(message.body))
        for vector, state in zip(vectors, _states(message), strict=True):
            if state in states and len(vector) == len(states[state]):
                scale = 1.0 + float(np.abs(states[state]).max())
                gap = float(np.abs(np.asarray(vector, np.float64) - states[state]).max()) / scale
                told = f"message {message.kind} of node {node}, round {message.round}, is off by {gap:.2g}"
                expect(gap < CLOSE, told + "; mix with learner.combine")


def _vectors(body: Any) -> list[Any]:
    """List the vectors of a body: arrays, and handles of values that may not be computed yet."""
    parts = body if isinstance(body, tuple) else (body,)
    return [part for part in parts if getattr(part, "size", 1) > 1]


def _states(message: Any) -> list[int]:
    """List the states that a message shows to its receiver."""
    from protocols.privacy.lineage import Visible

    release = message.release if isinstance(message.release, tuple) else (message.release,)
    if isinstance(message.release, Visible):
        release = (message.release,)
    return [one.state for one in release if isinstance(one, Visible)]


def _dropout(report: Report, calm: Outcome, base: Path, way: str) -> None:
    """Check that the others finish if a node crashes for ever, and that it goes on if it comes back."""
    from simulator.faults.plan import Outage

    half_s = calm.ended_s / 2
    for name, back_s in (("for ever", None), ("for a while", calm.ended_s * 0.7)):
        with report.must(f"{way}the others finish if a node crashes {name}"):
            outcome = worlds.run(calm.scenario, base, [Outage(AWAY, half_s, back_s)])
            expect(not outcome.stopped, f"nodes {sorted(outcome.stopped)} never finish; wait with a time-out")
        if back_s is not None and calm.scenario.protocol.exchange == "ldp":
            with report.must(f"{way}a node that comes back repeats no local update"):
                _once(outcome)


def _once(outcome: Outcome) -> None:
    from protocols.privacy.entries import Contribution

    rounds = [
        entry.round for entry in outcome.entries if isinstance(entry, Contribution) and entry.node == AWAY
    ]
    expect(
        len(set(rounds)) == len(rounds),
        f"rounds {rounds}; write the next round to node.disk before the update",
    )


def _difference(one: Outcome, other: Outcome) -> float:
    """Return the largest difference between two outcomes' last models, relative to their size."""
    import numpy as np

    if one.models.keys() != other.models.keys():
        raise Unmet(f"models of nodes {sorted(one.models)} and {sorted(other.models)}")
    gaps = [
        float(np.abs(model - other.models[node]).max() / (1.0 + np.abs(model).max()))
        for node, model in one.models.items()
    ]
    return max(gaps, default=0.0)


# ---------------------------------------------------------------- secure sums


def aggregation(report: Report, table: Aggregation, base: Path) -> None:
    """Check an aggregation protocol: it opens the right sums, and ideal cryptography changes nothing but the work."""
    from scenarios.kinds.aggregations.trusted import TrustedAggregation

    real, ideal = (_summed(table, crypto, base) for crypto in ("real", "ideal"))
    with report.must("every sum is opened where nothing fails"):
        opened, wanted = real.recorder.counts["opened"], worlds.NODES * worlds.ROUNDS
        expect(opened == wanted and not real.stopped, f"{opened} of {wanted}")
        mixing = real.recorder.mixing
        expect(mixing.heard == mixing.wanted, f"of {mixing.wanted} members {mixing.heard} are in sums")
    with report.must("ideal cryptography has the same events and models as real"):
        expect(real.trace == ideal.trace, "events differ: sizes or times of messages are not the same")
        expect(_difference(real, ideal) < CLOSE, f"models differ by {_difference(real, ideal):g}")
    with report.must("two runs of one seed have the same events and models"):
        again = _summed(table, "real", base)
        expect(again.trace == real.trace and _difference(again, real) == 0.0, "they differ")
    if table.sums_whole_vectors:
        with report.must("opened sums are those of a trusted party"):
            gap = _difference(real, _summed(TrustedAggregation(kind="trusted"), "real", base))
            expect(gap < CLOSE, f"models differ by {gap:g}")
    else:
        report.skip("opened sums are those of a trusted party", "positions have different members")
    with report.must("messages are of the kinds that messages names"):
        strange = real.kinds - {*table.messages, *real.scenario.protocol.messages_beside_sums}
        expect(not strange, f"{', '.join(sorted(strange))} was sent")
    with report.must("recovering() is at most the number of holders, or None"):
        for holders in (3, 5, 20):
            needed = table.recovering(holders, 0)
            expect(needed is None or 1 <= needed <= holders, f"{needed} of {holders} holders")
    with report.must("a run comes to its end if a node crashes"):
        from simulator.faults.plan import Outage

        crashed = worlds.run(real.scenario, base, [Outage(AWAY, real.ended_s / 2, None)])
        expect(not crashed.stopped, f"nodes {sorted(crashed.stopped)} never finish")


def _summed(table: Aggregation, crypto: str, base: Path) -> Outcome:
    scenario = worlds.scenario_of(
        network={
            "latency": {"kind": "constant", "value": "20 ms"}
        },  # in step, so that nobody is left out of a sum
        protocol={"kind": "dsgd", "rounds": worlds.ROUNDS, "exchange": "secure", "timeout": "2 s"},
        privacy=worlds.PRIVACY,
        secure={"crypto": crypto},
    )
    assert scenario.secure is not None
    secure = scenario.secure.model_copy(update={"aggregation": table})
    return worlds.run(scenario.model_copy(update={"secure": secure}), base)


# ---------------------------------------------------------------- correlated noise


def mechanism(report: Report, table: CorrelatedNoise, base: Path) -> None:
    """Check noise that cancels in averages."""
    plain = worlds.scenario_of(
        protocol={"kind": "dsgd", "rounds": 1, "exchange": "ldp"}, privacy=worlds.PRIVACY
    )
    assert plain.privacy is not None
    noised = plain.model_copy(update={"privacy": plain.privacy.model_copy(update={"correlated": table})})
    first, again, without = (worlds.run(one, base) for one in (noised, noised, plain))
    with report.must("two runs of one seed have the same events and models"):
        expect(first.trace == again.trace and _difference(first, again) == 0.0, "they differ")
    with report.must("messages are of the kinds that messages names"):
        strange = first.kinds - {*table.messages, *plain.protocol.messages}
        expect(not strange, f"{', '.join(sorted(strange))} was sent")
    with report.must("models that are sent have noise of their own"):
        expect(
            _difference(first, without) >= 0.0 and _shown_differs(first, without), "they are those without it"
        )
    with report.must("the noise cancels in the average of all models"):
        expect((gap := _gap_of_means(first, without)) < CLOSE, f"the average moves by {gap:g}")
    with report.must("every vector that is sent is in the record of releases"):
        for node, message in first.sent:
            if message.kind in plain.protocol.messages:
                expect(_states(message), f"message {message.kind} of node {node} releases nothing")


def _shown_differs(one: Outcome, other: Outcome) -> bool:
    import numpy as np

    from simulator.contract.compute import values_of

    kinds = other.kinds
    bodies = [
        values_of(each.recorder.executor, [m.body for _, m in each.sent if m.kind in kinds])
        for each in (one, other)
    ]
    return any(not np.allclose(a, b) for a, b in zip(*bodies, strict=False))


def _gap_of_means(one: Outcome, other: Outcome) -> float:
    import numpy as np

    means = [np.mean(list(each.models.values()), axis=0) for each in (one, other)]
    scale = max(1.0, *(float(np.abs(model).max()) for model in one.models.values()))
    return float(np.abs(means[0] - means[1]).max()) / scale
