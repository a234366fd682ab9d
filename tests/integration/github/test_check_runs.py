"""The verdict as a check run: what it shows, which run is in effect, and that only the expected App's counts."""

from __future__ import annotations

import pytest
from support import reports
from support.github.scene import Scene
from support.github.server import BOT, FakeGitHub
from support.github.state import Caller, Check

from ftgate.errors import ConfigurationError
from ftgate.github.audit.history import add_waiver, comment_history
from ftgate.github.audit.ledger_branch import append
from ftgate.github.audit.record import Record, status_suffix
from ftgate.github.check_run import CheckOutput, checks, post
from ftgate.github.client import CommitStatus
from ftgate.github.retry import RefusedError

CONTEXT, BRANCH = "ftgate/verdict", "ftgate-ledger"
NOW = "2025-03-05T09:00:00+00:00"
APP = {**dict.fromkeys(("checks", "contents", "issues", "pull_requests", "statuses"), "write"), "actions": "read"}


@pytest.fixture
def scene(hub: FakeGitHub, tmp_path) -> Scene:
    """A repository whose policy asks for check runs; mallory has an App of their own there."""
    hub.callers |= {"mallory": Caller("mallory-ci[bot]", APP), "person": Caller("maintainer", APP)}
    return Scene(hub, tmp_path, publish={"ledger": "branch", "as": "check"})


def problems(scene: Scene) -> str:
    return "\n".join(comment_history(scene.client(), 7, BOT, scene.quoted()).problems)


def forge(scene: Scene, token: str, record: Record, identity: str) -> None:
    """An App's check run that says success and quotes a record."""
    status = CommitStatus("success", "allow: bot is as good" + status_suffix(record), "")
    post(scene.client(token), record.head, scene.policy.publish, status, CheckOutput(), identity)


def allow_appended(scene: Scene) -> Record:
    """An allow of the blocked model, in an intact ledger."""
    (blocked,) = scene.records()
    models = tuple(e.model_copy(update={"verdict": "allow"}) for e in blocked.models)
    changes = {"time": "2025-03-04T12:00:00+00:00", "verdict": "allow", "models": models, "run": "666"}
    return append(scene.client("mallory"), BRANCH, blocked.model_copy(update=changes)).record


def test_a_check_run_of_that_name_in_other_letters_is_named(scene: Scene) -> None:
    head = scene.push()
    scene.publish(scene.report("block"))
    assert problems(scene) == ""
    forged = scene.policy.publish.model_copy(update={"context": "FTGATE/Verdict"})
    post(scene.client("mallory"), head, forged, CommitStatus("success", "allow", ""), CheckOutput(), "")
    assert "the check run success of" in problems(scene)
    assert "was set by mallory-ci[bot], not by github-actions[bot]: it proves nothing" in problems(scene)
    assert scene.publish(scene.report("block")) == 1


@pytest.mark.parametrize(
    ("forgetting", "code", "conclusion", "word"),
    [("pass", 0, "success", "allow"), ("block", 1, "failure", "block"), ("inconclusive", 4, "failure", "hold")],
)
def test_the_pending_run_becomes_the_verdict(hub, scene, forgetting, code, conclusion, word):
    head = scene.push()
    assert scene.pending() == 0
    (pending,) = hub.checks
    assert (pending.name, pending.head_sha, pending.status, pending.conclusion) == (CONTEXT, head, "in_progress", None)
    assert scene.publish(scene.report(forgetting)) == code
    assert hub.checks == [pending]
    assert (pending.status, pending.conclusion) == ("completed", conclusion)
    (record,) = scene.records()
    assert pending.title.startswith(f"{word}: ")
    assert pending.title.endswith(f"[record {record.identity[:12]}]")
    assert pending.external_id == record.identity
    assert "General skills" in pending.summary
    assert "<!-- ftgate:" not in pending.summary
    places = {(a["path"], a["start_line"]) for a in pending.annotations}
    assert places == (set() if word == "allow" else {("models/bot.yaml", 4)})
    assert hub.statuses == []
    assert scene.verified(NOW).allowed is (word == "allow")
    assert problems(scene) == ""


def test_a_job_that_is_run_again_posts_nothing_twice(hub, scene):
    scene.push()
    effects = scene.effects()
    for _ in range(2):
        scene.publish(scene.report("block"))
    assert len(hub.checks) == 1
    assert len(hub.checks[0].annotations) == 2
    assert effects.target.sha == hub.checks[0].head_sha


def test_an_error_is_neither_a_pass_nor_a_verdict(hub, scene):
    scene.push()
    assert scene.publish(folders=[]) == 3
    assert hub.checks[0].conclusion == "action_required"
    assert "the evaluation left no report" in hub.checks[0].title
    assert problems(scene) == ""


