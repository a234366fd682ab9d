"""Pull requests from forks: their models run only behind an environment that waits for a reviewer."""

from __future__ import annotations

from ftgate.errors import ConfigurationError
from ftgate.github.client import GitHubRepo
from ftgate.github.event import RunTarget
from ftgate.github.retry import or_none

ENVIRONMENT = "ftgate-forks"
"""The environment that the workflow's evaluation names for a fork."""


def has_reviewers(repo: GitHubRepo, environment: str = ENVIRONMENT) -> bool | None:
    """Whether jobs in ``environment`` wait for a reviewer; None if there is no such environment."""
    settings = or_none(lambda: repo.read(f"/environments/{environment}", f"read the environment {environment}"))
    if settings is None:
        return None
    rules = settings.get("protection_rules") or []
    return any(rule.get("type") == "required_reviewers" and rule.get("reviewers") for rule in rules)


def require_approval(repo: GitHubRepo, target: RunTarget) -> None:
    """Raise ConfigurationError if ``target`` is a fork's and nobody has to approve its evaluation.

    GitHub creates an environment without rules when a job names one that does not exist.
    """
    if not target.fork or target.event != "pull_request_target":
        return
    reviewers = has_reviewers(repo)
    if not reviewers:
        problem = "does not exist" if reviewers is None else "has no required reviewers"
        raise ConfigurationError(
            f"a fork's models would run without an approval: the environment {ENVIRONMENT} {problem}",
            hint=f"in Settings, Environments, give {ENVIRONMENT} required reviewers (in private repositories this "
            "needs a paid plan), or take pull_request_target out of the workflow",
        )
