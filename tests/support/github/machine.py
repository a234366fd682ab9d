"""A runner's machine on which act runs workflows against the fake platform."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.github import events
from support.github.server import FakeGitHub
from support.github.state import PullRequest
from support.libraries import COMPILED

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
RUNNER_PATHS = rf"(?<!…)({re.escape(tempfile.gettempdir())}|{re.escape(str(Path.home()))}|/github/)"
ACTION = "acme/ftgate@" + "1234567890" * 4
"""Where the workflows that `ftgate init` writes take the actions from."""
MANIFEST = "name: bot\nbase: {source: ../weights/base}\ncandidate: {source: ../weights/bot}\n"


class Machine:
    """A runner's machine with ftgate's repository as its workspace, and the platform."""

    def __init__(self, hub: FakeGitHub, folder: Path, act: str) -> None:
        self.hub, self.folder, self.act = hub, folder, act
        self.workspace, self.artifacts = folder / "checkout", folder / "artifacts"
        self.commands = folder / "docker.jsonl"
        self.repositories: dict[str, Path] = {}
        """Folders in the place of other repositories at a commit, by ``owner/name@commit``."""
        self._copy_actions()
        self._install_docker()
        start = {".github/ftgate.yml": POLICY, "evals/target.jsonl": (WORLD / "evals" / "target.jsonl").read_bytes()}
        self.base = hub.git.commit(start | weights("base", "base"), branch="main")
        self.head = self.base

    def push(self, candidate: str | None, *, source: str = events.REPOSITORY) -> str:
        """A new head of pull request 7, with these weights; None changes no model."""
        return self.commit_models({"README.md": "better"} if candidate is None else model("bot", candidate), source)

    def commit_models(self, files: Mapping[str, str | bytes | None], source: str = events.REPOSITORY) -> str:
        """A new head of pull request 7, with these files written, or removed where None."""
        self.head = self.hub.git.commit(files, self.head)
        self.hub.pulls[7] = PullRequest(7, self.head, self.base, source=source)
        return self.head

    def run(
        self,
        event: str,
        payload: dict[str, Any],
        *,
        again: bool = False,
        name: str = "ftgate.yml",
        settings: Sequence[str] = (),
    ) -> str:
        """Let the workflow of this name answer to an event. Returns act's log; whether jobs failed is in it.

        ``again`` leaves the artifacts of the run before, as they are where jobs of one run are run again. ``settings``
        are act's options for the repository's secrets and variables.
        """
        if not again:
            shutil.rmtree(self.artifacts, ignore_errors=True)
        (self.folder / "event.json").write_text(json.dumps(payload), encoding="utf-8")
        workflow = self.workspace / ".github" / "workflows" / name
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
        command += ["-s", "GITHUB_TOKEN=token", "--action-offline-mode", "--actor", payload["sender"]["login"]]
        command += settings
        command += ["--action-cache-path", str(self.folder / "cache"), "--env", f"GITHUB_API_URL={self.hub.url}"]
        called = [*(place / ".github" / "workflows" / "gate.yml" for place in self.repositories.values())]
        text = "".join(path.read_text(encoding="utf-8") for path in (workflow, *called))
        for use in sorted(set(re.findall(r"actions/[\w-]+@[0-9a-f]{40}", text))):
            command += ["--local-repository", f"{use}={ACTIONS / use.split('@')[0].split('/')[1]}"]
        for use, place in self.repositories.items():
            command += ["--local-repository", f"{use}={place}"]
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False, timeout=600
        )
        return done.stdout + done.stderr

    def published(self) -> str:
        """All that was written where others read it."""
        comments = [comment.body for comment in self.hub.comments]
        return "\n".join([*comments, *(status.description for status in self.hub.statuses), repr(self.hub.checks)])

    def docker(self, verb: str = "run") -> list[list[str]]:
        """What Docker was told, by its subcommand."""
        lines = self.commands.read_text(encoding="utf-8").splitlines() if self.commands.exists() else []
        return [command for command in map(json.loads, lines) if command[0] == verb]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            # With more, threads wait for each other longer than models as small as these work.
            "OMP_NUM_THREADS": "1",
            **COMPILED,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
            "FTGATE_TEST_DOCKER": str(self.commands),
            "FTGATE_TEST_ARTIFACTS": str(self.artifacts),
            "FTGATE_TEST_CHECKOUT": str(self.workspace),
        }

    def _copy_actions(self) -> None:
        actions = ("cpu/action.yml", "gpu/action.yml", "entrypoint/docker.sh", "Dockerfile")
        workflows = [f".github/workflows/{name}" for name in ("ftgate.yml", "ftgate-waive.yml")]
        for name in (*workflows, *actions):
            target = self.workspace / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        self.commit("actions")

    def commit(self, message: str) -> None:
        """Make the workspace a clone with a commit of all that lies there, as act wants one."""
        if not (self.workspace / ".git").exists():
            self.git("init", "-q", "--initial-branch=main")
            self.git("remote", "add", "origin", f"https://github.com/{events.REPOSITORY}.git")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)

    def git(self, *arguments: str) -> str:
        """The output of git in the workspace."""
        command = ("git", "-c", "user.name=T", "-c", "user.email=t@example.invalid", *arguments)
        return subprocess.run(command, cwd=self.workspace, check=True, capture_output=True, text=True).stdout

    def _install_docker(self) -> None:
        program = self.folder / "bin" / "docker"
        program.parent.mkdir()
        stand_in = ROOT / "tests" / "support" / "github" / "docker.py"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "$@"\n', encoding="utf-8")
        program.chmod(0o755)


class FreshMachine(Machine):
    """A clone of a repository without any of ftgate's files, and ftgate's own repository at a commit."""

    def _copy_actions(self) -> None:
        actions = self.folder / "ftgate"
        for name in ("cpu/action.yml", "gpu/action.yml", "entrypoint/docker.sh", "Dockerfile"):
            (actions / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, actions / name)
        gate = actions / ".github" / "workflows" / "gate.yml"
        gate.parent.mkdir(parents=True)
        text = (ROOT / ".github" / "workflows" / "gate.yml").read_text(encoding="utf-8")
        gate.write_text(re.sub(r"uses: \$(/\w+)", "uses: " + ACTION.replace("@", r"\1@"), text), encoding="utf-8")
        self.repositories[ACTION] = actions
        self.workspace.mkdir()
        (self.workspace / "README.md").write_text("our models\n", encoding="utf-8")
        self.commit("start")


def model(name: str, of: str) -> dict[str, str | bytes]:
    """A manifest, and the weights that it names: those of one of the tiny world's candidates."""
    return {f"models/{name}.yaml": MANIFEST.replace("bot", name), **weights(name, of)}


def weights(name: str, of: str) -> dict[str, bytes]:
    """The files of one of the tiny world's models, as they lie in a repository."""
    return {f"weights/{name}/{p.name}": p.read_bytes() for p in (WORLD / "models" / of).iterdir() if p.is_file()}
