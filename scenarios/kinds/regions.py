"""Named groups of nodes."""

from __future__ import annotations

from pydantic import Field

from scenarios.format.tables import Nodes, Table


class Region(Table):
    """Named group of nodes, for the tables of faults."""

    name: str = Field(
        pattern=r"^[a-z0-9_-]+$",
        examples=["europe"],
        description="name of the group: a-z, 0-9, _ and -",
    )
    nodes: Nodes = Field(
        min_length=1, examples=[[0, 1, 2]], description="nodes of the group; a node may be in several"
    )
