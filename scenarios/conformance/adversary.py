"""Requirements of robust rules, attacks and tampering."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.conformance import worlds
from scenarios.conformance.findings import Report, Unmet, expect
from scenarios.kinds.attacks import Attack
from scenarios.kinds.robust_rules import RobustRule
from scenarios.kinds.tampering import Tamper

if TYPE_CHECKING:
    import jax

    from protocols.gossip.robust_mix import Heard
    from scenarios.schema import Scenario

PARAMETERS = 6
WRONG = 1
"""The Byzantine node of worlds."""


def rule(report: Report, table: RobustRule, base: Path) -> None:
    """Check a robust rule on models made up."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    count = max(table.least, 8)
    mix = table.build()
    rng = np.random.default_rng(3)
    models = jnp.asarray(rng.normal(size=(count, PARAMETERS)), jnp.float32)
    with report.must("build() gives one function for equal tables"):
        expect(table.model_copy().build() is mix, "two functions; keep RobustRule.build, or cache yours")
    with report.must("it can be compiled, and gives one finite model in the precision of those heard"):
        mixed = jax.jit(lambda x: mix(_heard(x)))(models)
        expect(mixed.shape == (PARAMETERS,), f"shape {mixed.shape} for models {models.shape}")
        expect(mixed.dtype == models.dtype, f"{mixed.dtype} for {models.dtype}")
        expect(bool(jnp.isfinite(mixed).all()), f"{mixed}")
    with report.must("it mixes as few models as least says"):
        expect(isinstance(table.least, int) and table.least >= 1, f"least is {table.least!r}")
        few = mix(_heard(models[: table.least]))
        expect(few.shape == (PARAMETERS,) and bool(jnp.isfinite(few).all()), f"{few} of {table.least} models")
    with report.must("equal models are kept"):
        same = jnp.tile(models[0], (count, 1))
        kept = mix(_heard(same))
        expect(bool(jnp.allclose(kept, models[0], atol=1e-5)), f"{kept} of models {models[0]}")
    with report.must("the order of the others does not matter"):
        order = np.concatenate([[0], 1 + rng.permutation(count - 1)])
        one, other = mix(_heard(models)), mix(_heard(models, order))
        expect(bool(jnp.allclose(one, other, atol=1e-5)), f"{one} and {other}")
    if not table.centred:
        with report.must("a rule that is not centred treats the own model like the others"):
            one, other = mix(_heard(models)), mix(_heard(models, np.arange(count)[::-1]))
            expect(bool(jnp.allclose(one, other, atol=1e-5)), f"{one} and {other}; say centred")
    if "own samples" not in table.needs:
        with report.must('a rule that looks at the own samples says so: needs "own samples"'):
            mix(replace(_heard(models), losses=_no_losses))
    if "honest nodes" not in table.needs:
        with report.must('a rule that looks at who is honest says so: needs "honest nodes"'):
            heard = _heard(models)
            other = mix(replace(heard, honest=1.0 - heard.honest))
            expect(bool(jnp.allclose(mix(heard), other, atol=1e-6)), "it does, and needs does not say so")


def _no_losses() -> jax.Array:
    raise Unmet("it asks for losses")


