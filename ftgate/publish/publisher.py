"""Telling GitHub: pending at once, a final status always, one comment, the audit trail, and the runner's own files.

The ledger comes first, then the comment, then the status, which quotes the record that the other two hold. So a job
that was cut short can be run again, and whatever is there already is found and left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ftgate.domain import ExitCode
from ftgate.errors import FtgateError
from ftgate.publish import judging
from ftgate.publish.branch import append, read_ledger
from ftgate.publish.comment import Page, Section, compose, difference, read_trail, summary, with_trail
from ftgate.publish.context import Outcome, Place, posting
from ftgate.publish.hub import CommitStatus, Hub, Pull
from ftgate.publish.inbox import Redo
from ftgate.publish.judging import Judged, Rules
from ftgate.publish.outputs import Runner, commands
from ftgate.publish.records import Record
from ftgate.publish.retrying import RefusedError
from ftgate.publish.status import description
from ftgate.publish.thread import keep_comment
from ftgate.publish.waivers import covering

CHECK_NAME = "ftgate report"
ANNOTATIONS_A_CALL = 50
DEFAULT_CONTEXT = "ftgate/verdict"
EXITS = {"block": ExitCode.BLOCK, "hold": ExitCode.HOLD, "error": ExitCode.GATE_FAILED}


@dataclass(frozen=True, slots=True)
class Desk:
    """The effects of the publisher, and where it works."""

    hub: Hub
    place: Place
    runner: Runner
    now: Callable[[], str]
    """The time, in ISO 8601 with seconds."""
    say: Callable[[str], None]
    """Prints a line to the job's log."""
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
    """Paths of the manifests that the change touches."""
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


def announce(desk: Desk) -> ExitCode:
    """Post what can be said before any model runs: pending, or at once that no model changed."""
    case = _examine(desk, None)
    desk.runner.set_outputs({"manifests": json.dumps(case.changed), "model-change": str(bool(case.changed)).lower()})
    if case.problems or case.nothing_changed:
        return _done(case, _tell(desk, case))
    if not case.place.may_write:
        desk.say("this event's token cannot write: no status is set here")
        return ExitCode.ALLOW
    waiting = tuple(Section(path, "pending") for path in case.changed)
    status = CommitStatus("pending", description("pending", waiting, ()), case.place.run_url)
    desk.hub.set_status(case.place.sha, case.context, status)
    desk.say(f"pending on {case.place.sha[:7]}: {', '.join(case.changed) or 'the reports of this run'}")
    return ExitCode.ALLOW


def publish(desk: Desk, folders: Sequence[Path]) -> ExitCode:
    """Check the reports in ``folders`` and tell everyone. A final status is set whatever goes wrong before it."""
    case = Case(desk.place)
    try:
        case = _examine(desk, folders)
        troubles = _tell(desk, case)
    except Exception as error:
        said = error.message if isinstance(error, FtgateError) else f"internal error: {type(error).__name__}"
        case.problems.append(said)
        # The last thing that can still be done for whoever waits for a status; the error itself is what is reported.
        with suppress(FtgateError):
            _set_status(desk, case, None)
        raise
    return _done(case, troubles)


def _examine(desk: Desk, folders: Sequence[Path] | None) -> Case:
    """Find out everything. What cannot be found out is a problem of the case, so that it is told, not only raised."""
    case = Case(desk.place)
    try:
        case.place, case.pull = judging.locate(desk.hub, desk.place)
        case.rules = judging.read_rules(desk.hub, case.place, desk.policy_path)
        paths = judging.changed_paths(desk.hub, case.place)
        changed = None if paths is None else judging.manifests_of(desk.hub, case.place, case.rules, paths)
        case.changed = [entry.path for entry in changed or ()]
        if paths is not None and desk.policy_path in paths:
            theirs = desk.hub.text_at(desk.policy_path, case.place.sha)
            case.policy_change = difference(case.rules.text, theirs, desk.policy_path)
        case.nothing_changed = changed == [] and not folders
        if folders is not None and not case.nothing_changed:
            redo = desk.redo(case.rules.text) if desk.redo else None
            case.judged = judging.judge(folders, case.rules, changed, redo)
            if not case.judged:
                case.problems.append("the evaluation left no report")
            _read_ledger(desk, case)
    except FtgateError as error:
        case.problems.append(error.message)
        desk.say(f"{error}")
    return case


def _read_ledger(desk: Desk, case: Case) -> None:
    assert case.rules is not None
    settings = case.rules.policy.publish
    if settings.ledger != "branch":
        return
    chain = read_ledger(desk.hub, settings.branch)
    records = chain.records if chain else ()
    case.earlier = [r for r in records if r.pull_request and r.pull_request == case.place.pull_request]
    found = covering(records, [j.entry().candidate for j in case.judged], case.rules.policy.sha256(), desk.now())
    if case.place.event == "merge_group":
        # The queue judges a commit of its own: the waiver is for the head of a pull request in it, as it still stands.
        case.waivers = [w for w in found if w.pull_request and desk.hub.pull(w.pull_request).head == w.head]
    else:
        case.waivers = [w for w in found if w.head == case.place.sha]


