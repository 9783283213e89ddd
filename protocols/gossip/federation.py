"""Federated averaging on a star, or on a tree of aggregators.

On a star (FedAvg, McMahan et al. 2017, arXiv 1602.05629) node 0 is the server; it may hold data like any other node.
It is a baseline for gossip with a central point, which sees every client's update and whose crash stops the run until
it restarts. On a tree (HierFAVG, Liu et al. 2020, arXiv 1905.06641) aggregators average their leaves often, the root
all nodes less often; on deeper trees every further level averages ``global_every`` times less often. The weight of a
result is the number of nodes, or of samples, in its average.

A local update moves a model by a fixed public factor times the *sum* of gradients over a node's samples. With one
update between averages (``mix_every = 1``) equal weights therefore already follow the gradient over all samples;
weights by samples would then count large nodes twice, and are meant for updates that are normalised per sample.

Every inner node asks its children to train from its model, waits for their results and averages them. One exchange
with its children is a *cycle*. The cycle of the nodes just above the leaves takes ``mix_every`` local updates; that
of a node one level further up holds ``global_every`` cycles of the level below, and so on. A *round* is one local
update, so a cycle of n rounds is requested as "n rounds from round r", and every node knows which rounds it has used.

Losses and crashes. A child that does not answer in time is left out of that cycle, and one silent for three waits is
not waited for until it sends again. A lost request costs one child one cycle. After the last cycle the final model
goes down the tree and is repeated until it is confirmed, three times at most. A node that receives nothing from above
for longer than the rest of the run could take stops and keeps its model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from protocols.aggregation.members import participants
from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import call, numbers_of, show, shown, tell
from protocols.gossip.peers import PATIENCE, Peers, pump
from protocols.gossip.robust_mix import RobustMix
from protocols.privacy.adaptive_clip import BIT, CLIP
from simulator.contract.node import Delivery, Message, Node

ROOT = 0
"""Node at the top."""
TASK, RESULT, FINAL, DONE = "task", "result", "final", "done"


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a node in the tree.

    Args:
        parent: node whose requests it answers; None for the root.
        children: nodes whose results it averages.
        height: number of hops to the furthest leaf below it; 0 for a leaf.
    """

    parent: int | None
    children: tuple[int, ...]
    height: int


@dataclass(frozen=True)
class FederationPlan:
    """Public parameters agreed on by all nodes before the run.

    Args:
        places: positions of all nodes.
        rounds: local updates of a node that is always asked.
        mix_every: local updates between two averages just above the leaves.
        global_every: cycles of one level in a cycle of the next.
        participation: fraction of its children that a node asks in each cycle, at least one; drawn anew every cycle.
        shares: public weight of each node's result (all 1, or the number of its samples).
        inner_train: whether nodes with children train on their own data too.
        timeout_s: time the nodes just above the leaves wait for results after their own, seconds.
    """

    places: Sequence[Place]
    rounds: int
    mix_every: int
    global_every: int
    participation: float
    shares: Sequence[float]
    inner_train: bool
    timeout_s: float
    robust: RobustMix | None = None

    def span(self, height: int) -> int:
        """Return the rounds in one cycle of a node of that height."""
        return self.mix_every * int(self.global_every ** max(0, height - 1))

    def wait_s(self, height: int) -> float:
        """Return how long a node of that height waits for results, seconds, the waits of its children included."""
        return self.timeout_s * int((1 + self.global_every) ** max(0, height - 1))


async def fedavg(node: Node, learner: Learner, plan: FederationPlan) -> None:
    """Run federated averaging at one node; the tree of ``plan`` has one level below its root.

    A client reports the last model received from the server, not the one it is training.

    Guarantees:
        The server reads every client's model, clients read the server's. With noise of multiplier z on each of T
        updates, a node's data are protected with (√T / z)-GDP against any observer; a client that is asked less often
        loses less, and sampling of clients is not credited as amplification.
    """
    await Member(node, learner, plan).run()


