"""Which commit status quotes a record, and whether the one who set it counts.

Whoever may push to a repository can also append to its ledger and set statuses. GitHub names the creator of each
status, and nobody can edit or remove one. So a record counts only with a status that quotes it, set by the expected
creator: what a pusher writes alone proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from ftgate.config.policy import PublishSettings
from ftgate.github.audit.record import SHOWN_DIGITS, Record, record_in_status
from ftgate.github.audit.signature import SignatureCheck
from ftgate.github.audit.waivers import MAY_WAIVE
from ftgate.github.check_run import posted
from ftgate.github.client import CommitStatus, GitHubRepo
from ftgate.github.retry import RefusedError

ACTIONS_BOT = "github-actions[bot]"
"""The creator of what a workflow does with its own token."""
NO_CHANGE = "no model change"
"""In the description of a status that needs no record on the ledger branch."""


@dataclass(frozen=True, slots=True)
class Creators:
    """Whose statuses count: ``expected``, or else the Actions bot and the owner of the token that is used here."""

    expected: str | None
    token_owner: Callable[[], str]
    may_waive: Callable[[str], bool] = lambda _: False
    """Whether a login may give waivers in its own name."""
    waivers_by: Sequence[str] = ()
    """The logins whose waivers count; empty where their role on GitHub decides, which is asked for when they waive."""

    def accept(self, creator: str) -> bool:
        """Whether the statuses of this login count."""
        if self.expected:
            return _same_login(creator, self.expected)
        # The owner is asked for only if need be: it costs a request.
        return _same_login(creator, ACTIONS_BOT) or (bool(creator) and _same_login(creator, self.token_owner()))

    def accept_for(self, record: Record, creator: str) -> bool:
        """Whether a status of this login counts for ``record``.

        Unless the policy names a creator, a maintainer may quote the waiver that they gave on their own machine. Where
        it names who may waive, a waiver by anybody else does not count, whoever quotes it.
        """
        if self.unnamed(record):
            return False
        own = record.kind == "waiver" and not self.expected and _same_login(creator, record.by)
        return (own and self.may_waive(creator)) or self.accept(creator)

    def unnamed(self, record: Record) -> str:
        """What is wrong with a waiver by somebody whom the policy does not name, or ""."""
        if record.kind != "waiver" or not self.waivers_by or _named(record.by, self.waivers_by):
            return ""
        return f"{record.by} gave it, whom publish.may_waive does not name"

    def __str__(self) -> str:
        return self.expected or ACTIONS_BOT


@dataclass(frozen=True, slots=True)
class StatusQuotes:
    """The statuses of commits under one context, each commit's read once, and whose count."""

    read: Callable[[str], Sequence[CommitStatus]]
    """The statuses of a commit, newest first."""
    creators: Creators
    context: str
    """Records of another context, which is that of another policy, are not vouched for here."""
    signature: SignatureCheck | None = None
    """Checks the signature that a record needs, too; None if it needs none."""
    _by_head: dict[str, Sequence[CommitStatus]] = field(default_factory=dict)

    def of(self, head: str) -> Sequence[CommitStatus]:
        """The statuses of the commit ``head``, newest first; none if the commit is gone."""
        if head not in self._by_head:
            try:
                self._by_head[head] = self.read(head)
            except RefusedError as error:
                if error.status not in (404, 422):
                    raise
                self._by_head[head] = ()
        return self._by_head[head]

    def quoting(self, record: Record) -> CommitStatus | None:
        """The newest status that counts, quotes ``record`` and does not contradict it."""
        if not record.belongs_to(self.context):
            return None
        return next(
            (
                status
                for status in self.of(record.head)
                if quotes(status, record)
                and contradiction(status, record) == ""
                and self.creators.accept_for(record, status.creator)
            ),
            None,
        )

    def lack(self, record: Record) -> str:
        """Why ``record`` proves nothing, or "" if a status vouches for it."""
        if self.quoting(record) is not None:
            unsigned = self.signature.lack(record) if self.signature else ""
            return f"of its record {record.identity[:SHOWN_DIGITS]} ({record.time}): {unsigned}" if unsigned else ""
        if not record.belongs_to(self.context):
            return f"its record {record.identity[:SHOWN_DIGITS]} ({record.time}) is one of {record.context}"
        if unnamed := self.creators.unnamed(record):
            return unnamed
        return (
            f"its record {record.identity[:SHOWN_DIGITS]} ({record.time}) is not named by a status of "
            f"{record.head[:12]} that {self.creators} set"
        )

    def removed_since(self, record: Record, records: Sequence[Record]) -> str:
        """The record of a later block or hold at the same head that is not among ``records``, or ""."""
        named = {r.identity[:SHOWN_DIGITS] for r in records}
        statuses = self.of(record.head)
        quoting = self.quoting(record)
        later = statuses[: statuses.index(quoting)] if quoting in statuses else ()
        failures = [s for s in later if s.state == "failure" and self.creators.accept(s.creator)]
        names = [record_in_status(s.description) for s in failures]
        return next((name for name in names if name and name not in named), "")


