"""Where a result belongs: the environment of a job and its event become one place to report to. Pure.

A pull request is reported on at its head, never at the merge commit that the runner checks out: branch protection looks
at the head. What is said of the place comes from the event that the platform wrote, never from a text in the change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ftgate.errors import ConfigurationError

Outcome = Literal["pending", "allow", "waived", "no model change", "block", "hold", "error"]
State = Literal["pending", "success", "failure", "error"]
Commenting = Literal["yes", "no", "over an earlier one", "its history alone"]

STATES: Mapping[Outcome, State] = {
    "pending": "pending",
    "allow": "success",
    "waived": "success",
    "no model change": "success",
    "block": "failure",
    "hold": "failure",
    "error": "error",
}
"""What each outcome is as a commit status. A hold fails: what is not proven is not merged."""
_SHA = re.compile(r"[0-9a-f]{40}")
_NOWHERE = "0" * 40


@dataclass(frozen=True, slots=True)
class RunTarget:
    """Where the result of one job belongs."""

    event: str
    repository: str
    """``owner/name`` of the repository that the job runs in: the one that is to be protected."""
    sha: str
    """The commit that carries the status."""
    base_ref: str
    """The branch whose policy rules."""
    base_sha: str = ""
    """What the change is compared with; empty where there is nothing to compare with."""
    pull_request: int | None = None
    branch: tuple[str, str] | None = None
    """Owner and name of the head branch, where the pull request has yet to be looked up by them."""
    fork: bool = False
    draft: bool = False
    run: str = ""
    """The id of the workflow run."""
    run_url: str = ""

    @property
    def may_write(self) -> bool:
        """Whether the job's token can write: the platform gives none that can to a fork's `pull_request` event."""
        return not (self.event == "pull_request" and self.fork)


@dataclass(frozen=True, slots=True)
class Posting:
    """What is posted: a status on ``sha`` (None: none can be), and whether a comment is written."""

    sha: str
    state: State | None
    comment: Commenting


def posting(place: RunTarget, outcome: Outcome, *, superseded: bool = False) -> Posting:
    """What ``outcome`` means at ``place``. A superseded result has its status, but the comment belongs to the newer."""
    if not place.may_write:
        return Posting(place.sha, None, "no")
    in_thread = place.pull_request is not None or place.branch is not None
    comment: Commenting = "yes"
    if not in_thread or outcome == "pending":
        comment = "no"
    elif superseded:
        comment = "its history alone"
    elif outcome == "no model change":
        comment = "over an earlier one"
    return Posting(place.sha, STATES[outcome], comment)


def read_target(env: Mapping[str, str], event: Mapping[str, Any]) -> RunTarget:
    """The place that ``env`` (GITHUB_EVENT_NAME, GITHUB_REPOSITORY, GITHUB_SHA, …) and the payload ``event`` name.

    Raises ConfigurationError for an event that ftgate does not know, or a payload that does not hold what it should.
    """
    name = env.get("GITHUB_EVENT_NAME", "")
    if name not in READERS:
        raise ConfigurationError(
            f"GITHUB_EVENT_NAME is {name!r}: not an event that ftgate reports on",
            hint=f"run it in a workflow on {', '.join(READERS)}",
        )
    repository = env.get("GITHUB_REPOSITORY", "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigurationError(f"GITHUB_REPOSITORY is {repository!r}, not owner/name", hint="run it in a workflow")
    try:
        found = READERS[name](env, event)
        sha, base_sha = found["sha"], found.get("base_sha") or ""
        if not _SHA.fullmatch(sha) or sha == _NOWHERE or (base_sha and not _SHA.fullmatch(base_sha)):
            raise ValueError(f"{sha!r} is not a commit to report on")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigurationError(
            f"the payload of the {name} event (GITHUB_EVENT_PATH) is not as it should be: {problem}",
            hint="a deleted branch has nothing to report on; a manual run needs the commit as its input `sha`",
        ) from None
    found["base_sha"] = "" if base_sha == _NOWHERE else base_sha
    run = env.get("GITHUB_RUN_ID", "")
    server = env.get("GITHUB_SERVER_URL", "").rstrip("/")
    url = f"{server}/{repository}/actions/runs/{run}" if server and run else ""
    return RunTarget(event=name, repository=repository, run=run, run_url=url, **found)


def _pull_request(env: Mapping[str, str], event: Mapping[str, Any]) -> dict[str, Any]:
    pull = event["pull_request"]
    # The head repository is null once its fork has been deleted.
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
    # The policy is the default branch's: whoever pushes a branch must not bring the policy that judges it.
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
    # Null once the fork has been deleted. The commit is still there, and waits for a status.
    head = run["head_repository"] or {"full_name": "", "owner": {"login": "ghost"}}
    # The payload lists no pull requests of forks, and the artifact of a fork's run may claim any number. Whatever event
    # a fork's run was for, its pull request says whether it followed this repository's workflow.
    fork = head["full_name"] != env["GITHUB_REPOSITORY"]
    asks = fork or run["event"] == "pull_request"
    return {
        "sha": run["head_sha"],
        "base_ref": event["repository"]["default_branch"],
        "branch": (str(head["owner"]["login"]), str(run["head_branch"])) if asks else None,
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
"""How each event's payload is read."""
