"""From an event to the place where its result belongs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import reports
from support.github import events
from support.github.description import interface

from ftgate.errors import ConfigurationError
from ftgate.github.comment_links import links_of
from ftgate.github.event import READERS, STATES, Posting, RunTarget, posting, read_target
from ftgate.github.match_reports import BasePolicy
from ftgate.report.links import CommentLinks


def target_of(event: str, fork: bool) -> RunTarget:
    sha = events.MERGE if event.startswith("pull_request") else events.TIP
    return read_target(events.environment(event, sha), events.PAYLOADS[event][fork])


def test_a_pull_request_is_reported_on_at_its_head_never_at_the_merge_commit():
    for event in ("pull_request", "pull_request_target"):
        target = target_of(event, False)
        assert (target.sha, target.pull_request, target.base_ref) == (events.HEAD, 7, "main")
        assert (target.fork, target.draft, target.may_write) == (False, False, True)


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target", "workflow_run"])
def test_a_fork_is_known_by_its_repository(event):
    assert target_of(event, True).fork
    assert target_of(event, True).may_write is (event != "pull_request")


def test_a_fork_that_was_deleted_is_a_fork():
    payload = events.pull_request()
    payload["pull_request"]["head"]["repo"] = None
    assert read_target(events.environment("pull_request", events.MERGE), payload).fork


def test_a_draft_is_reported_on_like_any_other():
    payload = events.pull_request(draft=True)
    target = read_target(events.environment("pull_request", events.MERGE), payload)
    assert target.draft
    assert posting(target, "block") == Posting(events.HEAD, "failure", "yes")


def test_a_workflow_run_looks_its_pull_request_up_by_the_branch_that_the_platform_names():
    target = target_of("workflow_run", True)
    assert target.branch == ("stranger", "candidate")
    assert target.pull_request is None
    pushed = read_target(events.environment("workflow_run", events.TIP), events.workflow_run(event="push"))
    assert pushed.branch is None


def test_no_outcome_leaves_a_required_status_neutral():
    assert set(STATES.values()) == {"pending", "success", "failure", "error"}
    assert STATES["hold"] == "failure"
    assert STATES["error"] == "error"


def test_a_new_branch_has_nothing_to_compare_with():
    target = read_target(events.environment("push", events.TIP), events.push(before="0" * 40))
    assert target.base_sha == ""


@pytest.mark.parametrize(
    ("event", "payload", "named"),
    [
        ("issue_comment", {}, "issue_comment"),
        ("", {}, "''"),
        ("pull_request", {}, "pull_request"),
        ("pull_request", {"pull_request": None}, "payload of the pull_request event .* is not valid"),
        ("push", events.push(after="0" * 40), "not a commit"),
        ("workflow_dispatch", events.workflow_dispatch(**{"pull-request": "7"}), "inputs.sha"),
        ("workflow_dispatch", events.workflow_dispatch(sha="main"), "'main'"),
        ("workflow_dispatch", events.workflow_dispatch(**{"sha": events.HEAD, "pull-request": "7; rm"}), "7; rm"),
    ],
)
def test_what_is_no_event_of_ours_is_named(event, payload, named):
    with pytest.raises(ConfigurationError, match=named):
        read_target(events.environment(event, events.TIP), payload)


@pytest.mark.parametrize("repository", ["", "models", "acme/models/../other", "acme/models?x"])
def test_a_repository_is_owner_and_name(repository):
    env = events.environment("push", events.TIP) | {"GITHUB_REPOSITORY": repository}
    with pytest.raises(ConfigurationError, match="GITHUB_REPOSITORY"):
        read_target(env, events.push())


@pytest.mark.parametrize("event", READERS)
def test_the_payloads_of_these_tests_are_as_the_platform_publishes_them(event):
    for payload in events.PAYLOADS[event].values():
        assert interface().event_problems(event, payload) == []


def test_the_documentation_is_that_of_the_action_that_runs():
    env = events.environment("pull_request", events.MERGE)
    found = read_target(
        env | {"GITHUB_ACTION_REPOSITORY": "acme/ftgate", "GITHUB_ACTION_REF": "v1"}, events.pull_request()
    )
    assert found.docs == f"{env['GITHUB_SERVER_URL']}/acme/ftgate/blob/v1/docs/"
    for bad in (
        {},
        {"GITHUB_ACTION_REPOSITORY": "acme/ftgate"},
        {"GITHUB_ACTION_REPOSITORY": "a b", "GITHUB_ACTION_REF": "v1"},
    ):
        assert read_target(env | bad, events.pull_request()).docs == ""


def test_a_comment_leads_to_run_policy_and_documentation():
    _, policy = reports.policy()
    target = read_target(events.environment("pull_request", events.MERGE), events.pull_request())
    links = links_of(replace(target, docs="https://host/docs/"), BasePolicy("", policy, ".github/ftgate.yml", "c" * 40))
    assert links.run == target.run_url
    assert links.page == f"{target.run_url}#artifacts"
    assert links.policy.endswith(f"/{target.repository}/blob/{'c' * 40}/.github/ftgate.yml")
    assert links.waive == "https://host/docs/audit.md#waive-a-verdict"
    assert links_of(replace(target, run_url=""), None) == CommentLinks()
