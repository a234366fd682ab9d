"""Reading the audit trail: is it whole, and was exactly this candidate allowed? And adding a waiver to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.audit.comment_log import ours
from ftgate.github.audit.ledger_branch import append, read_ledger
from ftgate.github.audit.record import Ledger, Record, anchor_problems, quote, quoted
from ftgate.github.audit.waivers import MAY_WAIVE, unexpired, waiver_for
from ftgate.github.client import Comment, CommitStatus, GitHubRepo
from ftgate.github.comment import missing_from, read_trail, with_waiver
from ftgate.github.commit_status import DESCRIPTION_LIMIT, clip
from ftgate.github.event import STATES

DECIDED = ("allow", "block", "hold")


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Whether a candidate may be released, and why."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class History:
    """The records of one chain, oldest first, and everything that is wrong with it."""

    chain: Ledger
    problems: tuple[str, ...]


def verify(
    chain: Ledger | None, candidate: str, policy: str, now: str, *, base: str = "", waivers: bool = True
) -> VerifyResult:
    """Whether the ledger holds an allow for exactly this digest under exactly this policy, the latest verdict counting.

    With ``base``, the digest of a base model, only what was decided against that base counts. An unexpired waiver
    covers it too, if ``waivers`` are accepted. A ledger that was altered proves nothing. Pure.
    """
    if chain is None or not chain.links:
        return VerifyResult(False, "the ledger is empty: nothing was ever allowed")
    if chain.problems:
        return VerifyResult(False, f"the ledger is not whole, so it proves nothing: {chain.problems[0]}")
    about = [(r, e) for r in chain.records for e in r.models if e.candidate == candidate]
    if not about:
        return VerifyResult(False, f"the ledger does not know the candidate {candidate}")
    if base and not any(e.base == base for _, e in about):
        others = ", ".join(dict.fromkeys(e.base for _, e in about))
        return VerifyResult(False, f"it was compared with base {others}, not with {base}")
    about = [(r, e) for r, e in about if not base or e.base == base]
    under = [(r, e) for r, e in about if r.policy == policy]
    if not under:
        others = ", ".join(dict.fromkeys(r.policy[:12] for r, _ in about))
        return VerifyResult(False, f"it was judged under policy {others}, not under {policy[:12]}")
    runs = [(r, e) for r, e in under if r.kind == "run" and r.verdict != "error" and e.verdict in DECIDED]
    if runs and runs[-1][1].verdict == "allow":
        record, entry = runs[-1]
        told = f"against base {entry.base} (record {record.identity[:12]})"
        return VerifyResult(True, f"allowed {record.time} at {record.head[:12]} {told}")
    waived = [r for r, _ in under if r.kind == "waiver" and unexpired(r, now)]
    if waived and waivers:
        w = waived[-1]
        told = f"waiver {w.identity[:12]} by {w.by} until {w.expires}: {w.reason}"
        return VerifyResult(True, f"not allowed by the gate, but covered by {told}")
    return VerifyResult(False, f"its latest verdict is {runs[-1][1].verdict if runs else 'error'}")


def thread_history(hub: GitHubRepo, number: int, author: str, context: str) -> History:
    """The trail in the comment of pull request ``number``, checked line by line and against the commits' statuses."""
    comment = next(iter(ours(hub.comments(number), author)), None)
    chain = read_trail(comment.body) if comment else Ledger()
    heads = dict.fromkeys([*hub.commits_of_pull(number), *(r.head for r in chain.records)])
    quotes = _quotes(hub, list(heads), context)
    problems = anchor_problems(chain.records, quotes)
    if chain.links and chain.links[0].n > 1:
        # The oldest records may have given way to newer ones; the statuses name them all the same.
        problems = [p for p in problems if not p.startswith("the status")]
        problems += [said] if (said := missing_from(chain)) else []
    known = {author, author.removesuffix("[bot]"), *(r.by for r in chain.records if r.kind == "waiver")}
    edited = hub.edits(comment) if comment else []
    edits = [f"{e.editor} edited the comment at {e.time}" for e in edited if e.editor not in known]
    return History(chain, (*chain.problems, *problems, *edits))


def ledger_history(hub: GitHubRepo, branch: str, number: int | None = None) -> History:
    """The chain on the ledger branch, checked; of one pull request only where ``number`` is given."""
    chain = read_ledger(hub, branch)
    if chain is None:
        return History(Ledger(), (f"there is no branch {branch}",))
    links = tuple(link for link in chain.links if number is None or link.record.pull_request == number)
    return History(Ledger(links, chain.problems), chain.problems)


