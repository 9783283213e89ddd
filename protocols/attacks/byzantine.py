"""Content attacks: the model a Byzantine node sends in place of its own.

An attack is a function of a :class:`Scene`, which holds the node's own model and the models its coalition has seen
(:mod:`protocols.attacks.knowledge`), and of the links, which are public. An attack without an honest model in view,
as behind secure sums, uses the node's own model in place of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from protocols.attacks import directions
from protocols.attacks.knowledge import models_seen
from protocols.gossip.learner import Learner, Model
from protocols.gossip.robust_mix import Heard, Rule
from protocols.privacy.lineage import ORIGIN
from simulator.contract.compute import Executor, Op
from simulator.contract.knowledge import Context
from simulator.contract.node import Links, Node

Attack: TypeAlias = "Callable[[Scene], Model]"
Direction: TypeAlias = Callable[[jax.Array, Any], jax.Array]
"""Function from honest vectors (n, d) and a factor to the vector that is sent, (d,)."""


@dataclass(frozen=True)
class Stage:
    """Facts of a run that attacks use.

    Args:
        learner: local training, and the lineage of the run.
        executor: runs the operations.
        links: (node, round, seconds) -> the links of a node, with their weights: public.
        byzantine: nodes that attack.
        rule: aggregation rule of receivers, for attacks that adapt their factor to it; None: a weighted sum.
        honest: nodes that follow the protocol, ascending; for attacks on their graph.
    """

    learner: Learner
    executor: Executor
    links: Callable[[int, int, float], Links]
    byzantine: frozenset[int]
    rule: Rule | None = None
    honest: Sequence[int] = ()

    def substitution(
        self, attack: Attack, from_s: float = 0.0, until_s: float = float("inf")
    ) -> Callable[..., Model]:
        """Return an attack as a substitution of the simulator.

        Args:
            attack: function that makes the model to send.
            from_s, until_s: window of time, seconds; outside it, and to other Byzantine nodes, the own model is sent.
        """

        def substitute(known: Context, node: Node, content: Any, to: int, round: int) -> Model:
            model: Model = content
            if not from_s <= node.now_s < until_s or to in self.byzantine:
                return model
            return attack(Scene(self, known, node, model, to, round))

        return substitute


@dataclass(frozen=True)
class Scene:
    """One model that a Byzantine node is about to send to one neighbour."""

    stage: Stage
    known: Context
    node: Node
    own: Model
    to: int
    round: int

    @cached_property
    def seen(self) -> dict[int, Model]:
        """Return the latest honest models in the transcript, by node."""
        return models_seen(self.known, self.stage.byzantine)

    @cached_property
    def links(self) -> Links:
        """Return the links of the receiver."""
        return self.stage.links(self.to, self.round, self.node.now_s)

    @cached_property
    def around(self) -> dict[int, Model]:
        """Return the models seen of the receiver and its honest neighbours; if there are none, all models seen."""
        near = {v: m for v, m in self.seen.items() if v == self.to or v in self.links.weights}
        return near or self.seen

    def models(self) -> list[Model]:
        """Return the same as a list that is never empty."""
        return list(self.around.values()) or [self.blind()]

    def blind(self) -> Model:
        """Return the own model and record that the attack had no honest model in view."""
        self.node.record("attack in the dark", round=self.round)
        return self.own

    def pull(self) -> tuple[list[Model], tuple[float, ...], float] | None:
        """Return target and honest neighbours seen, their weights, and the Byzantine weight; None if unseen."""
        target = self.seen.get(self.to)
        weights = self.links.weights
        wrong = sum(weight for v, weight in weights.items() if v in self.stage.byzantine)
        if target is None or wrong <= 0:
            return None
        near = [v for v in weights if v in self.seen]
        # A neighbour that was not seen is assumed to agree with the target, so it has no pull.
        return [target, *(self.seen[v] for v in near)], tuple(weights[v] for v in near), wrong

    def said(self, op: Op, models: Sequence[Model], *numbers: Any) -> Model:
        """Apply an operation to models (and numbers after them)."""
        stage = self.stage
        learner = stage.learner
        params = stage.executor.submit(
            op, [*(model.params for model in models), *numbers], node=self.node.id, size=learner.size
        )
        states = [model.state for model in models]
        return Model(params, learner.lineage.opaque(self.node.now_s, self.node.id, self.round, states))

    def constant(self, value: Any) -> Model:
        """Make a model that depends on no data."""
        vector = np.asarray(value, np.float32)
        return Model(self.stage.executor.constant(vector), ORIGIN)


def sign_flip(stage: Stage, scale: float) -> Attack:
    """Send −scale times the node's own model, the same to every neighbour.

    The operation is linear, so the lineage stays exact: what is sent is the state times −scale.
    """
    learner = stage.learner
    op = learner.operations.scale(-scale)

    def attack(scene: Scene) -> Model:
        node, own = scene.node, scene.own
        params = stage.executor.submit(op, [own.params], node=node.id, size=learner.size)
        return Model(params, learner.lineage.combine(node.now_s, node.id, scene.round, [(-scale, own.state)]))

    return attack


def two_faced(stage: Stage, scale: float) -> Attack:
    """Apply :func:`sign_flip` to neighbours with odd numbers only: the simplest equivocation."""
    flip = sign_flip(stage, scale)
    return lambda scene: flip(scene) if scene.to % 2 else scene.own


def gaussian(stage: Stage, sigma: float) -> Attack:
    """Send noise of standard deviation sigma around zero, with a new draw for every receiver."""
    size = stage.learner.size

    def attack(scene: Scene) -> Model:
        return scene.constant(sigma * scene.known.rng("gaussian").standard_normal(size, dtype=np.float32))

    return attack


def not_finite(stage: Stage, value: Literal["nan", "inf"]) -> Attack:
    """Send a vector of NaN or of infinities."""
    vector = np.full(stage.learner.size, float(value), np.float32)
    return lambda scene: scene.constant(vector)


def stale(stage: Stage) -> Attack:
    """Send the public initial model always: receive without contributing (free riding)."""
    return lambda scene: stage.learner.start


def inner_product(stage: Stage, factor: float | None) -> Attack:
    """Send minus a multiple of the mean of the honest models around the target; None: the most harmful factor."""
    return _spread(stage, directions.inner_product, factor)


def little(stage: Stage, z: float | None) -> Attack:
    """Send the mean of honest models around the target plus z standard deviations; None: the most harmful z."""
    return _spread(stage, directions.little, z)


def mimic(stage: Stage, victim: int | None) -> Attack:
    """Send a copy of one honest model: a given node's, or the one furthest out where they differ most."""
    if victim is not None:
        chosen = victim
        return lambda scene: scene.seen.get(chosen, scene.own)
    return _of_models("mimic", _mimicked)


