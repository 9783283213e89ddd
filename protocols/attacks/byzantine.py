"""Content attacks: what a Byzantine node says in place of its own model.

An attack is a function of a :class:`Scene`, which holds the node's own model and the models its coalition has seen
(:mod:`protocols.attacks.knowledge`), and of the links, which are public. What it cannot know it does without: with no
honest model in sight, as behind secure sums, its own model stands for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from protocols.attacks import directions
from protocols.attacks.knowledge import models_seen
from protocols.gossip.learner import Learner, Model
from protocols.gossip.robust_mix import Heard, Rule
from protocols.privacy.lineage import ORIGIN
from simulator.compute import Executor, Op
from simulator.knowledge import Context
from simulator.node import Links, Node

Attack: TypeAlias = "Callable[[Scene], Model]"


@dataclass(frozen=True)
class Stage:
    """What every attack of a run has at hand.

    Args:
        learner: how nodes train, and the lineage of the run.
        executor: carries out what is computed.
        links: (node, round, seconds) -> the links of a node, with their weights: public.
        members: the coalition.
        speakers: those of it that lie.
        rule: what receivers do with what they hear, for attacks that suit their factor to it; None: a weighted sum.
    """

    learner: Learner
    executor: Executor
    links: Callable[[int, int, float], Links]
    members: frozenset[int]
    speakers: frozenset[int]
    rule: Rule | None = None

    def claim(
        self, attack: Attack, from_s: float = 0.0, until_s: float = float("inf")
    ) -> Callable[..., Model]:
        """An attack as a claim of the simulator, in a window of time."""

        def claim(known: Context, node: Node, content: Any, to: int, round: int) -> Model:
            model: Model = content
            if not from_s <= node.now_s < until_s:
                return model
            return attack(Scene(self, known, node, model, to, round))

        return claim


@dataclass(frozen=True)
class Scene:
    """One Byzantine node about to speak to one neighbour."""

    stage: Stage
    known: Context
    node: Node
    own: Model
    to: int
    round: int

    @cached_property
    def seen(self) -> dict[int, Model]:
        """The latest honest models in the transcript, by node."""
        return models_seen(self.known, self.stage.members)

    @cached_property
    def links(self) -> Links:
        """Of the node spoken to."""
        return self.stage.links(self.to, self.round, self.node.now_s)

    @cached_property
    def around(self) -> dict[int, Model]:
        """Those seen of the node spoken to and its honest neighbours; if there are none, all that are seen."""
        near = {v: m for v, m in self.seen.items() if v == self.to or v in self.links.weights}
        return near or self.seen

    def models(self) -> list[Model]:
        """The same as a list that is never empty."""
        if not self.around:
            self.node.record("attack in the dark", round=self.round)
        return list(self.around.values()) or [self.own]

    def pull(self) -> tuple[list[Model], tuple[float, ...], float] | None:
        """Target and honest neighbours seen, the neighbours' weights, and the weight of liars; None if unseen."""
        target = self.seen.get(self.to)
        weights = self.links.weights
        wrong = sum(weight for v, weight in weights.items() if v in self.stage.speakers)
        if target is None or wrong <= 0:
            return None
        near = [v for v in weights if v in self.seen]
        # Whoever was not seen is taken to be where the target is: it pulls nowhere.
        return [target, *(self.seen[v] for v in near)], tuple(weights[v] for v in near), wrong

    def said(self, op: Op, models: Sequence[Model], *numbers: Any) -> Model:
        """What an operation on models (and numbers behind them) gives."""
        stage = self.stage
        learner = stage.learner
        params = stage.executor.submit(
            op, [*(model.params for model in models), *numbers], node=self.node.id, size=learner.size
        )
        states = [model.state for model in models]
        return Model(params, learner.lineage.opaque(self.node.now_s, self.node.id, self.round, states))

    def constant(self, value: Any) -> Model:
        """Something that depends on nobody's data."""
        vector = np.asarray(value, np.float32)
        return Model(self.stage.executor.constant(vector), ORIGIN)


