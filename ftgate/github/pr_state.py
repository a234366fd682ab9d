"""The state of the pull request that a job reports on, read before anything is posted, and the job's effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ftgate.config.policy import PublishSettings
from ftgate.errors import FtgateError, PublishError
from ftgate.github.actions_runner import ActionsFiles
from ftgate.github.audit.comment_log import own_comments
from ftgate.github.audit.ledger_branch import read_ledger
from ftgate.github.audit.quotes import quotes_of
from ftgate.github.audit.record import Record
from ftgate.github.audit.waivers import matching_waivers
from ftgate.github.changed_manifests import BaseChange, base_changes, candidate_at, removed_manifests
from ftgate.github.client import GitHubRepo, Pull
from ftgate.github.comment import CommentSection, difference, read_trail
from ftgate.github.event import Outcome, RunTarget
from ftgate.github.forks import require_approval
from ftgate.github.incumbent import ledger_of
from ftgate.github.installing import NoPolicyError, installs_policy, stated_settings
from ftgate.github.match_reports import (
    SEVERITY,
    BasePolicy,
    JudgedModel,
    changed_paths,
    digest_in_commit,
    manifests_to_judge,
    match_reports,
    read_base_policy,
    resolve_target,
    worst_verdict,
)
from ftgate.github.pages import Pages
from ftgate.github.suite_check import base_labels, base_suites
from ftgate.github.verify_report import DecideAgain, Expected
from ftgate.jobs.incumbent import LastAllowed


@dataclass(frozen=True, slots=True)
class Effects:
    """What the report job acts on: GitHub, the runner, the clock and the log."""

    repo: GitHubRepo
    target: RunTarget
    runner: ActionsFiles
    now: Callable[[], str]
    """The current time, in ISO 8601 with seconds."""
    log: Callable[[str], None]
    """Prints to the job's log; the text may be untrusted, so it must not reach the runner as a command."""
    command: Callable[[str], None]
    """Prints workflow commands for the runner."""
    policy_path: str = ".github/ftgate.yml"
    decide_again: Callable[[str], DecideAgain] | None = None
    """Given the policy's text, returns the function that recomputes a report from its answers."""
    author: str = ""
    """Login that writes the gate's comments; by default the token's owner."""
    pages: Pages | None = None
    """The site that the pages of the reports are published on, if they are."""


@dataclass(slots=True)
class PullRequestState:
    """Everything known about one job, filled in step by step: after a failed step later fields keep their defaults."""

    target: RunTarget
    pull: Pull | None = None
    base_policy: BasePolicy | None = None
    judged: list[JudgedModel] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Paths of the manifests to judge: those that the change touches, or all without a base to compare with."""
    removed: list[str] = field(default_factory=list)
    """Paths of manifests that the change removes: their models are no longer judged."""
    changed_bases: list[BaseChange] = field(default_factory=list)
    policy_change: str = ""
    problems: list[str] = field(default_factory=list)
    page: str = ""
    """The address of the run's pages, once they are left for publication."""
    waivers: list[Record] = field(default_factory=list)
    earlier_records: list[Record] = field(default_factory=list)
    """Records of the same pull request on the ledger branch."""
    nothing_changed: bool = False
    installs_policy: bool = False
    """The base branch has no policy, and the change brings it."""
    stated: PublishSettings = field(default_factory=PublishSettings)
    """What a policy that is not in force yet, or not valid, says of publishing."""

    @property
    def verdict(self) -> str:
        """The gate's own verdict, waivers aside."""
        if self.problems:
            return "error"
        return "no model change" if self.nothing_changed else worst_verdict(self.judged)

    @property
    def outcome(self) -> Outcome:
        """The verdict with waivers applied, which the status shows."""
        open_ = [j for j in self.judged if j.verdict in ("block", "hold")]
        waived = {entry.candidate for waiver in self.waivers for entry in waiver.models}
        if self.verdict in ("block", "hold") and all(j.entry().candidate in waived for j in open_):
            return "waived"
        return self.verdict  # type: ignore[return-value]  # every verdict is an outcome

    @property
    def newer(self) -> str:
        """The head that superseded the judged commit, or an empty text."""
        return self.pull.head if self.pull and self.pull.head != self.target.sha else ""

    @property
    def publishing(self) -> PublishSettings:
        """How the result is posted."""
        return self.base_policy.policy.publish if self.base_policy is not None else self.stated

    @property
    def context(self) -> str:
        """The name of the status."""
        return self.publishing.context

    @property
    def sections(self) -> tuple[CommentSection, ...]:
        """The comment's section on each model, worst verdict first."""
        ranked = sorted(self.judged, key=lambda j: SEVERITY.index(j.verdict))
        return tuple(CommentSection(j.title, j.verdict, j.report, j.problems) for j in ranked)


