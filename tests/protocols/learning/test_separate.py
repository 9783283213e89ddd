"""A task whose samples depend on each other cannot be clipped per sample, and is found by numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protocols.learning import models
from protocols.learning.layers import Dense, NeuralNetwork
from protocols.learning.separate import check_separate, mixing_of
from protocols.learning.task import Task
from simulator.errors import ConfigurationError
from tests.support.matrix import covering

X = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(9, 12, 12)).astype(np.float32)
CLASSES, NUMBERS = np.arange(9) % 3, np.linspace(-1, 1, 9, dtype=np.float32)
SHIPPED = [
    (models.softmax(6, 3), X, CLASSES),
    (models.linear(6), X, NUMBERS),
    (models.mlp(6, (5, 4), 3), X, CLASSES),
    (models.mlp(6, 5, 3, "tanh"), X, CLASSES),
    (models.cnn((12, 12), 3, channels=(2, 3), kernel=3, hidden=(5,)), IMAGES, CLASSES),
    (models.cnn((12, 12), 3, channels=(2,), kernel=3, hidden=(), padding="same"), IMAGES, CLASSES),
]
OWN = models.mlp(6, 5, 3)


@pytest.mark.parametrize(
    ("task", "x", "y"), covering(SHIPPED, SHIPPED[:3]), ids=lambda one: getattr(one, "name", "")
)
def test_shipped_tasks_treat_every_sample_for_itself(task: Task, x: Any, y: Any) -> None:
    assert mixing_of(task, x, y) is None


def test_equal_samples_and_single_ones_are_tried_too() -> None:
    for x, y in ((np.zeros((9, 6)), CLASSES), (X[:1], CLASSES[:1])):
        assert mixing_of(OWN, x, y) is None


@dataclass(frozen=True)
class Normalised(NeuralNetwork):
    """Features are normalised over the batch before the first layer."""

    def run(self, params: Any, x: Any, probes: Any) -> Any:
        return super().run(params, (x - x.mean(0)) / (x.std(0) + 1e-3), probes)


@dataclass(frozen=True)
class Centred(NeuralNetwork):
    """Outputs are centred over the batch."""

    strength: float = 1.0

    def run(self, params: Any, x: Any, probes: Any) -> Any:
        outputs, seen = super().run(params, x, probes)
        return outputs - self.strength * outputs.mean(0), seen


def centred_head(outputs: Any, y: Any) -> Any:
    return models.cross_entropy(outputs - outputs.mean(0), y)


def ranked_head(outputs: Any, y: Any) -> Any:
    losses = models.cross_entropy(outputs, y)
    return losses * (1.0 + (losses >= jnp.max(losses)))


LAYERS = ((6,), (Dense(5), "relu", Dense(3)))
MIXED = [
    (replace(OWN, network=Normalised(*LAYERS)), "outputs of the network"),
    (replace(OWN, network=Centred(*LAYERS)), "outputs of the network"),
    (replace(OWN, network=Centred(*LAYERS, strength=1e-3)), "outputs of the network"),
    (replace(OWN, head=centred_head), "losses of the head"),
    (replace(OWN, head=ranked_head), "losses of the head"),
]


@pytest.mark.parametrize(("task", "said"), MIXED, ids=lambda one: "")
def test_a_task_that_mixes_samples_is_refused_in_one_line(task: Task, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{said} of a sample depend on other samples") as refused:
        check_separate(task, X, CLASSES)
    assert "\n" not in str(refused.value)
    assert "no batch normalisation" in str(refused.value)


def test_functions_that_look_across_a_batch_although_they_get_one_sample_are_found() -> None:
    """A rule of vectorisation may do what it likes with the samples it is given together."""

    @jax.custom_batching.custom_vmap
    def alone(x: Any) -> Any:
        return x

    @alone.def_vmap
    def together(size: int, batched: Any, x: Any) -> Any:
        return x - x.mean(0), True

    def loss(params: Any, x: Any, y: Any) -> Any:
        return jnp.sum((params * alone(x) - y) ** 2)

    task = Task("sly", 6, lambda rng: np.zeros(6, np.float32), loss, lambda p, x, y: {"loss": y}, None)
    assert mixing_of(task, X, NUMBERS) == "gradients"


def test_a_task_that_cannot_be_computed_is_refused_in_one_line() -> None:
    def loss(params: Any, x: Any, y: Any) -> Any:
        raise RuntimeError("first\nsecond")

    task = Task("wrong", 6, lambda rng: np.zeros(6, np.float32), loss, lambda p, x, y: {"loss": y}, None)
    with pytest.raises(
        ConfigurationError, match="task wrong: its gradients cannot be computed: RuntimeError: first second"
    ):
        check_separate(task, X, NUMBERS)
