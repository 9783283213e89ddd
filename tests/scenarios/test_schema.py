"""Scenario files: schema, cross-checks, changes of single keys, line numbers and the broken ones."""

from __future__ import annotations

import pickle
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.checks.run import check_degrees, check_noise
from scenarios.format.locate import dotted, index, line_of, split, undotted
from scenarios.kinds.studies import seeds_of
from scenarios.load import LIBRARY, ScenarioErrors, load, resolve
from scenarios.reading.changes import merged
from scenarios.reading.choices import KINDS
from simulator.errors import ConfigurationError
from tests.support import places

BROKEN = sorted(places.BROKEN.glob("*.toml"))
SHIPPED = sorted(LIBRARY.rglob("*.toml"))


def raw(**tables: Any) -> dict[str, Any]:
    """A small valid scenario, with some tables replaced."""
    return {
        "format": 1,
        "name": "small",
        "topology": {"kind": "regular", "nodes": 16, "degree": 4},
        "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
        "data": {"kind": "digits"},
        "model": {"kind": "softmax"},
        "training": {"step": 2.0},
        "protocol": {"kind": "dsgd", "rounds": 100, "exchange": "secure"},
        "privacy": {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "noise_multiplier": 17.32},
    } | tables


def problems(scenario: dict[str, Any]) -> list[tuple[str, str]]:
    try:
        resolve(scenario)
    except ScenarioErrors as errors:
        return [(problem.key, problem.message) for problem in errors.problems]
    return []


