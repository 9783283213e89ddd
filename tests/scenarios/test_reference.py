"""The reference of scenario files, and what it is generated from: descriptions, defaults and examples of keys."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from scenarios.assembly.keys import name_of
from scenarios.commands.cli import app
from scenarios.format.kind import Kind, plugin_of
from scenarios.format.tables import Table, keys_of
from scenarios.load import load
from scenarios.reading import reference
from scenarios.reading.choices import described, models_of
from scenarios.schema import Scenario
from tests.support.places import ROOT
from tests.support.tables import FAMILIES, TABLES, example

own_kinds_alone = pytest.mark.skipif(
    any(plugin_of(kind) for family in FAMILIES for kind in family.kinds().values()),
    reason="kinds of other packages are installed",
)


@own_kinds_alone
def test_the_page_is_what_the_command_prints() -> None:
    """Repair: paste what ``sottovoce schema --markdown`` prints over the section about scenario files."""
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    printed = CliRunner().invoke(app, ["schema", "--markdown"]).output
    start, end = page.index("## Scenario, format"), page.index("## Run folder, format")
    assert page[start:end] == printed + "\n"


def test_every_table_and_every_key_of_every_kind_is_in_the_reference() -> None:
    shown = {
        (section.title.strip("[]"), row.key, word)
        for section in reference.sections()
        for row in section.rows
        for word in row.kinds or ("",)
    }
    assert {
        (place, key, word)
        for place, table in TABLES
        for key in keys_of(table)
        if key != "kind" or not issubclass(table, Kind)
        for word in (table.words() if issubclass(table, Kind) else ("",))
    } <= shown


def test_types_are_named() -> None:
    types = {(section.title, row.key): row.type for section in reference.sections() for row in section.rows}
    assert types["[[network.link]]", "from"] == "node"
    assert types["[[region]]", "nodes"] == "list of nodes"
    assert types["[network]", "uplink"] == "rate or list of rates"
    assert types["[sweep]", "seeds"] == "count or list of seeds"
    assert types["[adversary.wiretap]", "links"] == '"all" or list of pairs'
    assert types["[sweep]", "grid"] == "table of lists"
    assert types["[adversary.sybil]", "targets"] == '`"random"` | `"degree"` | list of nodes'


@pytest.mark.parametrize("table", dict.fromkeys(table for _, table in TABLES), ids=lambda t: t.__name__)
def test_every_key_is_described_and_its_default_and_example_are_valid(table: type[Table]) -> None:
    assert table.__doc__
    for key, field in keys_of(table).items():
        assert described(field), key
        if models_of(field.annotation):
            continue
        whole = example(table)
        shown = _read(reference.example_of(key, field))
        checked = table.model_validate(whole | {key: shown})
        name = next(name for name, other in table.model_fields.items() if (other.alias or name) == key)
        if not field.is_required() and field.default is not None:
            by_default = _read(reference.default_of(field))
            again = table.model_validate(whole | {key: by_default})
            assert getattr(again, name) == getattr(table.model_validate(whole), name), key
        assert getattr(checked, name) is not None, key


def _read(shown: str) -> Any:
    return tomllib.loads(f"x = {shown.strip('`')}")["x"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_bare_family_is_the_union_of_its_kinds(family: type[Kind]) -> None:
    adapter: TypeAdapter[Kind] = TypeAdapter(family)
    for kind in family.kinds().values():
        assert type(adapter.validate_python(example(kind))) is kind
        assert type(family.model_validate(example(kind))) is kind
    if family.usual:
        kind = family.kinds()[family.usual]
        unnamed = {key: value for key, value in example(kind).items() if key != "kind"}
        assert adapter.validate_python(unnamed).kind == family.usual


# ---------------------------------------------------------------- the order of fields


def test_the_order_in_which_classes_declare_their_fields_changes_no_key_of_a_run() -> None:
    scenario = load("quickstart").scenario
    assert name_of(reordered(scenario)) == name_of(scenario)
    other = scenario.model_copy(update={"seed": scenario.seed + 1})
    assert name_of(other) != name_of(scenario)


def reordered(scenario: Scenario) -> Scenario:
    """The same scenario, of classes whose fields are declared the other way round."""

    class Reversed(Scenario):
        @classmethod
        def dumped(cls, value: Any) -> Any:
            if isinstance(value, dict):
                return {key: cls.dumped(value[key]) for key in reversed(value)}
            return [cls.dumped(item) for item in value] if isinstance(value, list) else value

        def model_dump(self, **options: Any) -> dict[str, Any]:
            found: dict[str, Any] = self.dumped(super().model_dump(**options))
            return found

    return Reversed.model_validate(scenario.model_dump(mode="json", exclude_none=True))