def _tell(desk: Desk, case: Case) -> list[FtgateError]:
    """Write it down everywhere, and return what failed on the way. The status is set all the same."""
    troubles: list[FtgateError] = []
    stored: Record | None = None
    url = ""
    if case.place.may_write:
        record = _record(case, desk.now())
        try:
            stored = _to_ledger(desk, case, record)
        except FtgateError as error:
            case.problems.append(error.message)
            troubles.append(error)
            record = _record(case, desk.now())
        try:
            url, kept = _to_thread(desk, case, stored or record)
            stored = stored or kept
        except FtgateError as error:
            troubles.append(error)
        _set_status(desk, case, stored)
        _annotate(desk, case)
    else:
        desk.say("this event's token cannot write: the result is on the summary page of this job only")
    _to_runner(desk, case, stored, url)
    return troubles


def _done(case: Case, troubles: Sequence[FtgateError]) -> ExitCode:
    if troubles:
        raise troubles[0]
    return EXITS.get(case.outcome, ExitCode.ALLOW)


def _record(case: Case, now: str) -> Record:
    place = case.place
    return Record.model_validate(
        {
            "time": now,
            "repository": place.repository,
            "pull_request": place.pull_request,
            "head": place.sha,
            "base": place.base_sha,
            "policy": case.rules.policy.sha256() if case.rules else "",
            "verdict": case.verdict,
            "models": [j.entry() for j in case.judged],
            "run": place.run,
            "reason": "; ".join(case.problems),
        }
    )


def _to_ledger(desk: Desk, case: Case, record: Record) -> Record | None:
    # A change that touches no model leaves nothing to prove.
    if case.rules is None or case.rules.policy.publish.ledger != "branch" or case.verdict == "no model change":
        return None
    return append(desk.hub, case.rules.policy.publish.branch, record).record


def _to_thread(desk: Desk, case: Case, record: Record) -> tuple[str, Record | None]:
    """The comment's address, and the record as it stands in it."""
    wanted = posting(case.place, case.outcome, superseded=bool(case.newer)).comment
    alone = wanted == "its history alone"
    if wanted == "no" or case.place.pull_request is None:
        return "", None
    author = desk.author or desk.hub.login()
    page = _page(case)
    comment = keep_comment(
        desk.hub,
        case.place.pull_request,
        author,
        lambda body, chain: with_trail(body, chain) if alone else compose(page, chain),
        [*case.earlier, record],
        create=wanted == "yes",
    )
    if comment is None:
        return "", None
    link = read_trail(comment.body).find(record)
    return comment.url, link.record if link else None


def _page(case: Case) -> Page:
    return Page(
        verdict=case.outcome,
        head=case.place.sha,
        sections=case.sections,
        problems=tuple(case.problems),
        policy=case.rules.policy.sha256() if case.rules else "",
        policy_change=case.policy_change,
        waivers=tuple(case.waivers),
    )


def _set_status(desk: Desk, case: Case, record: Record | None) -> None:
    state = posting(case.place, case.outcome).state
    if state is None:
        return
    text = description(case.outcome, case.sections, case.problems, record, case.newer)
    desk.hub.set_status(case.place.sha, case.context, CommitStatus(state, text, case.place.run_url))
    desk.say(f"{case.place.sha[:7]}: {state}: {text}")


def _annotate(desk: Desk, case: Case) -> None:
    """Notes on the manifests' lines: as check runs, of 50 each, or in the log where the token does not permit that."""
    notes = judging.notes_on(case.judged)
    if not notes or case.newer:
        return
    try:
        for start in range(0, len(notes), ANNOTATIONS_A_CALL):
            part = start // ANNOTATIONS_A_CALL + 1
            desk.hub.create_check_run(
                {
                    "name": CHECK_NAME if part == 1 else f"{CHECK_NAME} {part}",
                    "head_sha": case.place.sha,
                    "external_id": f"{case.place.run}/{case.verdict}/{part}",
                    "status": "completed",
                    "conclusion": "success" if case.outcome == "waived" else "failure",
                    "output": {
                        "title": case.outcome,
                        "summary": "The comment on the pull request has the numbers.",
                        "annotations": [a.api() for a in notes[start : start + ANNOTATIONS_A_CALL]],
                    },
                }
            )
    except RefusedError:
        desk.say(commands(notes))
    except FtgateError as error:
        # Notes are a convenience: what they say stands in the comment too.
        desk.say(f"the lines could not be annotated: {error.message}")


def _to_runner(desk: Desk, case: Case, stored: Record | None, url: str) -> None:
    state = posting(case.place, case.outcome).state
    needed = [m.needed_n for j in case.judged if j.report for m in j.report.measurements.values() if m.needed_n]
    desk.runner.set_outputs(
        {
            "verdict": case.outcome,
            "state": state or "",
            "sha": case.place.sha,
            "report": "\n".join(str(j.delivery.folder / "report.json") for j in case.judged if j.delivery),
            "comment-url": url,
            "needed-n": str(max(needed)) if needed else "",
            "record": stored.identity if stored else "",
        }
    )
    desk.runner.write_summary(summary(_page(case)))
