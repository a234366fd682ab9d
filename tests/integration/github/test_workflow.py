"""The example workflow, run by act on this machine against the fake platform: real jobs, steps and evaluations.

What act cannot do here: it ignores `permissions`, `environment` and `concurrency`, so approval by a person and the
limits of a job's token are not shown (the linters look at them); there is no Docker, so `docker` is a stand-in that
starts the entrypoint with exactly the environment and the mounts that the action asks for (`make container` runs the
real image); and the three actions for checkout and artifacts are replaced by a few lines of shell.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.github import events
from support.github.server import FakeGitHub
from support.github.state import PullRequest

ROOT = Path(__file__).resolve().parents[3]
WORLD = ROOT / "examples" / "tinyworld"
ACTIONS = ROOT / "tests" / "support" / "github" / "actions"
POLICY = """\
version: 1
manifests: ["models/*.yaml"]
measurements:
  target: {dataset: ../evals/target.jsonl, scorer: choice, min_gain: 0.03}
engine:    {kind: transformers, dtype: float32, max_model_len: 384}
artifacts: {allow: ["../weights/*"]}
publish:   {ledger: branch}
"""
MANIFEST = "name: bot\nbase: {source: ../weights/base}\ncandidate: {source: ../weights/bot}\n"


class Machine:
    """A runner's machine with ftgate's repository as its workspace, and the platform."""

    def __init__(self, hub: FakeGitHub, folder: Path, act: str) -> None:
        self.hub, self.folder, self.act = hub, folder, act
        self.workspace, self.artifacts = folder / "checkout", folder / "artifacts"
        self.commands = folder / "docker.jsonl"
        self._copy_actions()
        self._install_docker()
        start = {".github/ftgate.yml": POLICY, "evals/target.jsonl": (WORLD / "evals" / "target.jsonl").read_bytes()}
        self.base = hub.git.commit(start | weights("base", "base"), branch="main")
        self.head = self.base

    def push(self, candidate: str | None, *, source: str = events.REPOSITORY) -> str:
        """A new head of pull request 7, with these weights; None changes no model."""
        files = (
            {"README.md": "better"} if candidate is None else {"models/bot.yaml": MANIFEST} | weights("bot", candidate)
        )
        self.head = self.hub.git.commit(files, self.head)
        self.hub.pulls[7] = PullRequest(7, self.head, self.base, source=source)
        return self.head

    def run(self, event: str, payload: dict[str, Any], *, again: bool = False) -> str:
        """Let the workflow answer to an event. Returns act's log; whether jobs failed is in it.

        ``again`` leaves the artifacts of the run before, as they are where jobs of one run are run again.
        """
        if not again:
            shutil.rmtree(self.artifacts, ignore_errors=True)
        (self.folder / "event.json").write_text(json.dumps(payload), encoding="utf-8")
        workflow = self.workspace / ".github" / "workflows" / "ftgate.yml"
        command = [
            self.act,
            event,
            "-W",
            str(workflow),
            "-C",
            str(self.workspace),
            "-e",
            str(self.folder / "event.json"),
        ]
        command += [f"-P={label}=-self-hosted" for label in ("ubuntu-latest", "self-hosted", "gpu")]
        command += ["-s", "GITHUB_TOKEN=token", "--action-offline-mode"]
        command += ["--action-cache-path", str(self.folder / "cache"), "--env", f"GITHUB_API_URL={self.hub.url}"]
        for use in sorted(set(re.findall(r"actions/[\w-]+@[0-9a-f]{40}", workflow.read_text(encoding="utf-8")))):
            command += ["--local-repository", f"{use}={ACTIONS / use.split('@')[0].split('/')[1]}"]
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False, timeout=600
        )
        return done.stdout + done.stderr

    def docker(self, verb: str = "run") -> list[list[str]]:
        """What Docker was told, by its subcommand."""
        lines = self.commands.read_text(encoding="utf-8").splitlines() if self.commands.exists() else []
        return [command for command in map(json.loads, lines) if command[0] == verb]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
            "FTGATE_TEST_DOCKER": str(self.commands),
            "FTGATE_TEST_ARTIFACTS": str(self.artifacts),
            "FTGATE_TEST_CHECKOUT": str(self.workspace),
        }

    def _copy_actions(self) -> None:
        for name in (".github/workflows/ftgate.yml", "cpu/action.yml", "gpu/action.yml", "entrypoint/docker.sh"):
            target = self.workspace / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        for command in (
            ["init", "-q", "--initial-branch=main"],
            ["remote", "add", "origin", f"https://github.com/{events.REPOSITORY}.git"],
            ["add", "-A"],
            ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "commit", "-qm", "actions"],
        ):
            subprocess.run(["git", *command], cwd=self.workspace, check=True)

    def _install_docker(self) -> None:
        program = self.folder / "bin" / "docker"
        program.parent.mkdir()
        stand_in = ROOT / "tests" / "support" / "github" / "docker.py"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "$@"\n', encoding="utf-8")
        program.chmod(0o755)


def weights(name: str, of: str) -> dict[str, bytes]:
    """The files of one of the tiny world's models, as they lie in a repository."""
    return {f"weights/{name}/{p.name}": p.read_bytes() for p in (WORLD / "models" / of).iterdir() if p.is_file()}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    act = shutil.which("act", path=str(Path(sys.executable).parent)) or shutil.which("act")
    if act is None:
        pytest.skip("act is not installed: make install-dev")
    with FakeGitHub(tmp_path / "platform") as hub:
        yield Machine(hub, tmp_path, act)
        assert not hub.invalid


