"""Named groups of nodes."""

from __future__ import annotations

from pydantic import Field

from scenarios.format.tables import Nodes, Table


class Region(Table):
    """A group of nodes, under the name that fault tables call it by."""

    name: str = Field(
        pattern=r"^[a-z0-9_-]+$",
        examples=["europe"],
        description="what the group is called: a-z, 0-9, _ and -",
    )
    nodes: Nodes = Field(
        min_length=1, examples=[[0, 1, 2]], description="its nodes; a node may be in several groups"
    )
