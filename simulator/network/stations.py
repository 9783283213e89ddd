"""Messages that go from station to station: uplink, link, air, downlink, receiver.

This is the network for everything that :class:`~simulator.network.direct.Direct` cannot foretell when a message is
sent: links that are cut or held, queues behind the uplink, bursts of loss, retransmission, copies, taps and attackers
on links. A message costs a few events here instead of none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from simulator.adversary.coalition import Coalition
from simulator.adversary.wiretap import Wiretap
from simulator.contract.node import Message
from simulator.core.clock import NS_PER_S, to_ns, to_s
from simulator.core.records import CUT_OFF, GIVEN_UP, NEVER, WENT_MISSING
from simulator.faults.plan import Cut, Hold, leaves_ns, severed
from simulator.mail.sending import Flight, key_of
from simulator.network.direct import Fixtures, Network
from simulator.network.draws import LOST, Draws, Row
from simulator.network.fair_uplinks import FairUplinks
from simulator.network.max_min import FairNetwork
from simulator.network.packet_loss import BurstPath
from simulator.network.transit import Ordered, Parcel


@dataclass(frozen=True)
class Meddling:
    """Who and what stands between sender and receiver.

    Args:
        cuts: links that carry nothing for a while.
        holds: links whose messages wait for a while.
        wires: who listens.
        coalition: who changes, delays and drops messages.
    """

    cuts: Sequence[Cut] = ()
    holds: Sequence[Hold] = ()
    wires: Wiretap | None = None
    coalition: Coalition | None = None

    @property
    def none(self) -> bool:
        """Whether messages travel undisturbed and unobserved."""
        return not self.cuts and not self.holds and self.wires is None and self.coalition is None


class Carriage(Network):
    """Carries each message by events.

    Args:
        fixtures: what it works with; the log is explicit.
        seed: of the run, for bursts.
        copies: draws of messages that an adversary made.
        meddling: who and what stands between sender and receiver.
    """

    def __init__(self, fixtures: Fixtures, *, seed: int, copies: Draws, meddling: Meddling) -> None:
        super().__init__(fixtures)
        env, link, boxes = fixtures.env, fixtures.link, fixtures.boxes
        nodes = len(boxes)
        self._seed = seed
        self._copies = copies
        self._meddling = meddling
        self._rate = link.uplinks(nodes)
        self._down_rate = link.downlinks(nodes)
        self._free_ns = [0] * nodes
        self._life = [0] * nodes
        """How often each node went down: what its transport would send again, it forgets then."""
        self._down_free_ns = [0] * nodes
        self._link_free_ns: dict[tuple[int, int], int] = {}
        self._with_sender: list[dict[int, Parcel]] = [{} for _ in range(nodes)]
        """Messages that end if their sender goes down: not left yet, or to be sent again."""
        self._bursts: dict[tuple[int, int], BurstPath] = {}
        self._order_kept = Ordered() if link.transport is not None and link.transport.ordered else None
        self._fair: FairUplinks | FairNetwork | None = None
        self._shared = False
        if link.sharing == "fair":
            capped = min(self._down_rate, default=inf) < inf or not _unlimited(link.link_bps)
            if capped:
                self._fair = FairNetwork(env, self._rate, self._down_rate, link.link_bps, self._transferred)
                self._shared = True
            elif min(self._rate, default=inf) < inf:
                self._fair = FairUplinks(env, self._rate, self._off_uplink)

    # ---------------------------------------------------------------- senders

    def send(self, src: int, dsts: tuple[int, ...], message: Message) -> None:
        """Put a message to one or more receivers on the sender's uplink, in their order."""
        row = self._draws.row(src, dsts, message.kind, message.round)
        if src in self._down:
            for dst in dsts:
                self._log.ended(self._parcel(src, dst, message).number, CUT_OFF)
            return
        coalition = self._meddling.coalition
        for i, dst in enumerate(dsts):
            if coalition is not None and src in coalition.nodes:
                self._tampered(coalition, src, dst, message, row, i)
                continue
            self._launch(self._parcel(src, dst, message), row, i)

    def crashed(self, node: int) -> None:
        """What has not left is dropped, and so is what a transport would have sent again."""
        now = self._env.now_ns
        self._down.add(node)
        self._life[node] += 1
        self._free_ns[node] = now
        if self._fair is not None:
            self._fair.stop(node)
        for parcel in list(self._with_sender[node].values()):
            if parcel.off_ns != now:  # else its last bit leaves at this very instant
                self._end(parcel, CUT_OFF)
        if self._order_kept is not None:
            for parcel in self._order_kept.forgotten(node):
                self._log.ended(parcel.number, CUT_OFF)

    def _tampered(self, coalition: Coalition, src: int, dst: int, message: Message, row: Row, i: int) -> None:
        leaving = coalition.outgoing(to_s(self._env.now_ns), src, dst, message)
        if all(sent.copy for sent in leaving):
            self._log.ended(self._parcel(src, dst, message, carried=False).number, CUT_OFF)
        for sent in leaving:
            parcel = self._parcel(src, sent.dst, sent.message, copy=sent.copy)
            if sent.copy:
                parcel.draws = self._copies
                self._launch(parcel, self._copied(src, sent.dst, sent.message), 0, to_ns(sent.delay_s))
            else:
                self._launch(parcel, row, i, to_ns(sent.delay_s))

    def _copied(self, src: int, dst: int, message: Message) -> Row:
        return self._copies.row(src, (dst,), message.kind, message.round)

    def _parcel(
        self,
        src: int,
        dst: int,
        message: Message,
        *,
        copy: bool = False,
        carried: bool = True,
        sent_ns: int | None = None,
    ) -> Parcel:
        t_ns = self._env.now_ns if sent_ns is None else sent_ns
        code, size = self._log.code(message.kind), message.size_bytes + self._link.header_bytes
        number = self._log.message(t_ns, src, dst, code, message.round, size, copy=copy, carried=carried)
        parcel = Parcel(number, src, dst, message, size, t_ns, self._draws)
        parcel.life = self._life[src]
        return parcel

    def _launch(self, parcel: Parcel, row: Row, i: int, delay_ns: int = 0) -> None:
        parcel.drawn(row, i)
        self._with_sender[parcel.src][parcel.number] = parcel
        if self._link.transport is not None:
            parcel.reliable = True
            parcel.repeat = parcel.draws.repeat(parcel.src, parcel.dst, parcel.message)
        if delay_ns:
            self._after(delay_ns, self._depart, parcel)
        else:
            self._depart(parcel)

    # ---------------------------------------------------------------- stations

    def _depart(self, parcel: Parcel) -> None:
        """Join the queue of the uplink."""
        if parcel.gone:
            return
        now, src = self._env.now_ns, parcel.src
        if self._order_kept is not None and parcel.place is None:
            parcel.place = self._order_kept.place(parcel)
        if self._fair is not None:
            self._fair.start(src, (parcel.dst,), 8 * parcel.size, parcel)
        else:
            each_ns = _transfer_ns(parcel.size, self._rate[src])
            left_ns = max(now, self._free_ns[src]) + each_ns
            self._free_ns[src] = parcel.off_ns = left_ns
            self._after(left_ns - now, self._off_uplink, parcel)

    def _transferred(self, parcel: Parcel, dst: int) -> None:
        self._off_uplink(parcel)

    def _off_uplink(self, parcel: Parcel) -> None:
        """Wait for the link to be released, if it is held."""
        if parcel.gone:
            return
        parcel.off_ns = NEVER
        holds, now = self._meddling.holds, self._env.now_ns
        if holds:
            release_ns = leaves_ns(holds, parcel.src, parcel.dst, now)
            if release_ns != now and parcel.src in self._down:
                self._end(parcel, CUT_OFF)
                return
            if release_ns is None:
                return
            if release_ns > now:
                self._after(release_ns - now, self._leave, parcel)
                return
        self._leave(parcel)

    def _leave(self, parcel: Parcel) -> None:
        """Leave the sender, unless the link is cut; whoever listens or attacks there sees it first."""
        if parcel.gone:
            return
        now, src, dst = self._env.now_ns, parcel.src, parcel.dst
        if self._meddling.cuts and severed(self._meddling.cuts, src, dst, now):
            parcel.left_ns = now
            self._failed(parcel, CUT_OFF)
            return
        del self._with_sender[src][parcel.number]
        parcel.left_ns = now
        self._log.left(parcel.number, now)
        wires, coalition = self._meddling.wires, self._meddling.coalition
        if wires is not None and wires.sees(src, dst):
            parcel.row = wires.sent(to_s(now), src, dst, parcel.message, parcel.size)
        if coalition is None or (src, dst) not in coalition.links:
            self._enter_link(parcel)
            return
        itself = False
        for sent in coalition.crossing(to_s(now), src, dst, parcel.message):
            if sent.copy:
                passing = self._parcel(src, dst, sent.message, copy=True, carried=False)
                passing.drawn(self._copied(src, dst, sent.message), 0)
                self._log.left(passing.number, now)
                passing.left_ns = now
            else:
                itself, passing = True, parcel
                passing.message = sent.message
            self._after(to_ns(sent.delay_s), self._enter_link, passing)
        if not itself:
            self._failed(parcel, CUT_OFF)

    def _enter_link(self, parcel: Parcel) -> None:
        """Join the queue of the link, if it has a capacity of its own."""
        rate = inf if self._shared else self._cap(parcel.src, parcel.dst)
        if rate == inf:
            self._travel(parcel)
            return
        link, now = (parcel.src, parcel.dst), self._env.now_ns
        through_ns = max(now, self._link_free_ns.get(link, 0)) + _transfer_ns(parcel.size, rate)
        self._link_free_ns[link] = through_ns
        self._after(through_ns - now, self._travel, parcel)

    def _travel(self, parcel: Parcel) -> None:
        """Get lost, or be under way for as long as was drawn."""
        if self._lost(parcel):
            self._failed(parcel, WENT_MISSING)
            return
        if parcel.copy_ns >= 0:
            copy = self._parcel(
                parcel.src, parcel.dst, parcel.message, copy=True, carried=False, sent_ns=parcel.sent_ns
            )
            self._log.left(copy.number, parcel.left_ns)
            self._fly(copy, parcel.copy_ns)
        self._fly(parcel, parcel.delay_ns)

    def _fly(self, parcel: Parcel, delay_ns: int) -> None:
        if parcel.reliable or (not self._shared and self._down_rate[parcel.dst] < inf):
            self._after(delay_ns, self._land, parcel)
            return
        if parcel.row is not None:
            self._after(delay_ns, self._overheard, parcel)
        self._hand_over(parcel, self._env.now_ns + delay_ns)

    def _overheard(self, parcel: Parcel) -> None:
        if parcel.row is not None and self._meddling.wires is not None:
            self._meddling.wires.arrived(parcel.row, to_s(self._env.now_ns))

    def _land(self, parcel: Parcel) -> None:
        """Reach the far end and join the queue of the downlink."""
        self._overheard(parcel)
        now = self._env.now_ns
        rate = inf if self._shared else self._down_rate[parcel.dst]
        if rate == inf:
            self._reach(parcel)
            return
        through_ns = max(now, self._down_free_ns[parcel.dst]) + _transfer_ns(parcel.size, rate)
        self._down_free_ns[parcel.dst] = through_ns
        self._after(through_ns - now, self._reach, parcel)

    def _reach(self, parcel: Parcel) -> None:
        """Reach the receiver; a transport in order hands over when all before it is there or given up."""
        if parcel.reliable and parcel.dst in self._down:
            self._failed(parcel, CUT_OFF)
        elif self._order_kept is not None and parcel.place is not None:
            for ready in self._order_kept.arrived(parcel):
                self._hand_over(ready, self._env.now_ns)
        else:
            self._hand_over(parcel, self._env.now_ns)

    def _hand_over(self, parcel: Parcel, arrival_ns: int) -> None:
        number, message = parcel.number, parcel.message
        self._log.arrives(number, arrival_ns)
        key = key_of(self._log.code(message.kind), message.round)
        flight = Flight(self._order(number), number, parcel.src, (parcel.dst,), message, parcel.sent_ns, key)
        self._boxes[parcel.dst].announce((arrival_ns, flight))

    # ---------------------------------------------------------------- failures

    def _lost(self, parcel: Parcel) -> bool:
        link = (parcel.src, parcel.dst)
        if self._link.bursts is None:
            return parcel.delay_ns == LOST
        path = self._bursts.get(link)
        if path is None:
            path = self._bursts[link] = BurstPath(self._link.bursts, self._seed, *link)
        kept = (1 - path.loss_at(self._env.now_ns)) * (1 - self._link.link_loss.get(link, self._link.loss))
        return parcel.chance >= kept

    def _failed(self, parcel: Parcel, fate: int) -> None:
        """An attempt was in vain; a transport tries again, as long as its sender is up."""
        transport = self._link.transport if parcel.reliable else None
        if transport is None or parcel.life != self._life[parcel.src]:
            self._end(parcel, fate)
        elif parcel.attempt >= transport.attempts:
            self._end(parcel, GIVEN_UP)
        else:
            self._with_sender[parcel.src][parcel.number] = parcel
            wait_ns = to_ns(transport.timeout_s * transport.backoff ** (parcel.attempt - 1))
            due_ns = max(self._env.now_ns, parcel.left_ns + wait_ns)
            self._after(due_ns - self._env.now_ns, self._again, parcel)

    def _again(self, parcel: Parcel) -> None:
        if parcel.gone:
            return
        message = parcel.message
        parcel.attempt += 1
        self._log.again(parcel.number, parcel.size)
        row = parcel.draws.again(
            parcel.src, parcel.dst, message.kind, message.round, parcel.repeat, parcel.attempt - 1
        )
        parcel.drawn(row, 0)
        self._depart(parcel)

    def _end(self, parcel: Parcel, fate: int) -> None:
        """A message will never arrive; those that waited behind it go on."""
        parcel.gone = True
        self._with_sender[parcel.src].pop(parcel.number, None)
        self._log.ended(parcel.number, fate)
        if self._order_kept is not None and parcel.place is not None:
            for ready in self._order_kept.given_up(parcel):
                self._hand_over(ready, self._env.now_ns)

    def _cap(self, src: int, dst: int) -> float:
        caps = self._link.link_bps
        return caps.get((src, dst), inf) if isinstance(caps, Mapping) else caps

    def _after(self, delay_ns: int, act: Callable[[Parcel], None], parcel: Parcel) -> None:
        """Go to the next station later; at once if there is no time between."""
        if delay_ns:
            self._env.timeout(delay_ns).callbacks.append(lambda _: act(parcel))
        else:
            act(parcel)


def _transfer_ns(size_bytes: int, bps: float) -> int:
    return int(size_bytes * (8 * NS_PER_S / bps) + 0.5)


def _unlimited(rates: float | Mapping[tuple[int, int], float]) -> bool:
    each: Collection[float] = rates.values() if isinstance(rates, Mapping) else [rates]
    return all(rate == inf for rate in each)
