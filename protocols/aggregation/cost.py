"""Traffic of a secure sum: messages and bytes of every protocol, in closed form.

The formulas count one sum, greetings included, without key agreements (:func:`setup`) and transport headers.
Members may drop out between sub-rounds: of ``listed`` members ``dealt`` deal shares, ``sent`` send their vector
and ``answered`` answer the last request. A request to a member that is down is still sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols.aggregation.double_secrets import GREETING_BYTES, SEALED_BYTES, SHARE_BYTES
from protocols.aggregation.keys import ID_BYTES, SIGNATURE_BYTES, key_size_bytes
from protocols.aggregation.sums import HELLO_BYTES, SUM_BYTES
from protocols.aggregation.vector_shares import SharingPlan
from protocols.aggregation.verified_secrets import commitments_bytes, sealed_bytes
from protocols.sharing.modulus import Modulus
from simulator.contract.compute import VALUE_BYTES


class Traffic(NamedTuple):
    """Messages and bytes of a sum.

    Args:
        messages: number of messages.
        size_bytes: bytes of all of them together.
    """

    messages: int
    size_bytes: int

    def __add__(self, other: object) -> Traffic:
        if not isinstance(other, Traffic):
            return NotImplemented
        return Traffic(self.messages + other.messages, self.size_bytes + other.size_bytes)


@dataclass(frozen=True)
class Turnout:
    """Number of members that reach each sub-round.

    Args:
        listed: members on the aggregator's list.
        dealt: members that dealt shares.
        sent: members that sent a vector.
        answered: members that answered the last request.
    """

    listed: int
    dealt: int
    sent: int
    answered: int


def full(members: int) -> Turnout:
    """Return the turnout without dropouts."""
    return Turnout(members, members, members, members)


def _named(count: int, payload_bytes: int) -> Traffic:
    """Return the traffic of ``count`` messages of a sum, each with the same payload."""
    return Traffic(count, count * (SUM_BYTES + payload_bytes))


def _hello(count: int, payload_bytes: int = 0) -> Traffic:
    return Traffic(count, count * (HELLO_BYTES + payload_bytes))


def _list(listed: int) -> Traffic:
    return _named(listed, ID_BYTES * listed)


def setup(members: int) -> Traffic:
    """Traffic of the agreement on pair keys in one neighbourhood: every key is relayed to all other members.

    A new key is sent to each member that announced itself before, and their keys return in one message.
    """
    relayed = members * (members - 1)
    return Traffic(members + (members - 1) + relayed // 2, key_size_bytes() * (members + relayed))


def direct_setup(nodes: int) -> Traffic:
    """Traffic of the agreement on pair keys where all nodes are neighbours: a key on each link and direction."""
    return Traffic(nodes * (nodes - 1), key_size_bytes() * nodes * (nodes - 1))


def flooded_setup(degrees: Sequence[int]) -> Traffic:
    """Traffic of the agreement on pair keys between all nodes of a graph: each passes on what is new to it.

    Exact where a key reaches its owner's neighbours from the owner first, as with equal latencies; a key that comes
    by a shorter way is not sent back to its owner, which saves a message.

    Args:
        degrees: number of neighbours of each node, of a connected graph.
    """
    nodes, links = len(degrees), sum(degrees)
    messages = links + (nodes - 1) * (links - nodes)
    return Traffic(messages, key_size_bytes() * messages)


def inside(traffic: Traffic, members: int) -> Traffic:
    """Return the traffic of a sum without dropouts whose aggregator is one of its members.

    All members send and get as much, and what the aggregator would send to itself is not sent.

    Args:
        traffic: of the sum over so many members beside the aggregator.
        members: of the sum, the aggregator among them.
    """
    return Traffic(traffic.messages * (members - 1) // members, traffic.size_bytes * (members - 1) // members)


def single_masks(turnout: Turnout, size: int, modulus: Modulus) -> Traffic:
    """Traffic of neighbourhood masks: n (V + 4 n) and the names of sums and members."""
    return _hello(turnout.listed) + _list(turnout.listed) + _named(turnout.sent, modulus.size_bytes(size))


def trusted(turnout: Turnout, size: int, modulus: Modulus) -> Traffic:
    """Traffic of a trusted aggregator: as many bytes as single masks."""
    return single_masks(turnout, size, modulus)


def gopa(turnout: Turnout, size: int) -> Traffic:
    """Traffic of correlated noise: float32 vectors in place of masked ones."""
    return _hello(turnout.listed) + _list(turnout.listed) + _named(turnout.sent, VALUE_BYTES * size)


def double_masks(
    turnout: Turnout,
    size: int,
    modulus: Modulus,
    *,
    signed: bool = False,
    active: bool = False,
    committed: int | None = None,
) -> Traffic:
    """Traffic of double masking among all listed members: Bonawitz et al., and recovery of neighbourhood masks.

    Args:
        turnout: number of members in each sub-round.
        size: length of a vector, in words.
        modulus: modulus of the words.
        signed: whether greetings are signed.
        active: whether members agree on the survivors.
        committed: the threshold of verifiable shares, if no member complains; None: plain shares.
    """
    n, dealt, sent = turnout.listed, turnout.dealt, turnout.sent
    greeting = GREETING_BYTES + (SIGNATURE_BYTES if signed else 0)
    cost = _hello(n, greeting) + _named(n, ID_BYTES * n + (ID_BYTES + greeting) * (n - 1))
    if committed is None:
        box = ID_BYTES + SEALED_BYTES
        cost += _named(dealt, box * (n - 1)) + _named(dealt, box * (dealt - 1))
    else:
        box, proof = ID_BYTES + sealed_bytes(), commitments_bytes(committed)
        cost += _named(dealt, box * (n - 1) + proof) + _named(dealt, (box + proof) * (dealt - 1))
        cost += _named(3 * dealt, 0) + _named(dealt, ID_BYTES * dealt)
    cost += _named(sent, modulus.size_bytes(size))
    if active:
        cost += _named(sent, ID_BYTES * sent) + _named(sent, SIGNATURE_BYTES)
        cost += _named(sent, (ID_BYTES + SIGNATURE_BYTES) * (sent - 1))
    else:
        cost += _named(sent, ID_BYTES * sent)
    return cost + _named(turnout.answered, SHARE_BYTES * dealt)


def secagg_plus(members: int, degree: int, size: int, modulus: Modulus) -> Traffic:
    """Traffic of SecAgg+ without dropouts: everything but the lists grows with the degree, not with the members."""
    n, k = members, degree
    return (
        _hello(n, GREETING_BYTES)
        + _named(n, ID_BYTES * n + (ID_BYTES + GREETING_BYTES) * k)
        + _named(n, (ID_BYTES + SEALED_BYTES) * k)
        + _named(n, (ID_BYTES + SEALED_BYTES) * k)
        + _named(n, modulus.size_bytes(size))
        + _named(n, ID_BYTES * n)
        + _named(n, SHARE_BYTES * (k + 1))
    )


def vector_sharing(turnout: Turnout, size: int, plan: SharingPlan) -> Traffic:
    """Traffic of neighbourhood sharing: about 2 n (n − 1) d / packing elements relayed, n d / packing in answers."""
    n, dealt = turnout.listed, turnout.dealt
    sealed = plan.sealed_bytes(size, n)
    return (
        _hello(n)
        + _list(n)
        + _named(dealt, sealed * (n - 1))
        + _named(dealt, sealed * (dealt - 1))
        + _named(turnout.answered, plan.share_bytes(size, n))
    )


def lightsecagg(turnout: Turnout, size: int, plan: SharingPlan) -> Traffic:
    """Traffic of LightSecAgg: shares of masks as in :func:`vector_sharing`, one vector per member, one answer."""
    n, dealt, sent = turnout.listed, turnout.dealt, turnout.sent
    sealed = plan.sealed_bytes(size, n)
    return (
        _hello(n)
        + _list(n)
        + _named(dealt, sealed * (n - 1))
        + _named(dealt, sealed * (dealt - 1))
        + _named(sent, plan.modulus.size_bytes(size))
        + _named(sent, ID_BYTES * sent)
        + _named(turnout.answered, plan.share_bytes(size, n))
    )


def cesar(members: int, index_bytes: int, sent_words: list[int], modulus: Modulus) -> Traffic:
    """Traffic of sparsified masks: every member's choice to all others, and the words each one sends.

    Args:
        members: number of members that take part.
        index_bytes: bytes of one choice.
        sent_words: words sent by every member; as many as it chose where choices depend on models
            (:meth:`~protocols.aggregation.cesar.CesarPlan.sent`).
        modulus: modulus of the words.
    """
    n = members
    cost = _hello(n) + _list(n) + _named(n, index_bytes) + _named(n, (ID_BYTES + index_bytes) * n)
    for words in sent_words:
        cost += _named(1, modulus.size_bytes(words))
    return cost
