"""What holds of the repository as a whole."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scenarios.load import load

ROOT = Path(__file__).parent.parent
PACKAGES = ("simulator", "protocols", "analysis", "scenarios", "sottovoce")
MODULES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def test_the_import_contract_holds() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_protocols_import_the_contract_of_the_simulator_and_its_errors() -> None:
    """The contract lists sub-packages by name; a new one must be added to it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    forbidden = {
        m for c in contracts if c.get("source_modules") == ["protocols"] for m in c["forbidden_modules"]
    }
    parts = {
        f"simulator.{place.stem}"
        for place in (ROOT / "simulator").iterdir()
        if place.suffix == ".py" or (place / "__init__.py").is_file()
    }
    assert parts - forbidden == {"simulator.__init__", "simulator.contract", "simulator.errors"}


# ---------------------------------------------------------------- the lock file


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def wanted(project: str) -> Iterator[Requirement]:
    """What a locked project needs on this interpreter."""
    for text in distribution(project).requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def test_the_lock_file_has_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    assert len(locked()) == len(lines)
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(names, key=str.lower)


def test_the_lock_file_names_everything_that_is_needed_and_nothing_else() -> None:
    """Set-up installs the lock without looking for dependencies, so it has to be whole."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["test"]
    direct += project["build-system"]["requires"]
    lock, reached = locked(), set[str]()
    waiting = [Requirement(text) for text in direct]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in lock, f"{requirement} is not locked"
        assert requirement.specifier.contains(lock[name], prereleases=True), f"{requirement}: {lock[name]}"
        if name not in reached:
            reached.add(name)
            waiting += [] if name == "setuptools" else wanted(name)
    assert reached == set(lock)


# ---------------------------------------------------------------- what is published


def test_nothing_names_a_machine() -> None:
    """No absolute path of a developer's machine and no package index by its host name."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout, so which files are published is not known")
    files = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    assert ROOT / "Makefile" in files
    paths = ["/" + place + "/" for place in ("home", "root", "work", "Users", "tmp", "opt")]
    hosts = ["py" + "pi.org", "python" + "hosted", "conda" + ".anaconda"]
    # A path starts a word; the same letters inside a longer path or an address are something else.
    forbidden = re.compile("|".join([r"(?<![\w./-])" + p for p in paths] + [re.escape(h) for h in hosts]))
    texts = {f: f.read_bytes() for f in files if f.is_file()}
    named = [f for f, text in texts.items() if b"\0" not in text and forbidden.search(text.decode())]
    assert named == []


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text()))


REFERENCES = {"secagg_plus", "calm_run", "offline"}
"""Formulas and attacks that documents point readers to, and no command uses."""


def test_functions_and_constants_have_a_user_beside_tests() -> None:
    """A name is told anywhere else in the packages, benchmarks and examples; kinds are found without being named."""
    used = [*MODULES, *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    words = Counter(word for file in used for word in re.findall(r"\w+", file.read_text()))
    made = [name for file in MODULES for name in _public_names(ast.parse(file.read_text()))]
    assert {name for name in made if words[name] == 1} == REFERENCES


def _public_names(module: ast.Module) -> Iterator[str]:
    for made in module.body:
        if isinstance(made, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [made.name]
        elif isinstance(made, ast.Assign | ast.AnnAssign):
            targets = made.targets if isinstance(made, ast.Assign) else [made.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def test_private_and_secure_modules_state_their_guarantees() -> None:
    """Modules that make private or secure things say under which threat model."""
    for name in (
        "privacy/ledger",
        "privacy/certified",
        "privacy/genies/local",
        "privacy/genies/sums",
        "privacy/genies/states",
        "privacy/open_loop",
        "privacy/mechanism",
        "aggregation/masks",
        "aggregation/keys",
        "gossip/secure_exchange",
        "gossip/asynchronous",
        "gossip/pairwise",
        "gossip/push_sum",
        "gossip/tracking",
        "gossip/federation",
        "gossip/local",
        "gossip/centralised",
    ):
        assert "Guarantees:" in (ROOT / "protocols" / f"{name}.py").read_text(), name


def test_ci_runs_what_a_newcomer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    assert re.search(r"^make test$", script.read_text(), re.MULTILINE)


def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "old").chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(
        ["make", "--silent", "demo", "PYTHON=./old"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0
    assert told == ["sottovoce needs Python 3.11 or newer; name one: make demo PYTHON=python3.12"]
    assert not (tmp_path / ".venv").exists()


def test_simulated_keys_are_not_sold_as_secret() -> None:
    assert "derived from the run's seed and are not secret" in (ROOT / "SECURITY.md").read_text()


# ---------------------------------------------------------------- scenarios


@pytest.mark.parametrize("name", ["quickstart", "tradeoff", "family", "whatif_byzantine"])
def test_shipped_scenarios_are_valid_and_state_their_expected_outcome(name: str) -> None:
    scenario = load(Path(name)).scenario
    assert len(scenario.expect) > 80
