"""Publishing as an App of one's own: the key makes the token, the bot is the creator, and nothing else passes."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from support import reports
from support.github import bodies, events
from support.github.apps import App
from support.github.machine import ACTION, POLICY, FreshMachine
from support.github.scene import Scene
from support.github.server import FakeGitHub
from support.github.state import Caller

from entrypoint.modes import run_mode
from ftgate.cli.init import write_starter_files
from ftgate.cli.main import cli
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.app import APP_ID, PRIVATE_KEY, app_auth
from ftgate.github.client import GitHubRepo, connect
from ftgate.github.doctor import examine_repository
from ftgate.github.publish import publish_results
from ftgate.github.retry import Retry

SCOPES = ("statuses", "checks", "issues", "pull_requests", "contents")
PERMISSIONS = {**dict.fromkeys(SCOPES, "write"), "actions": "read"}
NUMBER = 4711


@cache
def keys(name: str) -> tuple[str, str]:
    """A private key and its public key, both as PEM."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def scene(hub: FakeGitHub, tmp_path) -> Scene:
    """A repository on which the App *gate* is installed, and named as the creator."""
    hub.apps.append(App(NUMBER, "gate", keys("gate")[1], PERMISSIONS))
    return Scene(hub, tmp_path, publish={"ledger": "branch", "expected_creator": "gate[bot]"})


def env(key: str = "gate", app_id: object = NUMBER) -> dict[str, str]:
    return {APP_ID: str(app_id), PRIVATE_KEY: keys(key)[0]}


def client(scene: Scene, variables: dict[str, str] | None = None) -> GitHubRepo:
    retry = Retry(lambda _: None)
    auth = app_auth(env() if variables is None else variables, scene.hub.url, "acme/models", retry, backoff=0)
    assert auth is not None
    return GitHubRepo(connect(scene.hub.url, auth, pause=None, backoff=0), "acme/models", lambda _: None)


def test_what_the_app_publishes_counts_and_what_the_workflows_own_token_publishes_does_not(scene: Scene) -> None:
    head = scene.push()
    scene.publish(scene.report("pass"))
    policy = scene.folder / "policy.yml"
    policy.write_text(scene.text, encoding="utf-8")
    asked = ["verify", "--repo", "acme/models", "--candidate", reports.digest("bot v1"), "--policy", str(policy)]
    runner = CliRunner(env={"GITHUB_TOKEN": "", "GH_TOKEN": "", "GITHUB_API_URL": scene.hub.url, **env()})
    refused = runner.invoke(cli, asked)
    assert refused.exit_code == 1, refused.output
    assert "that gate[bot] set" in refused.output
    effects = scene.with_run(scene.effects(), "78")
    assert publish_results(replace(effects, repo=client(scene)), scene.deliver(scene.report("pass"))) == 0
    assert scene.hub.status_of(head).creator == "gate[bot]"
    assert [c.author for c in scene.hub.comments] == ["github-actions[bot]", "gate[bot]"]
    allowed = runner.invoke(cli, asked)
    assert allowed.exit_code == 0, allowed.output
    scene.hub.callers["person"] = Caller("maintainer", PERMISSIONS)
    history = ["history", "--repo", "acme/models", "--policy", str(policy), "--pull-request", "7"]
    person = CliRunner(env={"GITHUB_TOKEN": "person", "GITHUB_API_URL": scene.hub.url}).invoke(cli, history)
    assert person.output.count("problem: ") == 2, "only what the workflow's own token set is a problem"
    assert person.output.count("was set by github-actions[bot], not by gate[bot]") == 1


@pytest.mark.parametrize("fault", ["502 before", "502 after", "429"])
def test_the_token_is_asked_for_again_after_a_failure(scene: Scene, fault: str) -> None:
    scene.hub.faults.plan(fault, "POST", r"access_tokens$")
    assert client(scene).login() == "gate[bot]"


