"""The ledger: a hash chain with one line per run, each holding the SHA-256 of the line before it. Pure.

A line is canonical JSON, so that anyone can check the chain with a SHA-256 program. Each record is in two ledgers, that
of its pull request's comment and that of the ledger branch. Its content, without its position in a ledger, has a digest
of its own, the ``identity``, which the commit status names: a status can be neither edited nor removed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError

from ftgate.config.strict import GrownSection

LONGEST = 500
"""Characters of one value; a longer one is truncated."""
SHOWN_DIGITS = 12
"""Hexadecimal digits of a record's identity in statuses and tables."""
_QUOTED = re.compile(r"\[record ([0-9a-f]{12})\]$")


def _truncate(value: Any) -> Any:
    """A text cut to ``LONGEST`` characters, with lone surrogates replaced, which UTF-8 cannot encode."""
    return value.encode("utf-8", "replace").decode("utf-8")[:LONGEST] if isinstance(value, str) else value


Truncated = Annotated[str, BeforeValidator(_truncate)]
_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&`@"})


class Change(GrownSection):
    """The result of one measurement."""

    later: ClassVar[frozenset[str]] = frozenset({"interval", "level", "incumbent"})

    change: float | None
    unit: Truncated
    status: Truncated
    interval: tuple[float | None, float | None] | None = None
    level: float | None = None
    """Of the interval, two-sided."""
    incumbent: Change | None = None
    """The result against the deployed model, in a unit of its own."""


class ModelEntry(GrownSection):
    """One candidate of a run."""

    later: ClassVar[frozenset[str]] = frozenset({"source", "revision", "incumbent"})

    name: Truncated
    manifest: Truncated = ""
    base: Truncated
    candidate: Truncated
    """Digest of the candidate's files."""
    source: Truncated = ""
    """Where the manifest says that the candidate is stored."""
    revision: Truncated = ""
    """Its commit, for a `hf://` source."""
    incumbent: Truncated = ""
    """Digest of the deployed model that it was compared with; empty if there was none."""
    verdict: Literal["allow", "block", "hold", "error"]
    numbers: Mapping[Truncated, Change] = Field(default_factory=dict)
    """The change in each measurement."""
    report: Truncated = ""
    """SHA-256 of report.json."""