async def hierarchical(node: Node, learner: Learner, plan: FederationPlan) -> None:
    """Run hierarchical federated averaging at one node.

    Leaves report the last model received from their aggregator, aggregators and the root their last average.

    Guarantees:
        An aggregator reads the models of its children, and all nodes the model from above. With noise of
        multiplier z on each of T updates, a node's data are protected with (√T / z)-GDP against any observer.
    """
    await Member(node, learner, plan).run()


class Member:
    """Federated averaging at one node, from one start or restart to the next; disk: model, first unused round."""

    def __init__(self, node: Node, learner: Learner, plan: FederationPlan) -> None:
        self._node = node
        self._learner = learner
        self._plan = plan
        self._place = plan.places[node.id]
        self._wait_s = plan.wait_s(self._place.height)
        self._peers = Peers(node, self._wait_s)
        self._model: Model = node.disk.get("model", learner.start)
        self.round: int = node.disk.get("round", 0)
        """Return the first round that this node has not used."""
        self._task: Message | None = None
        self._final: Message | None = None
        self._asked: tuple[int, ...] = ()
        self._results: dict[int, Message] = {}
        self._cycle = -1
        self._confirmed: set[int] = set()

    async def run(self) -> None:
        """Run all rounds: the root starts cycles, all other nodes answer requests."""
        if self._node.disk.get("over"):
            return
        if self._place.parent is None:
            left = self._plan.rounds - self.round
            model, _ = await self._work(self._model, self.round, left)
            self._know(model, self._plan.rounds)
        else:
            await self._follow(self._place.parent)
        await self._close()
        self._node.disk["over"] = True
        self._node.record("finished", rounds=self._plan.rounds)

    async def _follow(self, parent: int) -> None:
        """Answer the parent's requests until it ends the run, or has been silent for too long."""
        node = self._node
        while True:
            heard_s = node.disk.setdefault("heard_s", node.now_s)
            left_s = max(0.0, heard_s + self._silence_s() - node.now_s)
            await pump(node, self._handle, lambda: bool(self._task or self._final), left_s)
            task, self._task = self._task, None
            if self._final is not None:
                self._know(shown(self._final)[0], self._plan.rounds)
                return
            if task is None:
                node.record("gave up", round=self.round)
                return
            first, (count, *norm) = task.round, numbers_of(task)
            if norm:
                node.disk[CLIP] = norm[0]
            model = self._received(shown(task)[0], first)
            self._know(model, first)
            result, weight = await self._work(model, first, count)
            await self._report(parent, first, model, result, weight)

    def _received(self, model: Model, round: int) -> Model:
        """Return the parent's model as local training starts from it."""
        return model

    async def _report(self, parent: int, round: int, start: Model, result: Model, weight: float) -> None:
        """Send the result of a request to the parent."""
        said: Model = self._node.outgoing(result, to=parent, round=round)
        bit = () if self._learner.adaptive is None else (self._node.disk[BIT],)
        self._node.send(parent, show(self._learner, RESULT, round, [said], (weight, *bit)))

    def _silence_s(self) -> float:
        """Return the longest silence of the parent before the node stops: the rest of the run, seconds."""
        plan = self._plan
        height = plan.places[ROOT].height
        cycles = -(-(plan.rounds - self.round) // plan.span(height))
        return (PATIENCE + cycles) * (plan.wait_s(height) + plan.span(height) * self._learner.step_cost_s)

    async def _work(self, model: Model, first: int, count: int) -> tuple[Model, float]:
        """Run ``count`` rounds from ``first`` on in the subtree; return the average and its total weight."""
        weight = 0.0
        if not self._place.children:
            self._reserve(model, first + count)
            return await self._trained(model, first, count), self._plan.shares[self._node.id]
        end, span = first + count, self._plan.span(self._place.height)
        while first < end:
            count = min(span, end - first)
            self._reserve(model, first + count)
            model, weight = await self._averaged(model, first, count)
            first += count
            self._know(model, first)
        return model, weight

    def _reserve(self, model: Model, until: int) -> None:
        """Write the used rounds to disk in advance: those below ``until``, and their noise, are never used again."""
        self._node.disk.update(model=model, round=until)
        self.round = until

    async def _trained(self, model: Model, first: int, count: int) -> Model:
        for round in range(first, first + count):
            model = await self._learner.local_update(self._node, model, round)
        return model

    async def _averaged(self, model: Model, first: int, count: int) -> tuple[Model, float]:
        """Run one cycle: ask, train, wait, and average over the received results."""
        node, plan = self._node, self._plan
        self._ask(model, first, count)
        terms: list[tuple[float, Model]] = []
        if plan.inner_train:
            terms.append((plan.shares[node.id], await self._trained(model, first, count)))
        await pump(
            node,
            self._handle,
            lambda: all(v in self._results for v in self._peers.alive_of(self._asked)),
            self._wait_s,
        )
        for _, message in sorted(self._results.items()):
            terms.append((numbers_of(message)[0], shown(message)[0]))
        node.record("mixed", round=first, heard=len(self._results), of=len(self._asked))
        self._adapt(first)
        total = sum(weight for weight, _ in terms)
        if total == 0:
            return model, 0.0
        if plan.robust is not None:
            return await self._compared(plan.robust, first, model, terms, total), total
        return await self._learner.combine(node, first, [(w / total, m) for w, m in terms if w]), total

    async def _compared(
        self, robust: RobustMix, round: int, before: Model, terms: Sequence[tuple[float, Model]], total: float
    ) -> Model:
        """Apply a rule to the results, and to the own one where this node trains too."""
        said = dict(zip(sorted(self._results), terms[-len(self._results) :], strict=False))
        heard = {v: (weight / total, model) for v, (weight, model) in said.items()}
        if not self._plan.inner_train:
            return await robust.pool(self._node, round, before, heard)
        own, mine = terms[0]
        return await robust.mix(self._node, round, mine, own / total, heard)

    def _adapt(self, round: int) -> None:
        """Update the clipping norm from the bits in the results."""
        adaptive, node = self._learner.adaptive, self._node
        if adaptive is not None:
            bits = [numbers_of(message)[1] for _, message in sorted(self._results.items())]
            node.disk[CLIP] = adaptive.moved(adaptive.norm(node), bits)
            node.record("clip", round=round, value=node.disk[CLIP])

    def _ask(self, model: Model, first: int, count: int) -> None:
        """Send the request to the children that take part in this cycle."""
        self._cycle, self._results = first, {}
        self._asked = self._participants(first)
        self._peers.meet(self._asked)
        adaptive = self._learner.adaptive
        norm = () if adaptive is None else (adaptive.norm(self._node),)
        message = partial(show, self._learner, TASK, first, numbers=(count, *norm))
        tell(self._node, self._asked, first, [model], message)

    def _participants(self, round: int) -> tuple[int, ...]:
        children = self._place.children
        count = participants(self._plan.participation, len(children))
        if count >= len(children):
            return children
        drawn = self._node.rng("participation", round).choice(len(children), count, replace=False)
        return tuple(sorted(children[i] for i in drawn.tolist()))

    def _know(self, model: Model, round: int) -> None:
        """Store the model received from above, or averaged here."""
        self._model = model
        self._node.disk["model"] = model
        self._node.record("model", round=round, value=model.params)

    async def _close(self) -> None:
        """Send the final model down until all children have confirmed it, or three times."""
        node, rounds = self._node, self._plan.rounds
        message = partial(show, self._learner, FINAL, rounds)
        for _ in range(PATIENCE):
            left = tuple(v for v in self._place.children if v not in self._confirmed)
            if not left:
                return
            tell(node, left, rounds, [self._model], message)
            await pump(
                node, self._handle, lambda: self._confirmed.issuperset(self._place.children), self._wait_s
            )

    async def _handle(self, delivery: Delivery) -> None:
        src, message = delivery.src, delivery.message
        if src == self._place.parent:
            self._node.disk["heard_s"] = self._node.now_s
            if message.kind == FINAL:
                self._final = message
                self._node.send(src, call(DONE, message.round))
            elif message.kind == TASK and message.round >= (self._task or self).round:
                self._task = message
            return
        self._peers.heard(src, message.round)
        if message.kind == RESULT and message.round == self._cycle and src in self._asked:
            self._results[src] = message
        elif message.kind == DONE:
            self._confirmed.add(src)
