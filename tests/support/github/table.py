"""docs/github-events.md, made of what jobs on a fake platform left there (`make events`).

Each row is a job of its own: the payload of the event and a report go through the publisher, and the row says which
statuses and comments the platform was given. What the publisher means to do is not asked.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftgate.github import installing
from ftgate.github.audit.history import add_waiver
from ftgate.github.comment import TRAIL_OPENS
from ftgate.github.pr_state import Effects
from ftgate.github.publish import publish_pending, publish_results
from ftgate.report.render import MARKER
from support import reports
from support.github import events
from support.github.scene import NUMBER, POLICY_PATH, Scene
from support.github.server import BOT, FakeGitHub
from support.github.state import IssueComment

INSTALLS = "brings the policy"
FOUND = {"allow": "pass", "waived": "block", "block": "block", "hold": "inconclusive"}
"""The outcomes of a report, by what its forgetting came to; without a model, or a policy, there is no report."""
OUTCOMES = ("pending", "allow", "waived", "no model change", "block", "hold", "error")
SUPERSEDED = "any, but a newer head is there"
STATES = {"allow": "success", "block": "failure"}
EARLIER = f"{MARKER}\n## an earlier result\n"
FOR_PULL = "workflow_dispatch for a pull request"
HELD_TO_ALL = ("release", "workflow_dispatch")
"""Events with nothing to compare with: every manifest of the commit is judged, so that no change is no outcome."""
FORKED = ("pull_request", "pull_request_target", "workflow_run")
THREADS = (*FORKED, FOR_PULL)
"""Events that belong to one pull request, whose head can move on."""
EVENTS = (*FORKED[:2], "merge_group", "push", "release", "workflow_dispatch", FOR_PULL, FORKED[2])
HEADER = """# What is reported where

Recorded from jobs against a GitHub server that is part of the tests (`make events`); a test keeps this page current.
`head` is the head of the pull request or of the merge group, or the input `sha` of a manual run, which may also name a
pull request. The status is `ftgate/verdict`. Drafts are treated like any other pull request. A release, and a manual
run on a single commit, are held to every manifest of the commit: they have nothing to compare with.

In a fork's own `pull_request` event the token is read-only: nothing is posted, and the result is on the job's summary
page. A workflow on `workflow_run` or `pull_request_target` in the base repository posts it.

The pull request that brings the policy to a base branch without one cannot be judged yet: its status is a success that
says so, and the next pull request is judged.

"over an earlier one": an existing comment is updated; none is created. "its history alone": the result of the newer
head stays, and the record is added below it.

