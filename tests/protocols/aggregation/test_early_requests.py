"""Requests for sums whose round has not begun: a flood of one aggregator displaces its own requests alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from protocols.aggregation.session import NodeSums
from protocols.aggregation.sums import KEPT_ROUNDS
from simulator.contract.node import Delivery, Message

ATTEMPTS = 2


def waiting(requests: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return what a node keeps of requests for rounds to come: aggregator, round and attempt."""
    suite = SimpleNamespace(steps=(("list", "vector"),), attempts=ATTEMPTS, handles=lambda kind: False)
    offers = SimpleNamespace(is_early=lambda round: True)
    sums = NodeSums(cast(Any, None), cast(Any, suite), cast(Any, None), cast(Any, offers), 1)

    async def receive() -> None:
        for aggregator, round, attempt in requests:
            message = Message("list", round, (attempt, None), 1)
            await sums.handle(cast(Delivery, SimpleNamespace(src=aggregator, message=message)))

    asyncio.run(receive())
    return [(aggregator, message.round, message.body[0]) for aggregator, message in sums._early]


def test_all_that_an_honest_aggregator_asks_is_kept_in_its_order() -> None:
    asked = [(1, round, attempt) for round in range(KEPT_ROUNDS) for attempt in range(ATTEMPTS)]
    assert waiting(asked) == asked


def test_a_flood_displaces_the_requests_of_its_sender_alone() -> None:
    asked = [(1, round, 0) for round in range(KEPT_ROUNDS)]
    kept = waiting(asked + [(2, round, 0) for round in range(5_000)])
    assert [request for request in kept if request[0] == 1] == asked
    assert len(kept) == len(asked) + KEPT_ROUNDS * ATTEMPTS
