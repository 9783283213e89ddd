"""What one key alone cannot tell: cross-checks over a whole scenario.

Each check is a small generator of (key, message) pairs and looks at one rule. All of them run, so a scenario
file is told everything at once. Graph-dependent rules run again when a random graph or a graph file has been
built (:func:`check_degrees`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from scenarios.checks import attacks, topology
from scenarios.checks import data as checks_data
from scenarios.checks import faults as checks_faults
from scenarios.checks import network as checks_network
from scenarios.checks import protocol as checks_protocol
from scenarios.checks import secure as checks_secure
from scenarios.checks import training as checks_training
from scenarios.checks.own import own_problems
from scenarios.checks.topology import Found
from scenarios.facts.secure import LEAST_HONEST, asked, is_federated, per_position
from scenarios.facts.timeouts import hopeless
from scenarios.facts.training import has_integer_noise, is_linear, sums_in_all, sums_per_round
from scenarios.format.locate import Key, dotted
from scenarios.format.observers import NOTHING_PUBLIC, check_observers
from scenarios.kinds.aggregations import CorrelatedAggregation
from scenarios.kinds.protocols import DsgdProtocol, FedavgProtocol
from scenarios.kinds.studies import Series, Whatif
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

Check: TypeAlias = Callable[[Scenario], Found]


# ---------------------------------------------------------------- nodes named in the file


def named_nodes(scenario: Scenario) -> Found:
    """Every node named is in the graph."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from checks_network.outside(_mentioned(scenario), nodes + _sybils(scenario))


def _sybils(scenario: Scenario) -> int:
    """Identities that the adversary adds after all other nodes."""
    sybil = scenario.adversary.sybil
    return sybil.identities if sybil is not None and sybil.enabled else 0


def _mentioned(scenario: Scenario) -> Iterator[tuple[Key, int]]:
    yield from checks_faults.mentioned(scenario)
    privacy = scenario.privacy
    if privacy is not None and privacy.observers != "each node":
        for i, members in enumerate(privacy.observers):
            for j, node in enumerate(members if not isinstance(members, str) else ()):
                yield ("privacy", "observers", i, j), int(node)


def somebody_honest(scenario: Scenario) -> Found:
    """Not every node is Byzantine."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from _all_byzantine(scenario, nodes)


def _all_byzantine(scenario: Scenario, nodes: int) -> Found:
    byzantine = scenario.adversary.byzantine
    if byzantine and byzantine.enabled and set(byzantine.nodes or ()) >= set(range(nodes)):
        yield ("adversary", "byzantine", "nodes"), "all nodes are Byzantine; nobody honest is left to measure"


def _is_tapped(scenario: Scenario) -> bool:
    wiretap = scenario.adversary.wiretap
    return wiretap is not None and wiretap.enabled


def observer_sets(scenario: Scenario) -> Found:
    """Observer sets hold somebody, nobody twice, and leave a victim."""
    privacy, nodes = scenario.privacy, scenario.topology.node_count
    if privacy is None or privacy.observers == "each node":
        return
    for i, members in enumerate(privacy.observers):
        key: Key = ("privacy", "observers", i)
        if isinstance(members, str):
            wrong = check_observers(members)
            if wrong is not None:
                yield key, wrong
            elif "wire" in members and not _is_tapped(scenario):
                yield key, "nobody listens on the wire; add [adversary.wiretap], or leave this observer out"
            elif "public" in members and scenario.protocol.exchange != "secure":
                yield key, NOTHING_PUBLIC
        elif not members:
            yield key, "an observer set without members sees nothing; name at least one node"
        elif len(set(members)) < len(members):
            yield key, "a node is listed twice"
        elif nodes is not None and set(members) >= set(range(nodes)):
            yield key, "all nodes together leave no victim"


# ---------------------------------------------------------------- security and privacy


def noise_is_given(scenario: Scenario) -> Found:
    """Noised exchanges say how much noise, and plain ones do not pretend to have any."""
    exchange, privacy = scenario.protocol.exchange, scenario.privacy
    if exchange == "plain":
        for name in ("noise_multiplier", "target_epsilon", "noise", "law"):
            if privacy is not None and getattr(privacy, name) is not None:
                yield (
                    ("privacy", name),
                    'exchange = "plain" adds no noise; remove this key or use "ldp" or "secure"',
                )
    elif privacy is None:
        yield (
            ("privacy",),
            f'exchange = "{exchange}" adds noise: a [privacy] table with clip and noise is required',
        )
    elif privacy.noise_multiplier is None and privacy.target_epsilon is None:
        yield (
            ("privacy",),
            "give noise_multiplier (how much noise) or target_epsilon (how much is needed), or both to check "
            "one against the other",
        )


def noise_placement(scenario: Scenario) -> Found:
    """Only an opened sum has sum noise."""
    privacy = scenario.privacy
    if privacy is not None and privacy.noise == "sum" and scenario.protocol.exchange == "ldp":
        yield (
            ("privacy", "noise"),
            'with exchange = "ldp" every model is seen alone and carries its own noise; use noise = "member"',
        )


def budgets(scenario: Scenario) -> Found:
    """A budget is of noised sums; members of secure sums cannot leave theirs out one by one."""
    privacy, exchange = scenario.privacy, scenario.protocol.exchange
    if privacy is None:
        return
    if privacy.budget is None:
        if privacy.when_spent != "node":
            yield ("privacy", "when_spent"), "there is no budget to spend; give privacy.budget"
    elif exchange == "plain":
        yield (
            ("privacy", "budget"),
            'exchange = "plain" adds no noise, so a budget is spent before the first update',
        )
    elif has_integer_noise(scenario):
        yield (
            ("privacy", "budget"),
            "budgets count Gaussian sums, and these have noise of integers; use target_epsilon, or law = "
            '"gaussian"',
        )
    elif exchange == "secure" and privacy.when_spent == "node":
        yield (
            ("privacy", "when_spent"),
            "a member that stops adding noise would leave others' sums with too little; use when_spent = "
            '"run"',
        )


def adaptive_clipping(scenario: Scenario) -> Found:
    """A norm that moves is a server's, of whole updates of clients that all noise on their own."""
    privacy, protocol, key = scenario.privacy, scenario.protocol, ("privacy", "adaptive_clip")
    if privacy is None or privacy.adaptive_clip is None:
        return
    if not isinstance(protocol, FedavgProtocol) or protocol.exchange != "ldp" or protocol.inner_train:
        yield (
            key,
            'a server moves the norm by what its clients say: use protocol.kind = "fedavg", exchange = "ldp" and '
            "inner_train = false",
        )
    elif privacy.unit != "node" or scenario.training.optimizer_state != "fresh":
        yield key, 'whole updates are clipped: use unit = "node" and training.optimizer_state = "fresh"'
    elif privacy.bands is not None:
        yield key, "noise that remembers is of a fixed norm; leave out bands"


