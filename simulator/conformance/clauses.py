"""All clauses of the node contract, as small programs and checks of what they record."""

from __future__ import annotations

from simulator.conformance.concurrency import TASKS
from simulator.conformance.gather import GATHERS
from simulator.conformance.harness import Case
from simulator.conformance.life import LIFE
from simulator.conformance.messages import MESSAGES

BATTERY: tuple[Case, ...] = MESSAGES + GATHERS + TASKS + LIFE
