"""The run's target: which commit, pull request and base branch a job reports on, read from its GitHub event. Pure.

A pull request is reported on at its head, never at the merge commit that the runner checks out: branch protection looks
at the head. Everything comes from the event that GitHub wrote, never from text in the change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ftgate.config.manifest import COMMIT
from ftgate.errors import ConfigurationError

Outcome = Literal["pending", "allow", "waived", "no model change", "block", "hold", "error"]
State = Literal["pending", "success", "failure", "error"]
Commenting = Literal["yes", "no", "update only", "trail only"]
"""Whether a comment is written; ``update only``: an existing one; ``trail only``: its records, not its text."""

STATES: Mapping[Outcome, State] = {
    "pending": "pending",
    "allow": "success",
    "waived": "success",
    "no model change": "success",
    "block": "failure",
    "hold": "failure",
    "error": "error",
}
"""The commit status of each outcome. A hold is a failure: without enough evidence nothing is merged."""
_NO_COMMIT = "0" * 40


@dataclass(frozen=True, slots=True)
class RunTarget:
    """What one job reports on."""

    event: str
    repository: str
    """``owner/name`` of the repository that the job runs in: the one to protect."""
    sha: str
    """The commit that carries the status."""
    base_ref: str
    """The branch whose policy applies."""
    base_sha: str = ""
    """The commit that the change is compared with; empty if there is none."""
    pull_request: int | None = None
    branch: tuple[str, str] | None = None
    """Owner and name of the head branch, if the pull request must still be looked up by them."""
    fork: bool = False
    draft: bool = False
    run: str = ""
    """The id of the workflow run."""
    run_url: str = ""
    docs: str = ""
    """The folder of the documentation in the action's repository; empty where the action is not from one."""

    @property
    def may_write(self) -> bool:
        """Whether the job's token can write: for a fork's `pull_request` event GitHub only gives a read-only token."""
        return not (self.event == "pull_request" and self.fork)


@dataclass(frozen=True, slots=True)
class Posting:
    """What is posted: a status on ``sha`` (None: the token cannot set one), and whether a comment is written."""

    sha: str
    state: State | None
    comment: Commenting


def posting(target: RunTarget, outcome: Outcome, *, superseded: bool = False) -> Posting:
    """What to post for ``outcome``. A superseded result gets its status, but the comment shows the newer head."""
    if not target.may_write:
        return Posting(target.sha, None, "no")
    in_thread = target.pull_request is not None or target.branch is not None
    comment: Commenting = "yes"
    if not in_thread or outcome == "pending":
        comment = "no"
    elif superseded:
        comment = "trail only"
    elif outcome == "no model change":
        comment = "update only"
    return Posting(target.sha, STATES[outcome], comment)


