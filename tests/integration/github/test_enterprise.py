"""GitHub Enterprise Server: another host, the API below /api/v3 and /api/graphql, and nothing asked of github.com."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from support import reports
from support.github import bodies, events
from support.github.scene import NUMBER, Scene
from support.github.server import ALL, FakeGitHub
from support.github.state import Caller

from ftgate.cli import github as cli_github
from ftgate.cli.main import cli
from ftgate.config.server_address import api_address, server_address
from ftgate.report.schema import parse_report

SERVER = "https://git.example.com"
ACTION = "acme/ftgate@" + "1234567890" * 4
WORKFLOW = ".github/workflows/ftgate.yml"


class EnterpriseServer(FakeGitHub):
    """The fake with its API where such a server has it, under another name."""

    def __enter__(self) -> EnterpriseServer:
        super().__enter__()
        self.url = self.url.replace("127.0.0.1", "localhost") + "/api/v3"
        return self

    def answer(self, method: str, target: str, token: str, body: dict[str, Any]) -> tuple[int, Any]:
        if not target.startswith("/api/v3/") and target != "/api/graphql":
            self.invalid.append(f"{method} {target}: not below /api")
            return 404, {"message": "Not Found"}
        return super().answer(method, target, token, body)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    lookup = socket.getaddrinfo

    def only_here(host: Any, *arguments: Any, **options: Any) -> Any:
        assert host in ("localhost", "127.0.0.1"), f"{host} was asked"
        return lookup(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    monkeypatch.setattr(cli_github, "_recompute_with", lambda _: lambda folder: parse_report(folder / "report.json"))
    with EnterpriseServer(tmp_path / "platform") as hub:
        hub.callers["admin"] = Caller("owner", {**ALL, "administration": "read"})
        yield Scene(hub, tmp_path, publish={"ledger": "branch"})
        assert not hub.invalid


def play(scene: Scene, *arguments: str, event: str = "pull_request", **env: str) -> Result:
    """A command in the environment of a job on that server."""
    head = scene.hub.pulls[NUMBER].head
    payload = events.workflow_run(head) if event == "workflow_run" else events.pull_request(scene.hub.pulls[NUMBER])
    (scene.folder / "event.json").write_text(json.dumps(payload), encoding="utf-8")
    given = {
        **events.environment(event, events.MERGE),
        "GITHUB_SERVER_URL": SERVER,
        "GITHUB_API_URL": scene.hub.url,
        "GITHUB_EVENT_PATH": str(scene.folder / "event.json"),
        "GITHUB_OUTPUT": str(scene.folder / "output"),
        "GITHUB_TOKEN": "token",
        **env,
    }
    return CliRunner(env=given).invoke(cli, arguments)


def test_a_pull_request_from_pending_to_the_history(scene: Scene) -> None:
    head = scene.push()
    assert play(scene, "publish", "--pending").exit_code == 0
    folder = scene.deliver(scene.report("pass"))[0]
    (folder / "answers.jsonl").touch()
    done = play(scene, "publish", str(folder))
    assert done.exit_code == 0, done.output
    assert [(s.state, s.sha) for s in scene.hub.statuses] == [("pending", head), ("success", head)]
    assert all(str(s.target_url).startswith(f"{SERVER}/acme/models/actions/runs/") for s in scene.hub.statuses)
    (scene.folder / "ftgate.yml").write_text(scene.text, encoding="utf-8")
    policy = ("--policy", str(scene.folder / "ftgate.yml"))
    assert "the chain is intact" in play(scene, "history", "--pull-request", "7", *policy).output
    assert play(scene, "verify", "--candidate", reports.digest("bot v1"), *policy).exit_code == 0


def test_what_was_cut_short_is_settled_there(scene: Scene) -> None:
    scene.push()
    assert play(scene, "publish", "--pending").exit_code == 0
    assert play(scene, "publish", "--settle", event="workflow_run").exit_code == 3
    assert [s.state for s in scene.hub.statuses] == ["pending", "error"]


def test_init_and_doctor_know_the_server(scene: Scene) -> None:
    scene.push()
    clone = scene.folder / "clone"
    for command in (
        ["init", "-q", "-b", "main", str(clone)],
        ["-C", str(clone), "remote", "add", "origin", f"{SERVER}/acme/models"],
    ):
        subprocess.run(["git", *command], check=True)
    said = play(scene, "init", str(clone), "--action", ACTION, "--ledger", "--settle")
    assert f"{SERVER}/acme/models/settings/rules" in said.output
    paths = (WORKFLOW, ".github/workflows/ftgate-settle.yml")
    texts = {path: (clone / path).read_text(encoding="utf-8") for path in paths}
    assert set(yaml.safe_load(texts[WORKFLOW])["jobs"]) == {"plan", "evaluate", "report"}
    assert f"{SERVER}/acme/ftgate/blob/" in texts[WORKFLOW]
    for text in texts.values():
        assert "github.com" not in text
        assert "$/" not in text
    scene.hub.git.commit(texts, scene.base, branch="main")
    scene.hub.runners = {"dgx": ("online", ["self-hosted", "gpu"])}
    done = play(scene, "doctor", "--repo", "acme/models", GITHUB_TOKEN="admin")
    assert f"fix: {SERVER}/acme/models/settings/rules: for main, require the status check" in done.output
    scene.hub.rules = {
        "main": [bodies.rule("required_status_checks", **{"ftgate/verdict": 15368})],
        "ftgate-ledger": [bodies.rule(kind) for kind in ("update", "deletion", "non_fast_forward")],
    }
    done = play(scene, "doctor", "--repo", "acme/models", GITHUB_TOKEN="admin")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("env", "server", "api"),
    [
        ({}, "https://github.com", "https://api.github.com"),
        ({"GITHUB_SERVER_URL": "https://github.com/"}, "https://github.com", "https://api.github.com"),
        ({"GITHUB_SERVER_URL": SERVER}, SERVER, f"{SERVER}/api/v3"),
        ({"GITHUB_API_URL": f"{SERVER}/api/v3/"}, SERVER, f"{SERVER}/api/v3"),
        ({"GITHUB_SERVER_URL": SERVER, "GITHUB_API_URL": "http://x/api/v3"}, SERVER, "http://x/api/v3"),
    ],
)
def test_either_address_gives_the_other(env: dict[str, str], server: str, api: str) -> None:
    assert (server_address(env), api_address(env)) == (server, api)
