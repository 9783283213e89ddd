"""Faults of nodes and links: their keys, the nodes they name, and their events."""

from scenarios.kinds.faults.base import Fault, Members, Named, Planned, Regions, Site
from scenarios.kinds.faults.events import (
    ArrivalFault,
    AvailabilityFault,
    LinksFault,
    OutageFault,
    PartitionFault,
    SessionLaw,
    SessionsFault,
    SlowFault,
)

__all__ = [
    "ArrivalFault",
    "AvailabilityFault",
    "Fault",
    "LinksFault",
    "Members",
    "Named",
    "OutageFault",
    "PartitionFault",
    "Planned",
    "Regions",
    "SessionLaw",
    "SessionsFault",
    "Site",
    "SlowFault",
]
