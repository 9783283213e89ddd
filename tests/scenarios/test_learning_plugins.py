"""Kinds of data, partitions, models, optimisers and schedules that another package brings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import plugins
from tests.support.places import ROOT

OTHERS = '''
from functools import lru_cache
from typing import ClassVar, Literal
from pydantic import Field
from scenarios.kinds.data import Data
from scenarios.kinds.optimizers import Optimizer
from scenarios.kinds.partitions import Partition
from scenarios.kinds.schedules import Schedule
from scenarios.kinds.tasks import Model, Predicts


class Parity(Data):
    """Signs of one number."""

    regression: ClassVar[bool] = False
    no_images: ClassVar[str] = "parity holds single numbers"
    no_users: ClassVar[str] = "parity has none"

    kind: Literal["parity"] = Field(description="signs of one number")
    honest: bool = True

    def load(self, base, rng):
        import numpy as np
        from protocols.learning.dataset import Dataset

        x = rng.uniform(-1, 1, (300, 1))
        y = (x[:, 0] > 0).astype(int)
        return Dataset(x[:200], y[:200], x[200:], y[200:], 2 if self.honest else None)


class Slices(Partition):
    """Samples in the order of the data set."""

    needs_classes: ClassVar[bool] = False
    needs_users: ClassVar[bool] = False

    kind: Literal["slices"] = Field(description="one slice a node")
    overlap: int = Field(default=0, ge=0)

    def split(self, dataset, nodes, rng):
        import numpy as np

        parts = np.array_split(np.arange(len(dataset.train_y)), nodes)
        return [np.append(part, part[-1] + 1 + np.arange(self.overlap)) for part in parts[:-1]] + parts[-1:]


class Margin(Model):
    """A linear score for two classes."""

    predicts: ClassVar[Predicts] = "classes"

    kind: Literal["margin"] = Field(description="a linear score")

    def build(self, shape, classes):
        from protocols.learning import models

        return models.softmax(shape[0], classes)


class Signs(Optimizer):
    """The signs of the gradient (Bernstein et al. 2018)."""

    linear: ClassVar[bool] = False
    stateful: ClassVar[bool] = False

    kind: Literal["signs"] = Field(description="the signs of the gradient")

    def build(self, weight_decay):
        return signs(weight_decay)


@lru_cache
def signs(weight_decay):
    import optax

    return optax.chain(optax.add_decayed_weights(weight_decay), optax.scale_by_sign())


class Halved(Schedule):
    """Half the step size after some steps."""

    kind: Literal["halved"] = Field(description="half after some steps")
    after: int = Field(ge=1)

    def problems(self):
        if self.after > 100:
            yield ("after",), "is too late"

    def build(self, step):
        return lambda made: step if made < self.after else step / 2
'''
POINTS = {
    "sottovoce.data": {"parity": "Parity"},
    "sottovoce.partitions": {"slices": "Slices"},
    "sottovoce.tasks": {"margin": "Margin"},
    "sottovoce.optimizers": {"signs": "Signs"},
    "sottovoce.schedules": {"halved": "Halved"},
}
SCENARIO = {
    "format": 1,
    "name": "others",
    "topology": {"kind": "ring", "nodes": 4},
    "network": {"latency": {"kind": "constant", "value": "5 ms"}},
    "data": {"kind": "parity"},
    "partition": {"kind": "slices"},
    "model": {"kind": "margin"},
    "training": {
        "step": 0.1,
        "optimizer": {"kind": "signs"},
        "schedule": {"kind": "halved", "after": 3},
    },
    "protocol": {"kind": "dsgd", "rounds": 5, "exchange": "plain"},
}
CODE = f"""
import json
import sys
from pathlib import Path
from scenarios.load import resolve
from simulator.errors import ConfigurationError

def changed(**tables):
    raw = json.loads({json.dumps(json.dumps(SCENARIO))})
    for name, keys in tables.items():
        raw[name] |= keys
    return raw

def refused(act):
    try:
        act()
    except ConfigurationError as error:
        return f"{{error}}"
    return "nothing"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("others") / "site"
    plugins.installed(made, OTHERS, POINTS)
    return made


def test_kinds_of_another_package_are_checked_without_any_mathematics(folder: Path) -> None:
    code = """
resolve(changed())
told = [
    refused(lambda: resolve(changed(data={"kind": "parety"}))),
    refused(lambda: resolve(changed(training={"schedule": {"kind": "halved", "after": 101}}))),
    refused(lambda: resolve(changed(model={"kind": "cnn"}))),
    refused(lambda: resolve(changed(partition={"kind": "users"}))),
    refused(lambda: resolve(changed(partition={"shift": {"rotations": 4}}))),
    refused(lambda: resolve(changed(model={"kind": "linear"}))),
    refused(lambda: resolve(changed(training={"optimizer_state": "node"}))),
]
told.append(sorted({"jax", "optax", "sklearn"} & set(sys.modules)))
print(json.dumps(told))
"""
    *told, loaded = json.loads(plugins.told(folder, CODE + code))
    for text, words in zip(
        told,
        (
            ["data.kind", '"parety" is not one of', '"parity"', "did you mean 'parity'"],
            ["training.schedule.after: is too late"],
            ["model.kind: cnn needs images, and parity holds single numbers"],
            ["partition.kind: users needs the user", "parity has none"],
            ["partition.shift.rotations: only images can be rotated"],
            ["model.kind: linear predicts numbers"],
            ["training.optimizer_state: signs has no state to keep"],
        ),
        strict=True,
    ):
        assert all(word in text for word in words), text
    assert loaded == []


def test_kinds_of_another_package_run_and_may_not_break_their_word(folder: Path, tmp_path: Path) -> None:
    code = f"""
from scenarios.run import run

out = Path({str(tmp_path)!r})
summary = run(resolve(changed()), out / "good")
told = [summary["status"], summary["accuracy_mean"]]
told.append(refused(lambda: run(resolve(changed(partition={{"overlap": 1}})), out / "copies")))
told.append(refused(lambda: run(resolve(changed(data={{"honest": False}})), out / "labels")))
print(json.dumps(told))
"""
    status, accuracy, copies, labels = json.loads(plugins.told(folder, CODE + code))
    assert status == "finished"
    assert accuracy > 0.8
    assert "slices returned a sample that two nodes hold" in copies
    assert "parity loaded labels that are numbers" in labels


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    begin = text.index("    from functools import lru_cache")
    source = "\n".join(line[4:] for line in text[begin : text.index("    # scenario:")].splitlines())
    plugins.installed(tmp_path / "site", source, {"sottovoce.tasks": {"logistic": "Logistic"}})
    scenario = SCENARIO | {
        "data": {"kind": "blobs", "samples": 200, "features": 3, "classes": 2},
        "partition": {"kind": "iid"},
        "model": {"kind": "logistic", "sharpness": 2.0},
        "training": {"step": 0.5},
    }
    code = f"""
import json
from pathlib import Path
from scenarios.load import resolve
from scenarios.run import run

scenario = json.loads({json.dumps(json.dumps(scenario))})
print(run(resolve(scenario), Path({str(tmp_path / "run")!r}))["accuracy_mean"])
"""
    assert float(plugins.told(tmp_path / "site", code)) > 0.8
