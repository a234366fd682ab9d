"""Publishes the result on GitHub: commit status, comment, audit trail, annotations, and the job's outputs and summary.

The ledger is written first, then the comment, then the status, which names the record in the other two. A job that was
interrupted can be run again: what exists already is found and left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ftgate.errors import ExitCode, FtgateError, StoreError
from ftgate.github.actions_runner import workflow_commands
from ftgate.github.audit.comment_log import update_comment
from ftgate.github.audit.ledger_branch import append
from ftgate.github.audit.quotes import Creators, quotes_of
from ftgate.github.audit.record import Record
from ftgate.github.audit.signature import signing
from ftgate.github.check_run import ANNOTATIONS_A_CALL, CheckOutput, post
from ftgate.github.client import CommitStatus
from ftgate.github.comment import CommentContent, CommentSection, compose, read_trail, summary, with_trail
from ftgate.github.comment_links import links_of
from ftgate.github.commit_status import DESCRIPTION_LIMIT, clip, description
from ftgate.github.event import posting
from ftgate.github.installing import installing_text
from ftgate.github.match_reports import annotations_for
from ftgate.github.pages import write_site
from ftgate.github.pr_state import Effects, PullRequestState, examine, late_records
from ftgate.github.retry import RefusedError
from ftgate.github.runner_paths import without_paths
from ftgate.report.statement import write_statement

CHECK_NAME = "ftgate report"
EXITS = {"block": ExitCode.BLOCK, "hold": ExitCode.HOLD, "error": ExitCode.GATE_FAILED}


def publish_pending(effects: Effects) -> ExitCode:
    """Set the status before any model runs: pending, or "no model change" at once. Returns the exit code."""
    pr_state = examine(effects, None)
    effects.runner.set_outputs(
        {"manifests": json.dumps(pr_state.changed), "model-change": str(bool(pr_state.changed)).lower()}
    )
    if pr_state.problems or pr_state.nothing_changed:
        # The plan job may lack write access to the ledger. The report job follows and records what failed here.
        return _exit_code(pr_state, _post_everywhere(effects, pr_state, on_record=not pr_state.problems))
    if not pr_state.target.may_write:
        effects.log("the token of this event is read-only: no status is set")
        return ExitCode.ALLOW
    pending = tuple(CommentSection(path, "pending") for path in pr_state.changed)
    status = CommitStatus("pending", description("pending", pending, ()), pr_state.target.run_url)
    post(effects.repo, pr_state.target.sha, pr_state.publishing, status, CheckOutput(), "")
    effects.log(f"pending on {pr_state.target.sha[:7]}: {', '.join(pr_state.changed) or 'the reports of this run'}")
    return ExitCode.ALLOW


def publish_results(effects: Effects, folders: Sequence[Path]) -> ExitCode:
    """Verify the reports in ``folders`` and post the result. A final status is set even if an earlier step fails."""
    pr_state = PullRequestState(effects.target)
    try:
        pr_state = examine(effects, folders)
        pr_state.page = _write_pages(effects, pr_state)
        errors = _post_everywhere(effects, pr_state)
    except Exception as error:
        message = error.message if isinstance(error, FtgateError) else f"internal error: {type(error).__name__}"
        pr_state.problems.append(message)
        # Without a final status the pull request would wait forever. The original error is what gets raised.
        with suppress(FtgateError):
            _set_status(effects, pr_state, None)
        raise
    return _exit_code(pr_state, errors)


def settle_results(effects: Effects) -> ExitCode:
    """Post an error where a run that was cut short left the status pending, and nothing otherwise."""
    pr_state = examine(effects, ())
    # Read last, because a run that is repeated meanwhile may have set the final status.
    statuses = quotes_of(effects.repo, pr_state.publishing).of(pr_state.target.sha)
    state = statuses[0].state if statuses else "not set"
    if state != "pending":
        effects.log(f"{pr_state.context} of {pr_state.target.sha[:7]} is {state}: nothing is left to settle")
        return ExitCode.ALLOW
    return _exit_code(pr_state, _post_everywhere(effects, pr_state))


def _post_everywhere(effects: Effects, pr_state: PullRequestState, *, on_record: bool = True) -> list[FtgateError]:
    """Write ledger, comment, status, annotations and outputs. Returns the errors; the status is set despite them."""
    errors: list[FtgateError] = []
    stored: Record | None = None
    url = ""
    if pr_state.target.may_write:
        record = _record(pr_state, effects.now()) if on_record else None
        try:
            stored = _append_to_ledger(effects, pr_state, record) if record else None
        except FtgateError as error:
            pr_state.problems.append(error.message)
            errors.append(error)
            record = _record(pr_state, effects.now())
        try:
            url, in_comment = _update_comment(effects, pr_state, stored or record)
            stored = stored or in_comment
        except FtgateError as error:
            errors.append(error)
        _set_status(effects, pr_state, stored)
        _annotate(effects, pr_state)
    else:
        effects.log("the token of this event is read-only: the result is only on this job's summary page")
    _write_outputs(effects, pr_state, stored, url)
    return errors


def _exit_code(pr_state: PullRequestState, errors: Sequence[FtgateError]) -> ExitCode:
    if errors:
        raise errors[0]
    return EXITS.get(pr_state.outcome, ExitCode.ALLOW)


def _record(pr_state: PullRequestState, now: str) -> Record:
    target = pr_state.target
    return Record.model_validate(
        {
            "time": now,
            "repository": target.repository,
            "pull_request": target.pull_request,
            "head": target.sha,
            "base": target.base_sha,
            "policy": pr_state.base_policy.policy.sha256() if pr_state.base_policy else "",
            "verdict": pr_state.verdict,
            "models": [j.entry() for j in pr_state.judged],
            "run": target.run,
            "reason": without_paths("; ".join(pr_state.problems)),
            "context": pr_state.context,
        }
    )


def _append_to_ledger(effects: Effects, pr_state: PullRequestState, record: Record) -> Record | None:
    # A change that touches no model needs no record.
    if (
        pr_state.base_policy is None
        or pr_state.base_policy.policy.publish.ledger != "branch"
        or pr_state.verdict == "no model change"
    ):
        return None
    settings = pr_state.base_policy.policy.publish
    late, sign = late_records(effects, pr_state), signing(settings)
    return append(effects.repo, settings.branch, record, late, effects.now(), sign).record


def _update_comment(effects: Effects, pr_state: PullRequestState, record: Record | None) -> tuple[str, Record | None]:
    """Returns the comment's address, and the record as the comment has it."""
    comment_mode = posting(pr_state.target, pr_state.outcome, superseded=bool(pr_state.newer)).comment
    trail_only = comment_mode == "trail only"
    if comment_mode == "no" or pr_state.target.pull_request is None:
        return "", None
    author = effects.author or effects.repo.login()
    content = _content(pr_state)
    comment = update_comment(
        effects.repo,
        pr_state.target.pull_request,
        author,
        lambda body, ledger: with_trail(body, ledger) if trail_only else compose(content, ledger),
        pr_state.earlier_records,
        record,
        context=pr_state.context,
        create=comment_mode == "yes",
    )
    if comment is None:
        return "", None
    line = read_trail(comment.body).find(record, since=0) if record else None
    return comment.url, line.record if line else None


