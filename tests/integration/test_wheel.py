"""What is installed is what was tested: the wheel carries templates, types and the demonstration, and nothing stray."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ftgate import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(out)]
    subprocess.run([*build, str(ROOT)], check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_distribution_is_finetune_gate_and_its_command_and_package_are_ftgate(wheel: Path, tmp_path: Path) -> None:
    assert wheel.name == f"finetune_gate-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    # Finders that other packages install may list it more than once.
    distribution, *others = importlib.metadata.distributions(path=[str(tmp_path)])
    assert {other.name for other in others} <= {distribution.name}
    assert (distribution.name, distribution.version) == ("finetune-gate", __version__)
    assert [(e.group, e.name, e.value) for e in distribution.entry_points] == [
        ("console_scripts", "ftgate", "ftgate.__main__:entry")
    ]
    assert {"cpu", "gpu", "s3", "gcs", "azure"} <= set(distribution.metadata.get_all("Provides-Extra") or [])


def test_the_wheel_carries_all_that_the_package_reads(names: set[str]) -> None:
    for path in (ROOT / "ftgate").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert f"ftgate/{path.relative_to(ROOT / 'ftgate').as_posix()}" in names


def test_the_wheel_carries_the_demonstration(names: set[str]) -> None:
    world = ("policy.yaml", "manifests/careful.yaml", "models/base/model.safetensors", "evals/target.jsonl")
    for name in (*world, "guarded.yaml", "guarded/unsafe.yaml", "models/guarded/model.safetensors"):
        assert f"ftgate/tinyworld/{name}" in names


def test_the_wheel_carries_the_workflows_that_init_writes(names: set[str]) -> None:
    assert {f"ftgate/starter/workflows/{name}" for name in ("ftgate.yml", "ftgate-settle.yml")} <= names


def test_the_wheel_carries_nothing_else(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"ftgate", f"finetune_gate-{__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or name.startswith("ftgate/tinyworld/models/NOTE")]