@pytest.mark.parametrize(
    ("variables", "message", "hint"),
    [
        ({APP_ID: "4711"}, "FTGATE_APP_ID is set and FTGATE_APP_PRIVATE_KEY is not", "set both"),
        ({PRIVATE_KEY: "x"}, "FTGATE_APP_PRIVATE_KEY is set and FTGATE_APP_ID is not", "set both"),
        ({APP_ID: "4711", PRIVATE_KEY: "hunter2"}, "FTGATE_APP_PRIVATE_KEY is not an RSA private key", "PEM file"),
    ],
)
def test_what_is_wrong_with_id_or_key_is_said_without_the_key(
    scene: Scene, variables: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        client(scene, variables)
    assert hint in caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_another_apps_key_and_a_repository_without_the_app_are_named(scene: Scene) -> None:
    with pytest.raises(PublishError, match=r"could not act as the App 4711 on acme/models: 401") as caught:
        client(scene, env("other"))
    assert "is not a key of the App 4711, or was revoked" in caught.value.hint
    with pytest.raises(PublishError, match="could not act as the App 99 on acme/models: 404") as caught:
        client(scene, env(app_id=99))
    assert caught.value.hint == "no App has the id 99: FTGATE_APP_ID is wrong"
    scene.hub.apps[:] = [replace(scene.hub.apps[0], installation=0)]
    with pytest.raises(PublishError, match="404") as caught:
        client(scene)
    assert caught.value.hint == "install the App on acme/models"


@pytest.mark.parametrize("minutes", [15, -15])
def test_a_clock_that_is_wrong_is_named(scene: Scene, minutes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        """The machine's clock, as PyGithub reads it for the App's own token."""

        @staticmethod
        def time() -> float:
            return time.time() + 60 * minutes

    monkeypatch.setattr("github.Auth.time", Clock)
    with pytest.raises(PublishError, match="401") as caught:
        client(scene)
    assert caught.value.hint.startswith("set this machine's clock, which says ")


def test_a_permission_that_the_app_lacks_is_asked_for_where_it_can_be_given(scene: Scene) -> None:
    scene.hub.apps[:] = [replace(scene.hub.apps[0], permissions={**PERMISSIONS, "statuses": "read"})]
    head = scene.push()
    with pytest.raises(PublishError, match="403") as caught:
        publish_results(replace(scene.effects(), repo=client(scene)), scene.deliver(scene.report("pass")))
    assert "if an App publishes, give it to the App, and accept it where the App is installed" in caught.value.hint
    assert scene.hub.status_of(head) is None, "nothing passes"


def test_without_id_and_key_the_token_is_used(scene: Scene) -> None:
    assert app_auth({}, scene.hub.url, "acme/models", Retry(lambda _: None)) is None


@pytest.mark.parametrize(
    "forged",
    [
        lambda now: jwt.encode({"iat": now, "exp": now + 300, "iss": str(NUMBER)}, "s" * 32, "HS256"),
        lambda now: jwt.encode({"iat": now, "exp": now + 300, "iss": str(NUMBER)}, None, "none"),
        lambda now: jwt.encode({"iat": now, "exp": now + 300, "iss": str(NUMBER)}, keys("other")[0], "RS256"),
        lambda now: jwt.encode({"iat": now, "exp": now + 700, "iss": str(NUMBER)}, keys("gate")[0], "RS256"),
        lambda now: jwt.encode({"iat": now - 900, "exp": now - 300, "iss": str(NUMBER)}, keys("gate")[0], "RS256"),
        lambda now: jwt.encode({"exp": now + 300, "iss": str(NUMBER)}, keys("gate")[0], "RS256"),
    ],
)
def test_the_platform_takes_only_what_the_key_signed_for_ten_minutes(scene: Scene, forged) -> None:
    status, found, *_ = scene.hub.answer("GET", "/repos/acme/models/installation", forged(int(time.time())), {})
    assert (status, "message" in found) == (401, True)
    longest = jwt.encode({"iat": 0, "exp": int(time.time()) + 590, "iss": str(NUMBER)}, keys("gate")[0], "RS256")
    assert scene.hub.answer("GET", "/repos/acme/models/installation", longest, {})[0] == 200


def test_the_evaluation_sees_neither_id_nor_key(tmp_path) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    def call(arguments, variables) -> int:
        seen.append((arguments[0], dict(variables)))
        if arguments[0] == "fetch":
            (tmp_path / "job").mkdir()
            listing = '{"policy": "p.yml", "manifests": ["m.yaml"]}'
            (tmp_path / "job" / "ftgate-job.json").write_text(listing, encoding="utf-8")
        return 0

    for given in (
        {"INPUT_APP-ID": "1", "INPUT_APP-PRIVATE-KEY": "k"},
        {"INPUT_APP_ID": "1", "INPUT_APP_PRIVATE_KEY": "k"},
    ):
        seen.clear()
        (tmp_path / "job" / "ftgate-job.json").unlink(missing_ok=True)
        (tmp_path / "job").exists() and (tmp_path / "job").rmdir()
        places = {"INPUT_JOB": str(tmp_path / "job"), "INPUT_OUT": str(tmp_path / "out"), "INPUT_MODE": "all"}
        run_mode({**places, **given}, call, lambda _: "")
        with_key = {name for name, variables in seen if variables.get(PRIVATE_KEY) == "k" and variables[APP_ID] == "1"}
        assert with_key == {"publish", "fetch"}
        for name, variables in seen:
            if name in ("plan", "run"):
                assert "k" not in variables.values()
        assert {"plan", "run"} <= {name for name, _ in seen}


@pytest.mark.engine
def test_what_init_writes_for_an_app_judges_a_branch_of_the_repository_as_that_app(tmp_path) -> None:
    act = shutil.which("act", path=str(Path(sys.executable).parent)) or shutil.which("act")
    if act is None:
        pytest.skip("act is not installed: make install-dev")
    with FakeGitHub(tmp_path / "platform") as hub:
        hub.apps.append(App(NUMBER, "gate", keys("gate")[1], PERMISSIONS))
        hub.callers["token"] = Caller("github-actions[bot]", {})  # the jobs' own token may do nothing
        machine = FreshMachine(hub, tmp_path, act)
        list(write_starter_files(machine.workspace, ACTION, app="gate", jobs=True))
        machine.commit("install")
        policy = POLICY.replace("{ledger: branch}", '{ledger: branch, expected_creator: "gate[bot]"}')
        machine.base = machine.head = hub.git.commit({".github/ftgate.yml": policy}, machine.base, branch="main")
        head = machine.push("useless")
        given = ["-s", f"FTGATE_APP_PRIVATE_KEY={keys('gate')[0]}", "--var", f"FTGATE_APP_ID={NUMBER}"]
        log = machine.run("pull_request", events.pull_request(hub.pulls[7]), settings=given)
        assert not hub.statuses, "the change's own workflow is not run"
        log = machine.run("pull_request_target", events.pull_request(hub.pulls[7]), settings=given)
        assert [(s.state, s.creator, s.sha) for s in hub.statuses] == [
            ("pending", "gate[bot]", head),
            ("failure", "gate[bot]", head),
        ], log
        assert [c.author for c in hub.comments] == ["gate[bot]"]
        evaluate = next(command for command in machine.docker() if "--gpus" in command)
        assert not [a for a in evaluate if "APP" in a or "TOKEN" in a]


def test_doctor_wants_the_app_as_the_source_and_its_key_in_the_workflow(scene: Scene) -> None:
    def found(source: int | None) -> list[str]:
        scene.hub.rules["main"] = [bodies.rule("required_status_checks", **{"ftgate/verdict": source})]
        checks = examine_repository(scene.client(), "acme/models", "main", ".github/ftgate.yml", "settings")
        return [f"{c.level}: {c.text}: {c.fix}" for c in checks]

    scene.hub.git.commit({".github/workflows/ftgate.yml": "jobs: {}\n"}, scene.base, branch="main")
    wrong = "\n".join(found(15368))
    assert "missing: ftgate/verdict is required on main from the app 15368, not from gate" in wrong
    assert "choose gate as its source, which is the app 4711" in wrong
    assert "missing: no job publishes as gate, which is publish.expected_creator" in wrong
    assert "choose gate as its source" in "\n".join(found(None))
    scene.hub.git.commit(
        {".github/workflows/ftgate.yml": "jobs: {report: {steps: [{with: {app-private-key: x}}]}}\n"},
        scene.base,
        branch="main",
    )
    right = "\n".join(found(NUMBER))
    assert "ok: ftgate/verdict is required on main, from the app 4711" in right
    assert "no job publishes" not in right
    scene.hub.apps.clear()
    assert "not from gate" in "\n".join(found(15368))