def quotes_of(repo: GitHubRepo, settings: PublishSettings) -> StatusQuotes:
    """The statuses of ``repo`` under the policy's context, and the creators that its policy expects."""
    may_waive = cache(lambda login: not no_maintainer(repo, settings, login))
    creators = Creators(settings.expected_creator, repo.login, may_waive, settings.may_waive)
    signers, issuer = settings.signers, settings.certificate_oidc_issuer
    signature = SignatureCheck(repo, settings.branch, signers, issuer) if signers else None
    return StatusQuotes(lambda head: posted(repo, head, settings), creators, settings.context, signature)


def no_maintainer(repo: GitHubRepo, settings: PublishSettings, login: str) -> str:
    """Why ``login`` may not give waivers, or "": the policy names who may, or else their role on GitHub says it."""
    if login.endswith("[bot]"):
        return "it is a bot"
    if settings.may_waive:
        named = _named(login, settings.may_waive)
        return "" if named else f"publish.may_waive names {', '.join(settings.may_waive)}"
    role = repo.role(login)
    return "" if role in MAY_WAIVE else f"their role on this repository is {role}, not {' or '.join(sorted(MAY_WAIVE))}"


def quotes(status: CommitStatus, record: Record) -> bool:
    """Whether the status's description ends with the record's identity; a check run must hold all of it, too."""
    whole = status.identity is None or status.identity == record.identity
    return whole and record_in_status(status.description) == record.identity[:SHOWN_DIGITS]


def contradiction(status: CommitStatus, record: Record) -> str:
    """How the state of a status contradicts the record that it quotes, or ""."""
    if record.kind == "waiver":
        return ""
    if record.verdict in ("block", "hold"):
        agrees = status.state == "failure" or (status.state == "success" and "waived" in status.description)
    else:
        agrees = status.state == ("error" if record.verdict == "error" else "success")
    return "" if agrees else f"the record says {record.verdict}"


def status_problems(
    records: Sequence[Record], quoted: StatusQuotes, heads: Sequence[str], *, whole: bool = True, ledger: bool = False
) -> list[str]:
    """Where the records and the statuses of ``heads`` disagree, and which statuses prove nothing.

    Records of other policies are left to their own. Unless the records are ``whole``, statuses may name older ones that
    are not among them. On the ``ledger`` branch there are no records of changes without a model, and those of failed
    writes come later.
    """
    own = {n: record for n, record in enumerate(records, 1) if record.belongs_to(quoted.context)}
    by_name = {record.identity[:SHOWN_DIGITS]: record for record in own.values()}
    problems = [
        f"record {n} ({record.time}, head {record.head[:7]}) counts for nothing: {unnamed}"
        if (unnamed := quoted.creators.unnamed(record))
        else f"record {n} ({record.time}, head {record.head[:7]}) is not named by any status of its commit that "
        f"{quoted.creators} set: it was altered or added, or its job ended before the status"
        for n, record in own.items()
        if record.head in heads and quoted.quoting(record) is None
    ]
    for head in heads:
        for status in reversed(quoted.of(head)):
            problem = _status_problem(status, head, by_name, quoted.creators, whole=whole, ledger=ledger)
            kind = "status" if status.identity is None else "check run"
            problems += [f"the {kind} {status.state} of {head[:7]} {problem}"] if problem else []
    return list(dict.fromkeys(problems))


def _status_problem(
    status: CommitStatus, head: str, by_name: Mapping[str, Record], creators: Creators, *, whole: bool, ledger: bool
) -> str:
    name = record_in_status(status.description)
    record = by_name.get(name)
    record = record if record is None or quotes(status, record) else None
    counts = creators.accept_for(record, status.creator) if record else creators.accept(status.creator)
    if record is not None and creators.unnamed(record):
        return ""
    if not counts:
        return f"was set by {status.creator or 'a deleted account'}, not by {creators}: it proves nothing"
    if record is not None and record.head != head:
        return f"names record {name}, which is of another commit, {record.head[:7]}: it proves nothing"
    if record is not None:
        problem = contradiction(status, record)
        return f"contradicts record {name}: {problem}" if problem else ""
    recorded = status.state in ("success", "failure") and NO_CHANGE not in status.description
    if name and whole and (recorded or not ledger):
        return f"names record {name}, which is missing: it was altered or removed"
    return "names no record" if recorded and not name else ""


def _named(login: str, logins: Sequence[str]) -> bool:
    return any(_same_login(login, other) for other in logins)


def _same_login(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