def sign_flip(stage: Stage, scale: float) -> Attack:
    """−scale times the node's own model, the same to every neighbour.

    The factor is linear, so the lineage stays exact: the claim is the state times −scale.
    """
    learner = stage.learner
    op = learner.operations.scale(-scale)

    def attack(scene: Scene) -> Model:
        node, own = scene.node, scene.own
        params = stage.executor.submit(op, [own.params], node=node.id, size=learner.size)
        return Model(params, learner.lineage.combine(node.now_s, node.id, scene.round, [(-scale, own.state)]))

    return attack


def two_faced(stage: Stage, scale: float) -> Attack:
    """:func:`sign_flip` to neighbours of odd number, the truth to the others: the simplest equivocation."""
    flip = sign_flip(stage, scale)
    return lambda scene: flip(scene) if scene.to % 2 else scene.own


def gaussian(stage: Stage, sigma: float) -> Attack:
    """Noise of standard deviation sigma around zero, another draw for every receiver."""
    size = stage.learner.size

    def attack(scene: Scene) -> Model:
        return scene.constant(sigma * scene.known.rng("gaussian").standard_normal(size, dtype=np.float32))

    return attack


def not_finite(stage: Stage, value: Literal["nan", "inf"]) -> Attack:
    """A vector of what is no number."""
    vector = np.full(stage.learner.size, float(value), np.float32)
    return lambda scene: scene.constant(vector)


def stale(stage: Stage) -> Attack:
    """The public initial model, for ever: nothing is contributed, everything received (free riding)."""
    return lambda scene: stage.learner.start


def inner_product(stage: Stage, factor: float | None) -> Attack:
    """Minus a multiple of the mean of the honest models around the target; None: the factor that hurts most."""
    return _spread(stage, "inner product", lambda x, f: directions.inner_product(x, f), factor)


def little(stage: Stage, z: float | None) -> Attack:
    """The mean of the honest models around the target plus z standard deviations; None: as many as hurt most."""
    return _spread(stage, "a little", lambda x, f: directions.little(x, f), z)


def mimic(stage: Stage, victim: int | None) -> Attack:
    """The model of one honest node once more: a given one, or the one furthest out where they differ most."""
    ops = _by_count("mimic", lambda count: lambda *rows: directions.mimicked(jnp.stack(rows)))

    def attack(scene: Scene) -> Model:
        if victim is not None:
            return scene.seen.get(victim, scene.own)
        models = scene.models()
        return scene.said(ops(len(models)), models)

    return attack


def echo(stage: Stage) -> Attack:
    """The receiver's own last model, so that it mixes little but itself (Pasquini, Raynal, Troncoso 2023)."""
    return lambda scene: scene.seen.get(scene.to, scene.own)


def dissensus(stage: Stage, factor: float) -> Attack:
    """What holds a target against its honest neighbours (1), or drives it away from them (more)."""

    def make(count: int) -> Callable[..., jax.Array]:
        def say(*inputs: Any) -> jax.Array:
            *rows, w, wrong = inputs
            x = jnp.stack(rows[1:]) if count > 1 else jnp.zeros((0, rows[0].shape[0]), rows[0].dtype)
            return directions.dissensus(rows[0], x, w[: count - 1], wrong, factor)

        return say

    return _pulled(stage, "dissensus", make)


def override(stage: Stage, aim: Literal["start", "opposite"]) -> Attack:
    """What makes the target's next model, under plain gossip, the public initial one or minus the honest mean."""
    start = np.asarray(stage.executor.read([stage.learner.start.params])[0])

    def make(count: int) -> Callable[..., jax.Array]:
        def say(*inputs: Any) -> jax.Array:
            *rows, w, wrong = inputs
            x = jnp.stack(rows)
            wanted = jnp.asarray(start) if aim == "start" else -jnp.mean(x, axis=0)
            return directions.override(rows[0], x[1:], w[: count - 1], wrong, wanted)

        return say

    return _pulled(stage, "state override", make)


