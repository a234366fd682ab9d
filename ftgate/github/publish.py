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
from ftgate.github.comment import CommentSection, Page, compose, read_trail, summary, with_trail
from ftgate.github.commit_status import description
from ftgate.github.event import posting
from ftgate.github.pr_state import Effects, PullRequestState, examine
from ftgate.github.retry import RefusedError
from ftgate.report.statement import write_statement

CHECK_NAME = "ftgate report"
ANNOTATIONS_A_CALL = 50
EXITS = {"block": ExitCode.BLOCK, "hold": ExitCode.HOLD, "error": ExitCode.GATE_FAILED}


def announce(effects: Effects) -> ExitCode:
    """Post what can be said before any model runs: pending, or at once that no model changed."""
    pr_state = examine(effects, None)
    effects.runner.set_outputs(
        {"manifests": json.dumps(pr_state.changed), "model-change": str(bool(pr_state.changed)).lower()}
    )
    if pr_state.problems or pr_state.nothing_changed:
        # Whoever plans may not write the ledger. The report, which follows what failed here, puts it on record.
        return _done(pr_state, _tell(effects, pr_state, on_record=not pr_state.problems))
    if not pr_state.place.may_write:
        effects.say("this event's token cannot write: no status is set here")
        return ExitCode.ALLOW
    waiting = tuple(CommentSection(path, "pending") for path in pr_state.changed)
    status = CommitStatus("pending", description("pending", waiting, ()), pr_state.place.run_url)
    effects.hub.set_status(pr_state.place.sha, pr_state.context, status)
    effects.say(f"pending on {pr_state.place.sha[:7]}: {', '.join(pr_state.changed) or 'the reports of this run'}")
    return ExitCode.ALLOW


def publish(effects: Effects, folders: Sequence[Path]) -> ExitCode:
    """Check the reports in ``folders`` and tell everyone. A final status is set whatever goes wrong before it."""
    pr_state = PullRequestState(effects.place)
    try:
        pr_state = examine(effects, folders)
        troubles = _tell(effects, pr_state)
    except Exception as error:
        said = error.message if isinstance(error, FtgateError) else f"internal error: {type(error).__name__}"
        pr_state.problems.append(said)
        # The last thing that can still be done for whoever waits for a status; the error itself is what is reported.
        with suppress(FtgateError):
            _set_status(effects, pr_state, None)
        raise
    return _done(pr_state, troubles)


def _tell(effects: Effects, pr_state: PullRequestState, *, on_record: bool = True) -> list[FtgateError]:
    """Write it down everywhere, and return what failed on the way. The status is set all the same."""
    troubles: list[FtgateError] = []
    stored: Record | None = None
    url = ""
    if pr_state.place.may_write:
        record = _record(pr_state, effects.now()) if on_record else None
        try:
            stored = _to_ledger(effects, pr_state, record) if record else None
        except FtgateError as error:
            pr_state.problems.append(error.message)
            troubles.append(error)
            record = _record(pr_state, effects.now())
        try:
            url, kept = _to_thread(effects, pr_state, stored or record)
            stored = stored or kept
        except FtgateError as error:
            troubles.append(error)
        _set_status(effects, pr_state, stored)
        _annotate(effects, pr_state)
    else:
        effects.say("this event's token cannot write: the result is on the summary page of this job only")
    _to_runner(effects, pr_state, stored, url)
    return troubles


def _done(pr_state: PullRequestState, troubles: Sequence[FtgateError]) -> ExitCode:
    if troubles:
        raise troubles[0]
    return EXITS.get(pr_state.outcome, ExitCode.ALLOW)


def _record(pr_state: PullRequestState, now: str) -> Record:
    place = pr_state.place
    return Record.model_validate(
        {
            "time": now,
            "repository": place.repository,
            "pull_request": place.pull_request,
            "head": place.sha,
            "base": place.base_sha,
            "policy": pr_state.rules.policy.sha256() if pr_state.rules else "",
            "verdict": pr_state.verdict,
            "models": [j.entry() for j in pr_state.judged],
            "run": place.run,
            "reason": "; ".join(pr_state.problems),
        }
    )


def _to_ledger(effects: Effects, pr_state: PullRequestState, record: Record) -> Record | None:
    # A change that touches no model leaves nothing to prove.
    if (
        pr_state.rules is None
        or pr_state.rules.policy.publish.ledger != "branch"
        or pr_state.verdict == "no model change"
    ):
        return None
    return append(effects.hub, pr_state.rules.policy.publish.branch, record).record


