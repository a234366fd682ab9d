"""Telling GitHub: pending at once, a final status always, one comment, the audit trail, and the runner's own files.

The ledger comes first, then the comment, then the status, which quotes the record that the other two hold. So a job
that was cut short can be run again, and whatever is there already is found and left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ftgate.domain import ExitCode
from ftgate.errors import FtgateError
from ftgate.github import match_reports as judging
from ftgate.github.actions_runner import commands
from ftgate.github.audit.comment_log import keep_comment
from ftgate.github.audit.ledger_branch import append
from ftgate.github.audit.record import Record
from ftgate.github.client import CommitStatus
from ftgate.github.comment import Page, Section, compose, read_trail, summary, with_trail
from ftgate.github.commit_status import description
from ftgate.github.event import posting
from ftgate.github.pr_state import Case, Desk, examine
from ftgate.github.retry import RefusedError
from ftgate.report.statement import write_statement

CHECK_NAME = "ftgate report"
ANNOTATIONS_A_CALL = 50
EXITS = {"block": ExitCode.BLOCK, "hold": ExitCode.HOLD, "error": ExitCode.GATE_FAILED}


def announce(desk: Desk) -> ExitCode:
    """Post what can be said before any model runs: pending, or at once that no model changed."""
    case = examine(desk, None)
    desk.runner.set_outputs({"manifests": json.dumps(case.changed), "model-change": str(bool(case.changed)).lower()})
    if case.problems or case.nothing_changed:
        # Whoever plans may not write the ledger. The report, which follows what failed here, puts it on record.
        return _done(case, _tell(desk, case, on_record=not case.problems))
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
        case = examine(desk, folders)
        troubles = _tell(desk, case)
    except Exception as error:
        said = error.message if isinstance(error, FtgateError) else f"internal error: {type(error).__name__}"
        case.problems.append(said)
        # The last thing that can still be done for whoever waits for a status; the error itself is what is reported.
        with suppress(FtgateError):
            _set_status(desk, case, None)
        raise
    return _done(case, troubles)


def _tell(desk: Desk, case: Case, *, on_record: bool = True) -> list[FtgateError]:
    """Write it down everywhere, and return what failed on the way. The status is set all the same."""
    troubles: list[FtgateError] = []
    stored: Record | None = None
    url = ""
    if case.place.may_write:
        record = _record(case, desk.now()) if on_record else None
        try:
            stored = _to_ledger(desk, case, record) if record else None
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


def _to_thread(desk: Desk, case: Case, record: Record | None) -> tuple[str, Record | None]:
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
        case.earlier,
        record,
        create=wanted == "yes",
    )
    if comment is None:
        return "", None
    link = read_trail(comment.body).find(record, since=0) if record else None
    return comment.url, link.record if link else None


def _page(case: Case) -> Page:
    return Page(
        verdict=case.outcome,
        head=case.place.sha,
        sections=case.sections,
        problems=tuple(case.problems),
        policy=case.rules.policy.sha256() if case.rules else "",
        policy_change=case.policy_change,
        bases=tuple(case.bases),
        waivers=tuple(case.waivers),
    )


def _set_status(desk: Desk, case: Case, record: Record | None) -> None:
    state = posting(case.place, case.outcome).state
    if state is None:
        return
    text = description(case.outcome, case.sections, case.problems, record, case.newer, case.removed)
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
        desk.command(commands(notes))
    except FtgateError as error:
        # Notes are a convenience: what they say stands in the comment too.
        desk.say(f"the lines could not be annotated: {error.message}")


def _statements(desk: Desk, case: Case) -> Iterator[str]:
    """Write the statement of each report that was found true, in the place of any that came with it."""
    for j in case.judged:
        if case.problems or j.verdict == "error" or j.delivery is None or j.report is None:
            continue
        try:
            write_statement(j.report, j.delivery.folder)
        except OSError as error:
            desk.say(f"no statement for {j.title}: {j.delivery.folder} cannot be written to: {error.strerror}")
            continue
        yield str(j.delivery.folder / "statement.json")


def _to_runner(desk: Desk, case: Case, stored: Record | None, url: str) -> None:
    state = posting(case.place, case.outcome).state
    needed = [m.needed_n for j in case.judged if j.report for m in j.report.measurements.values() if m.needed_n]
    desk.runner.set_outputs(
        {
            "verdict": case.outcome,
            "state": state or "",
            "sha": case.place.sha,
            "report": "\n".join(str(j.delivery.folder / "report.json") for j in case.judged if j.delivery),
            "statement": "\n".join(_statements(desk, case)),
            "comment-url": url,
            "needed-n": str(max(needed)) if needed else "",
            "record": stored.identity if stored else "",
        }
    )
    desk.runner.write_summary(summary(_page(case)))
