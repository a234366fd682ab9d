"""The audit trail: one line a run, each naming the digest of the line before it. Pure.

A line is canonical JSON, so that anyone can check the chain with a SHA-256 program. The same record stands in two
chains, that of its pull request's comment and that of the ledger branch; what it says, without its place in a chain,
has a digest of its own, the ``identity`` that the commit status quotes. A status can be neither edited nor removed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from ftgate.config.strict import Section

LONGEST = 500
"""Characters of one value. A longer one is cut: the trail is for reading."""
SHOWN_DIGITS = 12
"""Hexadecimal digits of a record's identity that a status and a reader are shown."""
_QUOTED = re.compile(r"\[record ([0-9a-f]{12})\]$")


def _short(value: Any) -> Any:
    """Whatever text comes in, as much of it as the trail keeps; halves of characters cannot be written down."""
    return value.encode("utf-8", "replace").decode("utf-8")[:LONGEST] if isinstance(value, str) else value


Short = Annotated[str, BeforeValidator(_short)]
_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&`@"})


class Change(Section):
    """What one measurement found."""

    change: float | None
    unit: Short
    status: Short


class ModelEntry(Section):
    """One candidate of a run."""

    name: Short
    manifest: Short = ""
    base: Short
    candidate: Short
    """Digest of the candidate's files."""
    verdict: Literal["allow", "block", "hold", "error"]
    numbers: Mapping[Short, Change] = Field(default_factory=dict)
    """The change that each measurement found."""
    report: Short = ""
    """SHA-256 of report.json."""


class Record(Section):
    """What one run decided, or what one maintainer waived."""

    kind: Literal["run", "waiver"] = "run"
    time: Short
    repository: Short
    pull_request: int | None = None
    head: Short
    base: Short = ""
    policy: Short = ""
    """SHA-256 of the policy that ruled."""
    verdict: Literal["allow", "block", "hold", "error", "no model change", "waived"]
    models: tuple[ModelEntry, ...] = ()
    run: Short = ""
    reason: Short = ""
    by: Short = ""
    """Who waived."""
    expires: Short = ""

    @property
    def identity(self) -> str:
        """SHA-256 of what the record says, wherever it stands."""
        return hashlib.sha256(canonical(self.model_dump(mode="json")).encode()).hexdigest()

    def same_event(self, other: Record) -> bool:
        """Whether both tell of the same decision, though perhaps written down at different times."""
        moving = {"time": "", "base": ""}  # the base branch goes on while a job is run again
        return self.model_copy(update=moving) == other.model_copy(update=moving)


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One line of a chain: ``n`` counts from 1, ``previous`` is the digest of the line before it."""

    n: int
    previous: str
    record: Record
    line: str = field(compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the line as it stands."""
        return hashlib.sha256(self.line.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The lines that could be read, and what is wrong with the others and with their order."""

    links: tuple[LedgerLine, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """The records, oldest first."""
        return tuple(link.record for link in self.links)

    def find(self, record: Record, *, since: int | None = None) -> LedgerLine | None:
        """The line that tells of the same decision, if it is the last word of a run on that head.

        An earlier line is no answer: a run that is repeated may allow, block and allow again, and the last one counts.
        A waiver stands wherever it is. With ``since`` any line after that number will do: somebody wrote it just now.
        """
        same = [k for k in reversed(self.links) if (k.record.kind, k.record.head) == (record.kind, record.head)]
        if since is not None:
            same = [link for link in same if link.n > since]
        elif record.kind == "run":
            same = same[:1]
        return next((link for link in same if link.record.same_event(record)), None)

    def holds(self, record: Record) -> bool:
        """Whether this very record is one of the lines."""
        return any(link.record.identity == record.identity for link in self.links)

    def then(self, record: Record) -> Ledger:
        """The chain with one more line; the same chain if its last word on that head is that decision already."""
        return self if self.find(record) else self.plus(record)

    def plus(self, record: Record) -> Ledger:
        """The chain with one more line."""
        return Ledger((*self.links, seal(record, self.links[-1] if self.links else None)), self.problems)


def canonical(value: Mapping[str, Any]) -> str:
    """``value`` as one line of ASCII JSON: sorted keys, no spaces, nothing that Markdown or HTML would act on."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).translate(_ESCAPES)


def seal(record: Record, last: LedgerLine | None) -> LedgerLine:
    """``record`` as the line that comes after ``last``."""
    n, previous = (last.n + 1, last.digest) if last else (1, "")
    return LedgerLine(
        n, previous, record, canonical({"n": n, "previous": previous, "record": record.model_dump(mode="json")})
    )


def read_chain(lines: Iterable[str], *, whole: bool = True) -> Ledger:
    """The chain in ``lines``. ``whole`` says that it must begin with its first record.

    Every line is checked; ``problems`` name by number what was altered or removed.
    """
    links: list[LedgerLine] = []
    problems: list[str] = []
    for position, line in enumerate((text for text in lines if text.strip()), 1):
        link = _read(line.strip())
        if link is None:
            problems.append(f"line {position} is not a record: it was altered")
            continue
        problems += _breaks(links[-1] if links else None, link, whole=whole)
        links.append(link)
    return Ledger(tuple(links), tuple(problems))


def quote(record: Record) -> str:
    """The record's identity as a status description ends with it."""
    return f" [record {record.identity[:SHOWN_DIGITS]}]"


def quoted(description: str) -> str:
    """The identity that a status description ends with, or nothing."""
    found = _QUOTED.search(description)
    return found[1] if found else ""


def anchor_problems(records: Sequence[Record], quotes: Mapping[str, Sequence[str]]) -> list[str]:
    """What the statuses know better. ``quotes`` are the identities that each commit's statuses end with."""
    known = {record.identity[:SHOWN_DIGITS] for record in records}
    problems = []
    for n, record in enumerate(records, 1):
        said = quotes.get(record.head)
        if said is not None and record.identity[:SHOWN_DIGITS] not in said:
            problems.append(
                f"record {n} ({record.time}, head {record.head[:7]}) is none that a status of its commit names: "
                "it was altered or added"
            )
    for head, said in quotes.items():
        problems += [
            f"the status of {head[:7]} names record {name}, which is not there: it was altered or removed"
            for name in dict.fromkeys(said)
            if name not in known
        ]
    return problems


def _read(line: str) -> LedgerLine | None:
    """The line as a link; None if it is anything but the canonical form of a record."""
    try:
        value = json.loads(line)
        if not isinstance(value, dict) or set(value) != {"n", "previous", "record"}:
            return None
        record = Record.model_validate(value["record"])
        n, previous = value["n"], value["previous"]
        if type(n) is not int or type(previous) is not str:
            return None
        exact = canonical({"n": n, "previous": previous, "record": record.model_dump(mode="json")})
    except (ValueError, ValidationError, RecursionError):
        return None
    return LedgerLine(n, previous, record, line) if exact == line else None


def _breaks(before: LedgerLine | None, link: LedgerLine, *, whole: bool) -> list[str]:
    at = f"record {link.n} ({link.record.time}, head {link.record.head[:7]})"
    if before is None:
        first = link.n == 1 and link.previous == ""
        return [] if first or not whole else [f"{at} is the first there is: what came before it was removed"]
    if link.n > before.n + 1:
        missing = f"record {before.n + 1}" if link.n == before.n + 2 else f"records {before.n + 1} to {link.n - 1}"
        return [f"{missing} before {at}: removed"]
    if link.n <= before.n:
        return [f"{at} stands after record {before.n}: records were moved or repeated"]
    if link.previous != before.digest:
        return [
            f"record {before.n} ({before.record.time}, head {before.record.head[:7]}): altered after it was written"
        ]
    return []
