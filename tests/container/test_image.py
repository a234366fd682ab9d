"""The image that the Dockerfile makes, started as the runner starts a container action and as the composite actions do.

`make container` builds it, on a small Debian in vLLM's place, and names it in FTGATE_TEST_IMAGE. What is not shown is a
GPU: no machine of ours has one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support import reports
from support.forge import GITHUB_TOKEN, Forge
from support.github import events
from support.github.scene import POLICY_PATH, Scene
from support.github.server import FakeGitHub
from support.object_store import passing_on, s3_server
from support.players import CAREFUL, FORGETFUL, Player, script
from support.remote import serving, tree
from support.world import World, write_adapter

from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.github.comment import read_trail
from ftgate.github.suite_check import base_suites
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress

ROOT = Path(__file__).resolve().parents[2]
IMAGE = os.environ.get("FTGATE_TEST_IMAGE", "")
pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(not IMAGE, reason="there is no image: make container"),
]


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False, timeout=300)


class Runner:
    """A runner's machine: its folders, and the files and variables that it gives to a job."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.folder = scene, folder
        self.workspace = folder / "workspace"
        for name in ("workspace", "home", "workflow", "file_commands"):
            (folder / name).mkdir()

    def job(self) -> dict[str, str]:
        """The variables of one more job, its event and its files, by their places on the machine."""
        event = self.folder / "workflow" / "event.json"
        event.write_text(json.dumps(events.pull_request(self.scene.hub.pulls[7])), encoding="utf-8")
        for name in ("output", "summary"):
            (self.folder / "file_commands" / name).touch()
        return {
            **events.environment("pull_request", events.MERGE),
            "GITHUB_API_URL": self.scene.hub.url,
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_OUTPUT": str(self.folder / "file_commands" / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "file_commands" / "summary"),
        }

    def container_action(self, mode: str) -> subprocess.CompletedProcess[str]:
        """As the runner starts it: everything is mounted below /github, and HOME lies there."""
        env = {k: v.replace(str(self.folder), "/github") for k, v in self.job().items()}
        env |= {"INPUT_MODE": mode, "INPUT_TOKEN": "token", "INPUT_POLICY": POLICY_PATH, "HOME": "/github/home"}
        run = ["run", "--rm", "--workdir", "/github/workspace"]
        for name in ("workspace", "home", "workflow", "file_commands"):
            run += ["--volume", f"{self.folder / name}:/github/{name}"]
        return podman(*run, *(a for k, v in env.items() for a in ("--env", f"{k}={v}")), IMAGE)

    def composite_action(self, kind: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """As cpu/action.yml and gpu/action.yml do; podman speaks for docker, and knows no --gpus."""
        program = self.folder / "bin" / "docker"
        program.parent.mkdir(exist_ok=True)
        drop = 'for a; do shift; case $a in --gpus) skip=1 ;; *) [ "$skip" ] && skip= || set -- "$@" "$a" ;; esac; done'
        program.write_text(f'#!/bin/sh\nskip=\n{drop}\nexec podman "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        given = {"IMAGE": IMAGE, "JOB": "ftgate-job", "OUT": "ftgate-out", **inputs}
        env = {**os.environ, **self.job(), **{f"INPUT_{k}": v for k, v in given.items()}}
        env["PATH"] = f"{program.parent}:{os.environ['PATH']}"
        command = [str(ROOT / "entrypoint" / "docker.sh"), kind]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)

    def deliver(self, forgetting: str) -> None:
        """Leave a report without its answers in the workspace: what a tampered artifact could look like."""
        hub, policy = self.scene.client(), self.scene.policy
        asked = base_suites(hub, hub.tree(hub.tip("main")), policy, POLICY_PATH, ())
        report = self.scene.report(forgetting)
        suites = {name: {"sha256": fingerprint} for name, fingerprint in asked.items()}
        report = report.model_copy(update={"provenance": {**report.provenance, "suites": suites}})
        found = reports.delivered(self.folder / "delivered", report)
        shutil.rmtree(self.workspace / "ftgate-out" / "001-bot", ignore_errors=True)
        shutil.copytree(found, self.workspace / "ftgate-out" / "001-bot")

    def push(self, seed: int) -> str:
        """A new head whose candidate has other weights; policy, suites, judge and base lie on the base branch."""
        tree = self.folder / "tree"
        world = World(tree / ".github") if not tree.exists() else None
        if world is not None:
            world.policy |= {"manifests": [".github/bot.yaml"], "publish": {"ledger": "branch"}}
            world.save()
            rest = {name: content for name, content in files_in(tree).items() if "bot" not in name}
            self.scene.base = self.scene.hub.git.commit(rest, self.scene.base, branch="main")
        candidate = tree / ".github" / "models" / "bot"
        shutil.rmtree(candidate)
        write_adapter(candidate, seed=seed)
        return self.scene.push({name: content for name, content in files_in(tree).items() if "bot" in name})

    def evaluate(self, player: Player) -> str:
        """What the job with the GPU does: ask what plan collected of models, which are scripted; leave all answers."""
        parcel = self.workspace / "ftgate-job" / ".github"
        engine = ScriptedEngine(script(player))
        shutil.rmtree(self.workspace / "ftgate-out", ignore_errors=True)
        out = self.workspace / "ftgate-out" / "001-bot"
        job = load_job(parcel / "ftgate.yml", parcel / "bot.yaml")
        return evaluate(job, out, SilentProgress(), engine=engine, judge_engine=engine).verdict

    def bundle(self, candidate: str) -> None:
        """Leave a job in the workspace, as plan does, whose candidate lies elsewhere."""
        shutil.rmtree(self.workspace / "ftgate-job", ignore_errors=True)
        world = World(self.workspace / "ftgate-job")
        world.policy["artifacts"] = {"allow": ["**", "s3://**", "github://**"], "redirect_hosts": ["127.0.0.1:*"]}
        world.manifest["candidate"] = {"source": candidate}
        world.save()
        listing = {"policy": world.policy_path.name, "manifests": [world.manifest_path.name]}
        (self.workspace / "ftgate-job" / "ftgate-job.json").write_text(json.dumps(listing), encoding="utf-8")

    def outputs(self) -> str:
        return (self.folder / "file_commands" / "output").read_text(encoding="utf-8")


def files_in(tree: Path) -> dict[str, Any]:
    """Every file below ``tree`` by its path in a repository."""
    return {str(p.relative_to(tree)): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with FakeGitHub(tmp_path / "platform") as hub:
        (tmp_path / "scene").mkdir()
        scene = Scene(hub, tmp_path / "scene")
        suites = {f".github/evals/{name}.jsonl": SUITE for name in ("target", "general")}
        hub.git.commit(suites, scene.base, branch="main")
        yield Runner(scene, tmp_path)


ROWS = [{"id": f"q{i}", "prompt": f"question {i}", "choices": ["a", "b"], "answer": "a"} for i in range(200)]
SUITE = "".join(json.dumps(row) + "\n" for row in ROWS)


def test_the_image_is_what_a_runner_can_start() -> None:
    config = json.loads(podman("image", "inspect", IMAGE).stdout)[0]["Config"]
    assert config["Entrypoint"] == ["/usr/local/bin/ftgate-action"]
    assert not config.get("User")
    assert config.get("WorkingDir") in (None, "", "/")
    assert config["Labels"]["org.opencontainers.image.title"] == "ftgate"
    assert "NVIDIA_VISIBLE_DEVICES=all" in config["Env"]
    assert not [line for line in config["Env"] if line.startswith("PIP_")]


def test_nothing_of_the_build_is_left() -> None:
    code = (
        "import importlib.util as u, pathlib as p;"
        "print([m for m in ('hatchling', 'ftgate.github', 'torch') if u.find_spec(m)],"
        "[f for f in ('/source', '/wheels', '/tools', '/tmp/wheels', p.Path.home() / '.cache') if p.Path(f).exists()])"
    )
    assert podman("run", "--rm", "--entrypoint", "python3", IMAGE, "-c", code).stdout == "['ftgate.github'] []\n"


def test_the_command_line_is_there_for_job_containers() -> None:
    done = podman("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", "ftgate --version && command -v ftgate-action")
    assert re.fullmatch(r"ftgate, version [\d.]+\n/usr/local/bin/ftgate-action\n", done.stdout), done.stderr


def test_the_decision_can_be_taken_again_without_any_engine_installed(tmp_path: Path) -> None:
    world = World(tmp_path)
    engine = ScriptedEngine(script(CAREFUL))
    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, tmp_path / "out", SilentProgress(), engine=engine, judge_engine=engine)
    mount = ["--volume", f"{tmp_path}:/github/workspace", "--workdir", "/github/workspace"]
    done = podman("run", "--rm", *mount, "--entrypoint", "ftgate", IMAGE, "decide", "out", "--out", "again")
    assert done.returncode == 0, done.stdout + done.stderr
    again = json.loads((tmp_path / "again" / "report.json").read_text(encoding="utf-8"))
    assert again["verdict"] == report.verdict == "allow"


def test_the_container_action_announces_and_collects_then_comments_and_sets_the_status(runner: Runner) -> None:
    head = runner.scene.push()
    planned = runner.container_action("plan")
    assert planned.returncode == 0, planned.stderr
    assert runner.scene.hub.status_of(head).state == "pending"
    assert (runner.workspace / "ftgate-job" / "models" / "bot.yaml").is_file()
    assert "model-change" in runner.outputs()

    # The decision is taken again from the answers: a verdict that nothing supports is an error, in both places.
    runner.deliver("pass")
    told = runner.container_action("report")
    assert told.returncode == 3, told.stdout + told.stderr
    status = runner.scene.hub.status_of(head)
    assert (status.state, status.sha) == ("error", head)
    assert "answers.jsonl is missing" in status.description
    (comment,) = runner.scene.hub.comments
    assert "answers.jsonl is missing" in comment.body.replace("​", "").replace("\\", "")
    assert comment.number == 7
    assert f"issuecomment-{comment.id}" in runner.outputs()
    assert "answers" in (runner.folder / "file_commands" / "summary").read_text(encoding="utf-8")


def test_a_real_evaluation_is_published_as_a_block_and_a_better_one_as_an_allow(runner: Runner) -> None:
    hub = runner.scene.hub
    composite = {"POLICY": POLICY_PATH, "AUTHOR": "", "TOKEN": "token"}
    turns = [("container", 2, FORGETFUL, "block", 1), ("composite", 3, CAREFUL, "allow", 0)]
    for kind, seed, player, verdict, code in turns:
        head = runner.push(seed)

        def job(mode: str, kind: str = kind) -> subprocess.CompletedProcess[str]:
            if kind == "container":
                return runner.container_action(mode)
            return runner.composite_action("cpu", MODE=mode, **composite)

        planned = job("plan")
        assert planned.returncode == 0, planned.stdout + planned.stderr
        assert hub.status_of(head).state == "pending"
        assert runner.evaluate(player) == verdict
        told = job("report")
        assert told.returncode == code, told.stdout + told.stderr
        status = hub.status_of(head)
        assert status.state == {"block": "failure", "allow": "success"}[verdict]
        assert status.description.startswith(f"{verdict}: bot ")
        heading = {"block": "## ❌ Do not merge: `bot`", "allow": "## ✅ May merge: `bot`"}[verdict]
        assert heading in hub.comments[0].body
        assert json.loads((runner.workspace / "ftgate-out/001-bot/statement.json").read_text("utf-8"))
        assert "ftgate-out/001-bot/statement.json" in runner.outputs()
    (comment,) = hub.comments
    assert [r.verdict for r in read_trail(comment.body).records] == ["block", "allow"]
    # A digit that is turned between the jobs is found by the answers, in the container as anywhere.
    report = runner.workspace / "ftgate-out" / "001-bot" / "report.json"
    found = json.loads(report.read_text(encoding="utf-8"))
    found["measurements"]["forgetting"]["change"] -= 0.001
    report.write_text(json.dumps(found), encoding="utf-8")
    assert runner.container_action("report").returncode == 3
    assert hub.status_of(head).state == "error"
    assert "its numbers differ from those recomputed from its answers" in comment.body


def test_all_in_one_says_at_once_that_no_model_changed(runner: Runner) -> None:
    head = runner.scene.push({"README.md": "better"})
    done = runner.container_action("all")
    assert done.returncode == 0, done.stderr
    assert [(s.state, s.sha) for s in runner.scene.hub.statuses] == [("success", head)]


def test_all_in_one_without_an_engine_is_an_error_of_the_gate(runner: Runner) -> None:
    head = runner.scene.push()
    done = runner.container_action("all")
    assert done.returncode == 3, done.stdout + done.stderr
    assert runner.scene.hub.status_of(head).state == "error"


def test_modules_in_the_workspace_are_not_imported(runner: Runner) -> None:
    runner.scene.push({"README.md": "better"})
    for name in ("json.py", "entrypoint.py", "ftgate.py", "sitecustomize.py"):
        (runner.workspace / name).write_text("raise SystemExit('taken over')", encoding="utf-8")
    done = runner.container_action("plan")
    assert done.returncode == 0, done.stderr


def test_the_composite_actions_start_it_without_privileges(runner: Runner) -> None:
    head = runner.scene.push()
    planned = runner.composite_action("cpu", MODE="plan", POLICY=POLICY_PATH, AUTHOR="", TOKEN="token")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert runner.scene.hub.status_of(head).state == "pending"
    written = runner.workspace / "ftgate-job" / "ftgate-job.json"
    assert written.stat().st_uid == os.getuid()

    evaluated = runner.composite_action("gpu", GPUS="all", SHM_SIZE="64m")
    # What the manifest names lies in a store that nothing here reaches: it gets as far as reading the suites.
    assert evaluated.returncode in (2, 3)
    assert "s3://" in evaluated.stderr or "hf://" in evaluated.stderr, evaluated.stderr
    left = json.loads((runner.workspace / "ftgate-out" / "001-bot" / "failure.json").read_text(encoding="utf-8"))
    assert left["manifest"] == "models/bot.yaml"
    assert "://" in left["reason"]

    runner.deliver("pass")
    told = runner.composite_action("cpu", MODE="report", POLICY=POLICY_PATH, AUTHOR="", TOKEN="token")
    assert told.returncode == 3, told.stdout + told.stderr
    assert runner.scene.hub.status_of(head).state == "error"


def downloaded(cache: Path, content: bytes) -> bool:
    """Whether a file with ``content`` lies in the cache on the runner's machine, owned by the runner's user."""
    copies = [p for p in cache.rglob("*") if p.is_file() and p.stat().st_size == len(content)]
    return any(p.read_bytes() == content and p.stat().st_uid == os.getuid() for p in copies)


def test_a_model_in_an_object_store_is_downloaded_once_for_all_containers(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image of the tests holds no engine: runs end after the download, with exit code 3."""
    files = tree(write_adapter(tmp_path / "adapter"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    cache = tmp_path / "runner" / "cache"
    inputs = {"GPUS": "all", "SHM_SIZE": "64m", "CACHE": str(cache)}
    inputs["PASS_ENV"] = "AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"
    runner.scene.push()
    runner.bundle("s3://models/bot/v1/")
    with s3_server() as address, serving(passing_on(address)) as way:
        store = boto3.client("s3", endpoint_url=address, region_name="us-east-1")
        store.create_bucket(Bucket="models")
        for name, content in files.items():
            store.put_object(Bucket="models", Key=f"bot/v1/{name}", Body=content)
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.url)
        weights = "/models/bot/v1/adapter_model.safetensors"
        for _ in range(2):
            done = runner.composite_action("gpu", **inputs)
            assert done.returncode == 3, done.stdout + done.stderr
            assert "s3://" not in done.stderr.partition("error:")[2]
            assert downloaded(cache, files["adapter_model.safetensors"])
            assert [a.path for a in way.asked if a.method == "GET"].count(weights) == 1
    # The second one did look whether the store still has the same.
    assert len([a for a in way.asked if a.path == "/models"]) == 2


def test_a_private_release_is_read_with_a_token_of_its_own(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tree(write_adapter(tmp_path / "adapter"))
    cache = tmp_path / "cache"
    runner.scene.push()
    runner.bundle("github://acme/bot/releases/v1")
    forge = Forge(files, {})
    monkeypatch.setattr(runner.scene.hub, "url", forge.api.url)
    for variable, sent in (("GITHUB_TOKEN", None), ("FTGATE_GITHUB_TOKEN", f"Bearer {GITHUB_TOKEN}")):
        monkeypatch.setenv(variable, GITHUB_TOKEN)
        inputs = {"GPUS": "all", "SHM_SIZE": "64m", "CACHE": str(cache), "PASS_ENV": f"GITHUB_API_URL {variable}"}
        done = runner.composite_action("gpu", **inputs)
        assert done.returncode == 3, done.stdout + done.stderr
        assert forge.api.asked[-1].headers.get("Authorization") == sent
        assert downloaded(cache, files["adapter_model.safetensors"]) == (sent is not None)
        assert GITHUB_TOKEN not in done.stdout + done.stderr
    forge.close()
