"""Who holds every key on a vector reads it, and who holds the seed of a noise knows it: laws about keys really used.

The keys are those that protocols ask for while they run, noted where vectors are masked and pair noise is made, not
what they declare to the ledger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocols.aggregation import pair_noise
from protocols.aggregation.double_secrets import IdealSecrets
from protocols.aggregation.pair_noise import PairNoises
from protocols.privacy.accounting import shift_factor
from protocols.privacy.exposure import expose
from protocols.privacy.ledger import account
from protocols.privacy.lineage import Lineage, Masked
from protocols.privacy.question import Question
from protocols.privacy.record import read_record
from scenarios.audits.twins import Transcript, transcribe
from tests.scenarios.test_twin_runs import AGGREGATIONS, FAULTS, PROTOCOLS, scenario, secure


def double(name: str, **changes: Any) -> Any:
    """Sums of a server's nine clients under double masks."""
    tables = secure(AGGREGATIONS[name], federated=True)
    protocol = tables.pop("protocol") | {"rounds": 2}
    tables["topology"] = {"kind": "star", "nodes": 10}
    tables["privacy"] = {"law": "gaussian"}
    return scenario(protocol, **(tables | changes))


def noted_masks(monkeypatch: pytest.MonkeyPatch, made: Any) -> tuple[Transcript, dict[Any, set[int]]]:
    """A run, and by (aggregator, round, member) with whom the member shared masks."""
    partners: dict[Any, set[int]] = {}
    mask = IdealSecrets.mask

    def noted(self: Any, sum: Any, words: Any, dealers: Any, size_bytes: int) -> Any:
        partners[sum.aggregator, sum.round, self.node.id] = set(dealers)
        return mask(self, sum, words, dealers, size_bytes)

    monkeypatch.setattr(IdealSecrets, "mask", noted)
    return transcribe(made, Path()), partners


def too_little(told: Transcript, partners: dict[Any, set[int]]) -> list[str]:
    """Members, alone or with a partner, whose other partners and aggregator are charged less than for their sum."""
    found = []
    record = read_record(told.entries)
    columns = {(int(record.owner[c]), int(record.round[c])): c for c in range(len(record.owner))}
    for (aggregator, round, member), others in partners.items():
        for together in [{member}, *({member, other} for other in others)]:
            around = set[int]().union(*(partners[aggregator, round, one] for one in together)) - together
            mine = columns[member, round]
            variance = sum(record.sigma[columns[one, round]] ** 2 for one in together)
            least = record.sensitivity[mine] ** 2 / variance
            claims = account(
                told.entries,
                Question(
                    victims=[member],
                    observers=[tuple(sorted({aggregator, *around}))],
                    unit="node",
                    adjacency="zero-out",
                    delta=1e-5,
                    times_s=[float("inf")],
                ),
            )
            found += [
                f"{claim.observers} are charged {claim.mu2} for node {member} ({claim.basis}), whose sum with "
                f"{sorted(together)} costs {least}"
                for claim in claims
                if (claim.mu2 or 0.0) < least * (1 - 1e-9)
            ]
    return found


@pytest.mark.parametrize("name", ["recover", "bonawitz", "secagg+"])
def test_partners_of_a_vector_and_its_aggregator_read_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told, partners = noted_masks(monkeypatch, double(name))
    assert len(partners) >= 9
    if name == "secagg+":
        assert min(map(len, partners.values())) < 8
    assert too_little(told, partners) == []


def test_masks_whose_partners_are_kept_quiet_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Lineage.delivered

    def quiet(self: Lineage, t_s: float, observer: int, round: int, tag: Any) -> None:
        if isinstance(tag, Masked):
            tag = Masked(tag.key, tag.member, tag.state, tag.coef)
        delivered(self, t_s, observer, round, tag)

    monkeypatch.setattr(Lineage, "delivered", quiet)
    assert too_little(*noted_masks(monkeypatch, double("secagg+")))


def noted_pairs(monkeypatch: pytest.MonkeyPatch, made: Any) -> tuple[Transcript, set[tuple[int, int]]]:
    """A run, and (state of a pair's noise, one of its ends) for every noise that was made."""
    ends: set[tuple[int, int]] = set()
    state = PairNoises.state

    def noted(self: PairNoises, node: Any, round: int, name: object, peer: int) -> int:
        made = state(self, node, round, name, peer)
        ends.update({(made, node.id), (made, peer)})
        return made

    monkeypatch.setattr(PairNoises, "state", noted)
    return transcribe(made, Path()), ends


def unknown(told: Transcript, ends: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Noises whose ends are not taken to know them."""
    record = read_record(told.entries)
    missing = set()
    for state, end in ends:
        column = int(record.column[state])
        shown = any(sight.parents == (state,) for node, sight in record.releases if node == end)
        if record.owner[column] != end and not shown:
            missing.add((state, end))
    return missing


PAIRED = {
    "decor": lambda: scenario(
        PROTOCOLS["dsgd"],
        privacy={"correlated": {"kind": "pairs", "multiplier": 20.0}},
        **FAULTS["gone"],
    ),
    "gopa": lambda: _gopa(),
}


def _gopa() -> Any:
    changes = secure(AGGREGATIONS["correlated"])
    protocol = changes.pop("protocol")
    return scenario(protocol, **changes, **FAULTS["gone"])


@pytest.mark.parametrize("kind", PAIRED)
def test_both_ends_know_the_noise_of_a_pair(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told, ends = noted_pairs(monkeypatch, PAIRED[kind]())
    assert len(ends) > 20
    assert unknown(told, ends) == set()
    # Certified figures count each node's own noise alone, whoever looks.
    record = read_record(told.entries)
    for claim in (c for c in told.claims if c.basis == "certified" and c.t_s == told.claims[-1].t_s):
        exposure = expose(record, frozenset(map(int, claim.observers.split(","))), shift_factor("zero-out"))
        mine = (record.owner == claim.victim) & (exposure.shift > 0)
        shown = mine & (exposure.reach.first_s < float("inf"))
        assert claim.mu2 == pytest.approx(((exposure.shift[shown] / record.sigma[shown]) ** 2).sum())


def test_noise_that_only_those_who_used_it_know_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was before: an end was taken to know the noise when it added it, and not if it was down."""
    used: set[int] = set()

    def when_used(self: PairNoises, node: Any, round: int, name: object, peer: int) -> int:
        key = (name, min(node.id, peer), max(node.id, peer))
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = self._lineage.contribute(
                node.now_s, node.id, round, pair_noise.ORIGIN, gain=1.0, sigma=self.sigma, sensitivity=0.0
            )
        elif state not in used:
            used.add(state)
            self._lineage.delivered(node.now_s, node.id, round, pair_noise.Visible(state))
        return state

    monkeypatch.setattr(PairNoises, "state", when_used)
    assert unknown(*noted_pairs(monkeypatch, PAIRED["decor"]()))
