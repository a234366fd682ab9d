"""What the fake remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class PullRequest:
    number: int
    head: str
    base_sha: str
    branch: str = "candidate"
    base: str = "main"
    source: str = "acme/models"
    """Repository of the head branch: another one for a fork."""
    state: str = "open"
    merged: bool = False
    draft: bool = False
    title: str = "A new candidate"
    body: str = ""


@dataclass
class IssueComment:
    id: int
    number: int
    author: str
    body: str
    minimised: str = ""
    edits: list[tuple[str, str]] = field(default_factory=list)
    """(who, the body from then on) of each version, once there is more than one."""


@dataclass
class Status:
    id: int
    sha: str
    state: str
    description: str | None
    target_url: str | None
    context: str
    creator: str


@dataclass
class Check:
    id: int
    name: str
    head_sha: str
    external_id: str
    conclusion: str | None
    title: str | None
    summary: str | None
    annotations: list[dict[str, Any]]
    creator: str = "github-actions[bot]"
    """Login of the App that made it."""
    status: str = "completed"
    details_url: str | None = None


@dataclass(frozen=True)
class Caller:
    """Whoever a token speaks as, and what it may do: ``permissions`` by scope, ``read`` or ``write``."""

    login: str
    permissions: dict[str, str]

    def may(self, scopes: str, level: str) -> bool:
        """Whether one of ``scopes`` (``a|b``) was granted at this level. The repository is private."""
        granted = {self.permissions.get(scope) for scope in scopes.split("|")}
        return "write" in granted or (level == "read" and ("read" in granted or scopes == "metadata"))


class RefusedError(Exception):
    """An answer with a status other than success."""

    def __init__(self, status: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.status: int = status
        self.body: dict[str, Any] = {"message": message, "documentation_url": "https://docs.test"}
        if errors:
            self.body["errors"] = list(errors)
