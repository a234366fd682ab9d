"""A repository with a policy on its base branch and pull requests that change models, played through the publisher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ftgate.github.actions_runner import ActionsFiles
from ftgate.github.audit.history import VerifyResult, verify_candidate
from ftgate.github.audit.ledger_branch import read_ledger
from ftgate.github.audit.quotes import StatusQuotes, quotes_of
from ftgate.github.audit.record import Record
from ftgate.github.client import GitHubRepo, connect
from ftgate.github.event import read_target
from ftgate.github.pr_state import Effects
from ftgate.github.publish import publish_pending, publish_results
from support import reports
from support.github import events
from support.github.description import interface
from support.github.server import FakeGitHub
from support.github.state import PullRequest

POLICY_PATH = ".github/ftgate.yml"
NUMBER = 7


class Scene:
    """One fake platform and one pull request, number 7, by which ``models/bot.yaml`` changes."""

    def __init__(self, hub: FakeGitHub, folder: Path, **policy: Any) -> None:
        self.hub, self.folder = hub, folder
        self.text, self.policy = reports.policy(**policy)
        start = {POLICY_PATH: self.text, "models/bot.yaml": reports.manifest(version="v0"), "README.md": "models\n"}
        self.base = hub.git.commit(start, branch="main")
        self.minutes = 0
        self.said: list[str] = []

    def push(
        self, files: dict[str, str | None] | None = None, *, number: int = NUMBER, fork: bool = False, **links: str
    ) -> str:
        """A new head of the pull request."""
        before = self.hub.pulls.get(number)
        given = {"models/bot.yaml": reports.manifest()} if files is None else files
        head = self.hub.git.commit(given, before.head if before else self.base, f"push {self.minutes}", links)
        source = events.FORK if fork else events.REPOSITORY
        self.hub.pulls[number] = PullRequest(number, head, self.base, source=source)
        return head

    def effects(self, event: str = "pull_request", payload: dict[str, Any] | None = None, **env: str) -> Effects:
        """The effects of one job; its clock goes on by a minute with each."""
        payload = payload or events.pull_request(self.hub.pulls[NUMBER])
        self.hub.invalid += interface().event_problems(event, payload)
        target = read_target({**events.environment(event, events.MERGE), **env}, payload)
        self.minutes += 1
        time = datetime(2025, 3, 4, 9, tzinfo=UTC) + timedelta(minutes=self.minutes)
        return Effects(
            repo=self.client(),
            target=target,
            runner=ActionsFiles(self.folder / "output", self.folder / "summary"),
            now=lambda: time.isoformat(timespec="seconds"),
            log=self.said.append,
            command=self.said.append,
        )

    def client(self, token: str = "token", sleep: Callable[[float], None] | None = None, **options: Any) -> GitHubRepo:
        """Whoever the token belongs to; instead of waiting, the platform's clock goes on."""
        client = connect(self.hub.url, token, pause=None, backoff=0, **options)
        return GitHubRepo(client, events.REPOSITORY, sleep or self.hub.limits.pass_time)

    def deliver(self, *found: Any) -> list[Path]:
        return [reports.delivered(self.folder / f"out-{i}", r) for i, r in enumerate(found)]

    def pending(self, **effects: Any) -> int:
        return int(publish_pending(self.effects(**effects)))

    def publish(self, *found: Any, folders: Sequence[Path] | None = None, **effects: Any) -> int:
        """Publish reports, or whatever lies in ``folders``."""
        return int(publish_results(self.effects(**effects), self.deliver(*found) if folders is None else folders))

    def report(self, forgetting: str = "pass", **more: Any) -> Any:
        return reports.report(self.policy, forgetting, **more)

    def outputs(self) -> dict[str, str]:
        """The job's outputs, the last of each name, read as the runner reads them."""
        found: dict[str, str] = {}
        lines = (self.folder / "output").read_text(encoding="utf-8").split("\n")
        while lines and "<<" in lines[0]:
            name, _, delimiter = lines.pop(0).partition("<<")
            value = []
            while (line := lines.pop(0)) != delimiter:
                value.append(line)
            found[name] = "\n".join(value)
        return found

    def quoted(self, token: str = "token", **settings: Any) -> StatusQuotes:
        """The statuses that count, for whoever owns the token."""
        return quotes_of(self.client(token), self.policy.publish.model_copy(update=settings))

    def records(self) -> tuple[Record, ...]:
        """What the policy's ledger holds."""
        ledger = read_ledger(self.client(), self.policy.publish.branch)
        return ledger.records if ledger else ()

    def verified(self, now: str, **settings: Any) -> VerifyResult:
        """What `ftgate verify` says of the candidate that pull requests begin with."""
        ledger = read_ledger(self.client(), self.policy.publish.branch)
        digest = reports.digest("bot v1")
        return verify_candidate(ledger, digest, self.policy.sha256(), now, self.quoted(**settings))

    def thread(self) -> list[str]:
        """The bodies of our comments that are not folded."""
        return [c.body for c in self.hub.comments if c.author == "github-actions[bot]" and not c.minimised]

    def with_run(self, effects: Effects, run: str) -> Effects:
        return replace(effects, target=replace(effects.target, run=run))
