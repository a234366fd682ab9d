"""Checks the audit trail, verifies that a candidate was allowed, and adds waivers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ftgate.config.policy import PublishSettings
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.comment_log import own_comments
from ftgate.github.audit.ledger_branch import append, read_ledger
from ftgate.github.audit.quotes import StatusQuotes, no_maintainer, quotes_of, status_problems
from ftgate.github.audit.record import Ledger, LedgerLine, ModelEntry, Record, status_suffix
from ftgate.github.audit.signature import signing
from ftgate.github.audit.waivers import (
    LONGEST_DAYS,
    candidate_to_waive,
    new_waiver,
    same_request,
    too_long,
    unexpired,
)
from ftgate.github.check_run import CheckOutput, post
from ftgate.github.client import Comment, CommitStatus, GitHubRepo
from ftgate.github.comment import missing_records, read_trail, with_waiver
from ftgate.github.commit_status import DESCRIPTION_LIMIT, clip
from ftgate.github.event import STATES, Outcome

DECIDED = ("allow", "block", "hold")
CHECKED_COMMITS = 300
"""Commits whose statuses the history of the whole ledger reads, the newest: each costs a request."""


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
    ledger: Ledger | None,
    candidate: str,
    policy: str,
    now: str,
    quoted: StatusQuotes,
    *,
    base: str = "",
    waivers: bool = True,
    report: str = "",
) -> VerifyResult:
    """Whether the latest verdict on exactly this digest under exactly this policy is allow.

    An allow and a waiver count only if a status vouches for them (``quoted``). With ``base``, the digest of a base
    model, only verdicts against that base count. With ``waivers``, an unexpired waiver counts as well. With
    ``report``, the SHA-256 of a report.json, the verdict must be the one of that report. An altered ledger verifies
    nothing.
    """
    if ledger is None:
        return VerifyResult(False, "there is no ledger branch, or the token may not read it: nothing is proven")
    if not ledger.lines:
        return VerifyResult(False, "the ledger is empty: nothing was ever allowed")
    if ledger.problems:
        return VerifyResult(False, f"the ledger is not intact, so it proves nothing: {ledger.problems[0]}")
    judged = _judged(ledger.records, quoted.context, candidate, policy, base)
    if isinstance(judged, str):
        return VerifyResult(False, judged)
    runs = [(r, e) for r, e in judged if r.kind == "run" and r.verdict != "error" and e.verdict in DECIDED]
    # Without a status an allow is not one. A block is taken at its word: at worst that refuses too much.
    proven = [(r, e) for r, e in runs if e.verdict != "allow" or not quoted.lack(r)]
    if proven and proven[-1][1].verdict == "allow":
        return _allowed(*proven[-1], quoted, ledger.records, report)
    held = [r for r, _ in judged if r.kind == "waiver" and unexpired(r, now)]
    waived = [r for r in held if not quoted.lack(r)]
    if waived and waivers:
        w = waived[-1]
        detail = f"waiver {w.identity[:12]} by {w.by} until {w.expires}: {w.reason}"
        return VerifyResult(True, f"not allowed by the gate, but waived: {detail}")
    unproven = [r for r in held if waivers] or [r for r, e in runs if e.verdict == "allow" and not proven]
    if unproven:
        what = "waiver" if unproven[-1].kind == "waiver" else "allow"
        return VerifyResult(False, f"the {what} proves nothing: {quoted.lack(unproven[-1])}")
    return VerifyResult(False, f"its latest verdict is {proven[-1][1].verdict if proven else 'error'}")


def _judged(
    records: Sequence[Record], context: str, candidate: str, policy: str, base: str
) -> list[tuple[Record, ModelEntry]] | str:
    """The records of ``context`` and their entries on the candidate, oldest first; or why there are none.

    A record that is repeated counts once, and their times count, not their places: an earlier allow that is appended
    again does not come after a block.
    """
    by_identity = {r.identity: r for r in records}
    in_order_of_time = sorted(by_identity.values(), key=lambda r: r.time)
    of_candidate = [(r, e) for r in in_order_of_time for e in r.models if e.candidate == candidate]
    entries = [(r, e) for r, e in of_candidate if r.belongs_to(context)]
    if not entries:
        others = ", ".join(dict.fromkeys(r.context for r, _ in of_candidate))
        elsewhere = f" under {context}, only under {others} (publish.context)" if others else ""
        return f"the ledger has no record of the candidate {candidate}{elsewhere}"
    if base and not any(e.base == base for _, e in entries):
        others = ", ".join(dict.fromkeys(e.base for _, e in entries))
        return f"it was compared with base {others}, not with {base}"
    entries = [(r, e) for r, e in entries if not base or e.base == base]
    under_policy = [(r, e) for r, e in entries if r.policy == policy]
    if not under_policy:
        others = ", ".join(dict.fromkeys(r.policy[:12] for r, _ in entries))
        return f"it was judged under policy {others}, not under {policy[:12]}"
    return under_policy


def _allowed(
    record: Record, entry: ModelEntry, quoted: StatusQuotes, records: Sequence[Record], report: str
) -> VerifyResult:
    """The result of an allow that a status vouches for."""
    if missing := quoted.removed_since(record, records):
        return VerifyResult(False, f"a later status of {record.head[:12]} names record {missing}: the ledger lacks it")
    if report and report != entry.report:
        return VerifyResult(False, f"the report has the SHA-256 {report}, and the allow is of {entry.report or 'none'}")
    rival = f", and as good as the deployed {entry.incumbent}" if entry.incumbent else ""
    detail = f"against base {entry.base}{rival} (record {record.identity[:12]})"
    return VerifyResult(True, f"allowed {record.time} at {record.head[:12]} {detail}")


def comment_history(repo: GitHubRepo, number: int, author: str, quoted: StatusQuotes) -> History:
    """The records in the comment of pull request ``number``, checked line by line and against the commits' statuses."""
    comment = next(iter(own_comments(repo.comments(number), author, quoted.context)), None)
    ledger = read_trail(comment.body) if comment else Ledger()
    heads = dict.fromkeys([*repo.commits_of_pull(number), *(r.head for r in ledger.records)])
    # Old records may have been dropped to make room, and the statuses still name them.
    whole = not ledger.lines or ledger.lines[0].n == 1
    problems = status_problems(ledger.records, quoted, list(heads), whole=whole)
    problems += [missing] if (missing := missing_records(ledger)) else []
    authors = {author, author.removesuffix("[bot]"), *(r.by for r in ledger.records if r.kind == "waiver")}
    edited = repo.edits(comment) if comment else []
    edits = [f"{e.editor} edited the comment at {e.time}" for e in edited if e.editor not in authors]
    return History(ledger, (*ledger.problems, *problems, *_waiver_problems(ledger), *edits))


