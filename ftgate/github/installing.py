"""The pull request that brings the policy: nothing on its base branch could judge it."""

from __future__ import annotations

import yaml
from pydantic import ValidationError

from ftgate.config.policy import PublishSettings
from ftgate.errors import ConfigurationError
from ftgate.github.client import GitHubRepo
from ftgate.github.event import RunTarget

EVENTS = ("pull_request", "merge_group")


class NoPolicyError(ConfigurationError):
    """GitHub has no policy at this path in the base branch's tip."""


def installs_policy(repo: GitHubRepo, target: RunTarget, path: str) -> bool:
    """Whether ``target`` brings the policy at ``path`` to a base branch without one.

    The trees of both commits say so, which GitHub lists only to a token that may read them: no error passes for a
    missing file. A fork's change never does. Raises PublishError if a tree cannot be listed.
    """
    if target.event not in EVENTS or target.fork:
        return False
    base = repo.tip(target.base_ref)
    if base is None or path in repo.tree(base) or path not in repo.tree(target.sha):
        return False
    # A branch may also have the policy because it is older than the commit that removed it: merging brings none back.
    return path in repo.changed_between(base, target.sha)


def stated_settings(text: str | None) -> PublishSettings:
    """How the text of a policy that is not in force, or not valid, wants to be published; else the defaults."""
    try:
        return PublishSettings.model_validate(yaml.safe_load(text or "")["publish"])
    except (yaml.YAMLError, ValidationError, ValueError, TypeError, KeyError, RecursionError):
        return PublishSettings()


def installing_text(base_ref: str) -> str:
    """What the status of such a change says."""
    return f"not on {base_ref} yet: merge this; judging starts with the next one"
