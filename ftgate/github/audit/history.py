"""Checks the audit trail, verifies that a candidate was allowed, and adds waivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.comment_log import own_comments
from ftgate.github.audit.ledger_branch import append, read_ledger
from ftgate.github.audit.record import Ledger, Record, record_in_status, status_mismatches, status_suffix
from ftgate.github.audit.waivers import MAY_WAIVE, new_waiver, unexpired
from ftgate.github.client import Comment, CommitStatus, GitHubRepo
from ftgate.github.comment import missing_records, read_trail, with_waiver
from ftgate.github.commit_status import DESCRIPTION_LIMIT, clip
from ftgate.github.event import STATES

DECIDED = ("allow", "block", "hold")


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Whether a candidate may be released, and why or why not."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class History:
    """One ledger, oldest record first, and all its problems."""

    ledger: Ledger
    problems: tuple[str, ...]


def verify_candidate(
    ledger: Ledger | None, candidate: str, policy: str, now: str, *, base: str = "", waivers: bool = True
) -> VerifyResult:
    """Whether the latest verdict on exactly this digest under exactly this policy is allow.

    With ``base``, the digest of a base model, only verdicts against that base count. With ``waivers``, an unexpired
    waiver counts as well. An altered ledger verifies nothing. Pure.
    """
    if ledger is None or not ledger.lines:
        return VerifyResult(False, "the ledger is empty: nothing was ever allowed")
    if ledger.problems:
        return VerifyResult(False, f"the ledger is not intact, so it proves nothing: {ledger.problems[0]}")
    entries = [(r, e) for r in ledger.records for e in r.models if e.candidate == candidate]
    if not entries:
        return VerifyResult(False, f"the ledger has no record of the candidate {candidate}")
    if base and not any(e.base == base for _, e in entries):
        others = ", ".join(dict.fromkeys(e.base for _, e in entries))
        return VerifyResult(False, f"it was compared with base {others}, not with {base}")
    entries = [(r, e) for r, e in entries if not base or e.base == base]
    under_policy = [(r, e) for r, e in entries if r.policy == policy]
    if not under_policy:
        others = ", ".join(dict.fromkeys(r.policy[:12] for r, _ in entries))
        return VerifyResult(False, f"it was judged under policy {others}, not under {policy[:12]}")
    runs = [(r, e) for r, e in under_policy if r.kind == "run" and r.verdict != "error" and e.verdict in DECIDED]
    if runs and runs[-1][1].verdict == "allow":
        record, entry = runs[-1]
        detail = f"against base {entry.base} (record {record.identity[:12]})"
        return VerifyResult(True, f"allowed {record.time} at {record.head[:12]} {detail}")
    waived = [r for r, _ in under_policy if r.kind == "waiver" and unexpired(r, now)]
    if waived and waivers:
        w = waived[-1]
        detail = f"waiver {w.identity[:12]} by {w.by} until {w.expires}: {w.reason}"
        return VerifyResult(True, f"not allowed by the gate, but waived: {detail}")
    return VerifyResult(False, f"its latest verdict is {runs[-1][1].verdict if runs else 'error'}")


def comment_history(repo: GitHubRepo, number: int, author: str, context: str) -> History:
    """The records in the comment of pull request ``number``, checked line by line and against the commits' statuses."""
    comment = next(iter(own_comments(repo.comments(number), author)), None)
    ledger = read_trail(comment.body) if comment else Ledger()
    heads = dict.fromkeys([*repo.commits_of_pull(number), *(r.head for r in ledger.records)])
    in_statuses = _records_in_statuses(repo, list(heads), context)
    problems = status_mismatches(ledger.records, in_statuses)
    if ledger.lines and ledger.lines[0].n > 1:
        # Old records may have been dropped to make room, and the statuses still name them.
        problems = [p for p in problems if not p.startswith("the status")]
        problems += [missing] if (missing := missing_records(ledger)) else []
    authors = {author, author.removesuffix("[bot]"), *(r.by for r in ledger.records if r.kind == "waiver")}
    edited = repo.edits(comment) if comment else []
    edits = [f"{e.editor} edited the comment at {e.time}" for e in edited if e.editor not in authors]
    return History(ledger, (*ledger.problems, *problems, *edits))


def ledger_history(repo: GitHubRepo, branch: str, number: int | None = None) -> History:
    """The ledger branch, checked; with ``number`` only the records of that pull request."""
    ledger = read_ledger(repo, branch)
    if ledger is None:
        return History(Ledger(), (f"there is no branch {branch}",))
    lines = tuple(line for line in ledger.lines if number is None or line.record.pull_request == number)
    return History(Ledger(lines, ledger.problems), ledger.problems)


