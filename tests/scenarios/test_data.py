"""Data and partitions of scenario files, from the file to the run folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from analysis.figures.catalogue import plot
from analysis.figures.partition import partition_figure
from analysis.store import read_run
from protocols.learning.dataset import Dataset
from scenarios.assembly.data import Shares, build_data, build_partition, build_shares
from scenarios.kinds.data import Data
from scenarios.kinds.tasks import Model
from scenarios.load import ScenarioErrors, load
from scenarios.run import run
from scenarios.schema import Scenario
from scenarios.studies.reaccount import reaccount
from simulator.errors import ConfigurationError
from tests.protocols.learning.test_data_files import pictures, write_pair

RECORDS = """
[privacy]
unit = "{unit}"
adjacency = "add-remove"
clip = 1.0
noise_multiplier = 10.0
"""


def scenario_file(
    folder: Path, data: str, partition: str = "", *, exchange: str = "plain", more: str = ""
) -> Path:
    file = folder / "s.toml"
    partition = partition if "kind" in partition else f'kind = "iid"\n{partition}'
    file.write_text(
        'format = 1\nname = "s"\n[topology]\nkind = "ring"\nnodes = 4\n[network]\n'
        'latency = { kind = "constant", value = "5 ms" }\n[model]\nkind = "softmax"\n[training]\nstep = 0.5\n'
        f'[protocol]\nkind = "dsgd"\nrounds = 3\nexchange = "{exchange}"\n[data]\n{data}\n[partition]\n{partition}\n'
        f"{more}"
    )
    return file


def scenario(folder: Path, data: str, partition: str = "", **more: str) -> Scenario:
    return load(scenario_file(folder, data, partition, **more)).scenario


def data_of(made: Scenario, folder: Path) -> Dataset:
    return build_data(made.data, folder, made.seed)


def shares_of(made: Scenario, folder: Path, *, without: int = 0) -> Shares:
    """What four nodes hold."""
    return build_shares(data_of(made, folder), made.partition, made.seed, 4, without)


def told(folder: Path, data: str, partition: str = "", **more: str) -> list[tuple[str, str]]:
    with pytest.raises(ScenarioErrors) as refused:
        scenario(folder, data, partition, **more)
    return [(problem.key, problem.message) for problem in refused.value.problems]


def write_table(folder: Path, rows: int = 80) -> None:
    n = np.arange(rows)
    pl.DataFrame(
        {
            "label": [["dog", "cat"][i % 2] for i in n],
            "a": n % 2 + 0.1 * np.sin(n),
            "b": np.cos(n),
            "writer": [f"w{i % 5}" for i in n],
        }
    ).write_csv(folder / "t.csv")


TABLE = 'kind = "csv"\npath = "t.csv"\nuser = "writer"\ntest_fraction = 0.2'


def test_a_table_of_users_from_file_to_folder(tmp_path: Path) -> None:
    write_table(tmp_path)
    made = scenario(tmp_path, TABLE, 'kind = "users"\nmin_samples = 5\nlocal_test = "25 %"')
    summary = run(made, tmp_path / "run", base=tmp_path)
    manifest = read_run(tmp_path / "run").manifest
    assert manifest["data"] == {
        "train_samples": 64,
        "test_samples": 16,
        "shape": [2],
        "classes": ["cat", "dog"],
    }
    train, test = manifest["samples_per_node"], manifest["local_test_per_node"]
    assert sum(train) + sum(test) == 64
    assert sorted(manifest["users_per_node"]) == [1, 1, 1, 2]
    assert [sum(row) for row in manifest["labels_per_node"]] == train
    assert all(0.2 < kept / (kept + used) < 0.3 for kept, used in zip(test, train, strict=True))
    metrics = read_run(tmp_path / "run").metrics
    local = metrics.filter((pl.col("metric") == "local_accuracy") & (pl.col("t_s") == pl.col("t_s").max()))
    assert local.height == 4
    assert summary["local_accuracy_mean"] == pytest.approx(local["value"].mean())
    for row in local.to_dicts():  # k right out of so many
        right = row["value"] * test[row["node"]]
        assert right == pytest.approx(round(right))
    assert metrics.filter(pl.col("metric") == "local_loss")["value"].is_finite().all()
    assert [path.name for path in plot(tmp_path / "run")] == ["accuracy.png", "network.png", "partition.png"]


def test_without_own_tests_nothing_is_said_of_them(tmp_path: Path) -> None:
    summary = run(scenario(tmp_path, 'kind = "wine"'), tmp_path / "run")
    assert summary["local_accuracy_mean"] is None
    folder = read_run(tmp_path / "run")
    assert folder.manifest["local_test_per_node"] is None
    assert folder.manifest["users_per_node"] is None
    assert not folder.metrics["metric"].str.contains("local").any()


@pytest.mark.parametrize(
    ("partition", "divisor"),
    [
        ('kind = "iid"', 360),
        ('kind = "iid"\nsamples = 20', 20),
        ('kind = "iid"\nlocal_test = 0.5', 180),
        ('kind = "dirichlet"', 360),
    ],
)
def test_the_usual_divisor_is_what_a_node_trains_on(tmp_path: Path, partition: str, divisor: int) -> None:
    made = scenario(tmp_path, 'kind = "digits"', partition)
    assert shares_of(made, tmp_path).divisor == divisor
    assert shares_of(made, tmp_path, without=3).divisor == divisor


@pytest.mark.parametrize(
    "partition",
    [
        'kind = "iid"',
        'kind = "iid"\nsamples = 30',
        'kind = "dirichlet"\nalpha = 0.1',
        'kind = "shards"',
        'kind = "dirichlet-sizes"',
        'kind = "lognormal-sizes"',
        'kind = "users"',
    ],
)
def test_every_partition_keeps_its_minimum_and_its_own_tests_apart(tmp_path: Path, partition: str) -> None:
    write_table(tmp_path, 400)
    made = scenario(tmp_path, TABLE, f"{partition}\nmin_samples = 20\nlocal_test = 0.3")
    shares = shares_of(made, tmp_path)
    held = shares.holdings
    everything = np.concatenate([*held.train, *held.test])
    assert len(np.unique(everything)) == len(everything)
    assert min(map(len, held.train)) >= 20
    assert min(map(len, held.test)) >= 1
    again = shares_of(made, tmp_path).holdings
    for one, other in zip([*held.train, *held.test], [*again.train, *again.test], strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_data_set_is_built_from_its_table(tmp_path: Path) -> None:
    x, y = pictures(40)
    write_pair(tmp_path / "d", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", x, y)
    np.savez(tmp_path / "a.npz", x=x, y=np.linspace(0, 1, 40))
    write_table(tmp_path)
    pl.read_csv(tmp_path / "t.csv").drop("writer").write_parquet(tmp_path / "t.parquet")
    for data, shape, classes in (
        ('kind = "digits"', (8, 8), 10),
        ('kind = "breast-cancer"\nscale = "none"', (30,), 2),
        ('kind = "blobs"\nsamples = 99\nfeatures = 3\nclasses = 4', (3,), 4),
        ('kind = "idx"\npath = "d"\ntest_fraction = 0.5', (4, 3), 3),
        ('kind = "idx"\npath = "d"\ntest_fraction = 0.5\ntranspose = true', (3, 4), 3),
        (f'{TABLE}\nignore = ["a"]', (1,), 2),
        ('kind = "parquet"\npath = "t.parquet"\ntest_fraction = 0.5\nshape = [1, 2, 1]', (1, 2, 1), 2),
    ):
        built = data_of(scenario(tmp_path, data, "min_samples = 1"), tmp_path)
        assert (built.shape, built.classes) == (shape, classes), data
    digits = scenario(tmp_path, 'kind = "digits"')
    for spec, features in (
        ({"kind": "diabetes"}, 10),
        ({"kind": "linear", "samples": 50, "features": 5}, 5),
        ({"kind": "npz", "path": "a.npz", "target": "number", "test_fraction": 0.5}, 12),
    ):
        built = data_of(with_data(digits, spec), tmp_path)
        assert (built.classes, built.features) == (None, features), spec


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "digits"},
        {"kind": "breast-cancer", "test_fraction": 0.3},
        {"kind": "wine"},
        {"kind": "diabetes"},
        {"kind": "blobs", "samples": 90, "features": 3, "classes": 4},
        {"kind": "linear", "samples": 50, "features": 5},
    ],
    ids=lambda spec: spec["kind"],
)
def test_what_a_table_says_of_its_data_is_what_loading_finds(tmp_path: Path, spec: dict[str, Any]) -> None:
    data = Data.kinds()[spec["kind"]].model_validate(spec)
    loaded = data.load(tmp_path, np.random.default_rng(1))
    assert (data.feature_count, data.class_count) == (loaded.features, loaded.classes)
    assert data.train_samples() == len(loaded.train_y)
    assert data.regression == (loaded.classes is None)
    assert (data.no_images is None) == (len(loaded.shape) > 1)
    models = {"linear": {}} if data.regression else {"softmax": {}, "mlp": {"hidden": [6, 5]}}
    for kind, keys in models.items():
        model = Model.kinds()[kind].model_validate({"kind": kind} | keys)
        assert data.feature_count is not None
        size = model.build(loaded.shape, loaded.classes).size
        assert model.parameters(data.feature_count, data.class_count) == size


def with_data(made: Scenario, spec: Mapping[str, Any]) -> Scenario:
    """The model of these scenarios predicts classes, so that data without any pass no check of a file."""
    dumped = made.model_dump(mode="json", exclude_none=True)
    return Scenario.model_validate(dumped | {"data": dict(spec)})


def test_numbers_to_predict_are_dealt_out_but_not_by_class(tmp_path: Path) -> None:
    made = with_data(scenario(tmp_path, 'kind = "digits"', 'kind = "shards"'), {"kind": "diabetes"})
    built = data_of(made, tmp_path)
    parts = build_partition(built, made.partition, made.seed, 4)
    assert sum(map(len, parts)) == len(built.train_y)
    spread = [float(np.std(built.train_y[part])) for part in parts]
    assert min(spread) < 0.8
    skewed = with_data(scenario(tmp_path, 'kind = "digits"', 'kind = "dirichlet"'), {"kind": "diabetes"})
    with pytest.raises(ConfigurationError, match="regression targets") as caught:
        build_partition(built, skewed.partition, skewed.seed, 4)
    assert caught.value.key == "partition.kind"
    with pytest.raises(ConfigurationError, match="predicts classes") as caught:
        run(made, tmp_path / "run")
    assert caught.value.key == "model.kind"


def test_features_are_shifted_for_training_and_own_tests_only(tmp_path: Path) -> None:
    plain = shares_of(scenario(tmp_path, 'kind = "digits"', "local_test = 0.1"), tmp_path)
    partition = "local_test = 0.1\nshift = { noise = 0.5, rotations = 4 }"
    shift = shares_of(scenario(tmp_path, 'kind = "digits"', partition), tmp_path)
    np.testing.assert_array_equal(shift.dataset.test_x, plain.dataset.test_x)
    noise = []
    for one, other in zip(shift.holdings.train, plain.holdings.train, strict=True):
        np.testing.assert_array_equal(one, other)
        moved = shift.dataset.train_x[one]
        turned = [np.rot90(plain.dataset.train_x[one], k, axes=(1, 2)) for k in range(4)]
        noise.append(min(float(np.std(moved - still)) for still in turned))
    np.testing.assert_allclose(sorted(noise), [0, 0.5 / 3, 1.0 / 3, 0.5], rtol=0.05)


def test_users_that_arrays_do_not_name(tmp_path: Path) -> None:
    x, y = pictures(80)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    made = scenario(tmp_path, 'kind = "npz"\npath = "a.npz"\ntest_fraction = 0.5', 'kind = "users"')
    with pytest.raises(ConfigurationError, match="add an array groups") as caught:
        run(made, tmp_path / "run", base=tmp_path)
    assert caught.value.key == "partition.kind"


# ---------------------------------------------------------------- what validation sees of files


def test_folders_of_images_are_counted_without_being_read(tmp_path: Path) -> None:
    x, y = pictures(40)
    write_pair(tmp_path / "d", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", x, y, zipped=True)
    idx = 'kind = "idx"\npath = "d"\n'
    ((key, message),) = told(tmp_path, idx)
    assert key == "data.path"
    assert "has no training files; give test_fraction" in message
    ((key, message),) = told(tmp_path, idx + "test_fraction = 0.25")
    assert (key, "the data set has 30" in message) == ("partition.min_samples", True)
    assert (
        told(tmp_path, idx + "test_fraction = 0.25\nsamples = 31", "min_samples = 7")[0][0] == "data.samples"
    )
    assert told(tmp_path, idx + "test_fraction = 0.001")[0][0] == "data.test_fraction"
    ((key, message),) = told(tmp_path, idx + 'test_fraction = 0.5\npart = "digits"')
    assert (key, "emnist-digits-train-images" in message) == ("data.path", True)
    assert scenario(tmp_path, idx + "test_fraction = 0.25", "min_samples = 7").data.kind == "idx"


def test_files_that_do_not_begin_as_they_should(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("label,a\n1,2\n")
    for kind, said in (("npz", "not an npz file"), ("parquet", "not a Parquet file")):
        ((key, message),) = told(tmp_path, f'kind = "{kind}"\npath = "text"\ntest_fraction = 0.5')
        assert (key, said in message) == ("data.path", True)
    ((key, message),) = told(tmp_path, 'kind = "npz"\npath = "."\ntest_fraction = 0.5')
    assert (key, "cannot be read" in message) == ("data.path", True)
    found = told(
        tmp_path,
        'kind = "csv"\npath = "text"\ntest_path = "text"\nlabel = "y"\nuser = "u"\nignore = ["a", "b"]',
    )
    assert sorted(key for key, _ in found) == ["data.ignore[1]"] * 2 + ["data.label"] * 2 + ["data.user"]
    (tmp_path / "latin").write_bytes(b"label,\xe9\n")
    ((key, message),) = told(tmp_path, 'kind = "csv"\npath = "latin"\ntest_fraction = 0.5')
    assert (key, "not a CSV file in UTF-8" in message) == ("data.path", True)


def test_columns_have_one_role_and_something_is_left_to_test_on(tmp_path: Path) -> None:
    write_table(tmp_path)
    found = told(tmp_path, 'kind = "csv"\npath = "t.csv"\nuser = "writer"\nignore = ["writer"]')
    assert [key for key, _ in found] == ["data", "data.ignore[0]"]


def test_checking_data_files_loads_neither_jax_nor_polars(tmp_path: Path) -> None:
    write_table(tmp_path)
    file = scenario_file(tmp_path, TABLE, 'kind = "shards"\nmin_samples = 4')
    code = (
        "import sys\nfrom scenarios.load import load\n"
        f"load({str(file)!r})\nsys.exit(bool({{'jax', 'polars', 'sklearn'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- copies of records


def test_copies_of_records_and_the_ledger(tmp_path: Path) -> None:
    partition = "samples = 50\nwith_replacement = true"
    told_of = told(tmp_path, 'kind = "digits"', partition, exchange="ldp", more=RECORDS.format(unit="record"))
    assert [key for key, _ in told_of] == ["partition.with_replacement"]
    ((key, message),) = told(tmp_path, 'kind = "digits"', "with_replacement = true")
    assert (key, "needs samples" in message) == ("partition.with_replacement", True)
    made = scenario(tmp_path, 'kind = "digits"', partition, exchange="ldp", more=RECORDS.format(unit="node"))
    run(made, tmp_path / "run")
    ask: dict[str, Any] = {"observers": None, "adjacency": None, "delta": None}
    assert reaccount(tmp_path / "run", unit=None, **ask)
    with pytest.raises(ConfigurationError, match="copies the ledger does not add up"):
        reaccount(tmp_path / "run", unit="record", **ask)


def test_more_samples_than_there_are(tmp_path: Path) -> None:
    ((key, message),) = told(tmp_path, 'kind = "digits"', "samples = 400")
    assert (key, "need 1600 training samples, the data set has 1438" in message) == (
        "partition.samples",
        True,
    )
    ((key, _),) = told(tmp_path, 'kind = "digits"', "samples = 1500\nwith_replacement = true")
    assert key == "partition.samples"
    shares = shares_of(
        scenario(tmp_path, 'kind = "digits"', "samples = 400\nwith_replacement = true"), tmp_path
    )
    assert [len(part) for part in shares.holdings.train] == [400] * 4


# ---------------------------------------------------------------- the picture


def pictured(folder: Path, **changes: Any) -> Any:
    manifest: dict[str, Any] = {
        "format": 1,
        "name": "s",
        "scenario": {},
        "status": "finished",
        "data": {"classes": ["ant", "bee"]},
        "samples_per_node": [3, 30, 7],
        "labels_per_node": [[3, 0], [10, 20], [0, 7]],
    } | changes
    manifest["topology"] = {"nodes": len(manifest["samples_per_node"]), "edges": []}
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return partition_figure(read_run(folder))


def test_few_nodes_have_a_bubble_for_each_class(tmp_path: Path) -> None:
    top, ax = pictured(tmp_path).axes
    assert [bar.get_height() for bar in top.patches] == [3, 30, 7]
    (bubbles,) = ax.collections
    np.testing.assert_array_equal(bubbles.get_offsets(), [[0, 0], [1, 0], [1, 1], [2, 1]])
    areas = bubbles.get_sizes()
    np.testing.assert_allclose(areas / areas.max(), np.array([3, 10, 20, 7]) / 20)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["ant", "bee"]
    assert (ax.get_xlabel(), ax.get_ylabel(), top.get_ylabel()) == ("node", "class", "training\nsamples")


def test_many_nodes_have_a_heat_map_and_a_histogram(tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(0, 9, (300, 3))
    counts[7] = 0
    sizes = counts.sum(axis=1)
    made = pictured(
        tmp_path,
        samples_per_node=sizes.tolist(),
        labels_per_node=counts.tolist(),
        data={"classes": ["a", "b", "c"]},
    )
    heat, right, bar = made.axes
    shown = np.asarray(heat.images[0].get_array().filled(np.nan))
    assert shown.shape == (3, 300)
    assert np.isnan(shown[:, -1]).all(), "who holds nothing comes last"
    np.testing.assert_allclose(shown[:, :-1].sum(axis=0), 1)
    leading = shown[:, :-1].argmax(axis=0)
    assert np.all(np.diff(leading) >= 0)
    assert sum(patch.get_height() for patch in right.patches) == 300
    assert right.get_xlabel() == "training samples of a node"
    assert bar.get_ylabel() == "share of the node's samples (%)"


@pytest.mark.parametrize("sizes", [[5] * 60, list(range(1, 400)), [10] * 3 + [9], [0] * 50 + [40]])
def test_without_classes_there_are_totals(tmp_path: Path, sizes: list[int]) -> None:
    (ax,) = pictured(tmp_path, samples_per_node=sizes, labels_per_node=None).axes
    total = sum(patch.get_height() for patch in ax.patches)
    assert total == (sum(sizes) if len(sizes) <= 40 else len(sizes))
