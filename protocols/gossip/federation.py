"""Federated averaging: up and down a star, or a tree of aggregators.

On a star (FedAvg, McMahan et al. 2017, arXiv 1602.05629) node 0 is the server; it may hold data like everybody else.
A baseline for gossip: it has one point where everything meets, which sees every client's update and whose crash
stops the run until it is back. On a tree (HierFAVG, Liu et al. 2020, arXiv 1905.06641) aggregators average their
leaves often, the root everybody now and then; on deeper trees every further level averages ``global_every`` times
more rarely. A result counts by what is in it: the nodes, or the samples, that its average holds.

A local update moves a model by a fixed public factor times the *sum* of gradients over a node's samples. With one
update between averages (``mix_every = 1``) equal weights therefore already follow the gradient over all samples;
weights by samples count those with much data twice then, and are meant for updates that are normalised per sample.

Every inner node asks its children to train from its model, waits for their results and averages them. One exchange
with its children is a *cycle*. The cycle of the nodes just above the leaves takes ``mix_every`` local updates; that
of a node one level further up holds ``global_every`` cycles of the level below, and so on. A *round* is one local
update, so a cycle of n rounds is asked for as "n rounds from round r", and every node knows which rounds it has used.

Losses and crashes. A child that does not answer in time is left out of that cycle, and one silent for three waits
is not waited for until it is heard again. A request that is lost costs one child one cycle. After the last cycle
the final model goes down the tree and is repeated until it is confirmed, three times at most. A node that hears
nothing from above for longer than the rest of the run could take gives up and keeps what it has.
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
"""The node at the top."""
TASK, RESULT, FINAL, DONE = "task", "result", "final", "done"


@dataclass(frozen=True, slots=True)
class Place:
    """A node's place in the tree.

    Args:
        parent: whom it works for; None for the root.
        children: who works for it.
        height: hops to the furthest leaf below it; 0 for a leaf.
    """

    parent: int | None
    children: tuple[int, ...]
    height: int


@dataclass(frozen=True)
class FederationPlan:
    """What all nodes agree on before the run.

    Args:
        places: of every node.
        rounds: local updates of a node that is always asked.
        mix_every: local updates between two averages just above the leaves.
        global_every: cycles of one level in a cycle of the next.
        participation: fraction of its children that a node asks in each cycle, at least one; drawn afresh.
        shares: public weight of each node's result (all 1, or the number of its samples).
        inner_train: whether nodes with children train on their own data too.
        timeout_s: how long the nodes just above the leaves wait for results after they have made their own.
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
        """Rounds in one cycle of a node of that height."""
        return self.mix_every * int(self.global_every ** max(0, height - 1))

    def wait_s(self, height: int) -> float:
        """How long a node of that height waits for results: children that wait themselves are given the time."""
        return self.timeout_s * int((1 + self.global_every) ** max(0, height - 1))


async def fedavg(node: Node, learner: Learner, plan: FederationPlan) -> None:
    """Run federated averaging at one node; the tree of ``plan`` has one level below its root.

    A client reports the last model the server sent to it, not the one it is working on.

    Guarantees:
        The server reads every client's model, clients read the server's. With noise of multiplier z on each of T
        updates, a node's data are protected with (√T / z)-GDP against any observer; a client that is asked less often
        loses less, and sampling of clients is not counted as amplification.
    """
    await Member(node, learner, plan).run()


async def hierarchical(node: Node, learner: Learner, plan: FederationPlan) -> None:
    """Run hierarchical federated averaging at one node.

    Leaves report the last model their aggregator sent, aggregators and the root what they averaged last.

    Guarantees:
        An aggregator reads the models of those just below it, and everybody the model from above. With noise of
        multiplier z on each of T updates, a node's data are protected with (√T / z)-GDP against any observer.
    """
    await Member(node, learner, plan).run()


class Member:
    """One life of one node of the tree. The disk holds the model and the first round that is not used yet."""

    def __init__(self, node: Node, learner: Learner, plan: FederationPlan) -> None:
        self._node = node
        self._learner = learner
        self._plan = plan
        self._place = plan.places[node.id]
        self._wait_s = plan.wait_s(self._place.height)
        self._peers = Peers(node, self._wait_s)
        self._model: Model = node.disk.get("model", learner.start)
        self.round: int = node.disk.get("round", 0)
        """The first round that this node has not used."""
        self._task: Message | None = None
        self._final: Message | None = None
        self._asked: tuple[int, ...] = ()
        self._results: dict[int, Message] = {}
        self._cycle = -1
        self._confirmed: set[int] = set()

    async def run(self) -> None:
        """All rounds: the root leads, everybody else follows."""
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
        """Do what the parent asks until it says that it is over, or has been silent for too long."""
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
        """The parent's model as work on it begins."""
        return model

    async def _report(self, parent: int, round: int, start: Model, result: Model, weight: float) -> None:
        """Tell the parent what came of its task."""
        said: Model = self._node.outgoing(result, to=parent, round=round)
        bit = () if self._learner.adaptive is None else (self._node.disk[BIT],)
        self._node.send(parent, show(self._learner, RESULT, round, [said], (weight, *bit)))

    def _silence_s(self) -> float:
        """How long the parent may be silent: as long as the rest of the run could take."""
        plan = self._plan
        height = plan.places[ROOT].height
        cycles = -(-(plan.rounds - self.round) // plan.span(height))
        return (PATIENCE + cycles) * (plan.wait_s(height) + plan.span(height) * self._learner.step_cost_s)

    async def _work(self, model: Model, first: int, count: int) -> tuple[Model, float]:
        """``count`` rounds from ``first`` on, with everybody below; the average, and the weights in it."""
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
        """On disk before they are used: rounds below ``until`` are never used again, and neither is their noise."""
        self._node.disk.update(model=model, round=until)
        self.round = until

    async def _trained(self, model: Model, first: int, count: int) -> Model:
        for round in range(first, first + count):
            model = await self._learner.local_update(self._node, model, round)
        return model

    async def _averaged(self, model: Model, first: int, count: int) -> tuple[Model, float]:
        """One cycle: ask, train, wait, average over those heard."""
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
        """A rule over the results, and over the own one where this node trains too."""
        said = dict(zip(sorted(self._results), terms[-len(self._results) :], strict=False))
        heard = {v: (weight / total, model) for v, (weight, model) in said.items()}
        if not self._plan.inner_train:
            return await robust.pool(self._node, round, before, heard)
        own, mine = terms[0]
        return await robust.mix(self._node, round, mine, own / total, heard)

    def _adapt(self, round: int) -> None:
        """Move the clipping norm by what the results say about it."""
        adaptive, node = self._learner.adaptive, self._node
        if adaptive is not None:
            bits = [numbers_of(message)[1] for _, message in sorted(self._results.items())]
            node.disk[CLIP] = adaptive.moved(adaptive.norm(node), bits)
            node.record("clip", round=round, value=node.disk[CLIP])

    def _ask(self, model: Model, first: int, count: int) -> None:
        """Send the task to those who take part in this cycle."""
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
        """This is the model that the node has got from above, or averaged itself."""
        self._model = model
        self._node.disk["model"] = model
        self._node.record("model", round=round, value=model.params)

    async def _close(self) -> None:
        """Send the final model down until all children have confirmed it."""
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