def compare(comment: History, branch: History) -> list[str]:
    """The differences between the ``comment`` of one pull request and the ledger ``branch``, as problems."""
    in_comment = {r.identity for r in comment.ledger.records}
    first = comment.ledger.lines[0].n if comment.ledger.lines else 1
    missing = [r for r in branch.ledger.records if r.identity not in in_comment][first - 1 :]
    in_ledger = {r.identity for r in branch.ledger.records}
    added = [r for r in comment.ledger.records if r.identity not in in_ledger and r.verdict != "no model change"]
    return [f"the comment lacks record {r.identity[:12]} ({r.time}), which the ledger has" for r in missing] + [
        f"the comment has record {r.identity[:12]} ({r.time}), which the ledger does not: altered or added"
        for r in added
    ]


def require_maintainer(repo: GitHubRepo, env: Mapping[str, str], event: Mapping[str, object]) -> str:
    """The login that asks for a waiver. Raises ConfigurationError without write permission on GitHub.

    In a workflow this must be a manual start, whose actors GitHub names. Elsewhere it is the token's owner.
    """
    name = env.get("GITHUB_EVENT_NAME", "")
    if env.get("GITHUB_ACTIONS") == "true" and name != "workflow_dispatch":
        raise ConfigurationError(
            f"waivers are not possible on the event {name!r}", hint="start a workflow on workflow_dispatch by hand"
        )
    if name == "workflow_dispatch":
        sender = event.get("sender")
        logins = [
            env.get("GITHUB_ACTOR"),
            env.get("GITHUB_TRIGGERING_ACTOR"),
            sender.get("login") if isinstance(sender, dict) else None,
        ]
        people = list(dict.fromkeys(str(login) for login in logins if login))
    else:
        people = [repo.login()]
    if not people:
        raise ConfigurationError(
            "GITHUB_ACTOR is empty, so nobody asks for the waiver", hint="start the workflow by hand"
        )
    for login in people:
        permission = repo.permission(login) if not login.endswith("[bot]") else "none (a bot)"
        if permission not in MAY_WAIVE:
            raise ConfigurationError(
                f"{login} may not waive: their permission on this repository is {permission}",
                hint="ask a maintainer with write permission",
            )
    return people[-1]


def add_waiver(
    repo: GitHubRepo,
    number: int,
    by: str,
    candidate: str,
    reason: str,
    *,
    days: int,
    branch: str,
    context: str,
    now: str,
    author: str,
) -> Record:
    """Record a waiver for ``candidate`` at the pull request's current head, and show it in status and comment.

    ``by`` is the maintainer's login. Raises ConfigurationError if there is nothing to waive, PublishError if the ledger
    was altered.
    """
    head = repo.pull(number).head
    ledger = read_ledger(repo, branch)
    if ledger and ledger.problems:
        raise PublishError(
            f"the ledger is not intact, so no waiver can be added: {ledger.problems[0]}",
            hint=f"restore the branch {branch} from its history",
        )
    records = [r for r in (ledger.records if ledger else ()) if r.pull_request == number]
    waiver = new_waiver(records, head, candidate, by, reason, days, now)
    record = append(repo, branch, waiver).record
    latest = next((r for r in reversed(records) if r.kind == "run" and r.head == head), None)
    waived = {candidate, *_waived_candidates(records, head, now)}
    # An error may not list all models, and stays an error: a model that was not judged cannot be waived.
    if latest and latest.verdict in ("block", "hold") and not _open_candidates(latest, waived):
        text = f"waived by {by} until {record.expires[:10]}: {record.reason}"
        description = clip(text, DESCRIPTION_LIMIT - len(status_suffix(record))) + status_suffix(record)
        repo.set_status(head, context, CommitStatus(STATES["waived"], description, ""))
    comment = next(iter(own_comments(repo.comments(number), author)), None)
    if comment is not None:
        _show_in_comment(repo, comment, record)
    return record


def _show_in_comment(repo: GitHubRepo, comment: Comment, record: Record) -> None:
    body = with_waiver(comment.body, record)
    if body != comment.body:
        repo.edit_comment(comment, body)


def _open_candidates(run: Record, waived: set[str]) -> list[str]:
    """Candidates of ``run`` that were neither allowed nor waived."""
    return [e.candidate for e in run.models if e.verdict != "allow" and e.candidate not in waived]


def _waived_candidates(records: Sequence[Record], head: str, now: str) -> set[str]:
    return {
        e.candidate for r in records if r.kind == "waiver" and r.head == head and unexpired(r, now) for e in r.models
    }


def _records_in_statuses(repo: GitHubRepo, heads: Sequence[str], context: str) -> dict[str, list[str]]:
    """The records that the statuses of each commit name, by commit."""
    named = {head: [record_in_status(s.description) for s in repo.statuses(head, context)] for head in heads}
    return {head: [name for name in names if name] for head, names in named.items()}