def echo(stage: Stage) -> Attack:
    """Send the receiver's own last model, so that its mix changes little (Pasquini, Raynal, Troncoso 2023)."""
    return lambda scene: scene.seen.get(scene.to, scene.own)


def dissensus(stage: Stage, factor: float) -> Attack:
    """Hold a target against the pull of its honest neighbours (factor 1), or drive it away from them (more)."""
    return _pulled("dissensus", _dissensus(factor))


def override(stage: Stage, aim: Literal["start", "opposite", "dead"], spare: int | None = None) -> Attack:
    """Make the target's next model, under plain gossip, equal to a chosen one.

    Args:
        stage: facts of the run.
        aim: ``start``: the public initial model. ``opposite``: minus the honest mean. ``dead``: a model whose hidden
            units never activate (:func:`~protocols.attacks.directions.dead`).
        spare: a node that receives the own model instead.

    Raises:
        ConfigurationError: ``dead`` for a model without a hidden layer of rectified units.
    """
    wanted = stage.learner.start
    if aim == "dead":
        initial = np.asarray(stage.executor.read([wanted.params])[0])
        dead = directions.dead(stage.learner.operations.task, initial)
        wanted = Model(stage.executor.constant(dead), ORIGIN)
    attack = _pulled("state override", _override(aim == "opposite"), wanted)
    return lambda scene: scene.own if scene.to == spare else attack(scene)


def spectral(stage: Stage, factor: float) -> Attack:
    """Send the target's model, pushed along the slowest mode of disagreement of the honest graph.

    Args:
        stage: facts of the run.
        factor: size of the push.
    """
    entries = _fiedler(stage)
    ops = _by_count("spectral", _spectral(factor))

    def attack(scene: Scene) -> Model:
        target = scene.seen.get(scene.to)
        if target is None:
            return scene.blind()
        near = [v for v in scene.seen if v in entries]
        models = [target, *(scene.seen[v] for v in near)]
        mode = tuple(entries[v] for v in near)
        return scene.said(ops(len(models)), models, mode, entries.get(scene.to, 0.0))

    return attack


def boosted(stage: Stage, factor: float) -> Attack:
    """Scale the own model's difference from the mean of seen models: model replacement, to keep a backdoor."""
    ops = _by_count("boosted", _boosted(factor))

    def attack(scene: Scene) -> Model:
        models = [scene.own, *scene.models()]
        return scene.said(ops(len(models)), models)

    return attack


# ---------------------------------------------------------------- building blocks of attacks


def _spread(stage: Stage, say: Direction, factor: float | None) -> Attack:
    """Make an attack on the models around a target, with a given factor or one adapted to the receivers' rule."""
    if factor is not None:
        return _of_models(say.__name__, _along(say, factor))
    ops = lru_cache(maxsize=None)(
        lambda honest, wrong: Op(
            f"{say.__name__}, suited to {honest} and {wrong}",
            _suited(say, stage.rule or weighted_sum, honest, wrong),
        )
    )

    def suiting(scene: Scene) -> Model:
        found = scene.pull()
        if found is None:
            return scene.blind()
        models, weights, _ = found
        byzantine = [weight for v, weight in scene.links.weights.items() if v in stage.byzantine]
        return scene.said(ops(len(models), len(byzantine)), models, (0.0, *weights, *byzantine))

    return suiting


