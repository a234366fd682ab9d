"""Waivers: a maintainer lets one candidate pass at one commit, for a time, and says why.

A waiver is a record on the ledger branch, which only the workflow and people with write permission can write. It binds
to one head and one digest; a new push or another file needs another. Whoever asks for one is known by what the platform
says of the token or of the person who started the workflow, never by a text in the pull request.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ftgate.errors import ConfigurationError
from ftgate.github.audit.record import ModelEntry, Record

MAY_WAIVE = frozenset({"admin", "write"})
"""Permissions, as the platform names them, of those who may waive."""
LONGEST_DAYS = 90


def covering(records: Sequence[Record], candidates: Sequence[str], policy: str, now: str) -> list[Record]:
    """The waivers among ``records`` for one of ``candidates`` under ``policy`` that have not expired at ``now``.

    Whether their head is the one that counts is for the caller to see.
    """
    waivers = [r for r in records if r.kind == "waiver" and r.policy == policy and unexpired(r, now)]
    return [w for w in waivers if w.models and w.models[0].candidate and w.models[0].candidate in candidates]


def unexpired(waiver: Record, now: str) -> bool:
    """Whether the waiver still holds. One whose date cannot be read does not."""
    try:
        return datetime.fromisoformat(now) < datetime.fromisoformat(waiver.expires)
    except (ValueError, TypeError):
        return False


def waiver_for(
    records: Sequence[Record], head: str, candidate: str, by: str, reason: str, days: int, now: str
) -> Record:
    """The waiver that ``by`` asks for. Raises ConfigurationError unless there is a verdict to waive."""
    if not reason.strip():
        raise ConfigurationError("--reason is empty", hint="say why, for whoever reads the history")
    if not 1 <= days <= LONGEST_DAYS:
        raise ConfigurationError(f"--days {days} is not between 1 and {LONGEST_DAYS}", hint="a waiver is for a while")
    found = [
        (record, entry)
        for record in records
        if record.kind == "run" and record.head == head
        for entry in record.models
        if entry.candidate == candidate
    ]
    if not found:
        raise ConfigurationError(
            f"the ledger holds no verdict on {candidate[:19]}… at {head[:7]}",
            hint="a waiver is for a candidate that was judged at the pull request's current head",
        )
    record, entry = found[-1]
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
    )
