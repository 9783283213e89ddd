"""A network of queueing stations: messages pass uplink, link, propagation and downlink by events.

It carries everything whose arrival :mod:`simulator.network.arrivals` cannot compute when a message is sent: links
that are cut or held, queues behind the uplink, bursts of loss, retransmission, copies, taps and attackers on links.
A message costs a few events here instead of none.
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
from simulator.mail.sending import Sending, key_of
from simulator.network.arrivals import Fixtures, Network
from simulator.network.draws import LOST, Drawn, Draws
from simulator.network.fair_uplinks import FairUplinks
from simulator.network.max_min import MaxMinSharing
from simulator.network.packet_loss import BurstPath
from simulator.network.transit import Ordered, Transit


@dataclass(frozen=True)
class Interference:
    """Faults of links and adversaries between sender and receiver.

    Args:
        cuts: links that carry nothing for a while.
        holds: links whose messages wait for a while.
        wires: a wiretap.
        coalition: an adversary that changes, delays and drops messages.
    """

    cuts: Sequence[Cut] = ()
    holds: Sequence[Hold] = ()
    wires: Wiretap | None = None
    coalition: Coalition | None = None


class StationNetwork(Network):
    """Carries each message from station to station by events.

    Args:
        fixtures: what it works with; the log is explicit.
        seed: of the run, for bursts.
        copies: draws of messages that an adversary made.
        interference: faults of links and adversaries.
    """

    def __init__(self, fixtures: Fixtures, *, seed: int, copies: Draws, interference: Interference) -> None:
        super().__init__(fixtures)
        env, link, boxes = fixtures.env, fixtures.link, fixtures.boxes
        nodes = len(boxes)
        self._seed = seed
        self._copies = copies
        self._interference = interference
        self._rate = link.uplinks(nodes)
        self._down_rate = link.downlinks(nodes)
        self._free_ns = [0] * nodes
        self._life = [0] * nodes
        """Count of crashes by node; after one its transport retransmits nothing of before."""
        self._down_free_ns = [0] * nodes
        self._link_free_ns: dict[tuple[int, int], int] = {}
        self._at_sender: list[dict[int, Transit]] = [{} for _ in range(nodes)]
        """Messages that end if their sender goes down: not left yet, or to be sent again."""
        self._bursts: dict[tuple[int, int], BurstPath] = {}
        self._ordered = Ordered() if link.transport is not None and link.transport.ordered else None
        self._fair: FairUplinks | MaxMinSharing | None = None
        self._shared = False
        if link.sharing == "fair":
            capped = min(self._down_rate, default=inf) < inf or not _unlimited(link.link_bps)
            if capped:
                self._fair = MaxMinSharing(
                    env, self._rate, self._down_rate, link.link_bps, self._leave_shared
                )
                self._shared = True
            elif min(self._rate, default=inf) < inf:
                self._fair = FairUplinks(env, self._rate, self._leave_uplink)

    # ---------------------------------------------------------------- senders

    def send(self, src: int, dsts: tuple[int, ...], message: Message) -> None:
        """Put a message to one or more receivers on the sender's uplink, in their order."""
        row = self._draws.row(src, dsts, message.kind, message.round)
        if src in self._down:
            for dst in dsts:
                self._log.ended(self._transit(src, dst, message).number, CUT_OFF)
            return
        coalition = self._interference.coalition
        for i, dst in enumerate(dsts):
            if coalition is not None and src in coalition.nodes:
                self._tampered(coalition, src, dst, message, row, i)
                continue
            self._launch(self._transit(src, dst, message), row, i)

    def crashed(self, node: int) -> None:
        """Drop what has not left, and what a transport would have sent again."""
        now = self._env.now_ns
        self._down.add(node)
        self._life[node] += 1
        self._free_ns[node] = now
        if self._fair is not None:
            self._fair.stop(node)
        for transit in list(self._at_sender[node].values()):
            if transit.off_ns != now:  # else its last bit leaves at this very instant
                self._end(transit, CUT_OFF)
        if self._ordered is not None:
            for transit in self._ordered.forgotten(node):
                self._log.ended(transit.number, CUT_OFF)

    def _tampered(
        self, coalition: Coalition, src: int, dst: int, message: Message, row: Drawn, i: int
    ) -> None:
        leaving = coalition.outgoing(to_s(self._env.now_ns), src, dst, message)
        if all(forward.copy for forward in leaving):
            self._log.ended(self._transit(src, dst, message, carried=False).number, CUT_OFF)
        for forward in leaving:
            transit = self._transit(src, forward.dst, forward.message, copy=forward.copy)
            if forward.copy:
                transit.draws = self._copies
                self._launch(
                    transit, self._copied(src, forward.dst, forward.message), 0, to_ns(forward.delay_s)
                )
            else:
                self._launch(transit, row, i, to_ns(forward.delay_s))

    def _copied(self, src: int, dst: int, message: Message) -> Drawn:
        return self._copies.row(src, (dst,), message.kind, message.round)

    def _transit(
        self,
        src: int,
        dst: int,
        message: Message,
        *,
        copy: bool = False,
        carried: bool = True,
        sent_ns: int | None = None,
    ) -> Transit:
        t_ns = self._env.now_ns if sent_ns is None else sent_ns
        code, size = self._log.code(message.kind), message.size_bytes + self._link.header_bytes
        number = self._log.message(t_ns, src, dst, code, message.round, size, copy=copy, carried=carried)
        transit = Transit(number, src, dst, message, size, t_ns, self._draws)
        transit.life = self._life[src]
        return transit

    def _launch(self, transit: Transit, row: Drawn, i: int, delay_ns: int = 0) -> None:
        transit.drawn(row, i)
        self._at_sender[transit.src][transit.number] = transit
        if self._link.transport is not None:
            transit.reliable = True
            transit.repeat = transit.draws.repeat(transit.src, transit.dst, transit.message)
        if delay_ns:
            self._after(delay_ns, self._enter_uplink, transit)
        else:
            self._enter_uplink(transit)

    # ---------------------------------------------------------------- stations

    def _enter_uplink(self, transit: Transit) -> None:
        """Join the queue of the uplink."""
        if transit.ended:
            return
        now, src = self._env.now_ns, transit.src
        if self._ordered is not None and transit.place is None:
            transit.place = self._ordered.place(transit)
        if self._fair is not None:
            self._fair.start(src, (transit.dst,), 8 * transit.size, transit)
        else:
            each_ns = _transfer_ns(transit.size, self._rate[src])
            left_ns = max(now, self._free_ns[src]) + each_ns
            self._free_ns[src] = transit.off_ns = left_ns
            self._after(left_ns - now, self._leave_uplink, transit)

    def _leave_shared(self, transit: Transit, dst: int) -> None:
        self._leave_uplink(transit)

    def _leave_uplink(self, transit: Transit) -> None:
        """Wait for the link to be released, if it is held."""
        if transit.ended:
            return
        transit.off_ns = NEVER
        holds, now = self._interference.holds, self._env.now_ns
        if holds:
            release_ns = leaves_ns(holds, transit.src, transit.dst, now)
            if release_ns != now and transit.src in self._down:
                self._end(transit, CUT_OFF)
                return
            if release_ns is None:
                return
            if release_ns > now:
                self._after(release_ns - now, self._leave_sender, transit)
                return
        self._leave_sender(transit)

    def _leave_sender(self, transit: Transit) -> None:
        """Leave the sender, unless the link is cut; a wiretap or an attacker on the link sees it first."""
        if transit.ended:
            return
        now, src, dst = self._env.now_ns, transit.src, transit.dst
        if self._interference.cuts and severed(self._interference.cuts, src, dst, now):
            transit.left_ns = now
            self._failed(transit, CUT_OFF)
            return
        del self._at_sender[src][transit.number]
        transit.left_ns = now
        self._log.left(transit.number, now)
        wires, coalition = self._interference.wires, self._interference.coalition
        if wires is not None and wires.sees(src, dst):
            transit.row = wires.sent(to_s(now), src, dst, transit.message, transit.size)
        if coalition is None or (src, dst) not in coalition.links:
            self._enter_link(transit)
            return
        itself = False
        for forward in coalition.crossing(to_s(now), src, dst, transit.message):
            if forward.copy:
                passing = self._transit(src, dst, forward.message, copy=True, carried=False)
                passing.drawn(self._copied(src, dst, forward.message), 0)
                self._log.left(passing.number, now)
                passing.left_ns = now
            else:
                itself, passing = True, transit
                passing.message = forward.message
            self._after(to_ns(forward.delay_s), self._enter_link, passing)
        if not itself:
            self._failed(transit, CUT_OFF)

    def _enter_link(self, transit: Transit) -> None:
        """Join the queue of the link, if it has a capacity of its own."""
        rate = inf if self._shared else self._cap(transit.src, transit.dst)
        if rate == inf:
            self._leave_link(transit)
            return
        link, now = (transit.src, transit.dst), self._env.now_ns
        through_ns = max(now, self._link_free_ns.get(link, 0)) + _transfer_ns(transit.size, rate)
        self._link_free_ns[link] = through_ns
        self._after(through_ns - now, self._leave_link, transit)

    def _leave_link(self, transit: Transit) -> None:
        """Lose the message, or let it propagate for as long as was drawn."""
        if self._lost(transit):
            self._failed(transit, WENT_MISSING)
            return
        if transit.copy_ns >= 0:
            copy = self._transit(
                transit.src, transit.dst, transit.message, copy=True, carried=False, sent_ns=transit.sent_ns
            )
            self._log.left(copy.number, transit.left_ns)
            self._propagate(copy, transit.copy_ns)
        self._propagate(transit, transit.delay_ns)

    def _propagate(self, transit: Transit, delay_ns: int) -> None:
        """Reach the far end of the link; with no downlink to wait for, the arrival is known now."""
        if transit.reliable or (not self._shared and self._down_rate[transit.dst] < inf):
            self._after(delay_ns, self._enter_downlink, transit)
            return
        if transit.row is not None:
            self._after(delay_ns, self._tapped, transit)
        self._deliver(transit, self._env.now_ns + delay_ns)

    def _tapped(self, transit: Transit) -> None:
        if transit.row is not None and self._interference.wires is not None:
            self._interference.wires.arrived(transit.row, to_s(self._env.now_ns))

    def _enter_downlink(self, transit: Transit) -> None:
        """Join the queue of the downlink."""
        self._tapped(transit)
        now = self._env.now_ns
        rate = inf if self._shared else self._down_rate[transit.dst]
        if rate == inf:
            self._leave_downlink(transit)
            return
        through_ns = max(now, self._down_free_ns[transit.dst]) + _transfer_ns(transit.size, rate)
        self._down_free_ns[transit.dst] = through_ns
        self._after(through_ns - now, self._leave_downlink, transit)

    def _leave_downlink(self, transit: Transit) -> None:
        """Reach the receiver; an ordered transport delivers when all earlier messages arrived or expired."""
        if transit.reliable and transit.dst in self._down:
            self._failed(transit, CUT_OFF)
        elif self._ordered is not None and transit.place is not None:
            for ready in self._ordered.arrived(transit):
                self._deliver(ready, self._env.now_ns)
        else:
            self._deliver(transit, self._env.now_ns)

    def _deliver(self, transit: Transit, arrival_ns: int) -> None:
        number, message = transit.number, transit.message
        self._log.arrives(number, arrival_ns)
        key = key_of(self._log.code(message.kind), message.round)
        sending = Sending(
            self._order(number), number, transit.src, (transit.dst,), message, transit.sent_ns, key
        )
        self._boxes[transit.dst].announce((arrival_ns, sending))

    # ---------------------------------------------------------------- failures

    def _lost(self, transit: Transit) -> bool:
        link = (transit.src, transit.dst)
        if self._link.bursts is None:
            return transit.delay_ns == LOST
        path = self._bursts.get(link)
        if path is None:
            path = self._bursts[link] = BurstPath(self._link.bursts, self._seed, *link)
        kept = (1 - path.loss_at(self._env.now_ns)) * (1 - self._link.link_loss.get(link, self._link.loss))
        return transit.chance >= kept

    def _failed(self, transit: Transit, fate: int) -> None:
        """Try again if there is a transport and its sender is up; else the message ends."""
        transport = self._link.transport if transit.reliable else None
        if transport is None or transit.life != self._life[transit.src]:
            self._end(transit, fate)
        elif transit.attempt >= transport.attempts:
            self._end(transit, GIVEN_UP)
        else:
            self._at_sender[transit.src][transit.number] = transit
            wait_ns = to_ns(transport.timeout_s * transport.backoff ** (transit.attempt - 1))
            due_ns = max(self._env.now_ns, transit.left_ns + wait_ns)
            self._after(due_ns - self._env.now_ns, self._again, transit)

    def _again(self, transit: Transit) -> None:
        if transit.ended:
            return
        message = transit.message
        transit.attempt += 1
        self._log.again(transit.number, transit.size)
        row = transit.draws.again(
            transit.src, transit.dst, message.kind, message.round, transit.repeat, transit.attempt - 1
        )
        transit.drawn(row, 0)
        self._enter_uplink(transit)

    def _end(self, transit: Transit, fate: int) -> None:
        """End a message that will not arrive, and deliver those that waited behind it."""
        transit.ended = True
        self._at_sender[transit.src].pop(transit.number, None)
        self._log.ended(transit.number, fate)
        if self._ordered is not None and transit.place is not None:
            for ready in self._ordered.given_up(transit):
                self._deliver(ready, self._env.now_ns)

    def _cap(self, src: int, dst: int) -> float:
        caps = self._link.link_bps
        return caps.get((src, dst), inf) if isinstance(caps, Mapping) else caps

    def _after(self, delay_ns: int, act: Callable[[Transit], None], transit: Transit) -> None:
        """Go to the next station after a delay; at once if it is 0."""
        if delay_ns:
            self._env.timeout(delay_ns).callbacks.append(lambda _: act(transit))
        else:
            act(transit)


def _transfer_ns(size_bytes: int, bps: float) -> int:
    return int(size_bytes * (8 * NS_PER_S / bps) + 0.5)


def _unlimited(rates: float | Mapping[tuple[int, int], float]) -> bool:
    each: Collection[float] = rates.values() if isinstance(rates, Mapping) else [rates]
    return all(rate == inf for rate in each)