def keys(scenario: dict[str, Any]) -> list[str]:
    return [key for key, _ in problems(scenario)]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_a_broken_file_is_told_every_line_and_key(file: Path) -> None:
    expected = file.read_text().splitlines()[0].removeprefix("# expected: ").split(" | ")
    with pytest.raises(ScenarioErrors) as refused:
        load(file)
    assert [f"{found.line}: {found.key}".strip() for found in refused.value.problems] == expected
    for line, found in zip(str(refused.value).splitlines(), refused.value.problems, strict=True):
        assert line.startswith(f"{file}:{found.line}: ")
        assert found.message


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_scenario_that_comes_along_is_valid(file: Path) -> None:
    loaded = load(file)
    assert loaded.scenario.name.replace("-", "_") == file.stem.replace("-", "_")
    again = loaded.scenario.model_dump(mode="json", exclude_none=True)
    assert resolve(again, file.parent) == loaded.scenario


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"a = 1\na = 2\n", "not TOML: cannot overwrite a value"),
        (b"a = [", "not TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    with pytest.raises(ScenarioErrors, match=said):
        load(file)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match="no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ScenarioErrors, match="a folder"):
        load(tmp_path)


def test_errors_survive_pickling() -> None:
    with pytest.raises(ScenarioErrors) as refused:
        load(BROKEN[0])
    again = pickle.loads(pickle.dumps(refused.value))
    assert str(again) == str(refused.value)
    assert again.problems == refused.value.problems


# ---------------------------------------------------------------- schema


def test_the_exchange_fills_in_what_it_implies() -> None:
    secure = resolve(raw())
    assert secure.secure is not None
    assert secure.privacy is not None
    assert secure.privacy.noise == "sum"
    ldp = resolve(raw(protocol={"kind": "push", "rounds": 10, "exchange": "ldp"}))
    assert ldp.secure is None
    assert ldp.privacy is not None
    assert ldp.privacy.noise == "member"


def test_a_resolved_scenario_is_frozen_and_reads_back() -> None:
    scenario = resolve(raw())
    with pytest.raises(ValueError, match="frozen"):
        scenario.seed = 3
    assert resolve(scenario.model_dump(mode="json", exclude_none=True)) == scenario


def test_kinds_are_those_of_the_format() -> None:
    assert KINDS["topology"][:4] == ["ring", "path", "complete", "star"]
    assert KINDS["protocol"][:4] == ["dsgd", "push", "pull", "push-pull"]
    assert KINDS["protocol.exchange"] == ["plain", "ldp", "secure"]
    assert KINDS["privacy.adjacency"] == ["add-remove", "replace", "zero-out"]


def test_seeds() -> None:
    assert seeds_of(3, 5) == (5, 6, 7)
    assert seeds_of((9, 2), 5) == (9, 2)


# ---------------------------------------------------------------- cross-checks


@pytest.mark.parametrize(
    ("topology", "key"),
    [
        ({"kind": "ring", "nodes": 8}, "topology.kind"),
        ({"kind": "path", "nodes": 8}, "topology.kind"),
        ({"kind": "star", "nodes": 8}, "topology.kind"),
        ({"kind": "grid", "rows": 4, "columns": 4}, "topology.kind"),
        ({"kind": "complete", "nodes": 3}, "topology.nodes"),
        ({"kind": "complete", "nodes": 4}, "secure.tolerated_dropouts"),
        ({"kind": "complete", "nodes": 5}, None),
        ({"kind": "torus", "rows": 3, "columns": 4}, None),
        ({"kind": "regular", "nodes": 16, "degree": 3}, "secure.tolerated_dropouts"),
    ],
)
def test_neighbourhoods_large_enough_for_secure_sums(topology: dict[str, Any], key: str | None) -> None:
    assert keys(raw(topology=topology)) == ([] if key is None else [key])


def test_colluders_need_more_members() -> None:
    assert keys(raw(secure={"colluders": 2})) == ["topology.degree"]
    assert keys(raw(secure={"colluders": 1})) == ["secure.tolerated_dropouts"]
    assert keys(raw(secure={"colluders": 1, "tolerated_dropouts": 0})) == []


@pytest.mark.parametrize(
    ("topology", "key"),
    [
        ({"kind": "torus", "rows": 2, "columns": 8}, "topology.rows"),
        ({"kind": "grid", "rows": 1, "columns": 1}, "topology.rows"),
        ({"kind": "small-world", "nodes": 8, "degree": 3, "rewire": 0.1}, "topology.degree"),
        ({"kind": "regular", "nodes": 8, "degree": 1}, "topology.degree"),
        ({"kind": "erdos-renyi", "nodes": 4, "p": 0.01}, "topology.p"),
        ({"kind": "file", "path": "none.gml", "format": "gml"}, "topology.path"),
    ],
)
def test_graphs_that_cannot_be(topology: dict[str, Any], key: str) -> None:
    assert key in keys(raw(topology=topology))


def test_the_certified_target() -> None:
    # 17.32 / sqrt(3) = 10 times the clip on each member, 100 rounds: mu = 1, whose epsilon at delta 1e-5 is
    # 4.377 (Balle and Wang 2018, theorem 8); replace doubles mu
    privacy = raw()["privacy"]
    assert keys(raw(privacy=privacy | {"target_epsilon": 4.38})) == []
    ((key, message),) = problems(raw(privacy=privacy | {"target_epsilon": 4.37}))
    assert key == "privacy.target_epsilon"
    assert "epsilon of 4.377 over 100 rounds" in message
    replace = privacy | {"adjacency": "replace", "target_epsilon": 4.38}
    assert keys(raw(privacy=replace)) == ["privacy.target_epsilon"]
    assert keys(raw(privacy=privacy | {"noise": "member", "target_epsilon": 4.37})) == []


def test_noise_is_required_where_it_is_used() -> None:
    bare = {"unit": "record", "adjacency": "add-remove", "clip": 1.0}
    plain = {"kind": "dsgd", "rounds": 100, "exchange": "plain"}
    assert keys(raw(privacy=bare)) == ["privacy"]
    assert keys(raw(privacy=bare, protocol=plain)) == []
    assert keys(raw(protocol=plain)) == ["privacy.noise_multiplier"]


def test_all_byzantine_and_all_observing() -> None:
    everybody = list(range(16))
    all_byzantine = {"byzantine": {"nodes": everybody, "attack": {"kind": "sign-flip"}}}
    privacy = raw()["privacy"] | {"observers": [everybody, [3, 3]]}
    found = keys(raw(adversary=all_byzantine, privacy=privacy))
    assert found == ["adversary.byzantine.nodes", "privacy.observers[0]", "privacy.observers[1]"]
    assert keys(raw(adversary={"byzantine": all_byzantine["byzantine"] | {"enabled": False}})) == []


def test_checks_run_on_the_tables_that_are_right() -> None:
    broken = raw(model={"kind": "sofmax"}, topology={"kind": "regular", "nodes": 15, "degree": 5})
    assert keys(broken) == ["model.kind", "topology.degree"]


def test_a_built_graph_is_checked_again() -> None:
    scenario = resolve(raw(topology={"kind": "erdos-renyi", "nodes": 16, "p": 0.5}))
    check_degrees([4] * 16, scenario)
    with pytest.raises(
        ConfigurationError, match=r"only 2 neighbours; a secure sum needs 3 members"
    ) as refused:
        check_degrees([4] * 15 + [2], scenario)
    assert refused.value.key == "topology.p"
    fault = [{"node": 12, "down_at": "1 s"}]
    with pytest.raises(ConfigurationError, match="node 12 is not in the graph"):
        check_degrees([4] * 10, resolve(raw(fault=fault)))


def test_the_noise_really_added_is_checked_against_the_target() -> None:
    privacy = raw()["privacy"] | {"target_epsilon": 4.38}
    scenario = resolve(raw(privacy=privacy))
    check_noise([10.0] * 16, scenario)
    with pytest.raises(ConfigurationError, match="above the target"):
        check_noise([10.0] * 15 + [9.0], scenario)


# ---------------------------------------------------------------- changes


def test_set_reads_toml_values_and_bare_words() -> None:
    sets = ("protocol.exchange=ldp", "network.loss=2 %", "protocol.rounds=7", "privacy.noise=member")
    loaded = load("quickstart", (*sets, "adversary.curious={ nodes = [1, 2] }"), seed=9)
    scenario = loaded.scenario
    assert (scenario.protocol.exchange, scenario.protocol.rounds, scenario.network.loss) == ("ldp", 7, 0.02)
    assert scenario.adversary.curious is not None
    assert scenario.adversary.curious.nodes == (1, 2)
    assert scenario.seed == loaded.raw["seed"] == 9
    assert scenario.secure is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("protocol.rouds=3", "--set protocol.rouds=3: unknown key, did you mean 'rounds'?"),
        ("protocl.x=3", "--set protocl.x=3: protocl: unknown key, did you mean 'protocol'?"),
        (
            "protocol.rounds=many",
            '--set protocol.rounds=many: expected a whole number, got "many"',
        ),
        ("network.latency.kind=constnt", "did you mean 'constant'?"),
        ("seed.x=1", "--set seed.x=1: seed is a number, not a table"),
        ("nothing", "--set nothing: expected KEY=VALUE"),
        ("a b=1", "--set a b=1: 'a b' is not a dotted key"),
        ("sweep.seeds=0", "--set sweep.seeds=0: expected how many seeds"),
    ],
)
def test_a_bad_set_is_located_on_the_command_line(text: str, said: str) -> None:
    with pytest.raises(ScenarioErrors) as refused:
        load("quickstart", (text,))
    assert said in str(refused.value)


