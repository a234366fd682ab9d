"""What the platform refuses whoever asks: no verdict is lost, none is made up, and the job's log says what to do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from github import GithubException
from support import reports
from support.github import bodies
from support.github.limits import APPS, BOT
from support.github.server import ALL
from support.github.state import Caller

from ftgate.errors import PublishError
from ftgate.github.audit.history import add_waiver
from ftgate.github.audit.ledger_branch import read_ledger

BRANCH, CONTEXT = "ftgate-ledger", "ftgate/verdict"
ROOT = Path(__file__).resolve().parents[3]
SOURCE = {CONTEXT: APPS[BOT]}


def merge(scene):
    """Somebody who may merges the pull request."""
    scene.client("mallory").call("PUT", "/pulls/7/merge", {"sha": scene.hub.pulls[7].head})
    assert scene.hub.git.is_ancestor(scene.hub.pulls[7].head, scene.hub.git.resolve("main"))


def refused(scene):
    """Why the platform does not merge the pull request."""
    with pytest.raises(GithubException) as refusal:
        merge(scene)
    assert refusal.value.status == 405
    return refusal.value.data["message"]


@pytest.fixture
def mallory(scene):
    scene.hub.callers["mallory"] = Caller("mallory", ALL)
    return scene.client("mallory")


def success(client, head):
    client.call("POST", f"/statuses/{head}", {"state": "success", "context": CONTEXT, "description": "allow: fine"})


def test_a_job_waits_for_the_next_hour_if_that_is_near(hub, scene):
    head = scene.push()
    assert scene.pending() == 0
    hub.limits.share["token"] = hub.limits.used["token", "core"] + 5
    hub.limits.resets["token", "core"] = time.time() + 300
    assert scene.publish(scene.report("block")) == 1
    assert hub.status_of(head).state == "failure"
    assert 299 <= hub.limits.passed <= 303  # what publishing itself takes is waited less


@pytest.mark.parametrize("share", range(1, 18, 2))
def test_an_hour_that_is_used_up_loses_no_verdict(hub, scene, share):
    """Wherever the requests end, the log says until when, nothing passes, and a later run ends what was begun."""
    head = scene.push()
    hub.limits.share["token"] = share
    with pytest.raises(PublishError, match="API rate limit exceeded") as refusal:
        scene.publish(scene.report("block"))
    assert f"the token's {share} requests of this hour are used: run the job again after " in refusal.value.hint
    assert (status := hub.status_of(head)) is None or status.state != "success"
    hub.limits.pass_time(3600)
    hub.limits.share["token"] = 1000
    assert scene.publish(scene.report("block")) == 1
    assert hub.status_of(head).state == "failure"
    assert len(scene.thread()) == 1
    records = read_ledger(scene.client(), BRANCH).records
    assert "block" in [r.verdict for r in records]
    assert len({r.identity for r in records}) == len(records)
    # A ledger that could not be written is an error in its own right, which is kept as one.
    assert {r.verdict for r in records} <= {"block", "error"}


def test_graphql_has_an_hour_of_its_own(hub, scene):
    head = scene.push()
    hub.limits.used["token", "graphql"], hub.limits.resets["token", "graphql"] = 1000, time.time() + 3000
    with pytest.raises(PublishError, match=r"find the token's owner.*API rate limit exceeded") as refusal:
        scene.publish(scene.report("block"))
    assert "the token's 1000 requests of this hour are used" in refusal.value.hint
    assert (hub.status_of(head).state, hub.comments) == ("error", [])
    hub.limits.pass_time(3001)
    assert scene.publish(scene.report("block")) == 1
    assert len(scene.thread()) == 1


def test_a_commit_that_somebody_filled_with_statuses_needs_a_new_one(hub, scene, mallory):
    head = scene.push()
    success(mallory, head)
    hub.statuses += [hub.statuses[0]] * 999
    with pytest.raises(PublishError, match="maximum number of statuses") as refusal:
        scene.publish(scene.report("block"))
    assert "push a new commit" in refusal.value.hint
    assert hub.status_of(scene.push({"models/bot.yaml": reports.manifest(version="v2")})) is None
    assert scene.publish(scene.report("block", version="v2")) == 1


def test_files_that_the_platform_does_not_return_are_too_large(hub, scene):
    hub.most_shown = 10
    head = scene.push()
    assert scene.publish(scene.report("pass")) == 3
    assert hub.status_of(head).state == "error"
    assert ".github/ftgate.yml at " in hub.status_of(head).description
    assert "is larger than 1 MB" in hub.status_of(head).description
    hub.largest_blob = 5
    with pytest.raises(PublishError, match="403 This API returns blobs up to 100 MB") as refusal:
        scene.client().blob(scene.client().tree(head)["models/bot.yaml"].sha)
    assert "store models elsewhere" in refusal.value.hint


def test_under_a_rule_with_a_source_only_the_gates_own_status_lets_a_merge_through(hub, scene, mallory):
    hub.rules["main"] = [bodies.rule("required_status_checks", **SOURCE)]
    head = scene.push()
    assert refused(scene) == f'Required status check "{CONTEXT}" is expected.'
    success(mallory, head)
    assert refused(scene) == f'Required status check "{CONTEXT}" is expected.'
    scene.publish(scene.report("block"))
    assert refused(scene) == f'Required status check "{CONTEXT}" is failure.'
    scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    assert scene.publish(scene.report("pass", version="v2")) == 0
    merge(scene)


def test_without_a_source_anybody_who_may_push_can_let_a_merge_through(hub, scene, mallory):
    """Why the documentation asks for a source."""
    hub.protection["main"] = {CONTEXT: None}
    head = scene.push()
    scene.publish(scene.report("block"))
    success(mallory, head)
    merge(scene)


def test_under_a_rule_with_a_source_a_waiver_counts_if_a_workflow_gave_it(hub, scene, mallory):
    hub.rules["main"] = [bodies.rule("required_status_checks", **SOURCE)]
    hub.collaborators["mallory"] = "maintain"
    scene.push()
    scene.publish(scene.report("block"))
    asked = {"days": 7, "settings": scene.policy.publish, "now": "2025-03-05T09:00:00+00:00", "author": BOT}
    add_waiver(mallory, 7, "mallory", "", "urgent", **asked)
    assert refused(scene) == f'Required status check "{CONTEXT}" is expected.'
    add_waiver(scene.client(), 7, "mallory", "", "urgent", **asked)
    merge(scene)


def test_a_protected_ledger_branch_is_an_error_and_no_pass(hub, scene):
    hub.rules[BRANCH] = [bodies.rule("update")]
    head = scene.push()
    with pytest.raises(PublishError, match=r"write the ledger .* 422 Repository rule violations"):
        scene.publish(scene.report("pass"))
    assert hub.status_of(head).state == "error"
    hub.bypass[BRANCH] = [BOT]
    assert scene.publish(scene.report("pass")) == 0
    assert hub.status_of(head).state == "success"


def test_a_conflict_on_the_ledger_branch_is_written_again(hub, scene):
    scene.push()
    hub.faults.plan("409", "POST", r"/git/refs$")
    assert scene.publish(scene.report("block")) == 1
    scene.push({"models/bot.yaml": reports.manifest(version="v2")})
    hub.faults.plan("409", "PATCH", r"/git/refs/heads/", times=2)
    assert scene.publish(scene.report("block", version="v2")) == 1
    assert hub.faults.injected["409"] == 3
    assert [r.verdict for r in read_ledger(scene.client(), BRANCH).records] == ["block", "block"]


def test_the_fakes_token_may_do_what_the_workflow_grants():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ftgate.yml").read_text(encoding="utf-8"))["jobs"]
    granted = {scope.replace("-", "_"): level for scope, level in jobs["report"]["permissions"].items()}
    assert granted == ALL
