"""What is installed is what was tested: the wheel carries templates, types and the demonstration, and nothing stray."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ftgate.cli.init import WORKFLOWS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(out)]
    subprocess.run([*build, str(ROOT)], check=True)
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_carries_all_that_the_package_reads(names: set[str]) -> None:
    for path in (ROOT / "ftgate").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert f"ftgate/{path.relative_to(ROOT / 'ftgate').as_posix()}" in names


def test_the_wheel_carries_the_demonstration(names: set[str]) -> None:
    for name in ("policy.yaml", "manifests/careful.yaml", "models/base/model.safetensors", "evals/target.jsonl"):
        assert f"ftgate/tinyworld/{name}" in names


def test_the_wheel_carries_the_workflows_that_init_writes(names: set[str]) -> None:
    assert {f"ftgate/starter/workflows/{name}" for name in WORKFLOWS} <= names


def test_the_wheel_carries_nothing_else(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"ftgate", "ftgate-0.1.0.dist-info"}
    assert not [name for name in names if "__pycache__" in name or name.startswith("ftgate/tinyworld/models/NOTE")]
