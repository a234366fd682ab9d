"""The verbs that speak with GitHub, as a job calls them."""

from __future__ import annotations

import json

import pytest
from support import reports
from support.github import events
from support.github.scene import POLICY_PATH, Scene
from support.github.server import ALL, READ
from support.github.state import Caller

from ftgate.cli import github as cli_github
from ftgate.cli.main import main
from ftgate.github.audit.ledger_branch import read_ledger
from ftgate.report.schema import IncumbentReport, parse_report


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.fixture
def job(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """Runs a command in the environment of a job; ``env`` changes it."""
    (scene.folder / "ftgate.yml").write_text(scene.text, encoding="utf-8")
    # No model answered for these reports: what would decide again from their answers agrees with them.
    monkeypatch.setattr(cli_github, "_recompute_with", lambda _: lambda folder: parse_report(folder / "report.json"))

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
    assert job("history", *policy(scene)) == 0
    report = ("verify", "--candidate", reports.digest("bot v1"), "--report")
    assert job(*report, f"{out}/report.json", *policy(scene)) == 0
    assert job(*report, str(scene.folder / "ftgate.yml"), *policy(scene)) == 1
    assert job("verify", "--candidate", reports.digest("bot v0"), *policy(scene)) == 1
    assert "refused" in capsys.readouterr().out


def test_releases_over_time_come_from_the_ledger(hub, scene, job, capsys):
    hub.collaborators["boss"] = "admin"
    for version, status in (("v1", "pass"), ("v2", "block"), ("v3", "pass")):
        scene.push({"models/bot.yaml": reports.manifest(version=version)})
        found = scene.report(status, version=version)
        part = {"unit": "relative drop", "worse": "up", "level": 0.9, "n": 200, "limit": 0.05, "reason": "because"}
        found.measurements["forgetting"].incumbent = IncumbentReport(
            status="pass", score=0.5, candidate=0.49, change=0.02, interval=(0.01, 0.03), **part
        )
        assert job("publish", str(scene.deliver(found)[0])) in (0, 1)
    page = scene.folder / "timeline.html"
    capsys.readouterr()
    assert job("compare", "--ledger", events.REPOSITORY, *policy(scene), "--html", str(page)) == 0
    printed = capsys.readouterr().out
    assert "models/bot.yaml" in printed
    assert [line.split()[2:4] for line in printed.splitlines() if " 20" in f" {line}"[:4]] == [
        ["✓", "allow"], ["✗", "block"], ["✓", "allow"],
    ]  # fmt: skip
    assert printed.count("deployed: lost") == 3
    assert "3 records, the chain is intact" in printed
    text = page.read_text(encoding="utf-8")
    assert text.count("lost 1.0 to 3.0 %") == 0  # the interval against the deployed model is drawn, not written
    assert text.count("deployed: lost 2.0 %") == 3
    assert job("waive", "--pull-request", "7", "--reason", "urgent", event="workflow_dispatch") == 2  # v3 is allowed
    scene.push({"models/bot.yaml": reports.manifest(version="v4")})
    assert job("publish", str(scene.deliver(scene.report("inconclusive", version="v4"))[0])) == 4
    assert job("waive", "--pull-request", "7", "--reason", "urgent", event="workflow_dispatch") == 0
    capsys.readouterr()
    assert job("compare", "--ledger", events.REPOSITORY, *policy(scene)) == 0
    assert "waived by boss until " in capsys.readouterr().out


def test_a_ledger_that_was_altered_is_shown_and_named(hub, scene, job, capsys, tmp_path):
    assert job("publish", str(scene.deliver(scene.report("block"))[0])) == 1
    lines = "".join(record_line.text + "\n" for record_line in read_ledger(scene.client(), "ftgate-ledger").lines)
    file = tmp_path / "ledger.jsonl"
    file.write_text(lines, encoding="utf-8")
    assert job("compare", "--ledger", str(file)) == 0
    assert "1 records, the chain is intact" in capsys.readouterr().out
    file.write_text(lines.replace('"n":1', '"n":2'), encoding="utf-8")
    assert job("compare", "--ledger", str(file)) == 1
    assert "problem: record 2" in capsys.readouterr().out


def test_a_hold_and_its_waiver(hub, scene, job, capsys):
    hub.collaborators["boss"] = "admin"
    out = str(scene.deliver(scene.report("inconclusive"))[0])
    assert job("publish", out) == 4
    digest = reports.digest("bot v1")
    asked = ("waive", "--pull-request", "7", "--candidate", digest, "--reason", "urgent")
    assert job(*asked) == 2
    assert "'pull_request'" in capsys.readouterr().err
    assert job(*asked, event="workflow_dispatch") == 0
    assert job("verify", "--candidate", digest, *policy(scene)) == 0
    assert "by boss" in capsys.readouterr().out
    assert job("verify", "--candidate", digest, "--no-waivers", *policy(scene)) == 1
    assert job("publish", out) == 0


def test_a_waiver_from_ones_own_machine_says_what_it_lacks(hub, scene, job, capsys):
    hub.callers["own"] = Caller("boss", ALL)
    hub.collaborators["boss"] = "maintain"
    assert job("publish", str(scene.deliver(scene.report("block"))[0])) == 1
    capsys.readouterr()
    asked = ("waive", "--pull-request", "7", "--reason", "urgent", *policy(scene))
    assert job(*asked, event="", GITHUB_ACTIONS="", GITHUB_TOKEN="own") == 0
    said = capsys.readouterr().out
    assert "waived until" in said
    assert "note: boss set the status, and a rule that takes ftgate/verdict from one source" in said
    assert job(*asked[:-2], "--policy", "other.yml", event="workflow_dispatch") == 2
    assert "there is no policy other.yml on main" in capsys.readouterr().err


def test_a_branch_of_ones_own_makes_nobody_a_maintainer(hub, scene, job, capsys):
    hub.collaborators["boss"] = "write"
    text, _ = reports.policy(publish={"ledger": "branch", "may_waive": ["boss"]})
    hub.git.commit({POLICY_PATH: text}, scene.base, branch="mine")
    hub.pulls[7].base = "mine"
    asked = ("waive", "--pull-request", "7", "--candidate", reports.digest("bot v1"), "--reason", "urgent")
    assert job(*asked, event="workflow_dispatch") == 2
    assert "boss may not waive: their role on this repository is write" in capsys.readouterr().err
    hub.git.commit({POLICY_PATH: text}, scene.base, branch="main")
    assert job(*asked, event="workflow_dispatch") == 2
    said = capsys.readouterr().err
    assert "may not waive" not in said
    assert "the ledger has no verdict" in said


def test_an_altered_history_is_exit_1(hub, scene, job, capsys):
    job("publish", str(scene.deliver(scene.report("pass"))[0]))
    hub.edit(hub.comments[0], "boss", hub.comments[0].body.replace('"verdict":"allow"', '"verdict":"block"'))
    assert job("history", "--pull-request", "7", *policy(scene)) == 1
    said = capsys.readouterr().out
    assert "problem: record 1" in said
    assert "boss edited the comment" in said


def test_a_write_of_the_ledger_that_failed_is_a_note_and_the_next_one_appends_it(hub, scene, job, capsys):
    out = str(scene.deliver(scene.report("pass"))[0])
    hub.faults.plan("422", "POST", r"/git/trees$", times=50)
    assert job("publish", out) == 3
    hub.faults.planned.clear()
    assert job("history", *policy(scene)) == 1, "there is no branch yet"
    hub.git.commit({"ledger.jsonl": ""}, branch="ftgate-ledger")
    capsys.readouterr()
    assert job("history", "--pull-request", "7", *policy(scene)) == 0
    said = capsys.readouterr().out
    assert "is only in the comment: its job could not write the ledger; the next job of the pull request" in said
    assert "1 records, the chain is intact" in said
    assert job("publish", out) == 0
    capsys.readouterr()
    assert job("history", "--pull-request", "7", *policy(scene)) == 0
    assert "note:" not in capsys.readouterr().out
    assert job("history", *policy(scene)) == 0
    assert "(late: appended " in capsys.readouterr().out


def test_records_from_before_there_was_a_ledger_are_a_note(hub, tmp_path, monkeypatch, capsys):
    scene = Scene(hub, tmp_path, publish={"ledger": "comment"})
    scene.push()
    assert scene.publish(scene.report("block")) == 1
    before = scene.policy
    text, scene.policy = reports.policy(publish={"ledger": "branch"})
    assert before.sha256() == scene.policy.sha256(), "keeping a ledger is not part of how one judges"
    scene.base = hub.git.commit({POLICY_PATH: text}, scene.base, branch="main")
    scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    assert scene.publish(scene.report("pass", version="v2")) == 0
    (tmp_path / "ftgate.yml").write_text(text, encoding="utf-8")
    for name, value in {"GITHUB_TOKEN": "token", "GITHUB_API_URL": hub.url, "GITHUB_REPOSITORY": hub.name}.items():
        monkeypatch.setenv(name, value)
    asked = ("history", "--pull-request", "7", "--policy", str(tmp_path / "ftgate.yml"))
    assert leave(*asked) == 0
    said = capsys.readouterr().out
    assert "is only in the comment: the policy on the base branch kept no ledger yet" in said
    assert "2 records, the chain is intact" in said
    # A record of the time with a ledger that the branch has lost is still named.
    hub.git.commit({"ledger.jsonl": ""}, branch="ftgate-ledger")
    assert leave(*asked) == 1
    assert "which the ledger does not: altered or added" in capsys.readouterr().out


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
    hub.callers["reader"] = Caller("reader", READ)
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