def read_target(env: Mapping[str, str], event: Mapping[str, Any]) -> RunTarget:
    """The target in ``env`` (GITHUB_EVENT_NAME, GITHUB_REPOSITORY, GITHUB_SHA, …) and the payload ``event``.

    Raises ConfigurationError for an unsupported event and for a payload with missing or invalid fields.
    """
    name = env.get("GITHUB_EVENT_NAME", "")
    if name not in READERS:
        raise ConfigurationError(
            f"GITHUB_EVENT_NAME is {name!r}, which is not a supported event",
            hint=f"run it in a workflow on {', '.join(READERS)}",
        )
    repository = env.get("GITHUB_REPOSITORY", "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigurationError(f"GITHUB_REPOSITORY is {repository!r}, not owner/name", hint="run it in a workflow")
    try:
        fields = READERS[name](env, event)
        sha, base_sha = fields["sha"], fields.get("base_sha") or ""
        if not COMMIT.fullmatch(sha) or sha == _NO_COMMIT or (base_sha and not COMMIT.fullmatch(base_sha)):
            raise ValueError(f"{sha!r} is not a commit")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigurationError(
            f"the payload of the {name} event (GITHUB_EVENT_PATH) is not valid: {problem}",
            hint="there is no commit to report on for a deleted branch; a manual run needs one as its input `sha`",
        ) from None
    fields["base_sha"] = "" if base_sha == _NO_COMMIT else base_sha
    run = env.get("GITHUB_RUN_ID", "")
    server = env.get("GITHUB_SERVER_URL", "").rstrip("/")
    url = f"{server}/{repository}/actions/runs/{run}" if server and run else ""
    return RunTarget(event=name, repository=repository, run=run, run_url=url, docs=_docs_address(env, server), **fields)


def _docs_address(env: Mapping[str, str], server: str) -> str:
    """The folder ``docs/`` of the action's repository at the version that runs."""
    action, version = env.get("GITHUB_ACTION_REPOSITORY", ""), env.get("GITHUB_ACTION_REF", "")
    if not server or not re.fullmatch(r"[\w.-]+/[\w.-]+", action) or not re.fullmatch(r"[\w./-]+", version):
        return ""
    return f"{server}/{action}/blob/{version}/docs/"


def _pull_request(env: Mapping[str, str], event: Mapping[str, Any]) -> dict[str, Any]:
    pull = event["pull_request"]
    # The head repository is null once its fork is deleted.
    head = (pull["head"]["repo"] or {}).get("full_name")
    return {
        "sha": pull["head"]["sha"],
        "base_ref": pull["base"]["ref"],
        "base_sha": pull["base"]["sha"],
        "pull_request": int(pull["number"]),
        "fork": head != env["GITHUB_REPOSITORY"],
        "draft": bool(pull.get("draft")),
    }


def _merge_group(_: Mapping[str, str], event: Mapping[str, Any]) -> dict[str, Any]:
    group = event["merge_group"]
    base = str(group["base_ref"]).removeprefix("refs/heads/")
    return {"sha": group["head_sha"], "base_ref": base, "base_sha": group["base_sha"]}


def _push(_: Mapping[str, str], event: Mapping[str, Any]) -> dict[str, Any]:
    # The default branch's policy applies: a pushed branch must not bring the policy that judges it.
    return {"sha": event["after"], "base_ref": event["repository"]["default_branch"], "base_sha": event["before"]}


def _release(env: Mapping[str, str], event: Mapping[str, Any]) -> dict[str, Any]:
    return {"sha": env["GITHUB_SHA"], "base_ref": event["repository"]["default_branch"]}


def _workflow_dispatch(env: Mapping[str, str], event: Mapping[str, Any]) -> dict[str, Any]:
    inputs = event.get("inputs") or {}
    number = inputs.get("pull-request") or inputs.get("pull_request")
    if number and not inputs.get("sha"):
        raise KeyError("inputs.sha")
    return {
        "sha": inputs.get("sha") or env["GITHUB_SHA"],
        "base_ref": event["repository"]["default_branch"],
        "pull_request": int(number) if number else None,
    }


def _workflow_run(env: Mapping[str, str], event: Mapping[str, Any]) -> dict[str, Any]:
    run = event["workflow_run"]
    # Null once the fork is deleted. The commit still exists and needs a status.
    head = run["head_repository"] or {"full_name": "", "owner": {"login": "ghost"}}
    # The payload does not list pull requests of forks, and an artifact of a fork's run may claim any number. For every
    # event of a fork's run, its pull request shows whether it edits the workflow that ran.
    fork = head["full_name"] != env["GITHUB_REPOSITORY"]
    for_pull_request = fork or run["event"] == "pull_request"
    return {
        "sha": run["head_sha"],
        "base_ref": event["repository"]["default_branch"],
        "branch": (str(head["owner"]["login"]), str(run["head_branch"])) if for_pull_request else None,
        "fork": fork,
    }


READERS: Mapping[str, Callable[[Mapping[str, str], Mapping[str, Any]], dict[str, Any]]] = {
    "pull_request": _pull_request,
    "pull_request_target": _pull_request,
    "merge_group": _merge_group,
    "push": _push,
    "release": _release,
    "workflow_dispatch": _workflow_dispatch,
    "workflow_run": _workflow_run,
}
"""The function that reads each event's payload."""
