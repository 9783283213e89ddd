"""Plug-ins through the command line: listed, validated, described, run, in the manifest; broken ones refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import plugins
from tests.support.places import ROOT

LAW = '''
from typing import ClassVar, Literal
from pydantic import Field
from scenarios.format.units import Duration
from scenarios.kinds.latencies import DelayLaw


class Steady(DelayLaw):
    """Always the same."""

    kind: Literal["{word}"] = Field(description="a delay of another package")
    value: Duration = Field(ge=0, examples=["5 ms"], description="the delay")
    varies: ClassVar[bool] = False
    {fact}

    @property
    def median_s(self):
        return self.value

    def build(self):
        return lambda u: 0 * u + self.value
'''
FACT = "least_s: ClassVar[float] = 0.0"
SCENARIO = """
format = 1
name = "others"
topology = {{ kind = "ring", nodes = 4 }}
network = {{ latency = {{ kind = "{word}", value = "5 ms" }} }}
data = {{ kind = "blobs", samples = 80, features = 3, classes = 2 }}
model = {{ kind = "softmax" }}
training = {{ step = 0.1 }}
protocol = {{ kind = "dsgd", rounds = 2, exchange = "plain" }}
"""


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where the package of a folder is installed."""
    return subprocess.run(
        [sys.executable, "-m", "sottovoce", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "COLUMNS": "200"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def installed(folder: Path, source: str, word: str = "steady") -> Path:
    plugins.installed(folder / "site", source, {"sottovoce.latencies": {word: "Steady"}})
    return folder / "site"


def test_a_plugin_is_listed_validated_described_and_run(tmp_path: Path) -> None:
    site = installed(tmp_path, LAW.format(word="steady", fact=FACT))
    (site / "good.toml").write_text(SCENARIO.format(word="steady"))
    (site / "typo.toml").write_text(SCENARIO.format(word="stedy"))
    listed = called(site, "list")
    assert listed.returncode == 0, listed.stderr
    for key in ("network.latency ", "network.jitter "):
        (line,) = [line for line in listed.stdout.splitlines() if line.startswith(key)]
        assert "steady (others 1.2)" in line
        assert "constant," in line
    described = called(site, "schema")
    assert "a delay of another package" in described.stdout
    refused = called(site, "validate", "typo.toml")
    assert refused.returncode == 2
    assert "did you mean 'steady'?" in refused.stderr
    assert called(site, "validate", "good.toml").returncode == 0
    ran = called(site, "run", "good.toml", "--out", "run")
    assert ran.returncode == 0, ran.stderr
    manifest = json.loads((site / "run" / "manifest.json").read_text())
    assert manifest["plugins"] == {"network.latency": "others 1.2"}


EARLY = "from scenarios.schema import Scenario\n"


@pytest.mark.parametrize(
    ("source", "word", "told"),
    [
        (
            LAW.format(word="gamma", fact=FACT),
            "gamma",
            ['the kind "gamma" is already defined by sottovoce itself'],
        ),
        (
            LAW.format(word="steady", fact=FACT),
            "other",
            ["the entry point is named 'other', but kind is one of"],
        ),
        (
            LAW.format(word="steady", fact="least_s = 0.0"),
            "steady",
            ["annotate a fact that is no key as ClassVar"],
        ),
        (LAW.format(word="steady", fact=""), "steady", ["Steady does not define least_s; a kind must"]),
        (
            LAW.format(word="steady", fact=FACT).replace("Steady", "Other"),
            "steady",
            ["has no attribute 'Steady'"],
        ),
        (
            "import nowhere\n",
            "steady",
            ["ModuleNotFoundError: No module named 'nowhere'; repair or uninstall"],
        ),
        ("class Steady:\n    pass\n", "steady", ["is no DelayLaw: expected a subclass of"]),
        (
            EARLY + LAW.format(word="steady", fact=FACT),
            "steady",
            ["import families from scenarios.kinds at the top"],
        ),
    ],
    ids=["taken", "misnamed", "no ClassVar", "incomplete", "absent", "broken", "no kind", "too early"],
)
def test_a_broken_plugin_is_one_line(source: str, word: str, told: list[str], tmp_path: Path) -> None:
    site = installed(tmp_path, source, word)
    for command in (["list"], ["validate", "quickstart"])[: 2 if told[0].startswith("the kind") else 1]:
        refused = called(site, *command)
        assert refused.returncode == 2, refused.stderr
        (line,) = refused.stderr.splitlines()
        assert "plug-in others 1.2 (sottovoce.latencies" in line
        assert all(words in line for words in told), line


DRAWN = ("--set", "network.jitter={kind='steady', value='5 ms'}", "--set", "network.latency.kind=constant")
FAILING = LAW.format(word="steady", fact=FACT).replace(
    "    def build",
    """{member}

    def build""",
)


@pytest.mark.parametrize(
    ("member", "told"),
    [
        ("    def problems(self):\n        yield from {}['x']", "problems(): KeyError: 'x'"),
        ("    def problems(self):\n        return None", "problems(): TypeError: 'NoneType' object"),
        (
            "    def problems(self):\n        yield 'value', 'bad'",
            "problems(): TypeError: it yielded ('value', 'bad')",
        ),
        (
            "    @field_validator('value')\n    @classmethod\n    def tried(cls, x):\n        return x.nowhere",
            "a validator: AttributeError: 'float' object has no attribute 'nowhere'",
        ),
        ("    late: ClassVar[float] = 1.0", "median_s: ZeroDivisionError: division by zero"),
    ],
    ids=["raises", "no list", "no pairs", "validator", "fact"],
)
def test_a_kind_that_fails_is_one_line_with_kind_package_and_member(
    member: str, told: str, tmp_path: Path
) -> None:
    source = FAILING.replace("{member}", member).replace("import Field", "import Field, field_validator")
    if told.startswith("median_s"):
        source = source.replace("return self.value", "return 1 / 0", 1)
    site = installed(tmp_path, source)
    (site / "good.toml").write_text(SCENARIO.format(word="steady"))
    refused = called(site, "validate", "good.toml", *DRAWN)
    assert refused.returncode == 2, refused.stderr
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f'kind "steady" of package others 1.2 failed in {told}'), line


def test_a_kind_whose_build_fails_is_one_line(tmp_path: Path) -> None:
    broken = LAW.format(word="steady", fact=FACT).replace(
        "return lambda u: 0 * u + self.value", "return {}[self.value]"
    )
    site = installed(tmp_path, broken)
    (site / "good.toml").write_text(SCENARIO.format(word="steady"))
    refused = called(site, "run", "good.toml", "--quiet")
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.startswith(
        'kind "steady" of package others 1.2 failed in build(): KeyError: 0.005;'
    )
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("ending", ["raise SystemExit(0)", "import os; raise BaseException"])
def test_a_plugin_cannot_end_the_command_while_it_is_imported(ending: str, tmp_path: Path) -> None:
    refused = called(installed(tmp_path, f"{ending}\n"), "list")
    assert refused.returncode == 2, refused.stdout
    assert (
        "plug-in others 1.2 (sottovoce.latencies: steady = others:Steady) cannot be loaded" in refused.stderr
    )
    assert len(refused.stderr.splitlines()) == 1