def compare(thread: History, ledger: History) -> list[str]:
    """What the ledger and the comment of one pull request do not agree on."""
    known = {r.identity for r in thread.chain.records}
    first = thread.chain.links[0].n if thread.chain.links else 1
    missing = [r for r in ledger.chain.records if r.identity not in known][first - 1 :]
    kept = {r.identity for r in ledger.chain.records}
    added = [r for r in thread.chain.records if r.identity not in kept and r.verdict != "no model change"]
    return [f"the comment lacks record {r.identity[:12]} ({r.time}), which the ledger holds" for r in missing] + [
        f"the comment holds record {r.identity[:12]} ({r.time}), which the ledger does not: altered or added"
        for r in added
    ]


def require_maintainer(hub: GitHubRepo, env: Mapping[str, str], event: Mapping[str, object]) -> str:
    """Who is asking for a waiver. Raises ConfigurationError unless the platform says that they may write.

    In a workflow only a manual start counts: its actors are known to the platform. Elsewhere it is the token's owner.
    """
    name = env.get("GITHUB_EVENT_NAME", "")
    if env.get("GITHUB_ACTIONS") == "true" and name != "workflow_dispatch":
        raise ConfigurationError(
            f"a waiver cannot be given on the event {name!r}", hint="start a workflow on workflow_dispatch by hand"
        )
    if name == "workflow_dispatch":
        sender = event.get("sender")
        asked = [
            env.get("GITHUB_ACTOR"),
            env.get("GITHUB_TRIGGERING_ACTOR"),
            sender.get("login") if isinstance(sender, dict) else None,
        ]
        people = list(dict.fromkeys(str(login) for login in asked if login))
    else:
        people = [hub.login()]
    if not people:
        raise ConfigurationError("nobody is asking: GITHUB_ACTOR is empty", hint="start the workflow by hand")
    for login in people:
        allowed = hub.permission(login) if not login.endswith("[bot]") else "none, being no person"
        if allowed not in MAY_WAIVE:
            raise ConfigurationError(
                f"{login} may not waive: the permission here is {allowed}",
                hint="ask a maintainer with write permission",
            )
    return people[-1]


def waive(
    hub: GitHubRepo,
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
    """Record a waiver for ``candidate`` at the pull request's current head, and show it in status and comment."""
    head = hub.pull(number).head
    chain = read_ledger(hub, branch)
    if chain and chain.problems:
        raise PublishError(
            f"the ledger is not whole, so no waiver can rest on it: {chain.problems[0]}",
            hint=f"restore the branch {branch} from its history",
        )
    records = [r for r in (chain.records if chain else ()) if r.pull_request == number]
    wanted = waiver_for(records, head, candidate, by, reason, days, now)
    record = append(hub, branch, wanted).record
    latest = next((r for r in reversed(records) if r.kind == "run" and r.head == head), None)
    waived = {candidate, *_waived(records, head, now)}
    # An error names few models or none, and stays an error: what it did not judge is not open to a waiver.
    if latest and latest.verdict in ("block", "hold") and not _still_open(latest, waived):
        words = f"waived by {by} until {record.expires[:10]}: {record.reason}"
        text = clip(words, DESCRIPTION_LIMIT - len(quote(record))) + quote(record)
        hub.set_status(head, context, CommitStatus(STATES["waived"], text, ""))
    comment = next(iter(ours(hub.comments(number), author)), None)
    if comment is not None:
        _show(hub, comment, record)
    return record


def _show(hub: GitHubRepo, comment: Comment, record: Record) -> None:
    body = with_waiver(comment.body, record)
    if body != comment.body:
        hub.edit_comment(comment, body)


def _still_open(run: Record, waived: set[str]) -> list[str]:
    """Candidates of ``run`` that neither passed nor were waived."""
    return [e.candidate for e in run.models if e.verdict != "allow" and e.candidate not in waived]


def _waived(records: Sequence[Record], head: str, now: str) -> set[str]:
    return {
        e.candidate for r in records if r.kind == "waiver" and r.head == head and unexpired(r, now) for e in r.models
    }


def _quotes(hub: GitHubRepo, heads: Sequence[str], context: str) -> dict[str, list[str]]:
    """The records that the statuses of each commit name."""
    named = {head: [quoted(s.description) for s in hub.statuses(head, context)] for head in heads}
    return {head: [name for name in names if name] for head, names in named.items()}