def banded_noise(scenario: Scenario) -> Found:
    """Noise that remembers is of one linear sum a round, and is seen in the clear."""
    privacy, key = scenario.privacy, ("privacy", "bands")
    if privacy is None or privacy.bands is None:
        return
    bands = privacy.bands
    if isinstance(bands, int):
        if not 2 <= bands <= 1000:
            yield key, f"bands are 2 to 1000 rounds, not {bands}"
    elif not 2 <= len(bands) <= 1000 or bands[0] == 0:
        yield key, "give 2 to 1000 coefficients, the first of which is not zero"
    if scenario.protocol.exchange != "ldp":
        yield key, 'noise that remembers is seen with every model; use exchange = "ldp"'
    elif sums_per_round(scenario) != 1 or not is_linear(scenario.training):
        yield (
            key,
            "noise that remembers is of one noised sum of gradients a round: one step of plain gradient descent",
        )
    for name in ("budget", "target_epsilon"):
        if getattr(privacy, name) is not None:
            yield (
                ("privacy", name),
                "rounds with noise that remembers are not charged one by one; give noise_multiplier",
            )


def correlated_noise(scenario: Scenario) -> Found:
    """Noise that cancels between neighbours is for models they show each other, on links that stay."""
    privacy = scenario.privacy
    if privacy is None or privacy.correlated is None:
        return
    if not isinstance(scenario.protocol, DsgdProtocol) or scenario.protocol.exchange != "ldp":
        yield (
            ("privacy", "correlated"),
            'noise that cancels is added to models that neighbours see; use protocol.kind = "dsgd" and exchange = '
            '"ldp", or remove it',
        )
    elif not scenario.topology.is_fixed():
        yield (
            ("privacy", "correlated"),
            f"noise that cancels is agreed on by neighbours that stay; {scenario.topology.kind} links change",
        )


def surplus_noise(scenario: Scenario) -> Found:
    """Only noise in parts can be removed, and only if dropouts were allowed for."""
    privacy, secure = scenario.privacy, scenario.secure
    if privacy is None or privacy.surplus == "keep":
        return
    key: Key = ("privacy", "surplus")
    if privacy.law != "skellam" or privacy.noise != "sum":
        yield (
            key,
            'only skellam noise that counts on others can be surplus; use law = "skellam" and noise = "sum"',
        )
    elif secure is not None and secure.tolerated_dropouts == 0:
        yield key, "no dropouts are tolerated, so no noise is surplus; remove this key"