@pytest.mark.engine
def test_a_useless_candidate_is_blocked_and_a_careful_one_allowed_in_the_same_comment(machine: Machine) -> None:
    first = machine.push("useless")
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    states = [(s.state, s.sha) for s in machine.hub.statuses]
    assert states == [("pending", first), ("failure", first)], log
    second = machine.push("careful")
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]), again=True)
    assert machine.hub.status_of(second).state == "success", log
    (comment,) = machine.hub.comments
    assert comment.number == 7
    assert "2 records" in comment.body

    bases = [[a for a in command if a.startswith("BASE_IMAGE=")] for command in machine.docker("build")]
    assert bases[:3] == [["BASE_IMAGE=python:3.12-slim-bookworm"], [], ["BASE_IMAGE=python:3.12-slim-bookworm"]]
    plan, evaluate, report = machine.docker()[:3]
    assert "INPUT_TOKEN" in plan
    assert "INPUT_TOKEN" in report
    assert not [a for a in evaluate if "TOKEN" in a or "GITHUB" in a]
    assert evaluate[evaluate.index("--gpus") + 1] == "all"
    mounts = [evaluate[i + 1] for i, a in enumerate(evaluate) if a == "--volume"]
    assert [m.split(":", 1)[1] for m in mounts] == [
        "/github/workspace/ftgate-job:ro",
        "/github/workspace/ftgate-out",
    ]


def test_a_change_that_touches_no_model_starts_no_evaluation(machine: Machine) -> None:
    head = machine.push(None)
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    found = [(s.state, s.description, s.sha) for s in machine.hub.statuses]
    assert found == [("success", "no model change", head)], log
    assert len(machine.docker()) == 1
    assert not machine.hub.comments


def test_an_evaluation_that_breaks_is_an_error_and_no_opinion(machine: Machine) -> None:
    head = machine.push("careful")
    machine.hub.git.commit({"evals/target.jsonl": '{"id": 1}\n'}, machine.base, branch="main")
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    status = machine.hub.status_of(head)
    assert status.state == "error", log
    assert "suite target: 1 bad row evals/target.jsonl:1: neither prompt nor messages" in status.description
    assert [s.state for s in machine.hub.statuses] == ["pending", "error"]
    assert len(machine.docker()) == 2, "a suite that cannot be read costs no time on a GPU"


def test_what_could_not_be_collected_is_told_by_the_report(machine: Machine) -> None:
    machine.head = machine.hub.git.commit(
        {"models/bot.yaml": MANIFEST.replace("../weights/bot", "../../bot")}, machine.head
    )
    head = machine.push(None)
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    status = machine.hub.status_of(head)
    assert status.state == "error", log
    assert "the evaluation failed: models/bot.yaml: '../../bot' is not in the repository" in status.description
    assert len(machine.docker()) == 2


@pytest.mark.engine
def test_a_fork_is_judged_from_the_base_repository_and_what_is_queued_on_its_own_commit(machine: Machine) -> None:
    head = machine.push("careful", source=events.FORK)
    log = machine.run("pull_request_target", events.pull_request(machine.hub.pulls[7]))
    assert [(s.state, s.sha) for s in machine.hub.statuses] == [("pending", head), ("success", head)], log
    (comment,) = machine.hub.comments
    assert "INPUT_TOKEN" not in machine.docker()[1]
    # The queue puts the change on top of whatever is merged before it.
    queued = machine.hub.git.commit({"models/bot.yaml": MANIFEST} | weights("bot", "careful"), machine.base, "queued")
    machine.hub.statuses.clear()
    log = machine.run("merge_group", events.merge_group(queued, machine.base))
    assert [(s.state, s.sha) for s in machine.hub.statuses] == [("pending", queued), ("success", queued)], log
    assert machine.hub.comments == [comment]
    assert not comment.edits


@pytest.mark.parametrize(
    ("event", "source"), [("pull_request", events.FORK), ("pull_request_target", events.REPOSITORY)]
)
def test_each_pull_request_is_judged_by_one_of_its_two_events(machine: Machine, event: str, source: str) -> None:
    machine.push("careful", source=source)
    machine.run(event, events.pull_request(machine.hub.pulls[7]))
    assert not machine.docker()
    assert not machine.hub.statuses
