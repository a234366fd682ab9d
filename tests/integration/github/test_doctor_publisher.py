"""`ftgate doctor` on who publishes: the App, its key's environment, the signers, and the workflow of each policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import reports
from support.github import bodies
from support.github.apps import App
from support.github.scene import POLICY_PATH, Scene
from support.github.server import ALL
from support.github.state import Caller

from ftgate.cli.git_remote import Remote
from ftgate.cli.init import WAIVE, write_starter_files
from ftgate.cli.main import cli

ACTION = "acme/ftgate@" + "1234567890" * 4
CONTEXT = "ftgate/verdict"
FOLDER = ".github/workflows"
WORKFLOW = f"{FOLDER}/ftgate.yml"
HERE = f"https://github.com/acme/models/{FOLDER}"
MAY = {**ALL, "actions": "read"}
APP = {"ledger": "branch", "expected_creator": "gate[bot]"}


class Setup:
    """A repository in which `init` wrote the workflows and everything else is set up, too."""

    def __init__(self, hub: Any, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.scene = Scene(hub, folder, publish={"ledger": "branch"})
        hub.runners = {"dgx": ("online", ["self-hosted", "gpu"])}
        hub.rules = {"ftgate-ledger": [bodies.rule(kind) for kind in ("update", "deletion", "non_fast_forward")]}
        hub.callers["admin"] = Caller("owner", {**ALL, "administration": "read"})
        hub.apps.append(App(4711, "gate", "", MAY))
        hub.environments["ftgate-publish"], hub.deployment_branches["ftgate-publish"] = [], ["main"]

    def init(self, publish: dict[str, Any], **options: Any) -> None:
        """What `init` writes, with a policy that says this of publishing."""
        folder = self.folder / f"start{len(list(self.folder.iterdir()))}"
        list(write_starter_files(folder, ACTION, Remote("github.com", "acme/models"), ledger=True, **options))
        files = {f"{FOLDER}/{p.name}": p.read_text("utf-8") for p in (folder / FOLDER).iterdir()}
        source = 4711 if publish.get("expected_creator") else 15368
        self.hub.rules["main"] = [bodies.rule("required_status_checks", **{CONTEXT: source})]
        self.put(**files, **{POLICY_PATH: reports.policy(publish=publish)[0]})

    def put(self, **files: str | None) -> None:
        self.scene.base = self.hub.git.commit(files, self.scene.base, branch="main")

    def text(self, path: str = WORKFLOW) -> str:
        return str(self.scene.client().text_at(path, "main"))

    def doctor(self, *options: str) -> list[str]:
        """The lines that are no `ok` and no note, without what cannot be seen from here."""
        env = {
            "GITHUB_TOKEN": "admin",
            "GITHUB_API_URL": self.hub.url,
            "GITHUB_SERVER_URL": "",
            "RUNNER_TOOL_CACHE": "",
        }
        done = CliRunner(env=env).invoke(cli, ["doctor", "--repo", "acme/models", *options])
        assert done.exit_code in (0, 1), done.output
        self.output = done.output
        return [line for line in done.output.splitlines() if line.startswith(("missing:", "unknown:"))]


@pytest.fixture
def setup(hub: Any, tmp_path: Path) -> Setup:
    return Setup(hub, tmp_path)


def test_what_init_writes_for_an_app_and_for_signatures_lacks_nothing(setup: Setup) -> None:
    signers = [f"{HERE}/ftgate.yml@refs/heads/main", f"{HERE}/{WAIVE}@refs/heads/main"]
    signed = {"sign": "sigstore", "certificate_identity": signers}
    setup.init(APP | signed, app="gate", sign=True, waivers=True)
    assert setup.doctor() == []
    assert "ok: the App gate asks for the permissions that publishing takes" in setup.output
    assert "ok: the environment ftgate-publish is for main alone" in setup.output
    assert "ok: the signatures that count are of workflows of main" in setup.output


def test_a_permission_that_the_app_lacks_is_named(setup: Setup) -> None:
    setup.hub.apps[:] = [App(4711, "gate", "", {**MAY, "statuses": "read", "contents": "read"})]
    setup.init(APP, app="gate")
    assert setup.doctor() == ["missing: the App gate lacks statuses: write, contents: write"]
    assert "in the App's settings, Permissions & events, give it statuses: write, contents: write" in setup.output


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        (None, "is for every branch: whoever may push can read the App's key"),
        (["main", "release/*"], "also lets release/* read the App's key"),
        (["tag:main"], "also lets main read the App's key"),
        (["gh-readonly-queue/main/*", "main"], "also lets gh-readonly-queue/main/* read the App's key"),
        ([], ""),
    ],
)
def test_an_environment_that_gives_the_key_to_other_branches_is_named(
    setup: Setup, branches: list[str] | None, said: str
) -> None:
    setup.init(APP, app="gate")
    setup.hub.deployment_branches = {"ftgate-publish": branches} if branches is not None else {}
    named = setup.doctor()
    assert named == ([f"missing: the environment ftgate-publish {said}"] if said else [])
    assert not said or "give ftgate-publish the deployment branch main, and no other" in setup.output


def test_a_key_without_its_environment_is_named(setup: Setup) -> None:
    setup.init(APP, app="gate")
    del setup.hub.environments["ftgate-publish"]
    assert setup.doctor() == ["missing: the environment ftgate-publish, for the App's key, does not exist"]
    lines = [line for line in setup.text().splitlines(keepends=True) if "environment: ftgate-publish" not in line]
    setup.put(**{WORKFLOW: "".join(lines)})
    (named,) = setup.doctor()
    assert "the App's key is not in an environment: a workflow that is pushed to any branch can read it" in named


def test_events_of_refs_that_the_key_is_not_for_are_named(setup: Setup) -> None:
    setup.init(APP, app="gate")
    setup.put(**{WORKFLOW: setup.text().replace("  workflow_dispatch:", "  merge_group:\n  workflow_dispatch:")})
    (named,) = setup.doctor()
    assert named.startswith(f"missing: {WORKFLOW} runs on merge_group: such a run is not of main")
    setup.init(APP)
    named = "\n".join(setup.doctor())
    assert "no job publishes as gate, which is publish.expected_creator" in named
    assert f"fix: move {WORKFLOW} away, and write it with `ftgate init --app gate`" in setup.output


def test_an_identity_that_is_not_the_workflows_own_is_named(setup: Setup) -> None:
    own, called = (
        f"{HERE}/ftgate.yml@refs/heads/main",
        "https://github.com/" + ACTION.replace("@", f"/{FOLDER}/gate.yml@"),
    )
    signed = {"ledger": "branch", "sign": "sigstore"}
    may_sign = "    permissions: # the most"
    for signer, said in (
        (own, f"{WORKFLOW} signs as {called}, which publish.certificate_identity does not name: no allow counts"),
        (called, f"publish.certificate_identity names {called}, which any workflow that is pushed can call"),
    ):
        setup.init(signed | {"certificate_identity": signer})
        text = setup.text().replace("      checks: write", "      id-token: write\n      checks: write")
        assert may_sign in text
        setup.put(**{WORKFLOW: text})
        assert setup.doctor() == [f"missing: {said}"]
    setup.init(signed | {"certificate_identity": own}, sign=True, waivers=True)
    waiving = f"{HERE}/{WAIVE}@refs/heads/main"
    assert setup.doctor() == [f"missing: publish.certificate_identity does not name {waiving}: no waiver counts"]
    setup.put(**{f"{FOLDER}/{WAIVE}": None})
    assert setup.doctor() == []
    setup.put(**{WORKFLOW: setup.text().replace("  pull_request_target:", "  pull_request:")})
    (named,) = setup.doctor()
    assert "runs on pull_request, where it signs as the change's workflow: no allow of it counts" in named
    setup.init(signed, sign=True)
    assert setup.doctor() == []
    assert "note: records are signed, and the policy does not say whose signatures count" in setup.output


def test_each_policy_is_looked_at_with_its_own_workflow(setup: Setup) -> None:
    setup.init({"ledger": "branch"})
    serving, path = f"{FOLDER}/serving.yml", ".github/serving.yml"
    text = reports.policy(publish={"ledger": "branch", "context": "ftgate/serving"})[0]
    setup.put(**{path: text})
    setup.hub.rules["main"] = [bodies.rule("required_status_checks", **{CONTEXT: 15368, "ftgate/serving": 15368})]
    assert setup.doctor() == []
    assert setup.doctor("--policy", path) == [f"missing: no workflow on main publishes under {path}"]
    assert f"fix: give it one, with `policy: {path}`" in setup.output
    setup.put(
        **{serving: setup.text().replace("    with:", f"    with:\n      policy: {path}").replace("main]", "dev]")}
    )
    (named,) = setup.doctor("--policy", path)
    assert named.startswith(f"missing: {serving} runs for pull requests into dev, not into main")
    assert setup.doctor() == []


@pytest.mark.parametrize(
    ("given", "bad"), [("gpu", True), ("gpu, linux", True), ("'\"gpu\"'", False), ("'[\"gpu\"]'", False)]
)
def test_labels_that_are_not_json_are_named(setup: Setup, given: str, bad: bool) -> None:
    setup.init({"ledger": "branch"})
    setup.put(**{WORKFLOW: setup.text().replace('\'["self-hosted", "gpu"]\'', given)})
    assert setup.doctor() == ([f"missing: {WORKFLOW}: runner: {given} is not JSON: no run starts"] if bad else [])
    assert not bad or f"fix: runner: '{json.dumps(given.split(', '))}'" in setup.output
