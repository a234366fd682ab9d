"""What the composite actions ask of Docker, by a `docker` that only writes down its arguments."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from entrypoint.machine import TOOLKIT
from ftgate.github.failure_file import Failure, read_failure

SCRIPT = Path(__file__).resolve().parents[3] / "entrypoint" / "docker.sh"


def play(folder: Path, gpus: str = "all", code: int = 0) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """The arguments that docker was given for an evaluation, and how the script ended where docker exits ``code``."""
    docker = folder / "docker"
    docker.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/arguments\nexit {code}\n', encoding="utf-8")
    docker.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "GITHUB_WORKSPACE": str(folder / "work"), "INPUT_IMAGE": "image"}
    env |= {"INPUT_JOB": "job", "INPUT_OUT": "out", "INPUT_SHM_SIZE": "8g", "INPUT_GPUS": gpus}
    done = subprocess.run(["bash", str(SCRIPT), "gpu"], env=env, capture_output=True, text=True, check=False)
    return (folder / "arguments").read_text(encoding="utf-8").splitlines(), done


@pytest.mark.parametrize(
    ("gpus", "given"),
    [("all", "all"), ("2", "2"), ("device=1", "device=1"), ("device=0,1", '"device=0,1"'), ('"device=0,1"',) * 2],
)
def test_a_list_of_devices_is_one_value_to_docker(tmp_path: Path, gpus: str, given: str) -> None:
    arguments, done = play(tmp_path, gpus)
    assert done.returncode == 0
    assert arguments[arguments.index("--gpus") + 1] == given


def test_a_docker_that_cannot_give_gpus_says_what_to_do(tmp_path: Path) -> None:
    _, done = play(tmp_path, code=125)
    assert done.returncode == 125
    assert "--gpus all" in done.stderr
    assert TOOLKIT in done.stderr
    found = read_failure(tmp_path / "work" / "out" / "000-docker")
    assert found == Failure("", "Docker could not start a container with GPUs")


@pytest.mark.parametrize("code", [0, 2, 3, 130])
def test_what_the_container_says_is_handed_on(tmp_path: Path, code: int) -> None:
    _, done = play(tmp_path, code=code)
    assert done.returncode == code
    assert not done.stderr
