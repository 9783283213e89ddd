"""Cross-checks of secure sums and topology: enough members, and thresholds that they can meet."""

from __future__ import annotations

from protocols.aggregation.members import LEAST_HONEST
from scenarios.checks.topology import Found
from scenarios.kinds.secure import Secure
from scenarios.schema import Scenario


def neighbourhood_sizes(scenario: Scenario) -> Found:
    """Check that a topology of known degrees gives every neighbourhood enough members for secure sums."""
    topology = scenario.topology
    least = scenario.protocol.members_at_least(topology.least_degree, topology.node_count)
    if least is not None:
        yield from neighbourhood(scenario, least)


def neighbourhood(scenario: Scenario, members: int) -> Found:
    """Check that the smallest neighbourhood has enough members to open a sum and to meet its thresholds."""
    secure, topology, protocol = scenario.secure, scenario.topology, scenario.protocol
    if secure is None or protocol.exchange != "secure":
        return
    taking = protocol.asked(members)
    needed = LEAST_HONEST + secure.colluders
    who = f"{LEAST_HONEST} honest" + (f" and {secure.colluders} colluders" if secure.colluders else "")
    if protocol.served:
        place, of = f"the server has only {taking} clients in a sum", "more clients"
    elif protocol.states_are_public:
        place, of = f"a group of this schedule has only {taking} members", "larger groups"
    else:
        place = f"a node of this {topology.kind} graph has only {taking} neighbours"
        of = "a denser topology"
    if taking < needed:
        yield (
            ("topology", topology.larger if protocol.served else topology.denser),
            f"{place}; a secure sum needs {needed} members ({who}); use {of} or fewer colluders",
        )
        return
    if taking - secure.tolerated_dropouts < needed:
        yield (
            ("secure", "tolerated_dropouts"),
            f"{place.replace('only ', '')}; with {secure.tolerated_dropouts} missing, fewer than the {needed} "
            f"members that a secure sum needs ({who}) are left; tolerate at most {taking - needed}",
        )
        return
    yield from thresholds(secure, taking)


def thresholds(secure: Secure, members: int) -> Found:
    """Check that shares can be recovered with the tolerated dropouts, and that they hide the secret."""
    aggregation, colluders, least = secure.aggregation, secure.colluders, secure.shortest(members)
    for holders in {members, least}:
        threshold = aggregation.recovering(holders, colluders)
        if threshold is None:
            continue
        if threshold > (least if holders == members else holders):
            yield (
                ("secure", "tolerated_dropouts"),
                f"of {holders} holders {threshold} must answer to recover a sum, but {secure.tolerated_dropouts} of "
                f"{members} may be missing; tolerate at most {members - threshold}, or lower the threshold or the "
                "colluders",
            )
            return
        packed = aggregation.packed(holders, colluders)
        if threshold - packed < max(1, colluders) or packed < 1:
            yield (
                ("secure", "aggregation", aggregation.packing_key),
                f"of {holders} holders any {threshold} recover, so packed elements and private members must add up "
                f"to {threshold}, with at least 1 packed element and {max(1, colluders)} private members; change "
                "packing, threshold or colluders",
            )
            return


CHECKS = (neighbourhood_sizes,)