def examine(effects: Effects, folders: Sequence[Path] | None) -> PullRequestState:
    """Read everything that a report needs. Failures become problems of the state, so that they are posted."""
    pr_state = PullRequestState(effects.target)
    try:
        pr_state.target, pr_state.pull = resolve_target(effects.repo, effects.target)
        pr_state.base_policy = read_base_policy(effects.repo, pr_state.target, effects.policy_path)
        paths = changed_paths(effects.repo, pr_state.target, pr_state.pull)
        _require_own_workflow(pr_state.target, paths or [], effects.policy_path)
        changed = manifests_to_judge(effects.repo, pr_state.target, pr_state.base_policy, paths)
        pr_state.changed = [entry.path for entry in changed]
        pr_state.removed = removed_manifests(pr_state.base_policy.policy.manifests, paths or [], pr_state.changed)
        if paths is not None and effects.policy_path in paths:
            head_text = effects.repo.text_at(effects.policy_path, pr_state.target.sha)
            pr_state.policy_change = difference(pr_state.base_policy.text, head_text, effects.policy_path)
        pr_state.nothing_changed = paths is not None and not changed and not folders
        if changed:
            require_approval(effects.repo, pr_state.target)
        if folders is not None and not pr_state.nothing_changed:
            target = pr_state.target
            head, base = (effects.repo.tree(commit) for commit in (pr_state.target.sha, pr_state.base_policy.commit))
            pr_state.changed_bases = base_changes(changed, pr_state.removed, head, base, effects.repo.blob)
            pr_state.judged = match_reports(
                folders, _expected(effects, pr_state.base_policy, target.sha, paths or [], target.pull_request), changed
            )
            if not pr_state.judged:
                pr_state.problems.append("the evaluation left no report")
            _read_ledger(effects, pr_state)
    except FtgateError as error:
        if not _is_installing(effects, pr_state, error):
            pr_state.problems.append(error.message)
            effects.log(f"{error}")
        _read_stated_settings(effects, pr_state)
    return pr_state


def _read_stated_settings(effects: Effects, pr_state: PullRequestState) -> None:
    """Without a policy in force, find out its status's name, so that another policy's status is left alone."""
    ref = pr_state.target.sha if pr_state.installs_policy else pr_state.target.base_ref
    if pr_state.base_policy is None and ref:
        with suppress(FtgateError):
            pr_state.stated = stated_settings(effects.repo.text_at(effects.policy_path, ref))


def _is_installing(effects: Effects, pr_state: PullRequestState, error: FtgateError) -> bool:
    """Whether ``error`` only says that the change itself brings the first policy; then there is nothing to judge."""
    try:
        if isinstance(error, NoPolicyError) and installs_policy(effects.repo, pr_state.target, effects.policy_path):
            pr_state.installs_policy = pr_state.nothing_changed = True
    except FtgateError as another:
        effects.log(f"{another}")
    return pr_state.installs_policy


