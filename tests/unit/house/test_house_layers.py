"""The layers: every module is in one, and an import that points up is noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages' source and the contracts, to be broken."""
    folder = tmp_path_factory.mktemp("layers")
    for package in ("ftgate", "entrypoint"):
        shutil.copytree(
            ROOT / package, folder / package, ignore=lambda _, names: {n for n in names if n == "__pycache__"}
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_the_package_keeps_its_layers(checkout: Path) -> None:
    done = lint(checkout)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("ftgate/stats/normal.py", "from ftgate.gate.flow import run_gate", "Imports point down only"),
        ("ftgate/report/escape.py", "from ftgate.judge.grading import Judge", "Imports point down only"),
        ("ftgate/models/open.py", "import torch", "Only engines and embeddings import the inference libraries"),
        ("ftgate/report/escape.py", "import github", "Only ftgate.github imports the GitHub client"),
        ("ftgate/gate/flow.py", "import click", "Only the command line imports click"),
        ("ftgate/gate/flow.py", "import entrypoint", "The package knows nothing of what starts it in a container"),
    ],
)
def test_a_wrong_import_breaks_its_contract(checkout: Path, file: str, line: str, contract: str) -> None:
    path = checkout / file
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n{line}\n", encoding="utf-8")
    try:
        done = lint(checkout)
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout


def test_a_package_that_is_in_no_layer_is_noticed(checkout: Path) -> None:
    (checkout / "ftgate" / "misc").mkdir()
    (checkout / "ftgate" / "misc" / "__init__.py").touch()
    try:
        done = lint(checkout)
    finally:
        shutil.rmtree(checkout / "ftgate" / "misc")
    assert done.returncode == 1
    assert "misc" in done.stdout
