"""What the composite actions ask of Docker, by a `docker` that only writes down its arguments."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from entrypoint.machine import TOOLKIT
from ftgate.github.failure_file import Failure, read_failure

SCRIPT = Path(__file__).resolve().parents[3] / "entrypoint" / "docker.sh"


def play(
    folder: Path, gpus: str = "all", code: int = 0, kind: str = "gpu", more: dict[str, str] | None = None, **inputs: str
) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """The arguments that docker was given, and how the script ended where docker exits ``code``."""
    docker = folder / "docker"
    docker.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/arguments\nexit {code}\n', encoding="utf-8")
    docker.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "GITHUB_WORKSPACE": str(folder / "work"), "INPUT_IMAGE": "image"}
    env |= {"INPUT_JOB": "job", "INPUT_OUT": "out", "INPUT_SHM_SIZE": "8g", "INPUT_GPUS": gpus}
    env |= {f"INPUT_{name}": value for name, value in inputs.items()} | (more or {})
    done = subprocess.run(["bash", str(SCRIPT), kind], env=env, capture_output=True, text=True, check=False)
    arguments = folder / "arguments"
    return arguments.read_text(encoding="utf-8").splitlines() if arguments.exists() else [], done


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
    assert found == Failure("", "Docker could not start a container with --gpus all")


@pytest.mark.parametrize("code", [0, 2, 3, 130])
def test_what_the_container_says_is_handed_on(tmp_path: Path, code: int) -> None:
    _, done = play(tmp_path, code=code)
    assert done.returncode == code
    assert not done.stderr


def test_the_cache_is_made_by_its_user_and_keeps_what_ftgate_and_the_hub_client_download(tmp_path: Path) -> None:
    arguments, done = play(tmp_path, CACHE=str(tmp_path / "deep" / "cache"))
    assert done.returncode == 0
    assert (tmp_path / "deep" / "cache").stat().st_uid == os.getuid()
    assert f"{tmp_path}/deep/cache:/cache" in arguments
    assert {"FTGATE_CACHE=/cache/ftgate", "HF_HOME=/cache/huggingface"} <= set(arguments)


@pytest.mark.parametrize(("fork", "only_reads"), [("true", True), ("false", False), ("", False)])
def test_a_fork_leaves_no_answers_for_other_runs(tmp_path: Path, fork: str, only_reads: bool) -> None:
    arguments, _ = play(tmp_path, CACHE=str(tmp_path / "cache"), more={"FORK": fork})
    assert ("FTGATE_ANSWERS=read" in arguments) is only_reads


COMPILED = {
    "VLLM_CACHE_ROOT=/cache/compiled/vllm",
    "TORCHINDUCTOR_CACHE_DIR=/cache/compiled/inductor",
    "TRITON_CACHE_DIR=/cache/compiled/triton",
    "MPLCONFIGDIR=/cache/compiled/matplotlib",
}


@pytest.mark.parametrize(("fork", "trusted"), [("false", True), ("", True), ("true", False)])
def test_compiled_code_outlives_the_container_but_for_a_forks_job(tmp_path: Path, fork: str, trusted: bool) -> None:
    arguments, done = play(tmp_path, CACHE=str(tmp_path / "cache"), more={"FORK": fork})
    assert done.returncode == 0, done.stderr
    assert set(arguments) >= COMPILED
    hidden = "/cache/compiled:exec,mode=1777" in arguments
    assert hidden is not trusted
    if hidden:
        assert arguments[arguments.index("/cache/compiled:exec,mode=1777") - 1] == "--tmpfs"
    assert (tmp_path / "cache" / "compiled").is_dir(), "or Docker makes the place as root"


def test_without_a_cache_nothing_is_kept(tmp_path: Path) -> None:
    arguments, _ = play(tmp_path)
    assert not [argument for argument in arguments if "/cache" in argument]


def test_the_action_says_which_job_is_a_forks() -> None:
    step = yaml.safe_load((SCRIPT.parents[1] / "gpu" / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"][0]
    assert "github.event.pull_request.head.repo.full_name != github.repository" in step["env"]["FORK"]
    assert "github.event.workflow_run.head_repository.full_name != github.repository" in step["env"]["FORK"]


def test_a_cache_that_cannot_be_made_ends_before_the_container_starts(tmp_path: Path) -> None:
    (tmp_path / 'a "file"').touch()
    cache = str(tmp_path / 'a "file"' / "cache")
    arguments, done = play(tmp_path, CACHE=cache)
    assert (arguments, done.returncode) == ([], 3)
    assert f"sudo install -d -o {os.getuid()} -g {os.getgid()} {cache}" in done.stderr
    found = read_failure(tmp_path / "work" / "out" / "000-docker")
    assert found is not None
    assert f"cannot write to {cache}" in found.reason


def test_the_report_knows_whose_documentation_it_leads_to(tmp_path: Path) -> None:
    files = {f"GITHUB_{name}": str(tmp_path / name) for name in ("EVENT_PATH", "OUTPUT", "STEP_SUMMARY")}
    action = {"ACTION_REPOSITORY": "acme/ftgate", "ACTION_REF": "0" * 40}
    arguments, done = play(tmp_path, kind="cpu", more=files | action)
    assert done.returncode == 0, done.stderr
    assert {"GITHUB_ACTION_REPOSITORY=acme/ftgate", f"GITHUB_ACTION_REF={'0' * 40}"} <= set(arguments)
    step = yaml.safe_load((SCRIPT.parents[1] / "cpu" / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"][0]
    assert {name: step["env"][name] for name in action} == {
        "ACTION_REPOSITORY": "${{ github.action_repository }}",
        "ACTION_REF": "${{ github.action_ref }}",
    }


def test_credentials_are_mounted_read_only_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "gcs.json").touch()
    (tmp_path / "aws").mkdir()
    paths = [str(tmp_path / "gcs.json"), str(tmp_path / "aws")]
    arguments, _ = play(tmp_path, CREDENTIALS=" ".join(paths), PASS_ENV="GOOGLE_APPLICATION_CREDENTIALS")
    assert {f"{path}:{path}:ro" for path in paths} <= set(arguments)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in arguments


def test_credentials_that_are_not_there_are_named(tmp_path: Path) -> None:
    arguments, done = play(tmp_path, CREDENTIALS=f"{tmp_path}/none.json")
    assert (arguments, done.returncode) == ([], 3)
    assert f"cannot read {tmp_path}/none.json" in done.stderr
