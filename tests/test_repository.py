"""What holds of the repository as a whole."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios import schema
from scenarios.load import load

ROOT = Path(__file__).parent.parent
PACKAGES = ("simulator", "protocols", "analysis", "scenarios")
MODULES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def test_the_import_contract_holds() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_the_lock_file_has_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text().split("\n")
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines if line)


def test_nothing_names_a_machine() -> None:
    """No absolute path of a developer's machine and no package index by its host name."""
    forbidden = re.compile(
        "|".join(["/" + "home/", "/" + "root/", "/" + "work/", "py" + "pi.org", "python" + "hosted"])
    )
    texts = [f for f in ROOT.rglob("*") if f.suffix in {".py", ".md", ".toml", ".lock", ".cff"}]
    inside = [f for f in texts if not {".venv", "runs", "build"} & set(f.relative_to(ROOT).parts)]
    assert inside
    assert [f for f in inside if forbidden.search(f.read_text())] == []


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text()))


def test_private_and_secure_modules_state_their_guarantees() -> None:
    """Modules that make private or secure things say under which threat model."""
    for name in (
        "privacy/ledger",
        "aggregation/masks",
        "aggregation/keys",
        "aggregation/neighbourhood",
        "gossip/push",
    ):
        assert "Guarantees:" in (ROOT / "protocols" / f"{name}.py").read_text(), name


@pytest.mark.parametrize("name", ["quickstart", "tradeoff", "whatif_byzantine"])
def test_shipped_scenarios_are_valid_and_state_their_expected_outcome(name: str) -> None:
    scenario = load(Path(name)).scenario
    assert len(scenario.expect) > 80


def test_every_key_of_the_schema_is_documented() -> None:
    text = (ROOT / "docs" / "formats.md").read_text()
    tables = [t for t in vars(schema).values() if isinstance(t, type) and issubclass(t, schema.Table)]
    keys = {key for table in tables for key in table.model_fields}
    assert len(keys) > 40
    assert sorted(key for key in keys if f"`{key}`" not in text) == []


def test_ci_runs_what_a_newcomer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()


def test_simulated_keys_are_not_sold_as_secret() -> None:
    assert "derived from the run's seed and are not secret" in (ROOT / "SECURITY.md").read_text()