def integer_noise(scenario: Scenario) -> Found:
    """Noise of integers belongs to integer sums that are released as they are."""
    if not has_integer_noise(scenario):
        return
    privacy, protocol, secure = scenario.privacy, scenario.protocol, scenario.secure
    assert privacy is not None
    law, key = privacy.law, ("privacy", "law")
    if protocol.exchange != "secure" or secure is None:
        yield (
            key,
            f'{law} noise is added to the words of a secure sum; use law = "gaussian", or exchange = "secure"',
        )
    elif not isinstance(protocol, FedavgProtocol):
        yield (
            key,
            f"{law} noise is accounted where an integer sum is all that is released; in gossip models that hold "
            "earlier noise are weighted and summed again, so all opened sums have to be accounted together; use "
            'law = "gaussian"',
        )
    elif isinstance(secure.aggregation, CorrelatedAggregation):
        yield key, 'correlated noise is of real numbers, and so are its sums; use law = "gaussian"'
    elif protocol.inner_train:
        yield (
            ("protocol", "inner_train"),
            "the server's own update enters no integer sum; use inner_train = false, or "
            f'law = "gaussian" in place of {law}',
        )
    elif protocol.weights != "equal":
        yield (
            ("protocol", "weights"),
            "rounded vectors are not multiplied any more; use weights = "
            f'"equal", or law = "gaussian" in place of {law}',
        )
    elif protocol.mix_every > 1:
        yield (
            ("protocol", "mix_every"),
            f"{law} noise is added once to what a client sends, so that has to be one local update; use local_steps "
            "or local_epochs in place of mix_every",
        )
    elif privacy.unit == "record" and sums_per_round(scenario) > 1:
        yield (
            key,
            f"{law} noise is added once to a whole update, which clips several steps one by one here; use unit = "
            '"node", one local step, or law = "gaussian"',
        )


def target_is_met(scenario: Scenario) -> Found:
    """A noise multiplier given together with a target keeps it, where all neighbourhoods have one size."""
    privacy, protocol = scenario.privacy, scenario.protocol
    if privacy is None or privacy.noise_multiplier is None or privacy.target_epsilon is None:
        return
    if has_integer_noise(scenario):
        return
    share: float | None = 1.0
    if protocol.exchange == "secure" and privacy.noise == "sum":
        share = _share(scenario)
    if share is not None and protocol.exchange != "plain":
        yield from _target(scenario, share * privacy.noise_multiplier)


def _share(scenario: Scenario) -> float | None:
    """A member's part of the noise of a sum over equal weights; None where no sum can be opened."""
    secure, nodes = scenario.secure, scenario.topology.node_count
    members = scenario.topology.least_degree
    if is_federated(scenario):
        members = None if nodes is None else nodes - 1
    if members is None or secure is None:
        return None
    members = asked(scenario, members)
    least = per_position(secure, members)
    if members < least or least - secure.colluders < LEAST_HONEST:
        return None
    from protocols.privacy.mechanism import member_sigma  # not at import: it brings scipy

    return member_sigma(1.0, 1.0, [[1.0] * members], secure.colluders, least)


def _target(scenario: Scenario, multiplier: float) -> Found:
    """Local noise of this multiplier against the target; mu^2 adds up over rounds (Dong et al. 2022)."""
    from protocols.privacy.accounting import epsilon_of, shift_factor  # not at import: it brings scipy

    privacy, sums = scenario.privacy, sums_in_all(scenario)
    if privacy is None or privacy.target_epsilon is None:
        return
    epsilon = epsilon_of(sums * (shift_factor(privacy.adjacency) / multiplier) ** 2, privacy.delta)
    if epsilon > privacy.target_epsilon * (1 + 1e-9):  # a noise calibrated to the target may miss by rounding
        yield (
            ("privacy", "target_epsilon"),
            f"noise of {multiplier:.4g} x clip on every local step gives a certified epsilon of {epsilon:.4g} "
            f"over {scenario.protocol.rounds} rounds ({privacy.adjacency}, delta {privacy.delta:g}), above the "
            f"target {privacy.target_epsilon:g}; leave noise_multiplier out to have it computed, lower rounds or "
            "raise the target",
        )


# ---------------------------------------------------------------- studies


def distinct_names(scenario: Scenario) -> Found:
    """Series and variants are told apart by name."""
    groups: tuple[tuple[Key, tuple[Series | Whatif, ...]], ...] = (
        (("sweep", "series"), scenario.sweep.series if scenario.sweep else ()),
        (("whatif",), scenario.whatif),
    )
    for key, group in groups:
        seen: set[str] = set()
        for i, item in enumerate(group):
            if item.name in seen:
                yield (*key, i, "name"), f'the name "{item.name}" is taken by an earlier one'
            seen.add(item.name)


