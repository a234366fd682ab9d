"""`ftgate doctor`: what is missing in a repository's settings is named with its fix, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from support import reports
from support.forge import LOGIN, Registry
from support.github import bodies
from support.github.scene import POLICY_PATH, Scene
from support.github.server import ALL, BOT
from support.github.state import Caller

from ftgate.cli.init import NO_COMMIT, write_starter_files
from ftgate.cli.main import cli
from ftgate.github.doctor_machine import check_cache
from ftgate.github.workflow_file import read_workflow

ACTION = "acme/ftgate@" + "1234567890" * 4
CONTEXT = "ftgate/verdict"
WORKFLOW = ".github/workflows/ftgate.yml"


@pytest.fixture
def ready(hub: Any, tmp_path: Path) -> Scene:
    """A repository in which nothing is missing: with forks and with a ledger."""
    scene = Scene(hub, tmp_path, publish={"ledger": "branch"})
    write(scene, ACTION, forks=True, ledger=True)
    hub.rules = {
        "main": [bodies.rule("required_status_checks", **{CONTEXT: 15368})],
        "ftgate-ledger": [bodies.rule(kind) for kind in ("update", "deletion", "non_fast_forward")],
    }
    hub.runners = {"dgx": ("online", ["self-hosted", "GPU", "linux"])}
    hub.callers["admin"] = Caller("owner", {**ALL, "administration": "read"})
    return scene


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry with one image, and a login for it."""
    found = Registry({"layer": b"layer"})
    (tmp_path / "docker").mkdir()
    logins = {"auths": {found.api.host: {"auth": LOGIN}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(logins), encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    yield found
    found.close()


def write(scene: Scene, action: str, inputs: str = "", **options: bool) -> None:
    """What `init` writes, on the base branch, with more ``inputs`` for the evaluation."""
    folder = scene.folder / action[-8:] / str(len(list(scene.folder.iterdir())))
    list(write_starter_files(folder, action, **options))
    text = (folder / WORKFLOW).read_text(encoding="utf-8")
    text = text.replace("models: /models", f"models: /models\n{inputs}") if inputs else text
    scene.base = scene.hub.git.commit({WORKFLOW: text}, scene.base, branch="main")


def doctor(scene: Scene, token: str = "admin", **env: str) -> Result:
    env |= {"GITHUB_TOKEN": token, "GITHUB_API_URL": scene.hub.url, "GITHUB_SERVER_URL": "", "GITHUB_REPOSITORY": ""}
    env = {"RUNNER_TOOL_CACHE": "", **env}
    return CliRunner(env=env).invoke(cli, ["doctor", "--repo", "acme/models"])


def test_nothing_is_missing_where_everything_is_set_up(ready):
    done = doctor(ready)
    assert done.exit_code == 0, done.output
    levels = [line.split()[0] for line in done.output.splitlines()]
    assert levels == ["ok:"] * 7 + ["note:", "-"], "the machine's cache cannot be seen from here"
    assert not ready.hub.writes()


def test_the_classic_protection_of_a_branch_counts_too(ready):
    ready.hub.rules["main"] = []
    ready.hub.protection = {"main": {CONTEXT: 15368}}
    assert doctor(ready).exit_code == 0


@pytest.mark.parametrize(
    ("change", "said", "fix"),
    [
        ({"rules": {}}, "ftgate/verdict is not required on main", "settings/rules: for main, require the status check"),
        (
            {"rules": {"main": [bodies.rule("required_status_checks", **{CONTEXT: None})]}},
            "from any source",
            "choose GitHub Actions as its source",
        ),
        (
            {"rules": {"main": [bodies.rule("required_status_checks", other=15368)]}},
            "ftgate/verdict is not required",
            "require",
        ),
        (
            {"rules": {"main": [bodies.rule("required_status_checks", **{CONTEXT: 99})]}},
            "from the app 99, not from GitHub Actions",
            "choose GitHub Actions as its source, which is the app 15368; if an App of your own publishes, name it",
        ),
        ({"rules": {"ftgate-ledger": [bodies.rule("update")]}}, "not protected: Restrict del", "Block force pushes"),
        ({"environments": {}}, "the environment ftgate-forks does not exist", "settings/environments: give"),
        ({"environments": {"ftgate-forks": []}}, "has no required reviewers", "settings/environments: give"),
        ({"runners": {"dgx": ("offline", ["self-hosted", "gpu"])}}, "gpu, self-hosted is online", "start dgx"),
    ],
)
def test_what_is_missing_in_the_settings_has_a_fix(ready, change, said, fix):
    for name, value in change.items():
        setattr(ready.hub, name, value)
    done = doctor(ready)
    assert done.exit_code == 1
    found = [line for line in done.output.splitlines() if said in line]
    assert [line.split()[0] for line in found] == ["missing:"]
    assert fix in done.output


def test_a_user_as_the_creator_does_not_count_under_a_rule_with_a_source(ready: Scene) -> None:
    text = reports.policy(publish={"ledger": "branch", "expected_creator": "build-machine"})[0]
    ready.hub.git.commit({POLICY_PATH: text}, ready.base, branch="main")
    done = doctor(ready)
    assert done.exit_code == 1
    assert "and publish.expected_creator, build-machine, is none: its statuses do not count" in done.output


@pytest.mark.parametrize(
    ("triggers", "said"),
    [
        ("on: {pull_request: {branches: [trunk]}}", "runs for pull requests into trunk, not into main"),
        ("on: push", "no pull request starts it, or it is not valid YAML"),
        ("on: [", "no pull request starts it, or it is not valid YAML"),
        ("on: {pull_request: {branches: ['m*']}}", ""),
        ("on: {pull_request: {branches: main}}", ""),
        ("on: [push, pull_request]", ""),
        ("on: pull_request_target", ""),
        ("on: {pull_request: }", ""),
    ],
)
def test_a_workflow_that_no_pull_request_into_the_branch_starts_is_named(
    ready: Scene, triggers: str, said: str
) -> None:
    ready.hub.git.commit({WORKFLOW: triggers}, ready.base, branch="main")
    found = [line for line in doctor(ready).output.splitlines() if "pull requests into" in line or "starts it" in line]
    assert [said in line and line.startswith("missing:") for line in found] == ([True] if said else [])


@pytest.mark.parametrize("name", ["models", "acme/models/", "https://github.com/acme/models"])
def test_a_repository_that_is_not_owner_and_name_is_refused(name: str) -> None:
    done = CliRunner(env={"GITHUB_TOKEN": "admin"}).invoke(cli, ["doctor", "--repo", name])
    assert (done.exit_code, f"'{name}' is not owner/name" in done.output) == (2, True), done.output


def test_a_branch_that_does_not_exist_is_named(ready: Scene) -> None:
    env = {"GITHUB_TOKEN": "admin", "GITHUB_API_URL": ready.hub.url}
    done = CliRunner(env=env).invoke(cli, ["doctor", "--repo", "acme/models", "--branch", "mian"])
    assert done.exit_code == 1
    assert "missing: there is no branch mian in acme/models" in done.output


def test_a_runner_of_the_organisation_counts(ready):
    ready.hub.runners = {"small": ("online", ["self-hosted"])}
    ready.hub.organisation_runners = {"dgx": ("online", ["self-hosted", "gpu"])}
    done = doctor(ready)
    assert done.exit_code == 0, done.output
    assert "ok: a runner of the organisation with the labels gpu, self-hosted is online" in done.output


def test_without_a_runner_anywhere_the_most_similar_one_is_named(ready):
    ready.hub.runners = {"small": ("online", ["self-hosted"]), "other": ("online", ["windows"])}
    done = doctor(ready)
    assert done.exit_code == 1
    assert "missing: neither the repository nor its organisation has a runner with the labels gpu" in done.output
    assert "settings/actions/runners: install one with these labels; small lacks only gpu" in done.output


def test_runners_of_an_organisation_that_cannot_be_listed_are_not_missed(ready):
    ready.hub.runners, ready.hub.organisation_runners = {}, None
    done = doctor(ready)
    assert done.exit_code == 0
    assert "note: the repository has no runner with the labels gpu, self-hosted, and the organisation's" in done.output
    assert "organization_self_hosted_runners: read (could not list the runner groups of acme: 403" in done.output


def test_an_image_is_looked_up_and_its_digest_is_the_fix(ready, registry):
    here, pinned = f"{registry.api.host}/acme/bot", "sha256:" + hashlib.sha256(registry.manifest).hexdigest()
    write(ready, ACTION, f"      image: {here}:v1", forks=True, ledger=True)
    done = doctor(ready)
    assert done.exit_code == 1
    assert f"missing: image {here}:v1 is named by a tag, which can be moved" in done.output
    assert f"fix: name it by what it is now: image: {here}@{pinned}" in done.output
    write(ready, ACTION, f'      image: "{here}@{pinned}"', forks=True, ledger=True)
    done = doctor(ready)
    assert done.exit_code == 0, done.output
    assert "ok: image exists, and is pinned by its digest" in done.output
    write(ready, ACTION, f"      image: {here}:v2", forks=True, ledger=True)
    done = doctor(ready)
    assert done.exit_code == 1
    assert f"missing: image {here}:v2: not found" in done.output
    write(ready, ACTION, "      image: ${{ vars.IMAGE }}", forks=True, ledger=True)
    assert "note: image is an expression" in doctor(ready).output


def test_an_image_in_a_registry_that_does_not_answer_is_not_called_well(ready):
    write(ready, ACTION, "      image: 127.0.0.1:9/acme/bot:v1", forks=True, ledger=True)
    done = doctor(ready)
    assert done.exit_code == 1
    assert "unknown: image 127.0.0.1:9/acme/bot:v1: the connection failed" in done.output
    assert "fix: repeat this later, or where the registry can be reached" in done.output


def test_the_cache_is_looked_at_on_the_machine_that_has_it(ready, tmp_path):
    folder, user = tmp_path / "cache", os.getuid()
    write(ready, ACTION, f"      cache: {folder}", forks=True, ledger=True)
    done = doctor(ready)
    assert f"note: the folder {folder} of the input cache is not on this machine" in done.output
    assert f"sudo install -d -o $(id -u) -g $(id -g) {folder}" in done.output
    folder.touch()
    done = doctor(ready)
    assert done.exit_code == 1
    assert f"missing: the user {user} cannot write to {folder}, the input cache" in done.output
    assert f"fix: sudo chown -R $(id -u):$(id -g) {folder}" in done.output
    folder.unlink()
    folder.mkdir()
    done = doctor(ready)
    assert done.exit_code == 0, done.output
    assert f"{folder} " in done.output


def test_the_room_for_the_cache_is_compared_with_what_the_policy_lets_it_take(tmp_path):
    workflow = read_workflow(f"jobs: {{gate: {{uses: a/b/.github/workflows/gate.yml@c, with: {{cache: {tmp_path}}}}}}}")
    (found,) = check_cache(workflow, 1e9)
    assert found.level == "note"
    assert "set artifacts: {cache_gb: " in found.fix
    assert next(check_cache(workflow, 1e-6)).level == "ok"
    (found,) = check_cache(read_workflow(""), 1e-6, tmp_path)
    assert found.text.startswith(f"{tmp_path}/ftgate belongs to this user")


@pytest.mark.parametrize("jobs", [False, True])
def test_both_forms_of_the_workflow_are_read(tmp_path, jobs):
    list(write_starter_files(tmp_path, ACTION, forks=jobs, jobs=jobs))
    found = read_workflow((tmp_path / WORKFLOW).read_text(encoding="utf-8"))
    assert found.labels == {"self-hosted", "gpu"}
    assert found.inputs["models"] == "/models"
    assert found.permissions["statuses"] == "write"
    assert (found.job, found.forks) == (("report", True) if jobs else ("gate", False))


@given(st.text() | st.recursive(st.none() | st.text(), lambda e: st.lists(e) | st.dictionaries(st.text(), e)).map(str))
def test_any_file_in_the_workflows_place_is_read_as_something(text):
    assert read_workflow(text).job


def test_what_is_missing_in_the_files_has_a_fix(ready):
    write(ready, NO_COMMIT)
    done = doctor(ready)
    assert done.exit_code == 1
    assert "missing: .github/workflows/ftgate.yml still has the placeholder" in done.output
    assert "missing: the job gate lacks contents: write" in done.output
    assert "ok: pull requests from forks are not judged" in done.output
    ready.hub.git.commit({WORKFLOW: None}, ready.base, branch="main")
    assert "missing: .github/workflows/ftgate.yml is not on main" in doctor(ready).output
    ready.hub.git.commit({POLICY_PATH: None}, ready.base, branch="main")
    assert f"missing: there is no policy {POLICY_PATH} on main" in doctor(ready).output


def test_a_check_run_and_a_signature_need_other_permissions(hub: Any, tmp_path: Path) -> None:
    publish = {"ledger": "branch", "as": "check", "sign": "sigstore"}
    scene = Scene(hub, tmp_path, publish=publish)
    report = {"permissions": {"contents": "write", "pull-requests": "write", "checks": "write"}}
    scene.base = hub.git.commit({WORKFLOW: yaml.safe_dump({"jobs": {"report": report}})}, scene.base, branch="main")
    assert "lacks statuses: read, id-token: write" in doctor(scene, "token").output
    report["permissions"] |= {"statuses": "read", "id-token": "write"}
    scene.base = hub.git.commit({WORKFLOW: yaml.safe_dump({"jobs": {"report": report}})}, scene.base, branch="main")
    assert "ok: the job report has its permissions" in doctor(scene, "token").output


def test_what_a_token_may_not_see_is_not_called_well(ready):
    ready.hub.callers["little"] = Caller(BOT, ALL)
    done = doctor(ready, "little")
    assert done.exit_code == 1
    assert "unknown: could not list the runners: 403" in done.output
    assert "fix: use a token of an administrator" in done.output