def ledger_history(
    repo: GitHubRepo, branch: str, number: int | None = None, quoted: StatusQuotes | None = None
) -> History:
    """The ledger branch, checked; with ``number`` only the records of that pull request.

    With ``quoted``, also against the statuses of its newest commits.
    """
    ledger = read_ledger(repo, branch)
    if ledger is None:
        return History(Ledger(), (f"there is no branch {branch}, or the token may not read it",))
    lines = tuple(line for line in ledger.lines if number is None or line.record.pull_request == number)
    problems = [*ledger.problems, *_waiver_problems(ledger)]
    # The history of one pull request compares with its comment, which knows of a record that could not be written.
    if number is None and not ledger.lines and not problems:
        problems.append(f"the branch {branch} holds no record: all were removed, or nothing was judged yet")
    if quoted is not None:
        heads = list(dict.fromkeys(line.record.head for line in reversed(lines)))[:CHECKED_COMMITS]
        problems += status_problems([line.record for line in lines], quoted, heads, ledger=True)
        problems += _signature_problems(lines, quoted)
    return History(Ledger(lines, ledger.problems), tuple(problems))


def _signature_problems(lines: Sequence[LedgerLine], quoted: StatusQuotes) -> list[str]:
    """The records, but for errors, whose signature does not hold, from the first one on that has any."""
    if quoted.signature is None:
        return []
    check, own = quoted.signature, [line for line in lines if line.record.belongs_to(quoted.context)]
    first = next((line.n for line in own if check.has(line.record)), None)
    counting = [line for line in own if first is not None and line.n >= first and line.record.verdict != "error"]
    check.prefetch([line.record for line in counting])
    return [f"record {line.n} ({line.record.time}): {lack}" for line in counting if (lack := check.lack(line.record))]


def _waiver_problems(ledger: Ledger) -> list[str]:
    """The waivers that last too long, and the records that are there twice."""
    endless = [
        f"record {line.n} ({line.record.time}): the waiver until {line.record.expires} lasts more than {LONGEST_DAYS} "
        "days: it counts for nothing"
        for line in ledger.lines
        if line.record.kind == "waiver" and too_long(line.record)
    ]
    first: dict[str, int] = {}
    for line in ledger.lines:
        first.setdefault(line.record.identity, line.n)
    return endless + [
        f"record {line.n} ({line.record.time}) repeats record {first[line.record.identity]}: it was added again"
        for line in ledger.lines
        if first[line.record.identity] != line.n
    ]


def compare(comment: History, branch: History, context: str, *, explained: Collection[str] = ()) -> list[str]:
    """The differences between the ``comment`` of one pull request and the ledger ``branch``, as problems.

    On the branch only the records of the comment's policy matter, whose status is called ``context``. ``explained`` are
    the identities of records that the branch may lack.
    """
    in_comment = {r.identity for r in comment.ledger.records}
    first = comment.ledger.lines[0].n if comment.ledger.lines else 1
    of_policy = [r for r in branch.ledger.records if r.belongs_to(context)]
    missing = [r for r in of_policy if r.identity not in in_comment][first - 1 :]
    in_ledger = {r.identity for r in branch.ledger.records}
    unremarkable = {*in_ledger, *explained}
    added = [r for r in comment.ledger.records if r.identity not in unremarkable and r.verdict != "no model change"]
    return [f"the comment lacks record {r.identity[:12]} ({r.time}), which the ledger has" for r in missing] + [
        f"the comment has record {r.identity[:12]} ({r.time}), which the ledger does not: altered or added"
        for r in added
    ]


