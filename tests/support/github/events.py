"""The environment and the payload that a runner gives to a job, for each event."""

from __future__ import annotations

from typing import Any

from support.github import bodies
from support.github.state import PullRequest

REPOSITORY = "acme/models"
FORK = "stranger/models"
HEAD, MERGE, BASE, TIP = "a" * 40, "c" * 40, "b" * 40, "d" * 40
"""The head of the change, the merge commit that a runner checks out, the base, and the branch's own tip."""


def environment(name: str, sha: str, actor: str = "octocat") -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_SHA": sha,
        "GITHUB_RUN_ID": "77",
        "GITHUB_SERVER_URL": "https://github.test",
        "GITHUB_ACTOR": actor,
        "GITHUB_TRIGGERING_ACTOR": actor,
    }


def common(sender: str = "octocat") -> dict[str, Any]:
    return {"repository": bodies.repository(REPOSITORY), "sender": bodies.user(sender)}


def pull_request(pull: PullRequest | None = None, *, fork: bool = False, draft: bool = False) -> dict[str, Any]:
    found = pull or PullRequest(7, HEAD, BASE, source=FORK if fork else REPOSITORY, draft=draft)
    return {
        "action": "synchronize",
        "number": found.number,
        "before": BASE,
        "after": found.head,
        "pull_request": bodies.pull(found, REPOSITORY, MERGE),
        **common(),
    }


def merge_group(head: str = HEAD, base: str = BASE) -> dict[str, Any]:
    who = {"name": "Tester", "email": "tester@example.invalid"}
    commit = {"id": head, "tree_id": head, "message": "merge", "timestamp": bodies.NOW, "author": who, "committer": who}
    group = {
        "head_sha": head,
        "head_ref": f"refs/heads/gh-readonly-queue/main/pr-7-{head}",
        "base_sha": base,
        "base_ref": "refs/heads/main",
        "head_commit": commit,
    }
    return {"action": "checks_requested", "merge_group": group, **common()}


def push(after: str = TIP, before: str = BASE) -> dict[str, Any]:
    return {
        "ref": "refs/heads/main",
        "before": before,
        "after": after,
        "base_ref": None,
        "compare": "https://github.test/compare",
        "created": False,
        "deleted": False,
        "forced": False,
        "commits": [],
        "head_commit": None,
        "pusher": {"name": "octocat"},
        **common(),
    }


def release() -> dict[str, Any]:
    return {"action": "published", "release": bodies.release([]), **common()}


def workflow_dispatch(**inputs: str) -> dict[str, Any]:
    return {"inputs": inputs or None, "ref": "refs/heads/main", "workflow": ".github/workflows/gate.yml", **common()}


def workflow_run(head: str = HEAD, *, fork: bool = False, event: str = "pull_request") -> dict[str, Any]:
    at = "https://github.test/runs/5"
    source = bodies.repository(FORK if fork else REPOSITORY, fork=fork)
    short = {
        k: v
        for k, v in source.items()
        if not k.startswith(("has_", "allow_", "git_url", "ssh", "clone", "svn", "mirror", "open", "size"))
    }
    places = ("artifacts", "cancel", "check_suite", "html", "jobs", "logs", "rerun", "workflow")
    run = {
        "id": 5,
        "name": "gate",
        "node_id": "WFR_5",
        "head_branch": "candidate",
        "head_sha": head,
        "path": ".github/workflows/gate.yml",
        "display_title": "A new candidate",
        "run_number": 1,
        "run_attempt": 1,
        "event": event,
        "status": "completed",
        "conclusion": "success",
        "workflow_id": 3,
        "check_suite_id": 1,
        "check_suite_node_id": "CS_1",
        "url": at,
        **{f"{place}_url": at for place in places},
        "previous_attempt_url": None,
        "pull_requests": [],
        "created_at": bodies.NOW,
        "updated_at": bodies.NOW,
        "run_started_at": bodies.NOW,
        "actor": bodies.user("octocat"),
        "triggering_actor": bodies.user("octocat"),
        "head_commit": {
            "id": head,
            "tree_id": head,
            "message": "change",
            "timestamp": bodies.NOW,
            "author": {"name": "Tester", "email": "tester@example.invalid"},
            "committer": {"name": "Tester", "email": "tester@example.invalid"},
        },
        "repository": {**short, "fork": False, "full_name": REPOSITORY},
        "head_repository": short,
        "referenced_workflows": [],
    }
    return {"action": "completed", "workflow": None, "workflow_run": run, **common()}


PAYLOADS: dict[str, dict[bool, dict[str, Any]]] = {
    "pull_request": {f: pull_request(fork=f) for f in (False, True)},
    "pull_request_target": {f: pull_request(fork=f) for f in (False, True)},
    "workflow_run": {f: workflow_run(fork=f) for f in (False, True)},
    "merge_group": {False: merge_group()},
    "push": {False: push()},
    "release": {False: release()},
    "workflow_dispatch": {False: {**workflow_dispatch(sha=HEAD), "inputs": {"sha": HEAD}}},
}
"""Of each event, by whether the change comes from a fork; one entry where that makes no difference."""