def _to_thread(effects: Effects, pr_state: PullRequestState, record: Record | None) -> tuple[str, Record | None]:
    """The comment's address, and the record as it stands in it."""
    wanted = posting(pr_state.place, pr_state.outcome, superseded=bool(pr_state.newer)).comment
    alone = wanted == "its history alone"
    if wanted == "no" or pr_state.place.pull_request is None:
        return "", None
    author = effects.author or effects.hub.login()
    page = _page(pr_state)
    comment = keep_comment(
        effects.hub,
        pr_state.place.pull_request,
        author,
        lambda body, chain: with_trail(body, chain) if alone else compose(page, chain),
        pr_state.earlier,
        record,
        create=wanted == "yes",
    )
    if comment is None:
        return "", None
    link = read_trail(comment.body).find(record, since=0) if record else None
    return comment.url, link.record if link else None


def _page(pr_state: PullRequestState) -> Page:
    return Page(
        verdict=pr_state.outcome,
        head=pr_state.place.sha,
        sections=pr_state.sections,
        problems=tuple(pr_state.problems),
        policy=pr_state.rules.policy.sha256() if pr_state.rules else "",
        policy_change=pr_state.policy_change,
        bases=tuple(pr_state.bases),
        waivers=tuple(pr_state.waivers),
    )


def _set_status(effects: Effects, pr_state: PullRequestState, record: Record | None) -> None:
    state = posting(pr_state.place, pr_state.outcome).state
    if state is None:
        return
    text = description(pr_state.outcome, pr_state.sections, pr_state.problems, record, pr_state.newer, pr_state.removed)
    effects.hub.set_status(pr_state.place.sha, pr_state.context, CommitStatus(state, text, pr_state.place.run_url))
    effects.say(f"{pr_state.place.sha[:7]}: {state}: {text}")


def _annotate(effects: Effects, pr_state: PullRequestState) -> None:
    """Notes on the manifests' lines: as check runs, of 50 each, or in the log where the token does not permit that."""
    notes = judging.notes_on(pr_state.judged)
    if not notes or pr_state.newer:
        return
    try:
        for start in range(0, len(notes), ANNOTATIONS_A_CALL):
            part = start // ANNOTATIONS_A_CALL + 1
            effects.hub.create_check_run(
                {
                    "name": CHECK_NAME if part == 1 else f"{CHECK_NAME} {part}",
                    "head_sha": pr_state.place.sha,
                    "external_id": f"{pr_state.place.run}/{pr_state.verdict}/{part}",
                    "status": "completed",
                    "conclusion": "success" if pr_state.outcome == "waived" else "failure",
                    "output": {
                        "title": pr_state.outcome,
                        "summary": "The comment on the pull request has the numbers.",
                        "annotations": [a.api() for a in notes[start : start + ANNOTATIONS_A_CALL]],
                    },
                }
            )
    except RefusedError:
        effects.command(commands(notes))
    except FtgateError as error:
        # Notes are a convenience: what they say stands in the comment too.
        effects.say(f"the lines could not be annotated: {error.message}")


def _statements(effects: Effects, pr_state: PullRequestState) -> Iterator[str]:
    """Write the statement of each report that was found true, in the place of any that came with it."""
    for j in pr_state.judged:
        if pr_state.problems or j.verdict == "error" or j.untrusted is None or j.report is None:
            continue
        try:
            write_statement(j.report, j.untrusted.folder)
        except OSError as error:
            effects.say(f"no statement for {j.title}: {j.untrusted.folder} cannot be written to: {error.strerror}")
            continue
        yield str(j.untrusted.folder / "statement.json")


def _to_runner(effects: Effects, pr_state: PullRequestState, stored: Record | None, url: str) -> None:
    state = posting(pr_state.place, pr_state.outcome).state
    needed = [m.needed_n for j in pr_state.judged if j.report for m in j.report.measurements.values() if m.needed_n]
    effects.runner.set_outputs(
        {
            "verdict": pr_state.outcome,
            "state": state or "",
            "sha": pr_state.place.sha,
            "report": "\n".join(str(j.untrusted.folder / "report.json") for j in pr_state.judged if j.untrusted),
            "statement": "\n".join(_statements(effects, pr_state)),
            "comment-url": url,
            "needed-n": str(max(needed)) if needed else "",
            "record": stored.identity if stored else "",
        }
    )
    effects.runner.write_summary(summary(_page(pr_state)))
