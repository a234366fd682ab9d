"""One job to be reported on: the effects it works with, and everything that is found out before anyone is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ftgate.errors import FtgateError, PublishError
from ftgate.github import match_reports as judging
from ftgate.github.actions_runner import Runner
from ftgate.github.audit.ledger_branch import read_ledger
from ftgate.github.audit.record import Record
from ftgate.github.audit.waivers import covering
from ftgate.github.changed_manifests import BaseChange, base_changes, removed_manifests
from ftgate.github.client import Hub, Pull
from ftgate.github.comment import Section, difference
from ftgate.github.event import Outcome, Place
from ftgate.github.match_reports import Judged, Rules
from ftgate.github.suite_check import base_suites
from ftgate.github.verify_report import Redo, Standard

DEFAULT_CONTEXT = "ftgate/verdict"


@dataclass(frozen=True, slots=True)
class Desk:
    """The effects of the publisher, and where it works."""

    hub: Hub
    place: Place
    runner: Runner
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
class Case:
    """What is found out about one job, step by step. What fails leaves the later fields as they are."""

    place: Place
    pull: Pull | None = None
    rules: Rules | None = None
    judged: list[Judged] = field(default_factory=list)
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
    def sections(self) -> tuple[Section, ...]:
        """What the comment says about each model, the worst first."""
        ranked = sorted(self.judged, key=lambda j: judging.SEVERITY.index(j.verdict))
        return tuple(Section(j.title, j.verdict, j.report, j.problems) for j in ranked)


def examine(desk: Desk, folders: Sequence[Path] | None) -> Case:
    """Find out everything. What cannot be found out is a problem of the case, so that it is told, not only raised."""
    case = Case(desk.place)
    try:
        case.place, case.pull = judging.locate(desk.hub, desk.place)
        case.rules = judging.read_rules(desk.hub, case.place, desk.policy_path)
        paths = judging.changed_paths(desk.hub, case.place, case.pull)
        _require_own_workflow(case.place, paths or [], desk.policy_path)
        changed = judging.manifests_of(desk.hub, case.place, case.rules, paths)
        case.changed = [entry.path for entry in changed]
        case.removed = removed_manifests(case.rules.policy.manifests, paths or [], case.changed)
        if paths is not None and desk.policy_path in paths:
            theirs = desk.hub.text_at(desk.policy_path, case.place.sha)
            case.policy_change = difference(case.rules.text, theirs, desk.policy_path)
        case.nothing_changed = paths is not None and not changed and not folders
        if folders is not None and not case.nothing_changed:
            head, base = (desk.hub.tree(commit) for commit in (case.place.sha, case.rules.commit))
            case.bases = base_changes(changed, case.removed, head, base, desk.hub.blob)
            case.judged = judging.judge(folders, _standard(desk, case.rules, case.place.sha, paths or []), changed)
            if not case.judged:
                case.problems.append("the evaluation left no report")
            _read_ledger(desk, case)
    except FtgateError as error:
        case.problems.append(error.message)
        desk.say(f"{error}")
    return case


def _standard(desk: Desk, rules: Rules, sha: str, paths: Sequence[str]) -> Standard:
    """What every report is held to."""
    suites = base_suites(desk.hub, desk.hub.tree(rules.commit), rules.policy, rules.path, frozenset(paths))
    beside = partial(judging.digest_beside, desk.hub, desk.hub.tree(sha), rules.policy.artifacts.skip)
    return Standard(rules.policy, suites, desk.redo(rules.text) if desk.redo else None, beside)


def _require_own_workflow(place: Place, paths: Sequence[str], policy_path: str) -> None:
    """A fork's run followed the workflow as the fork has it: if it edits that, its report proves nothing."""
    edited = [p for p in paths if p.startswith(".github/") and p != policy_path]
    if place.event == "workflow_run" and place.fork and edited:
        raise PublishError(
            f"the fork's run may have followed the fork's own workflow: the change edits {edited[0]}",
            hint="judge it on pull_request_target, after an approval of exactly this commit",
        )


def _read_ledger(desk: Desk, case: Case) -> None:
    assert case.rules is not None
    settings = case.rules.policy.publish
    if settings.ledger != "branch":
        return
    chain = read_ledger(desk.hub, settings.branch)
    records = chain.records if chain else ()
    case.earlier = [r for r in records if r.pull_request and r.pull_request == case.place.pull_request]
    if chain and chain.problems:
        desk.say(f"no waiver counts, for the ledger is not whole: {chain.problems[0]}")
        return
    found = covering(records, [j.entry().candidate for j in case.judged], case.rules.policy.sha256(), desk.now())
    if case.place.event == "merge_group":
        # The queue judges a commit of its own: the waiver is for the head of a pull request in it, as it still stands.
        case.waivers = [w for w in found if w.pull_request and desk.hub.pull(w.pull_request).head == w.head]
    else:
        case.waivers = [w for w in found if w.head == case.place.sha]