def test_a_later_verdict_gets_a_run_of_its_own(hub, scene):
    scene.push()
    scene.publish(scene.report("block"))
    scene.pending()
    scene.publish(scene.report("pass"))
    assert [c.conclusion for c in hub.checks] == ["failure", "success"]
    assert scene.verified(NOW).allowed
    assert problems(scene) == ""


def test_all_annotations_arrive_50_at_a_time(hub, scene):
    names = [f"m{i:02}" for i in range(30)]
    scene.push({f"models/{name}.yaml": reports.manifest(name) for name in names})
    scene.publish(*(scene.report("block", name=name, manifest=f"models/{name}.yaml") for name in names))
    assert len(hub.checks) == 1
    assert len(hub.checks[0].annotations) == 60


@pytest.mark.parametrize("fault", ["502 after", "cut after", "502 before", "secondary"])
def test_a_lost_answer_makes_no_second_run(hub, scene, fault):
    scene.push()
    hub.faults.plan(fault, "POST", r"/check-runs$")
    assert scene.publish(scene.report("pass")) == 0
    assert [c.conclusion for c in hub.checks] == ["success"]


def test_a_check_run_of_another_app_is_named_and_allows_nothing(scene):
    scene.push()
    scene.publish(scene.report("block"))
    forged = allow_appended(scene)
    forge(scene, "mallory", forged, forged.identity)
    assert scene.verified(NOW).reason == "its latest verdict is block"
    assert "check run success of" in problems(scene)
    assert "was set by mallory-ci[bot], not by github-actions[bot]: it proves nothing" in problems(scene)
    forge(scene, "token", forged, forged.identity)
    assert scene.verified(NOW).allowed, "not held without an App of one's own: docs/security.md says so"
    assert not scene.verified(NOW, expected_creator="gate[bot]").allowed


def test_a_job_that_is_called_like_the_verdict_is_named_allows_nothing_and_is_left_alone(hub, scene):
    head = scene.push()
    running = Check(1, CONTEXT, head, "job-1", None, None, None, [], BOT, "in_progress")
    hub.checks.append(running)
    scene.publish(scene.report("block"))
    assert (running.status, running.title) == ("in_progress", None)
    running.status, running.conclusion, running.id = "completed", "success", 99_999
    assert not scene.verified(NOW).allowed
    assert f"the check run success of {head[:7]} names no record" in problems(scene)


def test_a_check_run_holds_the_whole_digest_of_its_record(scene):
    scene.push()
    scene.publish(scene.report("block"))
    forged = allow_appended(scene)
    forge(scene, "token", forged, forged.identity[:12] + "0" * 52)
    assert not scene.verified(NOW).allowed
    assert "which is missing: it was altered or removed" in problems(scene)


def test_the_statuses_from_before_still_count_and_check_runs_where_statuses_are_asked_for_are_seen(hub, tmp_path):
    scene = Scene(hub, tmp_path)
    hub.callers["mallory"] = Caller("mallory-ci[bot]", APP)
    scene.push()
    scene.publish(scene.report("pass"))
    assert scene.verified(NOW, as_="check").allowed
    (record,) = scene.records()
    status = CommitStatus("success", "allow: bot" + status_suffix(record), "")
    as_check = scene.policy.publish.model_copy(update={"as_": "check"})
    post(scene.client("mallory"), record.head, as_check, status, CheckOutput(), record.identity)
    assert "check run success" in problems(scene)
    assert scene.verified(NOW).allowed


def test_a_token_that_may_not_read_checks_is_enough_for_statuses_only(hub, tmp_path):
    scene = Scene(hub, tmp_path)
    hub.callers["little"] = Caller(BOT, {**dict.fromkeys(APP, "read"), "checks": "none"})
    scene.push()
    scene.publish(scene.report("pass"))
    (record,) = scene.records()
    assert scene.quoted("little").lack(record) == ""
    with pytest.raises(RefusedError, match="could not list the checks"):
        scene.quoted("little", as_="check").lack(record)


def test_a_waiver_is_a_check_run_of_the_workflow_and_a_person_cannot_post_one(hub, scene):
    scene.push()
    scene.publish(scene.report("block"))
    given = {"days": 7, "settings": scene.policy.publish, "now": NOW, "author": BOT}
    digest = reports.digest("bot v1")
    with pytest.raises(ConfigurationError, match="maintainer cannot post a check run"):
        add_waiver(scene.client("person"), 7, "maintainer", digest, "urgent", **given)
    assert len(scene.records()) == 1
    waiver = add_waiver(scene.client(), 7, "boss", digest, "urgent", **given)
    newest = checks(scene.client(), waiver.head, CONTEXT)[0]
    assert (newest.state, newest.identity, newest.creator) == ("success", waiver.identity, BOT)
    assert newest.description.startswith("waived by boss until 2025-03-12: urgent")
    assert scene.verified(NOW).allowed
    assert scene.publish(scene.report("block")) == 0
    assert hub.checks[-1].title.startswith("waived: ")