def require_maintainer(
    repo: GitHubRepo, env: Mapping[str, str], event: Mapping[str, object], settings: PublishSettings
) -> str:
    """The login that asks for a waiver. Raises ConfigurationError unless they may give one.

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
        if problem := no_maintainer(repo, settings, login):
            raise ConfigurationError(f"{login} may not waive: {problem}", hint="ask somebody who may")
    return people[-1]


def add_waiver(
    repo: GitHubRepo,
    number: int,
    by: str,
    candidate: str,
    reason: str,
    *,
    days: int,
    settings: PublishSettings,
    now: str,
    author: str,
    commit: str = "",
) -> Record:
    """Record a waiver for ``candidate`` at the pull request's current head, and show it in status and comment.

    ``by`` is the maintainer's login. An empty ``candidate`` means the one that is blocked or held there. ``commit``, or
    its first digits, is the head that the maintainer looked at. Raises ConfigurationError if there is nothing to waive
    or the waiver would not count, PublishError if the ledger was altered.
    """
    quoted = quotes_of(repo, settings)
    _require_counting(repo, settings, quoted)
    head = _head_at(repo, number, commit)
    ledger = read_ledger(repo, settings.branch)
    if ledger and ledger.problems:
        raise PublishError(
            f"the ledger is not intact, so no waiver can be added: {ledger.problems[0]}",
            hint=f"restore the branch {settings.branch} from its history",
        )
    records = [
        r for r in (ledger.records if ledger else ()) if r.pull_request == number and r.belongs_to(settings.context)
    ]
    candidate = candidate or candidate_to_waive(records, head)
    waiver = new_waiver(records, head, candidate, by, reason, days, now)
    waiver = next((r for r in records if same_request(r, waiver) and unexpired(r, now) and quoted.lack(r)), waiver)
    record = append(repo, settings.branch, waiver, sign=signing(settings)).record
    latest = next((r for r in reversed(records) if r.kind == "run" and r.head == head), None)
    waived = {candidate, *_waived_candidates(records, head, now, quoted)}
    status = _waiver_status(record, latest, waived)
    post(repo, head, settings, status, CheckOutput(), record.identity)
    comment = next(iter(own_comments(repo.comments(number), author, settings.context)), None)
    if comment is not None:
        _show_in_comment(repo, comment, record)
    return record


def _require_counting(repo: GitHubRepo, settings: PublishSettings, quoted: StatusQuotes) -> None:
    """Raise ConfigurationError if a waiver with this token would not count."""
    if settings.as_ == "check" and not repo.login().endswith("[bot]"):
        raise ConfigurationError(
            f"{repo.login()} cannot post a check run, which the policy asks for (publish.as): only an App can",
            hint="give the waiver in a workflow on workflow_dispatch",
        )
    if settings.expected_creator and not quoted.creators.accept(repo.login()):
        raise ConfigurationError(
            f"a waiver by {repo.login()} would not count: publish.expected_creator is {settings.expected_creator}",
            hint="give the waiver in a workflow on workflow_dispatch, with that login's token",
        )


def _head_at(repo: GitHubRepo, number: int, commit: str) -> str:
    """The head of the pull request. Raises ConfigurationError if it is not ``commit``, or its first digits."""
    head = repo.pull(number).head
    if not head.startswith(commit.lower()):
        raise ConfigurationError(
            f"pull request {number} is at {head[:12]}, not at {commit[:12]}",
            hint="look at the newer commit, and waive its verdict if that is meant",
        )
    return head


def _waiver_status(waiver: Record, latest: Record | None, waived: set[str]) -> CommitStatus:
    """The status that quotes a waiver: success if every candidate of the ``latest`` run is allowed or waived."""
    # An error may not list all models, and stays an error: a model that was not judged cannot be waived.
    open_ = latest is None or latest.verdict not in ("block", "hold") or bool(_open_candidates(latest, waived))
    verdict: Outcome = "error" if latest is None or latest.verdict == "error" else "block" if open_ else "waived"
    text = f"waived by {waiver.by} until {waiver.expires[:10]}: {waiver.reason}"
    if open_:
        text = f"{waiver.models[0].name} is {text}; the rest is as it was"
    suffix = status_suffix(waiver)
    return CommitStatus(STATES[verdict], clip(text, DESCRIPTION_LIMIT - len(suffix)) + suffix, "")


def _show_in_comment(repo: GitHubRepo, comment: Comment, record: Record) -> None:
    body = with_waiver(comment.body, record)
    if body != comment.body:
        repo.edit_comment(comment, body)


def _open_candidates(run: Record, waived: set[str]) -> list[str]:
    """Candidates of ``run`` that were neither allowed nor waived."""
    return [e.candidate for e in run.models if e.verdict != "allow" and e.candidate not in waived]


def _waived_candidates(records: Sequence[Record], head: str, now: str, quoted: StatusQuotes) -> set[str]:
    held = [r for r in records if r.kind == "waiver" and r.head == head and unexpired(r, now) and not quoted.lack(r)]
    return {e.candidate for r in held for e in r.models}
