"""Byzantine members that flood a group: about rounds that are none, and sums in which they have no part."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protocols.aggregation.gathering import REFUSE
from protocols.aggregation.sums import HELLO, KEPT_ROUNDS
from protocols.gossip.ahead import Ahead
from protocols.gossip.group_trees import TreeMember
from protocols.gossip.grouping import ConnectedParts, RandomGroups, Schedule
from protocols.gossip.groups import GroupMember, GroupPlan
from simulator import streams
from simulator.contract.node import Message

NODES, ROUNDS, ME = 9, 60, 4
DRAWS = partial(streams.generator, 1, "groups")
AROUND = [[w for w in range(NODES) if w != v] for v in range(NODES)]


def flooded(kind: type[GroupMember], schedule: Schedule, message: str) -> tuple[Ahead[Any], int]:
    """Return what a node keeps when all others send it messages of one kind for all rounds and some that are none."""
    refused: list[int] = []
    member = kind.__new__(kind)
    node = SimpleNamespace(id=ME, now_s=0.0, record=lambda kind, round, sender: refused.append(round))
    node.send = lambda peer, message: None
    vars(member).update(
        _node=node,
        _plan=GroupPlan(schedule, ROUNDS, [1.0] * NODES, 0),
        _suite=SimpleNamespace(handles=lambda kind: False, steps=(("list", "vector"),)),
        _sums=SimpleNamespace(handle=lambda delivery: asyncio.sleep(0)),
        _greetings=Ahead(),
        _partials=Ahead(),
        _absent=set(),
        _heard={},
        _round=0,
    )

    async def receive() -> None:
        for src in range(NODES):
            for round in [-7, *range(ROUNDS), ROUNDS + 1, 10**9] if src != ME else ():
                delivery = SimpleNamespace(src=src, message=Message(message, round, None, 1))
                await member._handle(cast(Any, delivery))

    asyncio.run(receive())
    return vars(member)["_partials" if message == REFUSE else "_greetings"], len(refused)


@pytest.mark.parametrize(
    ("kind", "schedule", "message"),
    [
        (GroupMember, RandomGroups(NODES, 3, DRAWS, 4), HELLO),
        (TreeMember, ConnectedParts(NODES, 3, DRAWS, 5, lambda round: AROUND), REFUSE),
    ],
)
def test_a_flood_is_refused_or_displaces_its_own(
    kind: type[GroupMember], schedule: Schedule, message: str
) -> None:
    kept, refused = flooded(kind, schedule, message)
    assert 0 < len(kept) <= (NODES - 1) * KEPT_ROUNDS
    for sender in range(NODES):
        for round in range(ROUNDS):
            if (sender, round) in kept:
                group = schedule.group_of(ME, round)
                assert group is not None
                assert sender in group.members
                assert group.order[0] == ME or group.parents.get(sender) == ME
    taking_part = 0
    for round in range(ROUNDS):
        group = schedule.group_of(ME, round)
        if group is not None:
            others = [v for v in group.members if v != ME]
            mine = group.children(ME) if message == REFUSE else others if group.order[0] == ME else ()
            taking_part += len(mine)
    assert refused == (NODES - 1) * (ROUNDS + 3) - taking_part