| event | from a fork | outcome | status on | status | comment |
|---|---|---|---|---|---|
"""


class Job:
    """One job on a platform of its own, and what it left there."""

    def __init__(self, folder: Path, hub: FakeGitHub, event: str, fork: bool) -> None:
        self.scene, self.hub, self.event, self.fork = Scene(hub, folder), hub, event, fork
        self.heads: dict[str, str] = {}

    def play(self, outcome: str, *, superseded: bool = False) -> tuple[str, str, str]:
        """Where the job's status is, what it is, and what the job does about a comment, be there one yet or not."""
        scene = self.scene
        files = {"README.md": "better"} if outcome == "no model change" else None
        if outcome == INSTALLS:
            scene.base = self.hub.git.commit({POLICY_PATH: None}, scene.base, branch="main")
            files = {POLICY_PATH: scene.text, "models/bot.yaml": reports.manifest()}
        head = scene.push(files, fork=self.fork)
        if outcome == "waived":
            scene.publish(scene.report("block"), event="pull_request_target")
            settings = {"days": 7, "settings": scene.policy.publish, "author": BOT}
            now = scene.effects().now()
            add_waiver(scene.client(), NUMBER, "boss", reports.digest("bot v1"), "urgent", now=now, **settings)
        event, env = self._payload(head, files)
        effects = scene.effects(event=self.event.split()[0], payload=event, **env)
        if superseded:
            self.heads[scene.push({"models/bot.yaml": reports.manifest(version="v2")}, fork=self.fork)] = "a newer head"
        sha, state, made = self._do(effects, outcome, "")
        if made == "yes":
            return sha, state, made
        _, _, edited = self._do(effects, outcome, EARLIER)
        return sha, state, "over an earlier one" if edited == "yes" else edited

    def _do(self, effects: Effects, outcome: str, earlier: str) -> tuple[str, str, str]:
        """One run of the job, where nothing but the comment ``earlier`` is there."""
        hub = self.hub
        # A waiver counts by the status that quotes it, which is the newest there.
        hub.statuses[:] = hub.statuses[-1:] if outcome == "waived" else []
        earlier_statuses = len(hub.statuses)
        hub.comments[:] = [IssueComment(1, NUMBER, BOT, earlier)] if earlier else []
        if outcome == "pending":
            publish_pending(effects)
        else:
            found = FOUND.get(outcome)
            publish_results(effects, self.scene.deliver(self.scene.report(found)) if found else [])
        ((sha, state),) = {(self.heads[s.sha], s.state) for s in hub.statuses[earlier_statuses:]} or {("–", "none")}
        return sha, state, self._commented(earlier)

    def _payload(self, head: str, files: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, str]]:
        """The event about ``head``, or about a commit of the queue with the same files."""
        self.heads |= {events.MERGE: "merge commit", head: "head"}
        if self.event == "merge_group":
            queued = self.hub.git.commit(files or {"models/bot.yaml": reports.manifest()}, self.scene.base, "queued")
            self.heads |= {queued: "head", head: "the pull request's head"}
            return events.merge_group(queued, self.scene.base), {}
        if self.event in ("push", "release"):
            self.heads[head] = "GITHUB_SHA"
            payload = events.push(head, self.scene.base) if self.event == "push" else events.release()
            return payload, {"GITHUB_SHA": head}
        if self.event == "workflow_run":
            return events.workflow_run(head, fork=self.fork), {}
        if self.event == "workflow_dispatch":
            return events.workflow_dispatch(sha=head), {}
        if self.event == FOR_PULL:
            return events.workflow_dispatch(**{"sha": head, "pull-request": str(NUMBER)}), {}
        return events.pull_request(self.hub.pulls[NUMBER]), {}

    def _commented(self, earlier: str) -> str:
        if not self.hub.comments:
            return "no"
        (comment,) = self.hub.comments
        if comment.body == earlier:
            return "no"
        kept = bool(earlier) and comment.body.startswith(earlier.split(f"\n{TRAIL_OPENS}")[0].rstrip())
        return "its history alone" if kept else "yes"


def recorded(event: str, fork: bool, outcome: str, *, superseded: bool = False) -> tuple[str, str, str]:
    """What one job leaves on a platform of its own."""
    with tempfile.TemporaryDirectory() as folder, FakeGitHub(Path(folder, "platform")) as hub:
        return Job(Path(folder), hub, event, fork).play(outcome, superseded=superseded)


def rows() -> Iterator[tuple[str, ...]]:
    """One row for each event, origin and outcome."""
    for event in EVENTS:
        for fork in (False, True) if event in FORKED else (False,):
            origin = ("yes" if fork else "no") if event in FORKED else "–"
            for outcome in (o for o in OUTCOMES if o != "no model change" or event not in HELD_TO_ALL):
                yield (event, origin, outcome, *recorded(event, fork, outcome))
            if event in installing.EVENTS and not fork:
                yield (event, origin, INSTALLS, *recorded(event, fork, INSTALLS))
            if event in THREADS:
                late = {o: recorded(event, fork, o, superseded=True) for o in STATES}
                ((sha, comment),) = {(sha, comment) for sha, _, comment in late.values()}
                states = {o: state for o, (_, state, _) in late.items()}
                (state,) = {"as its outcome"} if states == STATES else set(states.values())
                yield event, origin, SUPERSEDED, sha, state, comment


def document() -> str:
    """The whole page."""
    return HEADER + "".join(f"| {' | '.join(row)} |\n" for row in rows())


if __name__ == "__main__":
    sys.stdout.write(document())