def _heard(models: jax.Array, order: Any = None) -> Heard:
    """Models of one mix, in another order if one is given: weights, honesty, lots and losses go along."""
    import jax.numpy as jnp
    import numpy as np

    from protocols.gossip.robust_mix import Heard

    count = len(models)
    order = np.arange(count) if order is None else order
    weights = np.full(count, 1.0 / count, np.float32)
    honest = np.ones(count, np.float32)
    honest[count // 2 :][:WRONG] = float(count <= 2)
    lots = np.linspace(0.9, 0.1, count, dtype=np.float32)
    losses = np.linspace(0.2, 1.2, count, dtype=np.float32)
    taken = [jnp.asarray(values[order]) for values in (weights, honest, lots, losses)]
    return Heard(models[order], taken[0], taken[1], taken[2], lambda: taken[3])


def attack(report: Report, table: Attack, base: Path) -> None:
    """Check an attack: what it makes of training, and what it sends in a small world."""
    with report.must("part and knowledge are among those there are"):
        from simulator.contract.knowledge import LEVELS

        expect(table.part in ("messages", "training", "shares", "nothing"), f"part is {table.part!r}")
        expect(
            table.knowledge in LEVELS,
            f"knowledge is {table.knowledge!r}, expected one of {', '.join(LEVELS)}",
        )
    _poison(report, table, base)
    if table.part != "messages":
        return
    first = _sent(table, table.knowledge, base)
    shapes = {value.shape for _, _, value in first.said}
    with report.must("what is sent has the shape of a model"):
        expect(first.said, "nothing was sent in place of a model")
        expect(shapes == {(first.size,)}, f"shapes {shapes}, a model has ({first.size},)")
    with report.must("it is what its name says at the level of knowledge it asks for"):
        told = f"with {table.knowledge} it saw no honest model, {first.dark} times of {len(first.said)}; ask for more"
        expect(first.dark < len(first.said) or not first.said, told)
    again = _sent(table, table.knowledge, base)
    with report.must("the same seed gives the same attack"):
        expect(_alike(first, again), "two runs differ; draw with scene.known.rng")
    if table.knowledge == "own":
        more = _sent(table, "omniscient", base)
        with report.must('an attack that asks for knowledge = "own" looks at no other model'):
            expect(_alike(first, more), "it sends something else when it is shown more; ask for that level")


class _Said:
    """What a Byzantine node sent in place of its models."""

    def __init__(self, said: list[tuple[int, int, Any]], dark: int, size: int) -> None:
        self.said, self.dark, self.size = said, dark, size


def _scenario(table: Attack, knowledge: str) -> Scenario:
    """Return the world with the attack in place of the one that it was checked with."""
    privacy = {"privacy": worlds.PRIVACY} if "noise" in table.needs else {}
    exchange = {"kind": "dsgd", "rounds": worlds.ROUNDS, "exchange": "ldp" if privacy else "plain"}
    byzantine = {"nodes": [WRONG], "attack": {"kind": "none"}}
    made = worlds.scenario_of(
        protocol=exchange, adversary={"byzantine": byzantine, "knowledge": knowledge}, **privacy
    )
    whole = made.adversary
    assert whole.byzantine is not None
    changed = whole.model_copy(update={"byzantine": whole.byzantine.model_copy(update={"attack": table})})
    return made.model_copy(update={"adversary": changed})


def _sent(table: Attack, knowledge: str, base: Path) -> _Said:
    import numpy as np

    from simulator.contract.compute import values_of

    outcome = worlds.run(_scenario(table, knowledge), base)
    messages = [(i, message) for i, (node, message) in enumerate(outcome.sent) if node == WRONG]
    bodies = values_of(outcome.recorder.executor, [message.body for _, message in messages])
    said = [(i, m.round, np.asarray(body)) for (i, m), body in zip(messages, bodies, strict=True)]
    return _Said(said, outcome.recorder.counts["attack in the dark"], outcome.parts.learner.size)


def _alike(one: _Said, other: _Said) -> bool:
    import numpy as np

    pairs = zip(one.said, other.said, strict=False)
    return len(one.said) == len(other.said) and all(
        np.allclose(a[2], b[2], rtol=1e-4, atol=1e-5, equal_nan=True) for a, b in pairs
    )


def _same_models(one: worlds.Outcome, other: worlds.Outcome) -> bool:
    import numpy as np

    return all(np.array_equal(model, other.models[node]) for node, model in one.models.items())


def _poison(report: Report, table: Attack, base: Path) -> None:
    """Check that training is changed at Byzantine nodes alone, and the same way each time."""
    import numpy as np

    from protocols.attacks.poison import Training
    from protocols.learning.executor import BatchedExecutor
    from scenarios.build import build

    scenario = _scenario(table, table.knowledge)
    clean = worlds.scenario_of(
        **({"protocol": {**worlds.WORLD["protocol"], "exchange": "ldp"}, "privacy": worlds.PRIVACY})
    )
    learning = build(clean, BatchedExecutor(), base).learning
    task = learning.evaluator.task
    training = Training(learning.bank, learning.shares.dataset, task.classes, learning.learner.sigma)
    nodes = frozenset({WRONG})
    after, again = table.poison(training, nodes), table.poison(training, nodes)
    honest = [node for node in range(worlds.NODES) if node != WRONG]
    with report.must("training changes at Byzantine nodes alone"):
        for name in ("x", "y", "mask"):
            was, now = np.asarray(getattr(training.bank, name)), np.asarray(getattr(after.bank, name))
            expect(was.shape == now.shape, f"{name} has shape {now.shape}, had {was.shape}")
            expect(np.array_equal(was[honest], now[honest]), f"{name} of honest nodes")
        kept = [(after.sigma[node], training.sigma[node]) for node in honest]
        expect(all(a == b for a, b in kept), f"noise of honest nodes: {kept}")
    with report.must("the same training is poisoned the same way"):
        expect(
            np.array_equal(after.bank.x, again.bank.x) and np.array_equal(after.bank.y, again.bank.y),
            "two differ",
        )
    changed = after.bank is not training.bank or tuple(after.sigma) != tuple(training.sigma)
    with report.must('part is "training" if only training changes'):
        expect(table.part != "training" or changed, "nothing changes")
    with report.must("probe() gives test data with labels, or None"):
        probe = table.probe(training)
        expect(probe is None or len(probe.test_y), "no test samples")
    with report.must("a world with the attack can be built"):
        if "dealt shares" not in table.needs:
            build(scenario, BatchedExecutor(), base)


_MASKED: dict[str, Any] = {
    "protocol": {"kind": "dsgd", "rounds": worlds.ROUNDS, "exchange": "secure"},
    "privacy": worlds.PRIVACY,
}
"""A world whose messages hold arrays, which tampering can change; a model is a handle until it is protected."""


def tamper(report: Report, table: Tamper, base: Path) -> None:
    """Check tampering: on messages of a small world, twice."""
    made = worlds.scenario_of(
        adversary={
            "tamper": [{"kind": "drop", "nodes": [WRONG]}],
            "encrypted": False,
            "knowledge": table.knowledge,
        },
        **(_MASKED if table.changes else {}),
    )
    placed = table.model_copy(
        update={
            "nodes": (WRONG,),
            "links": None,
            "messages": ("masked",) if table.changes else None,
            "at": None,
            "until": None,
        }
    )
    changed = made.adversary.model_copy(update={"tamper": (placed,)})
    scenario = made.model_copy(update={"adversary": changed})
    first, again = worlds.run(scenario, base), worlds.run(scenario, base)
    with report.must("a run with tampering comes to its end"):
        expect(not first.stopped, f"nodes {sorted(first.stopped)} never finished")
    with report.must("the same seed gives the same tampering"):
        expect(first.trace == again.trace, "two runs have different events")
    with report.must("changes is true or false"):
        expect(isinstance(table.changes, bool), f"it is {table.changes!r}")
    with report.must("tampering leaves traces in events or models"):
        calm = worlds.run(
            made.model_copy(update={"adversary": changed.model_copy(update={"tamper": ()})}), base
        )
        expect(calm.trace != first.trace or not _same_models(calm, first), "the run is what it is without it")
