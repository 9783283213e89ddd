"""The JSON Schema of scenario files: it accepts what ``validate`` accepts, and marks the one key that is wrong."""

from __future__ import annotations

import json
import tomllib
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from scenarios.format.tables import Table, keys_of
from scenarios.load import LIBRARY, load
from scenarios.reading import json_schema
from simulator.units import DURATIONS, PERCENT, RATES, SIZES, parse, pattern
from tests.scenarios.test_reference import own_kinds_alone
from tests.scenarios.test_schema import raw
from tests.support.tables import TABLES, example, value_of

SHIPPED = sorted(LIBRARY.rglob("*.toml"))


@cache
def document() -> dict[str, Any]:
    return json_schema.json_schema()


@cache
def validator(table: str | None = None) -> Draft202012Validator:
    """What checks a scenario, or a table by the name of its class."""
    if table is None:
        return Draft202012Validator(document())
    return Draft202012Validator({"$ref": f"#/$defs/{table}", "$defs": document()["$defs"]})


def errors(scenario: dict[str, Any]) -> list[str]:
    return [error.json_path.removeprefix("$.") for error in validator().iter_errors(scenario)]


@own_kinds_alone
def test_the_file_is_what_the_command_prints() -> None:
    """Repair: ``sottovoce schema > scenarios/library/scenario.schema.json``."""
    assert (LIBRARY / "scenario.schema.json").read_text(encoding="utf-8") == json_schema.written()


def test_it_is_a_schema_with_an_identity_and_without_null() -> None:
    Draft202012Validator.check_schema(document())
    assert document()["$id"] == "urn:sottovoce:scenario:1"
    assert '{"type": "null"}' not in json.dumps(document())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_scenarios_name_it_and_are_valid(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    directive, _, path = text.partition("\n")[0].partition(" ")
    assert directive == "#:schema"
    assert (file.parent / path).resolve() == LIBRARY / "scenario.schema.json"
    assert errors(tomllib.loads(text)) == []
    assert errors(load(file).scenario.model_dump(mode="json", exclude_none=True)) == []


def _changed(*path: str | int, value: Any = None) -> dict[str, Any]:
    """A valid scenario with one key changed, or removed."""
    scenario = deepcopy(
        raw(
            fault=[{"node": 1, "down_at": "1 s"}],
            adversary={"byzantine": {"nodes": [1], "attack": {"kind": "sign-flip"}}},
        )
    )
    table: Any = scenario
    for part in path[:-1]:
        table = table[part] if isinstance(table, list) else table.setdefault(part, {})
    if value is None:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return scenario


@pytest.mark.parametrize(
    ("scenario", "place"),
    [
        (_changed("format", value=2), "format"),
        (_changed("name", value="Small one"), "name"),
        (_changed("seed", value=-1), "seed"),
        (_changed("seed", value="one"), "seed"),
        (_changed("stop_after", value=60), "stop_after"),
        (_changed("topology", "degree", value="four"), "topology.degree"),
        (_changed("topology", "degree", value=0), "topology.degree"),
        (_changed("topology", "kind", value="rign"), "topology.kind"),
        (_changed("topology", "kind"), "topology"),
        (_changed("topology", "degree"), "topology"),
        (_changed("topology", "rows", value=3), "topology"),
        (_changed("network", "latency", "value", value=0.05), "network.latency.value"),
        (_changed("network", "latency", "value", value="50 sec"), "network.latency.value"),
        (_changed("network", "uplink", value=[]), "network.uplink"),
        (_changed("network", "loss", value=1.5), "network.loss"),
        (_changed("mixing", "kind", value="metropole"), "mixing.kind"),
        (_changed("fault", 0, "down_at", value=1), "fault[0].down_at"),
        (_changed("fault", 0, "kind", value="crash"), "fault[0].kind"),
        (_changed("fault", 0, "factor", value=2.0), "fault[0]"),
        (_changed("training", "step", value="2"), "training.step"),
        (_changed("protocol", "exchange", value="open"), "protocol.exchange"),
        (_changed("protocol", "rounds"), "protocol"),
        (
            _changed("adversary", "byzantine", "attack", "scale", value="2"),
            "adversary.byzantine.attack.scale",
        ),
        (_changed("privacy", "unit", value="user"), "privacy.unit"),
        (_changed("privacy", "observers", value=[]), "privacy.observers"),
        (_changed("modle", value={}), "$"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_wrong_key_is_one_error_there(scenario: dict[str, Any], place: str) -> None:
    assert errors(scenario) == [place]


def test_a_fault_and_mixing_without_a_kind_are_of_the_usual_one() -> None:
    assert errors(raw(fault=[{"node": 1, "down_at": "1 s", "spread": "0 s"}], mixing={})) == []
    assert errors(raw(fault=[{"node": 1}])) == ["fault[0]"]


@pytest.mark.parametrize("text", ["50 us", "50 µs", "50 μs", "50us", " +1_000.5e-1  ms ", "0 s"])
def test_durations_are_accepted_as_they_are_read(text: str) -> None:
    assert parse(text, DURATIONS, "50 ms") >= 0
    assert errors(raw(network={"latency": {"kind": "constant", "value": text}})) == []


@given(st.data())
def test_texts_match_the_pattern_of_units_exactly_if_they_are_read(data: st.DataObject) -> None:
    units = data.draw(st.sampled_from([DURATIONS, RATES, SIZES, PERCENT]))
    text = data.draw(st.from_regex(r"\A ?\+?[0-9_.eE+]{1,5} ?[a-zA-Zµμ/%]{0,6} ?\Z"))
    try:
        read = parse(text, units, "") >= 0
    except ValueError:
        read = False
    matches = next(Draft202012Validator({"pattern": pattern(units)}).iter_errors(text), None) is None
    if read:
        assert matches
    elif matches:  # only its size is wrong
        with pytest.raises(ValueError, match="too large or too small"):
            parse(text, units, "")


@given(st.data())
def test_what_a_table_accepts_is_valid(data: st.DataObject) -> None:
    table: type[Table] = data.draw(st.sampled_from([table for _, table in TABLES]))
    optional = [name for name, field in keys_of(table).items() if not field.is_required() and name != "kind"]
    given_keys = data.draw(st.sets(st.sampled_from(optional))) if optional else set()
    written = example(table) | {name: value_of(name, table) for name in sorted(given_keys)}
    table.model_validate(written)
    assert not list(validator(table.__name__).iter_errors(written))


@pytest.mark.parametrize("table", dict.fromkeys(table for _, table in TABLES), ids=lambda t: t.__name__)
def test_what_a_table_writes_is_valid(table: type[Table]) -> None:
    every = example(table) | {name: value_of(name, table) for name in keys_of(table) if name != "kind"}
    written = table.model_validate(every).model_dump(mode="json", exclude_none=True)
    assert not list(validator(table.__name__).iter_errors(every))
    assert not list(validator(table.__name__).iter_errors(written))
