"""Workflows, actions and Dockerfile under their own linters, the project's and those that `ftgate init` writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftgate.cli.init import NO_COMMIT, write_starter_files

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted(str(p) for p in (ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = [str(ROOT / name) for name in ("action.yml", "cpu/action.yml", "gpu/action.yml")]


def tool(name: str) -> str:
    """The program beside this Python, or on the path."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}") or shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed: make install-dev")
    return found


def check(name: str, *arguments: str) -> None:
    done = subprocess.run([tool(name), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    list(write_starter_files(folder, NO_COMMIT))
    return folder


def test_there_is_something_to_check() -> None:
    assert {Path(w).name for w in WORKFLOWS} == {"ci.yml", "release.yml", "ftgate.yml", "ftgate-settle.yml"}


def test_workflows_and_actions_have_the_platforms_shape() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    check("check-jsonschema", "--builtin-schema", "vendor.github-actions", *ACTIONS)


def test_expressions_in_workflows_mean_something() -> None:
    check("jactionlint", "--shellcheck=", *WORKFLOWS)


def test_no_workflow_has_a_known_weakness() -> None:
    check("zizmor", "--offline", "--quiet", "--no-progress", *WORKFLOWS, *ACTIONS)


def test_the_dockerfile_follows_good_practice() -> None:
    check("hadolint", str(ROOT / "Dockerfile"))


def test_what_init_writes_is_as_clean(started: Path) -> None:
    written = [str(p) for p in (started / ".github" / "workflows").glob("*.yml")]
    check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *written)
    check("jactionlint", "--shellcheck=", *written)
    check("zizmor", "--offline", "--quiet", "--no-progress", *written)
