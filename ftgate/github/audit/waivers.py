"""Waivers: a maintainer lets one candidate pass at one commit, for a limited time and with a reason.

A waiver is a record on the ledger branch, which only the workflow and people with write permission can write. It is for
one head and one digest; a new push or a changed file needs a new one. The maintainer's identity comes from GitHub (the
token, or the person who started the workflow), never from text in the pull request.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ftgate.errors import ConfigurationError
from ftgate.github.audit.record import ModelEntry, Record

MAY_WAIVE = frozenset({"admin", "maintain"})
"""The roles on GitHub that may waive where the policy names no logins."""
LONGEST_DAYS = 90
"""The longest that a waiver can last."""
CLOCK_DIFFERENCE = timedelta(hours=1)
"""How far the clock of the machine that gave a waiver may be ahead."""


def matching_waivers(records: Sequence[Record], candidates: Sequence[str], policy: str, now: str) -> list[Record]:
    """The waivers among ``records`` for one of ``candidates`` under ``policy`` that have not expired at ``now``.

    The caller checks their head.
    """
    waivers = [r for r in records if r.kind == "waiver" and r.policy == policy and unexpired(r, now)]
    return [w for w in waivers if w.models and w.models[0].candidate and w.models[0].candidate in candidates]


def unexpired(waiver: Record, now: str) -> bool:
    """Whether the waiver holds at ``now``.

    One with an unreadable date does not, nor one that ends more than 90 days after it was given or after ``now``,
    whoever wrote it into the ledger.
    """
    try:
        current, end = datetime.fromisoformat(now), datetime.fromisoformat(waiver.expires)
        return current < end <= current + CLOCK_DIFFERENCE + timedelta(days=LONGEST_DAYS) and not too_long(waiver)
    except (ValueError, TypeError, OverflowError):
        return False


def same_request(one: Record, other: Record) -> bool:
    """Whether waiver ``one`` is what ``other`` asks for again: by the same person, and ending no later."""
    ignored = {"time": "", "base": "", "expires": ""}
    same = one.kind == "waiver" and one.model_copy(update=ignored) == other.model_copy(update=ignored)
    # Whoever may push can have written it: then it may not give more than is asked for.
    return same and not too_long(one) and _days(one) <= _days(other) and one.expires <= other.expires


def _days(waiver: Record) -> timedelta:
    return datetime.fromisoformat(waiver.expires) - datetime.fromisoformat(waiver.time)


def too_long(waiver: Record) -> bool:
    """Whether the waiver lasts more than 90 days, or has an unreadable date: `ftgate waive` gives none like that."""
    try:
        lasts = datetime.fromisoformat(waiver.expires) - datetime.fromisoformat(waiver.time)
    except (ValueError, TypeError):
        return True
    return lasts > timedelta(days=LONGEST_DAYS)


def candidate_to_waive(records: Sequence[Record], head: str) -> str:
    """The candidate that the newest verdict at ``head`` blocks or holds. Raises ConfigurationError unless it is one."""
    runs = [r for r in records if r.kind == "run" and r.head == head and r.verdict != "error"]
    failed = [e for e in runs[-1].models if e.verdict in ("block", "hold")] if runs else []
    if len(failed) != 1:
        listed = ", ".join(f"{e.name} {e.candidate}" for e in failed) or "none"
        raise ConfigurationError(
            f"the candidates that are blocked or held at {head[:7]}: {listed}",
            hint="name one by its digest" if failed else "only a block or a hold can be waived",
        )
    return failed[0].candidate


def new_waiver(
    records: Sequence[Record], head: str, candidate: str, by: str, reason: str, days: int, now: str
) -> Record:
    """The waiver that ``by`` asks for. Raises ConfigurationError unless there is a block or hold to waive."""
    if not reason.strip():
        raise ConfigurationError("--reason is empty", hint="give a reason; the history shows it")
    if not 1 <= days <= LONGEST_DAYS:
        raise ConfigurationError(
            f"--days {days} is not between 1 and {LONGEST_DAYS}", hint=f"a waiver lasts at most {LONGEST_DAYS} days"
        )
    runs = [record for record in records if record.kind == "run" and record.head == head]
    judged = [(record, entry) for record in runs for entry in record.models if entry.candidate == candidate]
    if not judged:
        raise ConfigurationError(
            f"the ledger has no verdict on {candidate[:19]}… at {head[:7]}",
            hint="only a candidate that was judged at the pull request's current head can be waived",
        )
    record, entry = judged[-1]
    if entry.verdict not in ("block", "hold"):
        raise ConfigurationError(
            f"the verdict on {entry.name} at {head[:7]} is {entry.verdict}: there is nothing to waive",
            hint="only a block or a hold can be waived; run the gate again after an error",
        )
    expires = (datetime.fromisoformat(now) + timedelta(days=days)).isoformat(timespec="seconds")
    return Record(
        kind="waiver",
        time=now,
        repository=record.repository,
        pull_request=record.pull_request,
        head=head,
        base=record.base,
        policy=record.policy,
        verdict="waived",
        models=(ModelEntry.model_validate(entry.model_dump()),),
        reason=reason.strip(),
        by=by,
        expires=expires,
        context=record.context,
    )
