"""What a secure sum costs: messages and bytes of every protocol, in closed form.

The formulas count one sum, greetings included, key agreements (:func:`setup`) and the transport's headers not.
Members may drop out between sub-rounds: of ``listed`` members ``dealt`` deal shares, ``sent`` send their vector
and ``answered`` answer the last request. Where a request finds nobody it is still sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from protocols.aggregation.double_secrets import GREETING_BYTES, SEALED_BYTES, SHARE_BYTES
from protocols.aggregation.keys import ID_BYTES, KEY_BYTES, SIGNATURE_BYTES, key_size_bytes
from protocols.aggregation.sums import HELLO_BYTES, SUM_BYTES
from protocols.aggregation.vector_shares import SharingPlan
from protocols.aggregation.verified_secrets import commitments_bytes, sealed_bytes
from protocols.gossip.learner import VALUE_BYTES
from protocols.sharing.modulus import Modulus


class Cost(NamedTuple):
    """Traffic of a sum.

    Args:
        messages: how many.
        size_bytes: of all of them.
    """

    messages: int
    size_bytes: int

    def __add__(self, other: object) -> Cost:
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.messages + other.messages, self.size_bytes + other.size_bytes)


@dataclass(frozen=True)
class Turnout:
    """How many members got how far.

    Args:
        listed: whom the aggregator listed.
        dealt: who dealt shares.
        sent: who sent a vector.
        answered: who answered the last request.
    """

    listed: int
    dealt: int
    sent: int
    answered: int


def full(members: int) -> Turnout:
    """Nobody drops out."""
    return Turnout(members, members, members, members)


def _named(count: int, payload_bytes: int) -> Cost:
    """So many messages of a sum, with a payload each."""
    return Cost(count, count * (SUM_BYTES + payload_bytes))


def _hello(count: int, payload_bytes: int = 0) -> Cost:
    return Cost(count, count * (HELLO_BYTES + payload_bytes))


def _list(listed: int) -> Cost:
    return _named(listed, ID_BYTES * listed)


def setup(members: int) -> Cost:
    """Agreeing on pair keys in one neighbourhood: every key to the aggregator, and from there to all others.

    A key that arrives goes out to each of those that came before, and theirs come back in one message.
    """
    relayed = members * (members - 1)
    return Cost(members + (members - 1) + relayed // 2, key_size_bytes() * (members + relayed))


def single_masks(turnout: Turnout, size: int, modulus: Modulus) -> Cost:
    """Neighbourhood masks: n (V + 4 n) and what names sums and members."""
    return _hello(turnout.listed) + _list(turnout.listed) + _named(turnout.sent, modulus.size_bytes(size))


def trusted(turnout: Turnout, size: int, modulus: Modulus) -> Cost:
    """As many bytes as single masks."""
    return single_masks(turnout, size, modulus)


def gopa(turnout: Turnout, size: int) -> Cost:
    """Float32 vectors in place of masked ones."""
    return _hello(turnout.listed) + _list(turnout.listed) + _named(turnout.sent, VALUE_BYTES * size)


def double_masks(
    turnout: Turnout,
    size: int,
    modulus: Modulus,
    *,
    signed: bool = False,
    active: bool = False,
    committed: int | None = None,
) -> Cost:
    """Double masking among all listed members: Bonawitz et al., and the recovery of neighbourhood masks.

    Args:
        turnout: who took part.
        size: length of a vector.
        modulus: of its words.
        signed: greetings are.
        active: members agree on who is in the sum.
        committed: the threshold of verifiable shares, when nobody complains about any; None: plain shares.
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


def secagg_plus(members: int, degree: int, size: int, modulus: Modulus) -> Cost:
    """SecAgg+ when nobody drops out: everything but the lists grows with the degree instead of the members."""
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


def vector_sharing(turnout: Turnout, size: int, plan: SharingPlan) -> Cost:
    """Neighbourhood sharing: about 2 n (n − 1) d / packing elements relayed, and n d / packing in answers."""
    n, dealt = turnout.listed, turnout.dealt
    sealed = plan.sealed_bytes(size, n)
    return (
        _hello(n)
        + _list(n)
        + _named(dealt, sealed * (n - 1))
        + _named(dealt, sealed * (dealt - 1))
        + _named(turnout.answered, plan.share_bytes(size, n))
    )


def lightsecagg(turnout: Turnout, size: int, plan: SharingPlan) -> Cost:
    """LightSecAgg: shares of masks as in :func:`vector_sharing`, one vector of each member, one answer."""
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


def cesar(members: int, index_bytes: int, sent_words: list[int], modulus: Modulus) -> Cost:
    """Sparsified masks: everybody's choice to everybody, and the words each one sends.

    Args:
        members: who take part.
        index_bytes: of one choice.
        sent_words: of every member; as many as it chose where choices depend on models
            (:meth:`~protocols.aggregation.cesar.CesarPlan.sent`).
        modulus: of the words.
    """
    n = members
    cost = _hello(n) + _list(n) + _named(n, index_bytes) + _named(n, (ID_BYTES + index_bytes) * n)
    for words in sent_words:
        cost += _named(1, modulus.size_bytes(words))
    return cost


def bonawitz_client_bits(clients: int, size: int, word_bits: int) -> int:
    """Bits one client sends and receives for its keys, shares and vector; what Bonawitz et al. 2017 count.

    Two keys sent and those of all others received; two shares sent to and received from each other client; one share
    per client revealed; the masked vector. Not counted there, and not here: names of sums and members, commitments,
    the authentication of ciphertexts.
    """
    keys = 2 * KEY_BYTES * clients
    shares = SHARE_BYTES * (4 * (clients - 1) + clients)
    return 8 * (keys + shares) + word_bits * size