def test_changing_the_exchange_takes_along_what_belongs_to_the_old_one() -> None:
    secure = raw(secure={"colluders": 0})
    ldp = merged(secure, {"protocol.exchange": "ldp"})
    assert "secure" not in ldp
    assert ldp["privacy"]["noise_multiplier"] == 17.32
    plain = merged(secure, {"protocol.exchange": "plain"})
    assert keys(plain) == []
    assert plain["privacy"] == {"unit": "record", "adjacency": "add-remove", "clip": 1.0}
    told = merged(secure, {"protocol.exchange": "plain", "privacy.noise_multiplier": 3.0})
    assert keys(told) == ["privacy.noise_multiplier"]
    assert secure == raw(secure={"colluders": 0}), "the original is untouched"


def test_merging_makes_tables_and_replaces_whole_ones() -> None:
    changed = merged(raw(), {"adversary.curious.nodes": [1], "topology": {"kind": "ring", "nodes": 5}})
    assert changed["adversary"] == {"curious": {"nodes": [1]}}
    assert changed["topology"] == {"kind": "ring", "nodes": 5}
    with pytest.raises(ConfigurationError, match="seed is a number"):
        merged(raw(seed=1), {"seed.x": 1})


# ---------------------------------------------------------------- line numbers

TRICKY = '''# [not.a.table]
a = 1
"q.k" = """several
[neither] = "this"
\\""""" # three quotes
b.c . "d e" = [ 1, # comment ] ]
  [2, 3],
  {x = 1, y.z = "}"},
]
[t]
s = 'it # ['   # comment
"esc\\u0041" = 1
[t.u]
v = 1979-05-27T07:32:00Z
[[arr]]
n = 1
[[arr]]
n = \'\'\'
x = 1
\'\'\'
[arr.sub]
k = { p = [
  1,
] }
[[arr.deep]]
l = 1
[[arr.deep]]
m.n = +1.0
'''


