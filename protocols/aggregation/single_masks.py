"""Neighbourhood masks: one message per member opens a sum, and every listed member must send it.

A member answers its aggregator's list with its weighted, encoded vector under masks that cancel over the whole list.
If a listed member does not answer, the sum stays closed: the aggregator keeps its own model for the round (``skip``),
or sends those that did answer a new list of them alone (``rerun``).
"""

from __future__ import annotations

from typing import Any

from protocols.aggregation.gathering import Gathering, Part
from protocols.aggregation.ideal import Sealed, SumSealed, seal, unseal
from protocols.aggregation.keyring import Keyring
from protocols.aggregation.masks import mask, total
from protocols.aggregation.suite import Keyed
from protocols.aggregation.sums import Opened, Reply, Rules, Skipped, SumId, ids_bytes
from protocols.privacy.lineage import Share
from protocols.sharing.modulus import Modulus, Words
from simulator.contract.node import Node


class SingleMasks(Keyed):
    """Pairwise masks without recovery.

    Args:
        node: node that takes part.
        rules: public parameters of all sums.
        keyring: keys shared with co-members.
        attempts: number of lists a member answers in a round; more than one only where sums are re-run.

    Guarantees:
        Threat model: honest-but-curious aggregator together with up to ``colluders`` members of its
        neighbourhood, and any eavesdropper on links; keys relayed by the aggregator are signed under the
        directory. They learn the weighted sum over the other listed members, of which there are at least 3.
        Computational, under X25519, HKDF-SHA256 and AES-256-CTR. What the sums themselves reveal is accounted by
        the ledger. A Byzantine member can shift the sum within its range.
        With one attempt an aggregator that misstates which members answered gains nothing. With more, it, or a share
        that comes late, opens two sums over nearly the same members, whose difference is one member's vector:
        re-runs assume an aggregator that reports answers truthfully, and the ledger charges every sum that could be
        opened.
    """

    steps = (("list", "masked"),)

    def __init__(self, node: Node, rules: Rules, keyring: Keyring, attempts: int = 1) -> None:
        super().__init__(node, rules, keyring)
        self.attempts = attempts

    async def answer(self, part: Part, payload: Any) -> Reply:
        """Mask the vector for this list.

        Raises:
            Refused: a co-member's key is unknown.
            KeyRefused: a key has a valid signature but cannot be used.
        """
        others = await self.agree(part)
        words, rules = part.offer.words, self.rules
        await self.node.sleep(rules.mask_cost_s_per_byte * words.nbytes * len(others))
        size = rules.vector_bytes(words.size)
        body: Words | Sealed
        if rules.real:
            body = mask(
                words,
                self.node.id,
                part.listed,
                lambda peer: self.mask_key(part.sum, part.listed, peer),
                rules.encoding.modulus,
            )
            body.setflags(write=False)
        else:
            body = seal(words, self.node.id, size, (part.sum, part.listed))
        tag = Share(part.sum, self.node.id, frozenset(part.listed), part.offer.state, part.offer.weight)
        return Reply(body, size, tag)

    async def open(self, gathering: Gathering) -> Opened:
        """Announce the list, and add up if all members answer.

        Raises:
            Skipped: a member refused or did not answer.
        """
        listed = gathering.listed
        request = gathering.same(listed, ids_bytes(len(listed)), listed)
        answers = await gathering.ask(request, gathering.is_vector, all_needed=True)
        if len(answers) < len(listed):
            raise Skipped("a member refused" if gathering.refused else "a listed member did not answer")
        words = open_shares(
            {peer: answer.body for peer, answer in answers.items()},
            listed,
            gathering.sum,
            self.rules.encoding.modulus,
        )
        value = self.rules.encoding.decode(words, gathering.sum.round)
        terms = tuple((answer.release.coef, answer.release.state) for answer in answers.values())
        return Opened(value, listed, terms)


def open_shares(shares: dict[int, Any], members: tuple[int, ...], sum: SumId, modulus: Modulus) -> Words:
    """Open the sum over an announced list, from real or ideal shares, if and only if all its members sent theirs.

    Args:
        shares: member -> its share. All real or all ideal.
        members: the announced list, ascending.
        sum: name of the sum.
        modulus: of the words.

    Returns:
        The sum of the members' encoded words; real and ideal shares give the same bits.

    Raises:
        SumSealed: a share is missing or unexpected, kinds are mixed, sizes differ, or an ideal share was
            sealed for another member, list, round or attempt. (Real shares of different lists sum to noise, which
            is not detected.)
    """
    missing = tuple(sorted(set(members) - shares.keys()))
    unexpected = tuple(sorted(shares.keys() - set(members)))
    if missing or unexpected:
        raise SumSealed(
            f"expected exactly the announced members {list(members)}; missing {list(missing)}, "
            f"unexpected {list(unexpected)}",
            missing,
            unexpected,
        )
    ideal = {member: share for member, share in shares.items() if isinstance(share, Sealed)}
    if not ideal:
        return total(shares.values(), modulus)
    if len(ideal) < len(shares):
        raise SumSealed("real and ideal shares are mixed")
    return total((unseal(share, member, (sum, members)) for member, share in ideal.items()), modulus)
