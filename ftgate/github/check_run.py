"""The verdict as a check run, and what was posted for a commit in either form.

A check run shows a summary and annotates the lines of files. Only a GitHub App can create one; `github-actions` is one,
too. A run that is completed is never edited here: a later verdict gets a run of its own, and the newest is in effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftgate.config.policy import PublishSettings
from ftgate.github.actions_runner import Annotation
from ftgate.github.client import CommitStatus, GitHubRepo
from ftgate.github.retry import RefusedError

ANNOTATIONS_A_CALL = 50
SUMMARY_LIMIT = 65_000
"""Characters. GitHub allows 65,535."""
CONCLUSIONS = {"success": "success", "failure": "failure", "error": "action_required"}
"""The conclusion of each final state. None satisfies a required check but ``success``."""
PASSING = ("success", "neutral", "skipped")
"""The conclusions that satisfy a required check."""


@dataclass(frozen=True, slots=True)
class CheckOutput:
    """What a check run shows beside its title."""

    summary: str = ""
    """Markdown."""
    annotations: Sequence[Annotation] = ()


def posted(repo: GitHubRepo, sha: str, settings: PublishSettings) -> list[CommitStatus]:
    """The statuses and check runs of ``sha`` under the policy's context, newest first; the first one is in effect.

    Those of the form that the policy asks for count as newer than the others, which are from before it was changed, or
    forged.
    """
    statuses = repo.statuses(sha, settings.context)
    if settings.as_ == "check":
        return [*checks(repo, sha, settings.context), *statuses]
    try:
        return [*statuses, *checks(repo, sha, settings.context)]
    except RefusedError as error:
        if error.status != 403:
            raise
        # A token that may only read statuses is enough where the policy asks for statuses.
        return statuses


def post(
    repo: GitHubRepo, sha: str, settings: PublishSettings, status: CommitStatus, output: CheckOutput, record: str
) -> None:
    """Set the ``status`` of ``sha``, or the check run in its place, with its ``output`` and its ``record``'s identity.

    Nothing is posted if the same is in effect already.
    """
    if settings.as_ == "status":
        repo.set_status(sha, settings.context, status)
    else:
        _post_check(repo, sha, settings.context, status, output, record)


def checks(repo: GitHubRepo, sha: str, name: str) -> list[CommitStatus]:
    """The check runs of ``sha`` that are called ``name``, of every App, newest first.

    Upper and lower case are the same, as in the names of statuses: a name that looks like the verdict's is to be named.
    """
    return [_as_status(run) for run in _runs(repo, sha) if run["name"].casefold() == name.casefold()]


def _runs(repo: GitHubRepo, sha: str, name: str = "") -> list[dict[str, Any]]:
    """The check runs of ``sha``, newest first; with ``name`` those of exactly this name."""
    path, what = f"/commits/{sha}/check-runs", f"list the checks of {sha[:7]}"
    named = {"check_name": name} if name else {}
    runs = repo.read_all(path, what, within="check_runs", filter="all", **named)
    return sorted(runs, key=lambda run: int(run["id"]), reverse=True)


def _as_status(run: Mapping[str, Any]) -> CommitStatus:
    output = run.get("output") or {}
    return CommitStatus(
        _state(run),
        output.get("title") or "",
        run.get("details_url") or "",
        _creator(run),
        run.get("external_id") or "",
    )


def _state(run: Mapping[str, Any]) -> str:
    if run["status"] != "completed":
        return "pending"
    if run["conclusion"] in PASSING:
        return "success"
    return "error" if run["conclusion"] == CONCLUSIONS["error"] else "failure"


def _creator(run: Mapping[str, Any]) -> str:
    """The login of the App that created the run, as GitHub has it for the App's statuses."""
    slug = (run.get("app") or {}).get("slug") or ""
    return f"{slug}[bot]" if slug else ""


def _post_check(repo: GitHubRepo, sha: str, name: str, status: CommitStatus, output: CheckOutput, record: str) -> None:
    shown = {"title": status.description, "summary": output.summary[:SUMMARY_LIMIT] or status.description}
    notes = [annotation.as_check_annotation() for annotation in output.annotations]
    body: dict[str, Any] = {
        "name": name,
        "external_id": record,
        "status": "in_progress" if status.state == "pending" else "completed",
        "output": {**shown, "annotations": notes[:ANNOTATIONS_A_CALL]},
    }
    body |= {"conclusion": CONCLUSIONS[status.state]} if status.state != "pending" else {}
    body |= {"details_url": status.target_url} if status.target_url else {}

    def own() -> list[dict[str, Any]]:
        return [run for run in _runs(repo, sha, name) if _creator(run).casefold() == repo.login().casefold()]

    def current() -> int | None:
        for run in own()[:1]:
            latest = _as_status(run)
            same = (latest.state, latest.description, latest.identity) == (status.state, status.description, record)
            return int(run["id"]) if same else None
        return None

    what = f"set the check {name} of {sha[:7]}"
    if current() is not None:
        return
    # A job of a workflow is a check run of the same App, and has an id there.
    begun = next((int(run["id"]) for run in own() if run["status"] != "completed" and not run["external_id"]), None)
    if begun is not None:
        repo.retry.repeat(lambda: repo.call("PATCH", f"/check-runs/{begun}", body), what)
        number = begun
    else:
        number = repo.retry.once(
            lambda: int(repo.call("POST", "/check-runs", {**body, "head_sha": sha})["id"]), current, what
        )
    for start in range(ANNOTATIONS_A_CALL, len(notes), ANNOTATIONS_A_CALL):
        more = {"output": {**shown, "annotations": notes[start : start + ANNOTATIONS_A_CALL]}}
        repo.retry.repeat(lambda more=more: repo.call("PATCH", f"/check-runs/{number}", more), what)  # type: ignore[misc]
