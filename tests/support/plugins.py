"""Packages of others: installed into a folder, used by an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.places import ROOT


def installed(folder: Path, source: str, points: Mapping[str, Mapping[str, str]]) -> None:
    """Install a package of one module, ``others``, so that an interpreter with the folder on its path finds it.

    Args:
        folder: is made.
        source: of the module.
        points: of each group of entry points, the class of the module by name.
    """
    info = folder / "others-1.2.dist-info"
    info.mkdir(parents=True)
    (folder / "others.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.2\n")
    lines = [
        line
        for group, classes in points.items()
        for line in (f"[{group}]", *(f"{name} = others:{made}" for name, made in classes.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def told(folder: Path, code: str) -> str:
    """Run code where the package of a folder is installed, and return what it prints.

    Warnings are errors there, as in all tests.
    """
    path = os.pathsep.join([str(ROOT), str(folder)])
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
