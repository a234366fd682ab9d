"""One job to be reported on: the effects it works with, and everything that is found out before anyone is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ftgate.errors import FtgateError, PublishError
from ftgate.github import match_reports as judging
from ftgate.github.actions_runner import ActionsFiles
from ftgate.github.audit.ledger_branch import read_ledger
from ftgate.github.audit.record import Record
from ftgate.github.audit.waivers import covering
from ftgate.github.changed_manifests import BaseChange, base_changes, removed_manifests
from ftgate.github.client import GitHubRepo, Pull
from ftgate.github.comment import CommentSection, difference
from ftgate.github.event import Outcome, RunTarget
from ftgate.github.match_reports import JudgedModel, Rules
from ftgate.github.suite_check import base_suites
from ftgate.github.verify_report import Expected, Redo

DEFAULT_CONTEXT = "ftgate/verdict"


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects of the publisher, and where it works."""

    hub: GitHubRepo
    place: RunTarget
    runner: ActionsFiles
    now: Callable[[], str]
    """The time, in ISO 8601 with seconds."""
    say: Callable[[str], None]
    """Prints to the job's log whatever a stranger may have had a hand in, so that no runner obeys it."""
    command: Callable[[str], None]
    """Prints lines that the runner is to obey."""
    policy_path: str = ".github/ftgate.yml"
    redo: Callable[[str], Redo] | None = None
    """Given the policy's text, what takes a decision again from its answers."""
    author: str = ""
    """Who writes our comments; by default whoever the token speaks as."""


@dataclass(slots=True)
class PullRequestState:
    """What is found out about one job, step by step. What fails leaves the later fields as they are."""

    place: RunTarget
    pull: Pull | None = None
    rules: Rules | None = None
    judged: list[JudgedModel] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Paths of the manifests to judge: those that the change touches, or all where there is nothing to compare with."""
    removed: list[str] = field(default_factory=list)
    """Paths of manifests that the change takes away: no model is judged by them any more."""
    bases: list[BaseChange] = field(default_factory=list)
    policy_change: str = ""
    problems: list[str] = field(default_factory=list)
    waivers: list[Record] = field(default_factory=list)
    earlier: list[Record] = field(default_factory=list)
    """Records of the same pull request on the ledger branch."""
    nothing_changed: bool = False

    @property
    def verdict(self) -> str:
        """The gate's own word, whatever was waived."""
        if self.problems:
            return "error"
        return "no model change" if self.nothing_changed else judging.verdict_of(self.judged)

    @property
    def outcome(self) -> Outcome:
        """What the status says."""
        open_ = [j for j in self.judged if j.verdict in ("block", "hold")]
        waived = {entry.candidate for waiver in self.waivers for entry in waiver.models}
        if self.verdict in ("block", "hold") and all(j.entry().candidate in waived for j in open_):
            return "waived"
        return self.verdict  # type: ignore[return-value]  # every verdict is an outcome

    @property
    def newer(self) -> str:
        """The head that superseded the judged commit, or nothing."""
        return self.pull.head if self.pull and self.pull.head != self.place.sha else ""

    @property
    def context(self) -> str:
        """The name of the status."""
        return self.rules.policy.publish.context if self.rules else DEFAULT_CONTEXT

    @property
    def sections(self) -> tuple[CommentSection, ...]:
        """What the comment says about each model, the worst first."""
        ranked = sorted(self.judged, key=lambda j: judging.SEVERITY.index(j.verdict))
        return tuple(CommentSection(j.title, j.verdict, j.report, j.problems) for j in ranked)


def examine(effects: Effects, folders: Sequence[Path] | None) -> PullRequestState:
    """Find out everything. What cannot be found out is a problem of the case, so that it is told, not only raised."""
    pr_state = PullRequestState(effects.place)
    try:
        pr_state.place, pr_state.pull = judging.locate(effects.hub, effects.place)
        pr_state.rules = judging.read_rules(effects.hub, pr_state.place, effects.policy_path)
        paths = judging.changed_paths(effects.hub, pr_state.place, pr_state.pull)
        _require_own_workflow(pr_state.place, paths or [], effects.policy_path)
        changed = judging.manifests_of(effects.hub, pr_state.place, pr_state.rules, paths)
        pr_state.changed = [entry.path for entry in changed]
        pr_state.removed = removed_manifests(pr_state.rules.policy.manifests, paths or [], pr_state.changed)
        if paths is not None and effects.policy_path in paths:
            theirs = effects.hub.text_at(effects.policy_path, pr_state.place.sha)
            pr_state.policy_change = difference(pr_state.rules.text, theirs, effects.policy_path)
        pr_state.nothing_changed = paths is not None and not changed and not folders
        if folders is not None and not pr_state.nothing_changed:
            head, base = (effects.hub.tree(commit) for commit in (pr_state.place.sha, pr_state.rules.commit))
            pr_state.bases = base_changes(changed, pr_state.removed, head, base, effects.hub.blob)
            pr_state.judged = judging.judge(
                folders, _standard(effects, pr_state.rules, pr_state.place.sha, paths or []), changed
            )
            if not pr_state.judged:
                pr_state.problems.append("the evaluation left no report")
            _read_ledger(effects, pr_state)
    except FtgateError as error:
        pr_state.problems.append(error.message)
        effects.say(f"{error}")
    return pr_state


def _standard(effects: Effects, rules: Rules, sha: str, paths: Sequence[str]) -> Expected:
    """What every report is held to."""
    suites = base_suites(effects.hub, effects.hub.tree(rules.commit), rules.policy, rules.path, frozenset(paths))
    beside = partial(judging.digest_beside, effects.hub, effects.hub.tree(sha), rules.policy.artifacts.skip)
    return Expected(rules.policy, suites, effects.redo(rules.text) if effects.redo else None, beside)


def _require_own_workflow(place: RunTarget, paths: Sequence[str], policy_path: str) -> None:
    """A fork's run followed the workflow as the fork has it: if it edits that, its report proves nothing."""
    edited = [p for p in paths if p.startswith(".github/") and p != policy_path]
    if place.event == "workflow_run" and place.fork and edited:
        raise PublishError(
            f"the fork's run may have followed the fork's own workflow: the change edits {edited[0]}",
            hint="judge it on pull_request_target, after an approval of exactly this commit",
        )


def _read_ledger(effects: Effects, pr_state: PullRequestState) -> None:
    assert pr_state.rules is not None
    settings = pr_state.rules.policy.publish
    if settings.ledger != "branch":
        return
    chain = read_ledger(effects.hub, settings.branch)
    records = chain.records if chain else ()
    pr_state.earlier = [r for r in records if r.pull_request and r.pull_request == pr_state.place.pull_request]
    if chain and chain.problems:
        effects.say(f"no waiver counts, for the ledger is not whole: {chain.problems[0]}")
        return
    found = covering(
        records, [j.entry().candidate for j in pr_state.judged], pr_state.rules.policy.sha256(), effects.now()
    )
    if pr_state.place.event == "merge_group":
        # The queue judges a commit of its own: the waiver is for the head of a pull request in it, as it still stands.
        pr_state.waivers = [w for w in found if w.pull_request and effects.hub.pull(w.pull_request).head == w.head]
    else:
        pr_state.waivers = [w for w in found if w.head == pr_state.place.sha]
