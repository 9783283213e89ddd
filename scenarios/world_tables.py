"""Tables of what happens to nodes."""

from __future__ import annotations

from pydantic import Field

from scenarios.tables import Node, Table
from scenarios.units import Duration


class Fault(Table):
    """One outage of one node."""

    node: Node
    down_at: Duration = Field(ge=0, description='when the node crashes: "12 s"')
    up_at: Duration | None = Field(default=None, description='when it is back: "20 s"; absent: never')