def spectral(stage: Stage, factor: float, entries: Mapping[int, float]) -> Attack:
    """The target, pushed along the slowest mode of disagreement of the honest graph.

    Args:
        stage: of the run.
        factor: how far.
        entries: of the Fiedler vector of the honest graph, by node.
    """
    ops = _by_count(
        "spectral",
        lambda count: (
            lambda *inputs: directions.spectral(
                inputs[0], inputs[-1], jnp.stack(inputs[1:-2]), inputs[-2], factor
            )
        ),
    )

    def attack(scene: Scene) -> Model:
        target = scene.seen.get(scene.to)
        if target is None:
            return scene.own
        near = [v for v in scene.seen if v in entries]
        models = [target, *(scene.seen[v] for v in near)]
        mode = tuple(entries[v] for v in near)
        return scene.said(ops(len(models)), models, mode, entries.get(scene.to, 0.0))

    return attack


def boosted(stage: Stage, factor: float) -> Attack:
    """The own model, away from the mean of what is seen by a factor: model replacement, for a backdoor to survive."""
    ops = _by_count(
        "boosted",
        lambda count: (
            lambda own, *rows: (
                jnp.mean(jnp.stack(rows), axis=0) + factor * (own - jnp.mean(jnp.stack(rows), axis=0))
            )
        ),
    )

    def attack(scene: Scene) -> Model:
        models = [scene.own, *scene.models()]
        return scene.said(ops(len(models)), models)

    return attack


def _spread(
    stage: Stage, name: str, say: Callable[[jax.Array, Any], jax.Array], factor: float | None
) -> Attack:
    """An attack on the models around a target, with a given factor or one that suits the receivers' rule."""
    if factor is not None:
        told = factor
        ops = _by_count(name, lambda count: lambda *rows: say(jnp.stack(rows), told))

        def attack(scene: Scene) -> Model:
            models = scene.models()
            return scene.said(ops(len(models)), models)

        return attack

    rule = stage.rule or (lambda heard: heard.weights @ heard.models)

    @cache
    def searching(honest: int, wrong: int) -> Op:
        def search(*inputs: Any) -> jax.Array:
            *rows, w = inputs
            x = jnp.stack(rows)
            weights = jnp.asarray(w)
            truth = jnp.concatenate([jnp.ones(honest, x.dtype), jnp.zeros(wrong, x.dtype)])
            own = 1.0 - jnp.sum(weights[1:])
            weights = weights.at[0].set(own)

            def outcome(lie: jax.Array) -> jax.Array:
                heard = jnp.concatenate([x, jnp.tile(lie, (wrong, 1))])
                return rule(Heard(heard, weights, truth, lambda: jnp.zeros(honest + wrong, x.dtype)))

            kept = weights[:honest]
            return directions.suited(lambda f: say(x, f), outcome, kept @ x / jnp.sum(kept))

        return Op(f"{name}, suited to {honest} and {wrong}", search)

    def suiting(scene: Scene) -> Model:
        found = scene.pull()
        if found is None:
            return scene.own
        models, weights, _ = found
        liars = [scene.links.weights[v] for v in scene.links.weights if v in stage.speakers]
        return scene.said(searching(len(models), len(liars)), models, (0.0, *weights, *liars))

    return suiting


def _pulled(stage: Stage, name: str, make: Callable[[int], Callable[..., jax.Array]]) -> Attack:
    """An attack on what pulls a target; a liar that does not see the target says its own model."""
    ops = _by_count(name, make)

    def attack(scene: Scene) -> Model:
        found = scene.pull()
        if found is None:
            scene.node.record("attack in the dark", round=scene.round)
            return scene.own
        models, weights, wrong = found
        return scene.said(ops(len(models)), models, weights or (0.0,), wrong)

    return attack


def _by_count(name: str, make: Callable[[int], Callable[..., jax.Array]]) -> Callable[[int], Op]:
    """An operation for every number of models, built once."""
    return lru_cache(maxsize=None)(lambda count: Op(f"{name} of {count}", make(count)))