class Record(GrownSection):
    """The decision of one run, or a maintainer's waiver."""

    later: ClassVar[frozenset[str]] = frozenset({"context"})

    kind: Literal["run", "waiver"] = "run"
    time: Truncated
    repository: Truncated
    pull_request: int | None = None
    head: Truncated
    base: Truncated = ""
    policy: Truncated = ""
    """SHA-256 of the policy that was applied."""
    verdict: Literal["allow", "block", "hold", "error", "no model change", "waived"]
    models: tuple[ModelEntry, ...] = ()
    run: Truncated = ""
    reason: Truncated = ""
    by: Truncated = ""
    """Login of the maintainer, for a waiver."""
    expires: Truncated = ""
    context: Truncated = ""
    """Name of the status that quotes it: that of its policy. Empty in records from before there could be several."""

    @property
    def identity(self) -> str:
        """SHA-256 of the record's content, whatever its position in a ledger."""
        return hashlib.sha256(canonical(self.model_dump(mode="json")).encode()).hexdigest()

    def belongs_to(self, context: str) -> bool:
        """Whether it is a record of the policy whose status is called ``context``."""
        return self.context in ("", context)

    def same_event(self, other: Record) -> bool:
        """Whether both record the same decision, regardless of when each was written."""
        ignored = {"time": "", "base": ""}  # the base branch may move before a job is run again
        return self.model_copy(update=ignored) == other.model_copy(update=ignored)


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One line of a ledger: ``n`` counts from 1, ``previous`` is the digest of the line before it."""

    n: int
    previous: str
    record: Record
    text: str = field(compare=False)
    late: str = ""
    """When it was appended, for a record that could not be written at its own time."""

    @property
    def digest(self) -> str:
        """SHA-256 of the line's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The readable lines, and the problems with the others and with their order."""

    lines: tuple[LedgerLine, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """The records, oldest first."""
        return tuple(line.record for line in self.lines)

    def find(self, record: Record, *, since: int | None = None) -> LedgerLine | None:
        """The line that records the same decision, if it is the latest run on that head.

        An earlier run does not count: repeated runs may allow, block and allow again, and the last one is in effect. A
        waiver may be anywhere. With ``since`` any line after that number counts, because it was written just now.
        """
        key = (record.kind, record.head, record.context)
        candidates = [
            line for line in reversed(self.lines) if (line.record.kind, line.record.head, line.record.context) == key
        ]
        if since is not None:
            candidates = [line for line in candidates if line.n > since]
        elif record.kind == "run":
            candidates = candidates[:1]
        return next((line for line in candidates if line.record.same_event(record)), None)

    def contains(self, record: Record) -> bool:
        """Whether one of the lines has exactly this record."""
        return any(line.record.identity == record.identity for line in self.lines)

    def appended_if_new(self, record: Record) -> Ledger:
        """The ledger with one more line; unchanged if ``find`` returns a line for the record."""
        return self if self.find(record) else self.appended(record)

    def appended(self, record: Record, late: str = "") -> Ledger:
        """The ledger with one more line; ``late`` is the time at which a late record is appended."""
        return Ledger((*self.lines, next_line(record, self.lines[-1] if self.lines else None, late)), self.problems)


def canonical(value: Mapping[str, Any]) -> str:
    """``value`` as one line of ASCII JSON: sorted keys, no spaces, and no character special to Markdown or HTML."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).translate(_ESCAPES)


def next_line(record: Record, last: LedgerLine | None, late: str = "") -> LedgerLine:
    """``record`` as the line after ``last``."""
    n, previous = (last.n + 1, last.digest) if last else (1, "")
    return LedgerLine(n, previous, record, _line_text(n, previous, record, late), late)


def _line_text(n: int, previous: str, record: Record, late: str) -> str:
    mark = {"late": late} if late else {}
    return canonical({"n": n, "previous": previous, "record": record.model_dump(mode="json"), **mark})


def parse_ledger(texts: Iterable[str], *, whole: bool = True) -> Ledger:
    """The ledger in ``texts``, one line each; with ``whole`` it must begin with its first record.

    Every line is checked; ``problems`` name altered and removed records by their numbers.
    """
    lines: list[LedgerLine] = []
    problems: list[str] = []
    for position, text in ((n, raw.strip()) for n, raw in enumerate(texts, 1) if raw.strip()):
        line = _parse_line(text)
        if line is None:
            problems.append(f"line {position} is not a valid record: {_what_is_wrong(text)}")
            continue
        problems += _order_problems(lines[-1] if lines else None, line, whole=whole)
        lines.append(line)
    return Ledger(tuple(lines), tuple(problems))


def no_ledger(texts: Iterable[str]) -> str:
    """Why ``texts`` are not the lines of a ledger at all, not even of an altered one; empty if they may be."""
    number, first = next(((n, text) for n, text in enumerate(texts, 1) if text.strip()), (0, ""))
    if not number:
        return "empty: it holds no record"
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return f"not a ledger: line {number} is not JSON"
    if isinstance(value, dict) and {"n", "previous", "record"} <= value.keys():
        return ""
    return f"not a ledger: line {number} is not an object with n, previous and record"


def status_suffix(record: Record) -> str:
    """The end of a status description: the record's identity in brackets."""
    return f" [record {record.identity[:SHOWN_DIGITS]}]"


def record_in_status(description: str) -> str:
    """The identity that a status description ends with, or an empty text."""
    match = _QUOTED.search(description)
    return match[1] if match else ""


def _parse_line(text: str) -> LedgerLine | None:
    """The parsed line; None unless it is a record in canonical form."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict) or set(value) - {"late"} != {"n", "previous", "record"}:
            return None
        record = Record.model_validate(value["record"])
        n, previous, late = value["n"], value["previous"], value.get("late", "")
        if type(n) is not int or type(previous) is not str or type(late) is not str:
            return None
        exact = _line_text(n, previous, record, late)
    except (ValueError, ValidationError, RecursionError):
        return None
    return LedgerLine(n, previous, record, text, late) if exact == text else None


def _what_is_wrong(text: str) -> str:
    """Why a line is no record: it is something else, or was altered."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict) or not {"n", "previous", "record"} <= value.keys():
            return "it is not an object with n, previous and record, and was skipped"
        Record.model_validate(value["record"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("record", *first["loc"]))
        return f"{where}: {first['msg']}; it was altered or is of another program, and was skipped"
    except (ValueError, RecursionError):
        return "it is not JSON, and was skipped"
    return "it was altered, and was skipped"


def _order_problems(before: LedgerLine | None, line: LedgerLine, *, whole: bool) -> list[str]:
    at = f"record {line.n} ({line.record.time}, head {line.record.head[:7]})"
    if before is None:
        first = line.n == 1 and line.previous == ""
        return [] if first or not whole else [f"{at} is the first one: the records before it were removed"]
    if line.n > before.n + 1:
        missing = f"record {before.n + 1}" if line.n == before.n + 2 else f"records {before.n + 1} to {line.n - 1}"
        return [f"{missing} before {at}: removed"]
    if line.n <= before.n:
        return [f"{at} follows record {before.n}: records were moved or repeated"]
    if line.previous != before.digest:
        return [
            f"record {before.n} ({before.record.time}, head {before.record.head[:7]}): altered after it was written"
        ]
    return []
