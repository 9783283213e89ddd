"""Requirements of data, partitions, models, optimisers and schedules."""

from __future__ import annotations

from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.conformance.findings import Report, expect
from scenarios.kinds.data import Data
from scenarios.kinds.optimizers import Optimizer
from scenarios.kinds.partitions import Partition
from scenarios.kinds.schedules import Schedule
from scenarios.kinds.tasks import Model

if TYPE_CHECKING:
    import numpy as np

    from protocols.learning.dataset import Dataset
    from protocols.learning.task import Task

SEED = 5
NODES = 6
CLASSES = 4


def _rng() -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(SEED)


def data(report: Report, table: Data, base: Path) -> None:
    """Check a data set against what its table says of it."""
    import numpy as np

    if missing := list(table.file_problems(base)):
        report.skip("samples", f"{missing[0][1]}; pass check_kind a table and base=")
        return
    told = table.train_samples(base)
    found, again = table.load(base, _rng()), table.load(base, _rng())
    with report.must("the same generator gives the same samples"):
        same = np.array_equal(found.train_x, again.train_x) and np.array_equal(found.train_y, again.train_y)
        expect(same, "two loads differ; draw from rng alone")
    with report.must("train_samples() is their number, or None"):
        expect(told in (None, len(found.train_y)), f"it is {told}, there are {len(found.train_y)}")
        expect(
            table.train_samples() in (None, len(found.train_y)),
            f"without a folder it is {table.train_samples()}",
        )
    with report.must("feature_count and class_count are those of the samples, or None"):
        features = prod(found.train_x.shape[1:])
        expect(
            table.feature_count in (None, features),
            f"{table.feature_count} features, samples have {features}",
        )
        expect(
            table.class_count in (None, found.classes),
            f"{table.class_count} classes, there are {found.classes}",
        )
    with report.must("regression is true if labels are numbers to predict"):
        expect(
            table.regression == (found.classes is None), f"{table.regression}, with {found.classes} classes"
        )
    with report.must("no_images is given unless samples have the shape of images"):
        shape = found.train_x.shape[1:]
        expect(
            table.no_images is not None or len(shape) in (2, 3), f"it is None, and samples have shape {shape}"
        )
    with report.must("no_users is given only where users are unknown"):
        expect(
            table.no_users is None or found.groups is None,
            f"users are known, and no_users is {table.no_users!r}",
        )


def partition(report: Report, table: Partition, base: Path) -> None:
    """Check which samples nodes hold."""
    import numpy as np

    from simulator.errors import ConfigurationError

    dataset = _dataset(max(60 * NODES, 2 * NODES * table.fewest()))
    samples = len(dataset.train_y)
    if refusal := next((message for _, message in table.shortage(NODES, samples)), None):
        report.skip("the split", refusal)
        return
    try:
        parts, again = table.split(dataset, NODES, _rng()), table.split(dataset, NODES, _rng())
    except ConfigurationError as refused:
        report.skip("the split", str(refused))
        return
    with report.must("every node has an ascending array of sample numbers"):
        expect(len(parts) == NODES, f"{len(parts)} arrays for {NODES} nodes")
        for part in parts:
            expect((np.diff(part) > 0).all(), f"{part[:10]} does not ascend")
            expect(
                len(part) and part[0] >= 0 and part[-1] < samples,
                f"samples {part[:1]} to {part[-1:]} of {samples}",
            )
    with report.must("every node has as many samples as fewest() says"):
        expect(
            min(map(len, parts)) >= table.fewest(), f"a node has {min(map(len, parts))} of {table.fewest()}"
        )
    with report.must("no sample is held twice unless copies is true"):
        held = np.concatenate(parts)
        expect(table.copies or len(np.unique(held)) == len(held), "one is; say copies, or deal each once")
    with report.must("the same generator gives the same parts"):
        expect(all(map(np.array_equal, parts, again)), "two splits differ; draw from rng alone")
    with report.must("shortage() refuses one sample for all nodes"):
        found = list(table.shortage(NODES, 1))
        expect(found, "it yields nothing")
        expect(
            all(key[0] in type(table).model_fields for key, _ in found),
            f"{found[0][0]} is no key of the table",
        )


def _dataset(samples: int) -> Dataset:
    import numpy as np

    from protocols.learning.dataset import Dataset

    rng = _rng()
    x = rng.normal(size=(samples + 40, 3)).astype(np.float32)
    y = rng.integers(0, CLASSES, samples + 40)
    users = rng.permutation(samples) % (3 * NODES)
    return Dataset(x[:samples], y[:samples], x[samples:], y[samples:], CLASSES, groups=users)


def model(report: Report, table: Model, base: Path) -> None:
    """Check a model with its loss, on the labels and shapes it is for."""
    shape = (16, 16) if table.needs_images else (5,)
    labels: tuple[int | None, ...] = {"classes": (CLASSES,), "numbers": (None,), "either": (CLASSES, None)}[
        table.predicts
    ]
    for classes in labels:
        _task(report, table, shape, classes)