def _content(pr_state: PullRequestState) -> CommentContent:
    return CommentContent(
        verdict=pr_state.outcome,
        head=pr_state.target.sha,
        sections=pr_state.sections,
        problems=tuple(pr_state.problems),
        policy=pr_state.base_policy.policy.sha256() if pr_state.base_policy else "",
        policy_change=pr_state.policy_change,
        bases=tuple(pr_state.changed_bases),
        waivers=tuple(pr_state.waivers),
        links=links_of(pr_state.target, pr_state.base_policy, pr_state.page),
        context=pr_state.context,
    )


def _set_status(effects: Effects, pr_state: PullRequestState, record: Record | None) -> None:
    state = posting(pr_state.target, pr_state.outcome).state
    if state is None:
        return
    text = description(pr_state.outcome, pr_state.sections, pr_state.problems, record, pr_state.newer, pr_state.removed)
    if pr_state.installs_policy:
        text = clip(installing_text(pr_state.target.base_ref), DESCRIPTION_LIMIT)
    status = CommitStatus(state, text, pr_state.target.run_url)
    identity = record.identity if record else ""
    post(effects.repo, pr_state.target.sha, pr_state.publishing, status, _check_output(pr_state), identity)
    effects.log(f"{pr_state.target.sha[:7]}: {state}: {text}")
    expected = pr_state.base_policy.policy.publish.expected_creator if pr_state.base_policy else None
    if expected and not Creators(expected, effects.repo.login).accept(login := effects.repo.login()):
        effects.log(f"this status counts for nothing: {login} set it, and publish.expected_creator is {expected}")