@pytest.mark.parametrize("text", [TRICKY, TRICKY.replace("\n", "\r\n")], ids=["lf", "crlf"])
def test_lines_of_a_tricky_file(text: str) -> None:
    tomllib.loads(text)
    lines = {dotted(key): line for key, line in index(text).items()}
    expected = {
        "a": 2,
        '"q.k"': 3,
        'b.c."d e"': 6,
        'b.c."d e"[1][1]': 7,
        'b.c."d e"[2].y.z': 8,
        "t.s": 11,
        "t.escA": 12,
        "t.u.v": 14,
        "arr": 15,
        "arr[0].n": 16,
        "arr[1]": 17,
        "arr[1].n": 18,
        "arr[1].sub.k": 22,
        "arr[1].sub.k.p[0]": 23,
        "arr[1].deep[0].l": 26,
        "arr[1].deep[1].m.n": 28,
    }
    assert {key: lines.get(key) for key in expected} == expected
    assert "neither" not in lines
    assert "x" not in lines


def test_a_key_that_is_not_there_is_its_table() -> None:
    lines = index(TRICKY)
    assert line_of(lines, ("arr", 1, "sub", "nothing")) == 21
    assert line_of(lines, ("nothing",)) == 1


_names = st.text(st.sampled_from('ab-_ ."\\#[]é'), min_size=1, max_size=4)
_values = st.recursive(
    st.integers(0, 9) | st.sampled_from(["x", "]", "#", "a = 1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=8,
)


def _write(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_write(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_write, value)) + "]"
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _paths(value: Any) -> set[tuple[str | int, ...]]:
    pairs: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return {()} | {(key, *below) for key, inner in pairs for below in _paths(inner)}


@given(st.dictionaries(_names, _values, max_size=4))
def test_the_scanner_finds_exactly_what_tomllib_reads(document: dict[str, Any]) -> None:
    text = "\n".join(f"{_quoted(key)} = {_write(value)}" for key, value in document.items())
    assert tomllib.loads(text) == document
    lines = index(text)
    assert set(lines) == _paths(document)
    assert all(lines[(a,)] < lines[(b,)] for a, b in pairwise(document))


@given(st.lists(_names, min_size=1, max_size=4))
def test_dotted_keys_read_back(parts: list[str]) -> None:
    assert split(dotted(parts)) == tuple(parts)
    assert undotted(dotted([*parts, 3, *parts, 0])) == (*parts, 3, *parts, 0)


@pytest.mark.parametrize("text", ["", "a.", ".a", "a b", "a[0]", '"a', '"\\q"'])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="not a dotted key"):
        split(text)