def _task(report: Report, table: Model, shape: tuple[int, ...], classes: int | None) -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np

    task = table.build(shape, classes)
    with report.must("equal tables give equal tasks"):
        expect(
            table.model_copy().build(shape, classes) == task,
            "they differ; cache the function that makes the task",
        )
    with report.must("parameters() is their number, or None"):
        told = table.parameters(prod(shape), classes)
        expect(told in (None, task.size), f"it is {told}, the task has {task.size}")
    params = task.init(_rng())
    with report.must("init() gives finite float32 parameters, the same for the same generator"):
        expect(np.shape(params) == (task.size,), f"shape {np.shape(params)}, size is {task.size}")
        expect(np.asarray(params).dtype == np.float32, f"they are {np.asarray(params).dtype}")
        expect(
            np.isfinite(params).all() and np.array_equal(params, task.init(_rng())),
            "they differ or are not finite",
        )
    x = _rng().normal(size=(7, *shape)).astype(np.float32)
    y = np.zeros(7, np.float32) if classes is None else np.arange(7) % classes
    with report.must("loss() is a finite number with a finite gradient"):
        value, slope = jax.jit(jax.value_and_grad(task.loss))(jnp.asarray(params), x[0], y[0])
        expect(value.shape == () and isfinite(float(value)), f"it is {value}")
        expect(slope.shape == (task.size,) and bool(jnp.isfinite(slope).all()), "the gradient is not finite")
    with report.must("evaluate() gives a loss of each sample, and with classes a prediction"):
        found: Any = jax.jit(task.evaluate)(jnp.asarray(params), x, y)
        wanted = {"loss"} if classes is None else {"loss", "prediction"}
        expect(wanted <= found.keys(), f"it gives {sorted(found)}, expected {sorted(wanted)}")
        for name, values in found.items():
            expect(np.shape(values) == (7,), f"{name} has shape {np.shape(values)} for 7 samples")
        singly = np.array([float(task.loss(jnp.asarray(params), x[i], y[i])) for i in range(7)])
        expect(np.allclose(found["loss"], singly, rtol=1e-3, atol=1e-5), "its loss is not that of loss()")
    with report.must("classes are those it was built for"):
        expect(task.classes == classes, f"{task.classes}, built for {classes}")
    _by_sample(report, task, x, y)


def _by_sample(report: Report, task: Task, x: Any, y: Any) -> None:
    """Check that clipping of samples is what the ledger takes it for."""
    import jax
    import numpy as np

    from protocols.learning.gradient import clipped, sample_by_sample
    from protocols.learning.separate import mixing_of

    with report.must("every sample of a batch is treated for itself"):
        mixed = mixing_of(task, x, y)
        expect(mixed is None, f"{mixed} of a sample depend on others; clipping then bounds no record")
    if task.network is None:
        return
    with report.must(
        "head() of the outputs of network is loss(): clipping by layers is that of single samples"
    ):
        given = (np.asarray(task.init(_rng())), x, y, np.arange(len(y)) != 2, np.float32(0.5))
        layers, singly = (jax.jit(way)(*given) for way in (clipped(task, "record"), sample_by_sample(task)))
        expect(np.allclose(layers, singly, rtol=1e-3, atol=1e-4), "their sums differ")


def optimizer(report: Report, table: Optimizer, base: Path) -> None:
    """Check an optimiser, in optax's form."""
    import jax
    import jax.numpy as jnp

    decay = 0.0 if table.without_decay is None else 0.01
    rule = table.build(decay)
    with report.must("equal tables give the same object"):
        expect(table.model_copy().build(decay) is rule, "they differ; cache the function that makes it")
    params, gradient = jnp.arange(1.0, 5.0), jnp.array([0.5, -1.0, 2.0, 0.0])
    state = rule.init(params)
    step, _ = jax.jit(rule.update)(gradient, state, params)
    with report.must("a direction is finite and has the shape of the parameters"):
        expect(step.shape == params.shape and bool(jnp.isfinite(step).all()), f"{step}")
    with report.must("linear is said only where the direction is the gradient"):
        expect(
            not table.linear or bool(jnp.allclose(step, gradient + decay * params)), f"{step} for {gradient}"
        )
    with report.must("stateful says whether there is a state"):
        size = sum(leaf.size for leaf in jax.tree.leaves(state))
        expect(not table.stateful or size > 0, "it is true, and the state is empty")


def schedule(report: Report, table: Schedule, base: Path) -> None:
    """Check a schedule of step sizes."""
    sizes = [table.build(0.5)(made) for made in range(200)]
    with report.must("step sizes are finite and not negative"):
        wrong = [(made, size) for made, size in enumerate(sizes) if not (isfinite(size) and size >= 0)]
        expect(not wrong, f"after {wrong[0][0] if wrong else 0} steps: {wrong[0][1] if wrong else 0}")
    with report.must("step sizes are in proportion to the scenario's"):
        expect(
            all(abs(table.build(1.0)(made) - 2 * size) < 1e-9 for made, size in enumerate(sizes)),
            "they are not",
        )