def baseline_is_a_series(scenario: Scenario) -> Found:
    """The baseline of a sweep is one of its series, and not the only one."""
    sweep = scenario.sweep
    if sweep is None or sweep.baseline is None:
        return
    names = [one.name for one in sweep.series]
    if sweep.baseline not in names or len(names) < 2:
        there = ", ".join(f'"{name}"' for name in names) or "none"
        yield (
            ("sweep", "baseline"),
            f'"{sweep.baseline}" must be the name of one of two or more [[sweep.series]] (there are: {there}); name '
            "one of them, or leave baseline out",
        )


CHECKS: tuple[Check, ...] = (
    *topology.CHECKS,
    *checks_network.CHECKS,
    named_nodes,
    *checks_faults.CHECKS,
    *attacks.CHECKS,
    *checks_protocol.CHECKS,
    somebody_honest,
    observer_sets,
    *checks_data.CHECKS,
    *checks_training.CHECKS,
    *checks_secure.CHECKS,
    hopeless,
    noise_is_given,
    noise_placement,
    integer_noise,
    budgets,
    adaptive_clipping,
    banded_noise,
    correlated_noise,
    surplus_noise,
    target_is_met,
    distinct_names,
    baseline_is_a_series,
)


FILE_CHECKS = (
    *topology.FILE_CHECKS,
    *checks_network.FILE_CHECKS,
    *checks_faults.FILE_CHECKS,
    *checks_data.FILE_CHECKS,
)


class _MissingTable(Exception):
    """A check asked for a table that could not be read."""


class _Readable:
    """The tables of a broken scenario that could be read; asking for another skips the check that asks."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self._tables = tables

    def __getattr__(self, name: str) -> Any:
        if name not in self._tables:
            raise _MissingTable(name)
        return self._tables[name]


def check(scenario: Scenario | dict[str, Any], base: Path) -> list[tuple[Key, str]]:
    """Run every check.

    Args:
        scenario: a scenario, or the tables of a broken one that are right in themselves, by name; checks that
            need others are left out.
        base: the folder relative file names start at.

    Returns:
        All problems found, as (key, message): those of single tables, and those of two together.
    """
    if isinstance(scenario, Scenario):
        view, tables = scenario, {name: getattr(scenario, name) for name in Scenario.model_fields}
    else:
        view, tables = cast(Scenario, _Readable(scenario)), scenario
    found = list(own_problems(tables))
    rules: tuple[Check, ...] = (
        *CHECKS,
        *(partial(rule, base=base) for rule in FILE_CHECKS),
    )
    for rule in rules:
        try:
            found += rule(view)
        except _MissingTable:
            continue
    return found


def check_nodes(nodes: int, scenario: Scenario) -> None:
    """Check what regions and network tables say of nodes against a graph that is there.

    Raises:
        ConfigurationError: a node is not in the graph, or a list is too long or too short.
    """
    named = checks_network.mentioned_nodes(scenario)
    _refuse([*checks_network.outside(named, nodes), *checks_network.misfits(scenario, nodes)])


def check_degrees(degrees: Sequence[int], scenario: Scenario) -> None:
    """Check what depends on the built graph: neighbourhood sizes, nodes named, samples per node.

    Args:
        degrees: number of neighbours of each node.
        scenario: the scenario the graph was built for.

    Raises:
        ConfigurationError: the graph does not fit the scenario; the message lists every reason.
    """
    nodes = len(degrees)
    found = [
        *checks_network.outside(_mentioned(scenario), nodes),
        *checks_data.enough_for(scenario, nodes),
        *_all_byzantine(scenario, nodes),
    ]
    found += checks_secure.neighbourhood(scenario, max(degrees) if is_federated(scenario) else min(degrees))
    _refuse(found)


def check_links(neighbors: Sequence[Collection[int]], scenario: Scenario) -> None:
    """Check that links which faults and adversaries name are there.

    Raises:
        ConfigurationError: one is not.
    """
    _refuse(list(checks_faults.strangers(scenario, neighbors)))


def check_noise(sigma: Sequence[float], scenario: Scenario) -> None:
    """Check a noise multiplier against the target when the noise each node really adds is known.

    Args:
        sigma: per node, the standard deviation of the noise on its clipped sum.
        scenario: the scenario it was computed for.

    Raises:
        ConfigurationError: the certified epsilon of the node with the least noise is above the target.
    """
    privacy = scenario.privacy
    if has_integer_noise(scenario):
        return
    if privacy is not None and privacy.noise_multiplier is not None and scenario.protocol.exchange != "plain":
        _refuse(list(_target(scenario, min(sigma) / privacy.clip)))


def _refuse(found: Sequence[tuple[Key, str]]) -> None:
    if found:
        (first, message), *others = found
        told = "; ".join([message, *(f"{dotted(key)}: {other}" for key, other in others)])
        raise ConfigurationError(told, dotted(first))
