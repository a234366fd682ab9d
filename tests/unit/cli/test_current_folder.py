"""Files of the current folder never take the place of Python's and ftgate's own modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMES = ("json", "typing", "datasets", "evaluate", "statistics", "random", "yaml", "logging")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as trainers have it, in which every module says so and stops whoever imports it."""
    trap = "raise SystemExit(f'imported {__file__}')\n"
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(trap, encoding="utf-8")
    for name in ("numpy", "click", "pydantic"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(trap, encoding="utf-8")
    return tmp_path


def python(folder: Path, *arguments: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code"), [(("schema", "policy"), 0), (("compare", "one", "two"), 2), (("init", "--yes"), 0)]
)
def test_modules_of_the_current_folder_are_not_imported(folder: Path, arguments: tuple[str, ...], code: int) -> None:
    done = python(folder, "-m", "ftgate", *arguments)
    assert "imported" not in done.stdout + done.stderr
    assert done.returncode == code, done.stderr


def test_nor_by_the_processes_that_it_starts(folder: Path) -> None:
    program = """
import subprocess, sys
from ftgate.__main__ import pass_over_current_folder
if sys.argv[1:] == ["protect"]:
    pass_over_current_folder()
sys.exit(subprocess.run([sys.executable, "-c", "import json, numpy"], check=False).returncode)
"""
    script = folder / "scripts" / "start.py"
    script.parent.mkdir()
    script.write_text(program, encoding="utf-8")
    assert python(folder, str(script), "protect").returncode == 0
    assert python(folder, str(script)).returncode == 1


def test_a_checkout_runs_from_its_own_folder() -> None:
    done = python(ROOT, "-m", "ftgate", "schema", "manifest", path="")
    assert done.returncode == 0, done.stderr
