"""The verbs that speak with GitHub, as a job calls them."""

from __future__ import annotations

import json

import pytest
from support import reports
from support.github import events
from support.github.scene import Scene
from support.github.state import Caller

from ftgate.cli import github as cli_github
from ftgate.cli.main import main
from ftgate.report.schema import read_report


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.fixture
def job(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """Runs a command in the environment of a job; ``env`` changes it."""
    (scene.folder / "ftgate.yml").write_text(scene.text, encoding="utf-8")
    # No model answered for these reports: what would decide again from their answers agrees with them.
    monkeypatch.setattr(cli_github, "_recompute_with", lambda _: lambda folder: read_report(folder / "report.json"))

    def run(*arguments: str, event: str = "pull_request", **env: str) -> int:
        payload = events.pull_request(scene.hub.pulls[7]) if event == "pull_request" else {"sender": {"login": "boss"}}
        (scene.folder / "event.json").write_text(json.dumps(payload))
        for folder in scene.folder.glob("out-*"):
            (folder / "answers.jsonl").touch()
        found = events.environment(event, scene.base, "boss") | {
            "GITHUB_EVENT_PATH": str(scene.folder / "event.json"),
            "GITHUB_API_URL": scene.hub.url,
            "GITHUB_TOKEN": "token",
            "GITHUB_OUTPUT": str(scene.folder / "output"),
            **env,
        }
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        return leave(*arguments)

    scene.push()
    return run


def policy(scene: Scene) -> tuple[str, str]:
    return "--policy", str(scene.folder / "ftgate.yml")


def test_from_pending_to_release(hub, scene, job, capsys):
    assert job("publish", "--pending") == 0
    out = str(scene.deliver(scene.report("pass"))[0])
    assert job("publish", out) == 0
    assert job("history", "--pull-request", "7", *policy(scene)) == 0
    assert "1 records, the chain is intact" in capsys.readouterr().out
    assert job("verify", "--candidate", reports.digest("bot v1"), *policy(scene)) == 0
    assert job("verify", "--candidate", reports.digest("bot v0"), *policy(scene)) == 1
    assert "refused" in capsys.readouterr().out


def test_a_hold_and_its_waiver(hub, scene, job, capsys):
    hub.collaborators["boss"] = "admin"
    out = str(scene.deliver(scene.report("inconclusive"))[0])
    assert job("publish", out) == 4
    digest = reports.digest("bot v1")
    asked = ("waive", "--pull-request", "7", "--candidate", digest, "--reason", "urgent", *policy(scene))
    assert job(*asked) == 2
    assert "'pull_request'" in capsys.readouterr().err
    assert job(*asked, event="workflow_dispatch") == 0
    assert job("verify", "--candidate", digest, *policy(scene)) == 0
    assert "by boss" in capsys.readouterr().out
    assert job("verify", "--candidate", digest, "--no-waivers", *policy(scene)) == 1
    assert job("publish", out) == 0


def test_an_altered_history_is_exit_1(hub, scene, job, capsys):
    job("publish", str(scene.deliver(scene.report("pass"))[0]))
    hub.edit(hub.comments[0], "boss", hub.comments[0].body.replace('"verdict":"allow"', '"verdict":"block"'))
    assert job("history", "--pull-request", "7", *policy(scene)) == 1
    said = capsys.readouterr().out
    assert "problem: record 1" in said
    assert "boss edited the comment" in said


def test_a_candidate_may_be_named_by_its_folder(hub, scene, job, capsys):
    folder = scene.folder / "weights"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"1")
    job("publish", str(scene.deliver(scene.report("pass"))[0]))
    assert job("verify", "--candidate", str(folder), *policy(scene)) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert "has no record of the candidate sha256:" in said
    (folder / "optimizer.pt").write_bytes(b"what a trainer left")
    (folder / "notes.md").write_bytes(b"left aside by the policy")
    ruling = scene.folder / "ftgate.yml"
    ruling.write_text(ruling.read_text() + "artifacts: {skip: [notes.md]}\n")
    assert job("verify", "--candidate", str(folder), *policy(scene)) == 1
    assert capsys.readouterr().out.splitlines() == [said]


def test_without_a_ledger_branch_the_trail_is_in_the_comment_alone(hub, tmp_path, monkeypatch, capsys):
    scene = Scene(hub, tmp_path, publish={"ledger": "comment"})
    (tmp_path / "ftgate.yml").write_text(scene.text)
    scene.push()
    scene.publish(scene.report("block"))
    assert hub.git.resolve("ftgate-ledger") is None
    monkeypatch.setenv("GITHUB_REPOSITORY", events.REPOSITORY)
    assert leave("verify", "--candidate", reports.digest("x"), *policy(scene)) == 2
    assert "no ledger branch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env", "code", "said"),
    [
        ({"GITHUB_TOKEN": ""}, 2, "no GitHub token"),
        ({"GITHUB_TOKEN": "wrong"}, 3, "401"),
        ({"GITHUB_EVENT_PATH": "nowhere"}, 2, "nowhere"),
        ({"GITHUB_EVENT_NAME": "issues"}, 2, "'issues'"),
    ],
)
def test_what_a_job_lacks_is_named(hub, scene, job, capsys, env, code, said):
    hub.callers["reader"] = Caller("reader", {})
    assert job("publish", "out", **env) == code
    assert said in capsys.readouterr().err


def test_an_unreachable_candidate_policy_is_a_usage_error(job, capsys):
    assert job("verify", "--candidate", "sha256:x", "--policy", "nowhere.yml") == 2
    assert "nowhere.yml" in capsys.readouterr().err


def test_no_path_gives_the_runner_a_command(hub, scene, job, capsys):
    path = "models/a\n::error::owned\n##[error]owned.yaml"
    scene.push({path: "name: [", "models/::set-output name=verdict::allow.yaml": reports.manifest("x")})
    assert job("publish", "--pending") == 0
    assert job("publish", str(scene.folder / "nothing")) == 3
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert not [line for line in lines if line.startswith(("::", "##[")) or "::set-output" in line]
    assert json.loads(scene.outputs()["manifests"])[0] in (path, "models/::set-output name=verdict::allow.yaml")


def test_a_digest_has_all_its_digits(scene, job, capsys):
    assert job("verify", "--candidate", "sha256:12ab", *policy(scene)) == 2
    assert "64 digits" in capsys.readouterr().err
