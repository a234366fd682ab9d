"""What the platform refuses whoever asks: requests beyond an hour's share, and changes that a rule forbids."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.github.state import Caller, PullRequest, RefusedError

if TYPE_CHECKING:
    from support.github.server import FakeGitHub

HOUR = 3600
WORKFLOW_TOKEN, OTHERS = 1000, 5000
"""Requests an hour: of the token that a workflow is given, in one repository, and of every other."""
TOO_MANY = "API rate limit exceeded for installation ID 1."
BOT = "github-actions[bot]"
APPS = {BOT: 15368}
"""The app whose statuses a login sets. A person's come from no app."""


@dataclass
class RateLimits:
    """Counts the requests of each token in its hour, apart for REST and GraphQL."""

    share: dict[str, int] = field(default_factory=dict)
    """Of a token, if it is not the usual one."""
    used: dict[tuple[str, str], int] = field(default_factory=dict)
    resets: dict[tuple[str, str], float] = field(default_factory=dict)
    passed: float = 0.0
    """Seconds by which the platform's clock is ahead of the machine's."""

    def pass_time(self, seconds: float) -> None:
        """Instead of waiting."""
        self.passed += seconds

    def left(self, token: str, caller: Caller, resource: str = "core") -> int:
        return self._share(token, caller) - self.used.get((token, resource), 0)

    def spend(self, token: str, caller: Caller, resource: str) -> tuple[bool, dict[str, str]]:
        """Whether one more request is within the share, and the headers of its answer."""
        key, now = (token, resource), time.time() + self.passed
        if now >= self.resets.get(key, 0.0):
            self.used[key], self.resets[key] = 0, now + HOUR
        within = self.left(token, caller, resource) > 0
        self.used[key] += within
        return within, {
            "X-RateLimit-Limit": str(self._share(token, caller)),
            "X-RateLimit-Remaining": str(self.left(token, caller, resource)),
            "X-RateLimit-Used": str(self.used[key]),
            "X-RateLimit-Reset": str(int(self.resets[key])),
            "X-RateLimit-Resource": resource,
        }

    def _share(self, token: str, caller: Caller) -> int:
        return self.share.get(token, WORKFLOW_TOKEN if caller.login == BOT else OTHERS)


def may_push(hub: FakeGitHub, caller: Caller, branch: str, *, force: bool = False) -> None:
    """Raise RefusedError if a rule forbids ``caller`` to move or make the branch through the API."""
    rules = {rule["type"] for rule in hub.rules.get(branch, [])}
    if caller.login in hub.bypass.get(branch, ()):
        return
    for kind, reason in (
        ("update", "Cannot update this protected ref."),
        ("required_status_checks", "Required status checks are expected."),
    ):
        if kind in rules:
            raise RefusedError(422, f"Repository rule violations found\n\n{reason}")
    if force and "non_fast_forward" in rules:
        raise RefusedError(422, "Repository rule violations found\n\nCannot force-push to this branch")
    if branch in hub.protection:
        raise RefusedError(422, "Required status checks are expected.")


def may_merge(hub: FakeGitHub, pull: PullRequest) -> None:
    """Raise RefusedError unless every status that the base branch requires is there, from its source if it has one."""
    for context, app in required_checks(hub, pull.base).items():
        status = hub.status_of(pull.head, context)
        found = status is not None and (app is None or APPS.get(status.creator) == app)
        if status is None or not found:
            raise RefusedError(405, f'Required status check "{context}" is expected.')
        if status.state != "success":
            raise RefusedError(405, f'Required status check "{context}" is {status.state}.')


def required_checks(hub: FakeGitHub, branch: str) -> Mapping[str, int | None]:
    """The contexts that must succeed before a merge, each with the app that must say so, by ruleset and protection."""
    found: dict[str, int | None] = dict(hub.protection.get(branch, {}))
    rules: list[dict[str, Any]] = [r for r in hub.rules.get(branch, []) if r["type"] == "required_status_checks"]
    for rule in rules:
        for check in rule["parameters"]["required_status_checks"]:
            found[check["context"]] = check.get("integration_id") or found.get(check["context"])
    return found