def _check_output(pr_state: PullRequestState) -> CheckOutput:
    if pr_state.publishing.as_ == "status":
        return CheckOutput()
    notes = () if pr_state.newer else annotations_for(pr_state.judged)
    return CheckOutput(summary(_content(pr_state)), notes)


def _annotate(effects: Effects, pr_state: PullRequestState) -> None:
    """Annotate the manifests: in check runs of 50 each, or in the log if the token may not create check runs."""
    annotations = annotations_for(pr_state.judged)
    # A check run of the verdict has them itself.
    if not annotations or pr_state.newer or pr_state.publishing.as_ == "check":
        return
    try:
        for start in range(0, len(annotations), ANNOTATIONS_A_CALL):
            part = start // ANNOTATIONS_A_CALL + 1
            effects.repo.create_check_run(
                {
                    "name": CHECK_NAME if part == 1 else f"{CHECK_NAME} {part}",
                    "head_sha": pr_state.target.sha,
                    "external_id": f"{pr_state.target.run}/{pr_state.verdict}/{part}",
                    "status": "completed",
                    "conclusion": "success" if pr_state.outcome == "waived" else "failure",
                    "output": {
                        "title": pr_state.outcome,
                        "summary": "The comment on the pull request has the numbers.",
                        "annotations": [
                            a.as_check_annotation() for a in annotations[start : start + ANNOTATIONS_A_CALL]
                        ],
                    },
                }
            )
    except RefusedError:
        effects.command(workflow_commands(annotations))
    except FtgateError as error:
        # Annotations are a convenience: the comment has the same information.
        effects.log(f"could not annotate the manifests: {error.message}")


def _write_pages(effects: Effects, pr_state: PullRequestState) -> str:
    """Leave the pages of verified reports for the site. Returns their address; empty without any.

    Never those of a fork's change: what a stranger's model answered is not the repository's to publish.
    """
    if effects.pages is None or pr_state.problems or pr_state.newer or pr_state.target.fork:
        return ""
    try:
        if write_site(effects.pages, pr_state.judged, pr_state.target.sha):
            return effects.pages.page(pr_state.target.sha)
    except (FtgateError, OSError) as error:
        reason = error.message if isinstance(error, FtgateError) else str(error.strerror)
        effects.log(f"the pages are not published: {reason}")
    return ""


def _statements(effects: Effects, pr_state: PullRequestState) -> Iterator[str]:
    """Write the statement of each verified report, replacing any that came with it. Yields the paths."""
    for j in pr_state.judged:
        if pr_state.problems or j.verdict == "error" or j.untrusted is None or j.report is None:
            continue
        try:
            write_statement(j.report, j.untrusted.folder)
        except StoreError as error:
            effects.log(f"no statement for {j.title}: {error.message}")
            continue
        yield str(j.untrusted.folder / "statement.json")


def _write_outputs(effects: Effects, pr_state: PullRequestState, stored: Record | None, url: str) -> None:
    state = posting(pr_state.target, pr_state.outcome).state
    measured = [m for j in pr_state.judged if j.report for m in j.report.measurements.values() if m.gates]
    needed = [m.needed_n for m in measured if m.needed_n]
    effects.runner.set_outputs(
        {
            "verdict": pr_state.outcome,
            "state": state or "",
            "sha": pr_state.target.sha,
            "report": "\n".join(str(j.untrusted.folder / "report.json") for j in pr_state.judged if j.untrusted),
            "statement": "\n".join(_statements(effects, pr_state)),
            "comment-url": url,
            "needed-n": str(max(needed)) if needed else "",
            "record": stored.identity if stored else "",
            "pages": str(bool(pr_state.page)).lower(),
        }
    )
    effects.runner.write_summary(summary(_content(pr_state)))
