"""Data out of files: IDX folders, npz arrays, tables."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from protocols.learning import data_files, idx
from protocols.learning.data_files import Choices, Columns
from simulator.errors import ConfigurationError

FRESH = Choices(test_fraction=0.25)


def rng(seed=0):
    return np.random.default_rng(seed)


def idx_bytes(array, kind=0x08):
    array = np.asarray(array, dtype=np.uint8)
    return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def write_pair(folder: Path, images: str, labels: str, x, y, zipped=False):
    folder.mkdir(exist_ok=True)
    for name, array in ((images, x), (labels, y)):
        content = idx_bytes(array)
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if zipped else content)


def pictures(samples, seed=0):
    drawn = rng(seed)
    return drawn.integers(0, 256, (samples, 4, 3)), drawn.permutation(samples) % 3


NAMES = {
    "mnist": ("{}train-{}-idx{}-ubyte", "{}t10k-{}-idx{}-ubyte", None, False),
    "gzipped": ("{}train-{}-idx{}-ubyte.gz", "{}t10k-{}-idx{}-ubyte.gz", None, True),
    "dots": ("{}train-{}.idx{}-ubyte", "{}t10k-{}.idx{}-ubyte", None, False),
    "emnist": ("{}train-{}-idx{}-ubyte.gz", "{}test-{}-idx{}-ubyte.gz", "letters", True),
    "unzipped, name kept": ("{}train-{}-idx{}-ubyte.gz", "{}t10k-{}-idx{}-ubyte.gz", None, False),
}


@pytest.mark.parametrize("style", NAMES)
def test_folders_as_people_have_them(tmp_path, style):
    train, test, part, zipped = NAMES[style]
    prefix = f"emnist-{part}-" if part else ""
    x, y = pictures(30)
    for pattern, rows in ((train, slice(0, 20)), (test, slice(20, 30))):
        names = [pattern.format(prefix, what, axes) for what, axes in (("images", 3), ("labels", 1))]
        write_pair(tmp_path / "d", *names, x[rows], y[rows] + 1, zipped)  # EMNIST's letters begin at 1
    built = data_files.idx_folder(tmp_path / "d", part, Choices(scale="bytes"), rng())
    np.testing.assert_array_equal(built.train_x, (x[:20] / np.float32(255)).astype(np.float32))
    assert built.bounds == (0.0, 1.0)
    np.testing.assert_array_equal(built.test_y, y[20:])
    assert (built.shape, built.classes, built.class_names) == ((4, 3), 3, ("1", "2", "3"))
    turned = data_files.idx_folder(tmp_path / "d", part, Choices(scale="bytes"), rng(), transpose=True)
    np.testing.assert_array_equal(turned.test_x, built.test_x.swapaxes(1, 2))
    assert {role: idx.samples(pair) for role, pair in idx.find(tmp_path / "d", part).items()} == {
        "train": 20,
        "test": 10,
    }


def test_a_fresh_split_pools_whatever_is_there(tmp_path):
    x, y = pictures(40)
    write_pair(tmp_path, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", x[:24], y[:24])
    with pytest.raises(ConfigurationError, match="none for training; give test_fraction"):
        data_files.idx_folder(tmp_path, None, Choices(), rng())
    half = data_files.idx_folder(tmp_path, None, FRESH, rng())
    assert (len(half.train_y), len(half.test_y)) == (18, 6)
    write_pair(tmp_path, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", x[24:], y[24:])
    pooled = data_files.idx_folder(tmp_path, None, FRESH, rng())
    assert (len(pooled.train_y), len(pooled.test_y)) == (30, 10)
    rows = np.concatenate([pooled.train_x, pooled.test_x]).reshape(40, -1)
    expected = x.reshape(40, -1).astype(np.float32)
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train-images-idx3-ubyte", b"", "not an IDX file"),
        ("train-images-idx3-ubyte", b"\x1f\x8b\x08broken", "cannot be read"),
        (
            "train-images-idx3-ubyte",
            gzip.compress(idx_bytes(np.zeros((5, 2, 2))), mtime=0)[:-12],
            "cannot be read",
        ),
        ("train-images-idx3-ubyte", idx_bytes(np.zeros((5, 2, 2)))[:-1], "holds 19 bytes .* announces 20"),
        ("train-images-idx3-ubyte", idx_bytes(np.zeros((5, 2, 2))) + b"x", "holds 21 bytes"),
        ("train-images-idx3-ubyte", idx_bytes(np.zeros((5, 2, 2)), kind=0x0D), "type 0x0d"),
        ("train-images-idx3-ubyte", idx_bytes(np.zeros((5, 4))), "in 2 dimensions; expected .* in 3"),
        ("train-images-idx3-ubyte", idx_bytes(np.zeros((5, 2, 2)))[:9], "ends within its header"),
        ("train-labels-idx1-ubyte", idx_bytes(np.arange(6)), "5 images, .* 6 labels"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, said):
    write_pair(
        tmp_path, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", np.zeros((5, 2, 2)), np.arange(5)
    )
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as caught:
        data_files.idx_folder(tmp_path, None, FRESH, rng())
    assert caught.value.key == "data.path"
    assert str(tmp_path) in str(caught.value)


def test_folders_without_what_is_asked_for(tmp_path):
    with pytest.raises(ConfigurationError, match="no readable folder"):
        idx.find(tmp_path / "none", None)
    with pytest.raises(ConfigurationError, match="no files named train-images-idx3-ubyte") as caught:
        idx.find(tmp_path, None)
    assert caught.value.key == "data.path"
    (tmp_path / "emnist-mnist-train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="there are parts of EMNIST: mnist") as caught:
        idx.find(tmp_path, None)
    assert caught.value.key == "data.part"
    with pytest.raises(ConfigurationError, match="train images but no train labels"):
        idx.find(tmp_path, "mnist")


# ---------------------------------------------------------------- npz


def save(file, **arrays):
    np.savez(file, **arrays)
    return file


def test_arrays_with_a_shape_users_and_named_classes(tmp_path):
    x, y = pictures(40)
    names, users = np.array(["cat", "ant", "bee"])[y], np.array(["v", "u", "w", "t"])[np.arange(40) % 4]
    file = save(tmp_path / "d.npz", x=x, y=names, groups=users)
    built = data_files.npz(
        file, Choices(test_fraction=0.25, scale="bytes", samples=20, test_samples=5), rng()
    )
    assert (built.shape, len(built.train_y), len(built.test_y)) == ((4, 3), 20, 5)
    assert built.class_names == ("ant", "bee", "cat")
    assert built.group_names == ("t", "u", "v", "w")
    row_of = {x[i].tobytes(): i for i in range(40)}
    for sample, label, user in zip(built.train_x, built.train_y, built.groups, strict=True):
        row = row_of[np.rint(sample * 255).astype(x.dtype).tobytes()]
        assert built.class_names[label] == names[row]
        assert built.group_names[user] == users[row]
    again = data_files.npz(
        file, Choices(test_fraction=0.25, scale="bytes", samples=20, test_samples=5), rng()
    )
    np.testing.assert_array_equal(again.train_x, built.train_x)


def test_own_test_samples_stay_apart_and_limits_draw_from_each(tmp_path):
    x, y = np.arange(50.0)[:, None], np.arange(50) % 2
    file = save(tmp_path / "d.npz", x=x[:40], y=y[:40], test_x=x[40:], test_y=y[40:])
    whole = data_files.npz(file, Choices(), rng())
    np.testing.assert_array_equal(whole.train_x, x[:40])
    few = data_files.npz(file, Choices(samples=10, test_samples=3), rng())
    assert np.all(few.train_x < 40)
    assert np.all(few.test_x >= 40)
    np.testing.assert_array_equal(few.train_y, few.train_x[:, 0] % 2)
    np.testing.assert_array_equal(few.test_y, few.test_x[:, 0] % 2)
    assert len(np.unique(few.train_x)) == 10
    assert not np.array_equal(data_files.npz(file, Choices(samples=10), rng(1)).train_x, few.train_x)


def test_numbers_to_predict_are_scaled_like_features(tmp_path):
    x = np.column_stack([np.arange(40.0), 1000 + 5 * np.arange(40.0) ** 2])
    file = save(tmp_path / "d.npz", x=x, y=3 * x[:, 0] + 7)
    built = data_files.npz(file, Choices(target="number", scale="standard", test_fraction=0.25), rng())
    assert built.classes is None
    assert built.train_y.std() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(built.test_y, built.test_x[:, 0], atol=1e-5)
    plain = data_files.npz(file, Choices(target="number", test_fraction=0.25), rng())
    np.testing.assert_allclose(plain.train_y, 3 * plain.train_x[:, 0] + 7)


X, Y = np.ones((8, 2)), np.arange(8) % 2


@pytest.mark.parametrize(
    ("arrays", "choices", "key", "said"),
    [
        ({"x": X}, FRESH, "path", "lacks the arrays y; it holds x"),
        ({"x": X, "y": Y, "test_x": X}, FRESH, "path", "lacks the arrays test_y"),
        ({"x": X, "y": Y[:7]}, FRESH, "path", r"x has shape \(8, 2\) and y \(7,\)"),
        ({"x": X, "y": Y, "groups": Y[:3]}, FRESH, "path", "groups has shape"),
        ({"x": X, "y": Y, "test_x": X[:, :1], "test_y": Y}, FRESH, "path", "a training sample has shape"),
        ({"x": X.astype(str), "y": Y}, FRESH, "path", "features must be numbers"),
        ({"x": X, "y": Y}, Choices(), "test_fraction", "no test samples of its own"),
        ({"x": X, "y": Y + 0.5}, FRESH, "target", 'target = "number"'),
        ({"x": X, "y": 0 * Y}, FRESH, "path", "all labels are 0"),
        ({"x": X, "y": Y.astype(str)}, Choices("number", test_fraction=0.5), "target", "the labels are text"),
        ({"x": X, "y": Y}, Choices(test_fraction=0.5, samples=5), "samples", "is 5, but there are only 4"),
        ({"x": X, "y": Y}, Choices(test_fraction=0.5, test_samples=9), "test_samples", "only 4"),
        ({"x": X, "y": Y, "test_x": X, "test_y": Y.astype(str)}, Choices(), "path", "both numbers or both"),
        (
            {"x": X, "y": Y, "groups": Y, "test_x": X, "test_y": Y},
            FRESH,
            "test_fraction",
            "test samples have no users",
        ),
        ({"x": X, "y": Y, "groups": np.array([object()] * 8)}, FRESH, "path", "not a readable npz file"),
    ],
)
def test_arrays_that_do_not_hold_what_was_chosen(tmp_path, arrays, choices, key, said):
    file = save(tmp_path / "d.npz", **arrays)
    with pytest.raises(ConfigurationError, match=said) as caught:
        data_files.npz(file, choices, rng())
    assert caught.value.key == f"data.{key}"


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 broken", b"text"])
def test_files_that_are_no_npz(tmp_path, content):
    if content is not None:
        (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(ConfigurationError, match="not a readable npz file"):
        data_files.npz(tmp_path / "d.npz", FRESH, rng())


def test_a_bare_array_is_no_npz(tmp_path):
    np.save(tmp_path / "d.npy", np.zeros(3))
    with pytest.raises(ConfigurationError, match="not a readable npz file"):
        data_files.npz(tmp_path / "d.npy", FRESH, rng())


# ---------------------------------------------------------------- tables


def frame(rows=40):
    n = np.arange(rows)
    return pl.DataFrame(
        {
            "id": [f"row {i}" for i in n],
            "who": [f"user {i % 4}" for i in n],
            "a": n,
            "b": [1.0] * (rows - 1) + [0.5],
            "c": [bool(i % 2) for i in n],
            "d": -n,
            "label": [["no", "yes"][i % 2] for i in n],
        }
    )


def write(made, file):
    made.write_csv(file) if file.suffix == ".csv" else made.write_parquet(file)
    return file


COLUMNS = Columns(user="who", ignore=("id",))


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_tables(tmp_path, format):
    file = write(frame(), tmp_path / f"d.{format}")
    built = data_files.table(file, None, format, COLUMNS, FRESH, rng())
    assert (built.shape, built.class_names, len(built.test_y)) == ((4,), ("no", "yes"), 10)
    row = built.train_x[:, 0].astype(int)
    np.testing.assert_array_equal(built.train_x[:, 1], np.where(row == 39, 0.5, 1.0))
    np.testing.assert_array_equal(built.train_x[:, 2], row % 2)
    np.testing.assert_array_equal(built.train_y, row % 2)
    assert [built.group_names[user] for user in built.groups] == [f"user {i % 4}" for i in row]
    square = data_files.table(file, None, format, Columns("label", "who", ("id",), (2, 2)), FRESH, rng())
    np.testing.assert_array_equal(square.train_x.reshape(-1, 4), built.train_x)
    assert square.shape == (2, 2)


def test_a_test_table_is_read_by_the_names_of_its_columns(tmp_path):
    made = frame()
    file = write(made[:30], tmp_path / "train.csv")
    other = write(
        made[30:].select("label", "d", "c", "b", "a", "id").with_columns(b=0.25), tmp_path / "test.csv"
    )
    built = data_files.table(file, other, "csv", COLUMNS, Choices(), rng())
    np.testing.assert_array_equal(built.test_x[:, 0], np.arange(30, 40))
    np.testing.assert_array_equal(built.test_x[:, 1], 0.25)
    np.testing.assert_array_equal(built.test_x[:, 3], -np.arange(30, 40))
    assert len(built.groups) == 30


@pytest.mark.parametrize(
    ("change", "columns", "key", "said"),
    [
        (lambda f: f, Columns(ignore=("id",)), "path", r'not numbers: "who" \(String\)'),
        (lambda f: f, Columns(user="who"), "path", 'not numbers: "id"'),
        (
            lambda f: f.with_columns(pl.col("id").cast(pl.Categorical)),
            Columns(user="who"),
            "path",
            "Categorical",
        ),
        (lambda f: f, Columns("target", "who"), "label", 'no column "target"; its columns are id, who'),
        (lambda f: f, Columns(user="writer", ignore=("id",)), "user", 'no column "writer"'),
        (lambda f: f, Columns(user="who", ignore=("ID",)), "ignore", 'no column "ID"'),
        (lambda f: f.select("id", "who", "label"), COLUMNS, "path", "no feature columns"),
        (lambda f: f, Columns("label", "who", ("id",), (3, 2)), "shape", "4 feature columns, .* needs 6"),
        (
            lambda f: f.with_columns(a=pl.when(pl.col("a") > 37).then(None).otherwise("a")),
            COLUMNS,
            "path",
            'column "a" of .* has 2 empty cells',
        ),
        (
            lambda f: f.with_columns(label=pl.when(pl.col("a") > 38).then(None).otherwise("label")),
            COLUMNS,
            "label",
            "every row needs a label",
        ),
    ],
)
def test_tables_that_do_not_hold_what_was_chosen(tmp_path, change, columns, key, said):
    file = write(change(frame()), tmp_path / "d.parquet")
    with pytest.raises(ConfigurationError, match=said) as caught:
        data_files.table(file, None, "parquet", columns, FRESH, rng())
    assert caught.value.key == f"data.{key}"


@pytest.mark.parametrize(
    ("format", "content"), [("csv", b""), ("parquet", b"PAR1"), ("csv", b"a,b\n1,2,3,4\n")]
)
def test_files_that_are_no_tables(tmp_path, format, content):
    (tmp_path / "d").write_bytes(content)
    for name in ("d", "none"):
        with pytest.raises(ConfigurationError, match=f"not a readable {format} file") as caught:
            data_files.table(tmp_path / name, None, format, Columns(), FRESH, rng())
        assert caught.value.key == "data.path"


def test_another_test_table_is_refused(tmp_path):
    file, other = (
        write(frame(), tmp_path / "train.csv"),
        write(frame().drop("d"), tmp_path / "test.csv"),
    )
    with pytest.raises(ConfigurationError, match="the same feature columns") as caught:
        data_files.table(file, other, "csv", COLUMNS, Choices(), rng())
    assert caught.value.key == "data.test_path"
