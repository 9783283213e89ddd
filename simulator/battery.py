"""The clauses of the node contract as small programs and checks of what they record, all of them."""

from __future__ import annotations

from simulator.battery_gather import GATHERS
from simulator.battery_life import LIFE
from simulator.battery_messages import MESSAGES
from simulator.battery_tasks import TASKS
from simulator.testing import Case

BATTERY: tuple[Case, ...] = MESSAGES + GATHERS + TASKS + LIFE