def _expected(
    effects: Effects, base_policy: BasePolicy, sha: str, paths: Sequence[str], pull_request: int | None
) -> Expected:
    """What every report is checked against."""
    tree, touched = effects.repo.tree(base_policy.commit), frozenset(paths)
    suites = base_suites(effects.repo, tree, base_policy.policy, base_policy.path, touched)
    source_digest = partial(digest_in_commit, effects.repo, effects.repo.tree(sha), base_policy.policy.artifacts.skip)
    return Expected(
        base_policy.policy,
        suites,
        effects.decide_again(base_policy.text) if effects.decide_again else None,
        source_digest,
        partial(_last_allowed, effects, base_policy, pull_request),
        base_labels(effects.repo, tree, base_policy.policy, base_policy.path, touched),
    )


def _last_allowed(effects: Effects, base_policy: BasePolicy, pull_request: int | None, path: str) -> LastAllowed:
    deployed = partial(candidate_at, effects.repo, base_policy.commit)
    return ledger_of(effects.repo, base_policy.policy, pull_request, deployed).last_allowed(path)


def _require_own_workflow(target: RunTarget, paths: Sequence[str], policy_path: str) -> None:
    """Raise PublishError if a fork's run may have used the fork's own workflow: then its report proves nothing."""
    edited = [p for p in paths if p.startswith(".github/") and p != policy_path]
    if target.event == "workflow_run" and target.fork and edited:
        raise PublishError(
            f"the fork's run may have used the fork's own workflow: the change edits {edited[0]}",
            hint="run the gate on pull_request_target, after an approval of exactly this commit",
        )


def _read_ledger(effects: Effects, pr_state: PullRequestState) -> None:
    assert pr_state.base_policy is not None
    settings = pr_state.base_policy.policy.publish
    if settings.ledger != "branch":
        return
    ledger = read_ledger(effects.repo, settings.branch)
    records = ledger.records if ledger else ()
    own = [r for r in records if r.belongs_to(settings.context)]
    pr_state.earlier_records = [r for r in own if r.pull_request and r.pull_request == pr_state.target.pull_request]
    if ledger and ledger.problems:
        effects.log(f"waivers are ignored because the ledger is not intact: {ledger.problems[0]}")
        return
    waivers = matching_waivers(
        own, [j.entry().candidate for j in pr_state.judged], pr_state.base_policy.policy.sha256(), effects.now()
    )
    if pr_state.target.event != "merge_group":
        waivers = [w for w in waivers if w.head == pr_state.target.sha]
    quoted = quotes_of(effects.repo, settings)
    for lack in filter(None, map(quoted.lack, waivers)):
        effects.log(f"a waiver is ignored: {lack}")
    waivers = [w for w in waivers if not quoted.lack(w)]
    if pr_state.target.event == "merge_group":
        # A merge queue judges a commit of its own: a waiver counts if its pull request still has the waived head.
        pr_state.waivers = [w for w in waivers if w.pull_request and effects.repo.pull(w.pull_request).head == w.head]
    else:
        pr_state.waivers = waivers


def late_records(effects: Effects, pr_state: PullRequestState) -> list[Record]:
    """The records of earlier jobs that could not write the ledger: they are only in the pull request's comment.

    Only errors, because nothing else is left by such a job and a comment must not allow anything; and only if a status
    vouches for them, because whoever may edit the comment can add records.
    """
    number = pr_state.target.pull_request
    if number is None or pr_state.base_policy is None:
        return []
    author = effects.author or effects.repo.login()
    own = own_comments(effects.repo.comments(number), author, pr_state.context)
    quoted = quotes_of(effects.repo, pr_state.base_policy.policy.publish)
    on_branch = {r.identity for r in pr_state.earlier_records}
    in_comment = read_trail(own[0].body).records if own else ()
    errors = [r for r in in_comment if r.kind == "run" and r.verdict == "error" and r.identity not in on_branch]
    return [r for r in errors if r.pull_request == number and quoted.quoting(r) is not None]