def _of_models(name: str, fn: Callable[..., jax.Array]) -> Attack:
    """Make an attack that is a function of the models around a target."""
    ops = _by_count(name, fn)

    def attack(scene: Scene) -> Model:
        models = scene.models()
        return scene.said(ops(len(models)), models)

    return attack


def _pulled(name: str, fn: Callable[..., jax.Array], *others: Model) -> Attack:
    """Make an attack on the pull on a target; a node that does not see the target sends its own model."""
    ops = _by_count(name, fn)

    def attack(scene: Scene) -> Model:
        found = scene.pull()
        if found is None:
            return scene.blind()
        models, weights, wrong = found
        return scene.said(ops(len(models)), [*others, *models], weights or (0.0,), wrong)

    return attack


def _by_count(name: str, fn: Callable[..., jax.Array]) -> Callable[[int], Op]:
    """Return one operation for every number of models: it computes the same function in all runs of a process."""
    return lru_cache(maxsize=None)(lambda count: Op(f"{name} of {count}", fn))


# Functions of vectors are cached, so that runs of one process share compiled code.


def weighted_sum(heard: Heard) -> jax.Array:
    """Aggregate as receivers without a rule do."""
    return heard.weights @ heard.models


def _mimicked(*rows: jax.Array) -> jax.Array:
    return directions.mimicked(jnp.stack(rows))


@lru_cache(maxsize=64)
def _along(say: Direction, factor: float) -> Callable[..., jax.Array]:
    return lambda *rows: say(jnp.stack(rows), factor)


@lru_cache(maxsize=64)
def _boosted(factor: float) -> Callable[..., jax.Array]:
    def say(own: jax.Array, *rows: jax.Array) -> jax.Array:
        mean = jnp.mean(jnp.stack(rows), axis=0)
        return mean + factor * (own - mean)

    return say


@lru_cache(maxsize=64)
def _spectral(factor: float) -> Callable[..., jax.Array]:
    def say(*inputs: Any) -> jax.Array:
        target, *rows, mode, entry = inputs
        return directions.spectral(target, entry, jnp.stack(rows), mode, factor)

    return say


@lru_cache(maxsize=64)
def _dissensus(factor: float) -> Callable[..., jax.Array]:
    def say(*inputs: Any) -> jax.Array:
        target, *rows, w, wrong = inputs
        return directions.dissensus(target, _stacked(rows, target), w[: len(rows)], wrong, factor)

    return say


@lru_cache(maxsize=2)
def _override(opposite: bool) -> Callable[..., jax.Array]:
    def say(*inputs: Any) -> jax.Array:
        wanted, target, *rows, w, wrong = inputs
        x = _stacked(rows, target)
        if opposite:
            wanted = -jnp.mean(jnp.concatenate([x, target[None]]), axis=0)
        return directions.override(target, x, w[: len(rows)], wrong, wanted)

    return say


@lru_cache(maxsize=256)
def _suited(say: Direction, rule: Rule, honest: int, wrong: int) -> Callable[..., jax.Array]:
    def search(*inputs: Any) -> jax.Array:
        *rows, w = inputs
        x = jnp.stack(rows)
        weights = w.at[0].set(1.0 - jnp.sum(w[1:]))
        truth = jnp.concatenate([jnp.ones(honest, x.dtype), jnp.zeros(wrong, x.dtype)])

        def outcome(sent: jax.Array) -> jax.Array:
            heard = jnp.concatenate([x, jnp.tile(sent, (wrong, 1))])
            # The attacker knows neither the receivers' random lots nor losses on their own samples.
            unknown = jnp.zeros(honest + wrong, x.dtype)
            return rule(Heard(heard, weights, truth, unknown, lambda: unknown))

        kept = weights[:honest]
        return directions.suited(lambda factor: say(x, factor), outcome, kept @ x / jnp.sum(kept))

    return search


def _fiedler(stage: Stage) -> dict[int, float]:
    """Return entries of the Fiedler vector of the honest graph at the start, by node."""
    place = {node: i for i, node in enumerate(stage.honest)}
    weights = np.zeros((len(place), len(place)))
    for node in stage.honest:
        for peer, weight in stage.links(node, 0, 0.0).weights.items():
            if peer in place:
                weights[place[node], place[peer]] = weight
    return dict(zip(stage.honest, directions.fiedler((weights + weights.T) / 2).tolist(), strict=True))


def _stacked(rows: Sequence[jax.Array], like: jax.Array) -> jax.Array:
    return jnp.stack(rows) if rows else jnp.zeros((0, *like.shape), like.dtype)
