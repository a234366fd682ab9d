"""The pull request comment: the verdict on each model, and the audit trail. Pure.

The comment only displays results; nothing is decided from it. Its audit trail can be checked against the statuses.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from ftgate.config.policy import DEFAULT_CONTEXT
from ftgate.github.audit.record import SHOWN_DIGITS, Ledger, LedgerLine, ModelEntry, Record, parse_ledger
from ftgate.github.changed_manifests import BaseChange
from ftgate.github.runner_paths import without_paths
from ftgate.measurements.registry import in_order
from ftgate.report import numbers
from ftgate.report.advice.files import path_as_code
from ftgate.report.advice.first_step import AUTHOR, REVIEWER, RUNNER, FirstStep
from ftgate.report.escape import as_code, block, code, inline, prose
from ftgate.report.links import CommentLinks
from ftgate.report.render import COMMENT_LIMIT, MARKER, render_comment
from ftgate.report.schema import Report

HISTORY = "<!-- ftgate:history -->"
"""Marks the start of the records. Untrusted text cannot contain it: escaping breaks it up."""
TRAIL_OPENS = "<details><summary>History: "
HISTORY_LIMIT = 14_000
"""Characters that the trail may take in a comment; the oldest records are dropped first."""
DIFF_LIMIT = 6_000
LEAST_SECTION = 1_500
"""Fewest characters that a model's section gets, however many models there are."""
MOST_LISTED = 100
NOT_THE_MODEL = "This says nothing about the model."
UNKNOWN = "Not known: the model was not tested."
RERUN = "press “Re-run failed jobs” on"
THIS_RUN = "the page of this run"
FAILED = "the evaluation failed: "
"""How a problem begins that an evaluation gave as its reason."""
LEFT_NO_REPORT = "left no report"
"""What a problem says where an evaluation gave no reason."""
_MANIFEST = re.compile(r"([^\s:`]+\.(?:ya?ml|json|toml)): ")
"""A problem with a manifest begins with its path."""
_ADDRESS = re.compile(r"https?://[^\s`]*[^\s`.,:;)]")
_SERVER = re.compile(rf"\b(?P<role>judge|model) (?:endpoint )?`?(?P<address>{_ADDRESS.pattern})")
"""How a problem names the server that it is about (engines/openai/client.py)."""
_SILENT = re.compile(r"no answer|could not be reached|closed the connection|took longer than|HTTP 5\d\d")
"""What it says where the server itself is at fault."""
_MARK = re.compile(r"<!-- ftgate:comment( [^ >]+)? -->")


def mark(context: str) -> str:
    """The first line of the comment on the policy whose status is called ``context``."""
    return MARKER.replace(" -->", f" {quote(context)} -->")


@dataclass(frozen=True, slots=True)
class CommentSection:
    """One model's section: its report, or why there is no valid one."""

    title: str
    verdict: str
    report: Report | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommentContent:
    """Everything that a comment shows, apart from the trail."""

    verdict: str
    head: str
    sections: tuple[CommentSection, ...] = ()
    problems: tuple[str, ...] = ()
    """Why the gate could not judge at all."""
    policy: str = ""
    policy_change: str = ""
    """Unified diff of the policy, if the pull request edits it."""
    waivers: tuple[Record, ...] = ()
    bases: tuple[BaseChange, ...] = ()
    links: CommentLinks = field(default_factory=CommentLinks)
    context: str = DEFAULT_CONTEXT
    """Name of the policy's status, of which there may be another with a comment of its own."""


def compose(content: CommentContent, ledger: Ledger) -> str:
    """The comment, at most 60,000 characters: it drops old records, then shrinks sections, then omits models."""
    trail = _history(ledger)
    ends = [*_bases(content.bases), *_waivers(content.waivers), *_policy(content), _foot(content)]
    head = _heading(content)
    first_line = mark(content.context)
    room = COMMENT_LIMIT - sum(len(part) + 2 for part in (first_line, *head, *ends, trail))
    parts = [*head, *_sections(content, room), *ends]
    return "\n\n".join([f"{first_line}\n{parts[0]}", *parts[1:], trail]).strip() + "\n"


def summary(content: CommentContent) -> str:
    """The same text for the job's summary page, without the trail."""
    return compose(content, Ledger()).removeprefix(f"{mark(content.context)}\n")


def read_trail(body: str) -> Ledger:
    """The records in one of the gate's comments; the oldest may have been dropped to make room."""
    _, marker, rest = body.replace("\r\n", "\n").rpartition(f"\n{HISTORY}\n```json\n")
    return parse_ledger(rest.split("\n```", 1)[0].split("\n"), whole=False) if marker else Ledger()


def missing_records(ledger: Ledger) -> str:
    """The problem with a trail that lacks its first records although there was room for them; "" if it does not."""
    missing = ledger.lines[0].n - 1 if ledger.lines else 0
    if not missing or 2 * sum(_size(line) for line in ledger.lines) > HISTORY_LIMIT:
        return ""
    return f"{'record 1' if missing == 1 else f'records 1 to {missing}'}: removed, although there was room"


def with_waiver(body: str, record: Record) -> str:
    """The comment with a waiver added to its trail and shown at its top; unchanged if the trail already has it."""
    ledger = read_trail(body)
    if ledger.find(record):
        return body
    whole = with_trail(body, ledger.appended_if_new(record))
    match = _MARK.match(whole)
    first_line = match[0] if match else MARKER
    rest = whole.removeprefix(first_line).strip()
    return f"{first_line}\n{_waivers([record])[0]}\n\n{rest}\n"


def with_trail(body: str, ledger: Ledger) -> str:
    """The comment with its trail replaced by ``ledger``; the rest stays."""
    content, marker, _ = body.replace("\r\n", "\n").rpartition(f"\n{TRAIL_OPENS}")
    return f"{(content if marker else body).strip()}\n\n{_history(ledger)}".strip() + "\n"


def difference(before: str, after: str | None, path: str) -> str:
    """How a pull request edits the policy, as a unified diff."""
    new = (after or "").splitlines()
    return "\n".join(difflib.unified_diff(before.splitlines(), new, f"base: {path}", f"head: {path}", lineterm=""))


def _heading(content: CommentContent) -> list[str]:
    if len(content.sections) == 1 and not content.problems:
        return []
    models = _how_many(content) if content.sections else "no model was judged"
    if content.verdict == "no model change":
        models = f"at {code(content.head[:7])} no manifest differs from the base"
    lines = [f"## {numbers.headline(content.verdict)}: {models}"]
    problems = [f"- {inline(without_paths(problem), 600)}" for problem in content.problems[:20]]
    if content.problems and not content.sections and content.verdict == "error":
        lines += [_cause(content.problems), _next(content.problems, content.links)]
        problems = problems[1:]
    lines += ["\n".join(problems)] if problems else []
    if len(content.sections) > 1:
        rows = [f"| {inline(s.title, 80)} | **{_headline(s)}** |" for s in content.sections[:MOST_LISTED]]
        more = len(content.sections) - len(rows)
        rows += [f"| … and {numbers.count(more)} more | |"] if more else []
        lines.append("\n".join(["| model | verdict |", "|---|---|", *rows]))
    return lines


def _how_many(content: CommentContent) -> str:
    """``1 of 3 models``: how many have the verdict of all, unless all have it, or none."""
    alike, total = sum(s.verdict == content.verdict for s in content.sections), numbers.count(len(content.sections))
    of = f"{numbers.count(alike)} of " if 0 < alike < len(content.sections) else ""
    return f"{of}{total} models"


def _sections(content: CommentContent, room: int) -> list[str]:
    """One section per model, as many as fit."""
    sections = content.sections
    share = max(LEAST_SECTION, room // max(1, len(sections)) - 2)
    texts: list[str] = []
    for section in sections:
        text = _section(section, share, content.links)
        if len(text) + 2 > room - 200:
            left = len(sections) - len(texts)
            return [
                *texts,
                f"_{numbers.count(left)} more did not fit into this comment; "
                "their reports are in the job's artifacts._",
            ]
        texts.append(text)
        room -= len(text) + 2
    return texts


def _section(section: CommentSection, limit: int, links: CommentLinks) -> str:
    if section.report is not None and not section.problems:
        return render_comment(section.report, limit=limit, links=links).removeprefix(f"{MARKER}\n").strip()
    parts = [
        f"## {numbers.headline('error')}: {code(section.title, 80)}",
        _cause(section.problems),
        f"**What was lost:** {UNKNOWN}",
        _next(section.problems, links),
        "\n".join(f"- Also: {prose(without_paths(problem), 400)}" for problem in section.problems[1:10]),
        links.row("error"),
    ]
    return "\n\n".join(part for part in parts if part)


def _cause(problems: Sequence[str]) -> str:
    """Why there is no verdict: the first problem, whose addresses are code, as links among the steps mislead."""
    first = without_paths(problems[0]).removeprefix(FAILED) if problems else ""
    what = "The gate itself failed before it could test the model"
    if first:
        shown = first if "`" in first else _ADDRESS.sub(lambda match: as_code(match[0]), first)
        what = f"The model was not tested, because the gate itself failed: {shown}"
    if (manifest := _MANIFEST.match(first)) and LEFT_NO_REPORT not in first:
        what = f"The model was not tested, because {as_code(manifest[1])} is wrong: {first[manifest.end() :]}"
    elif server := _silent_server(first):
        failed = f"the {server['role']} server failed: {shown.rstrip('.')}"
        what = f"The model was not tested, because {failed}. {NOT_THE_MODEL}"
    return f"**Why:** {prose(what if what.endswith('.') else f'{what}.', 700)}"


def _silent_server(problem: str) -> re.Match[str] | None:
    """The server that a problem is about, where the server itself is at fault."""
    return _SERVER.search(problem) if _SILENT.search(problem) else None


def _next(problems: Sequence[str], links: CommentLinks) -> str:
    """Whose turn it is after an error, and the one thing to do: the cause stands above it."""
    first = without_paths(problems[0]) if problems else ""
    manifest = _MANIFEST.match(first.removeprefix(FAILED))
    doer, action, again = RUNNER, "Repair what failed", True
    if not first or LEFT_NO_REPORT in first:
        action = "Look into the log of this run for what stopped it, repair that"
    elif manifest:
        doer, action, again = AUTHOR, f"Correct {path_as_code(manifest[1])} and push", False
    elif server := _silent_server(first):
        whom = f"whoever runs the {server['role']} server"
        doer, action = REVIEWER, f"Ask {whom} to get it answering ({as_code(server['address'])})"
    then = f", then {RERUN} {links.to_run(THIS_RUN)}" if again else ""
    return f"**{FirstStep(doer, action).heading}:** {prose(action, 600)}{then}."


def _headline(section: CommentSection) -> str:
    """A model's verdict as its own section has it."""
    judged = None if section.problems else section.report
    return numbers.headline(section.verdict if judged is None else numbers.outcome(judged))


def _waivers(waivers: Sequence[Record]) -> list[str]:
    return [
        f"### Waived\n**{inline(w.by, 60)}** let {code(w.models[0].candidate[:19], 20)} pass at {code(w.head[:7])} "
        f"until {inline(w.expires, 30)}: {inline(w.reason, 400)}"
        for w in waivers[:20]
        if w.models
    ]


def _bases(bases: Sequence[BaseChange]) -> list[str]:
    """Changed base models, shown because the base is what the candidate is measured against."""
    if not bases:
        return []
    lines = [f"- {code(b.path, 100)}: {code(b.after, 300)} instead of {code(b.before, 300)}" for b in bases[:20]]
    more = [f"- … and {numbers.count(len(bases) - 20)} more"] if len(bases) > 20 else []
    return ["\n".join(["### This pull request changes the base model", *lines, *more])]


def _policy(content: CommentContent) -> list[str]:
    if not content.policy_change:
        return []
    shown = block(content.policy_change, DIFF_LIMIT, lines=150, language="diff")
    return [
        "### This pull request edits the policy\n"
        "This run used the base branch's policy. The edit takes effect once it is merged.\n\n"
        f"<details><summary>Diff</summary>\n\n{shown}\n\n</details>"
    ]


def _foot(content: CommentContent) -> str:
    policy = f" under the base branch's policy {code(content.policy[:12])}" if content.policy else ""
    status = "" if content.context == DEFAULT_CONTEXT else f", for the status {code(content.context, 100)}"
    return f"_{'Run' if content.verdict == 'error' else 'Judged'} at {code(content.head[:7])}{policy}{status}._"


def _history(ledger: Ledger) -> str:
    """The trail: a table for readers, and the records themselves, one per line, for `ftgate history`."""
    if not ledger.lines:
        return ""
    shown: list[LedgerLine] = []
    room = HISTORY_LIMIT
    for line in reversed(ledger.lines):
        room -= _size(line)
        if room < 0 and shown:
            break
        shown.insert(0, line)
    omitted = shown[0].n - 1
    notes = [f"{numbers.count(omitted)} earlier records are not shown here."] if omitted else []
    notes += [f"**{inline(problem, 300)}**" for problem in ledger.problems[:10]]
    rows = [row for line in shown for row in _rows(line)]
    count = ledger.lines[-1].n
    return "\n".join(
        [
            f"{TRAIL_OPENS}{numbers.count(count)} {'record' if count == 1 else 'records'}</summary>",
            "",
            "| | when | head | verdict | model | change | record |",
            "|--:|---|---|---|---|---|---|",
            *rows,
            "",
            *[line for note in notes for line in (note, "")],
            "Each line holds the SHA-256 of the line before it; `ftgate history` checks them against the statuses.",
            "",
            HISTORY,
            "```json",
            *[line.text for line in shown],
            "```",
            "",
            "</details>",
        ]
    )


def _size(line: LedgerLine) -> int:
    return len(line.text) + 1 + sum(len(row) + 1 for row in _rows(line))


def _rows(line: LedgerLine) -> list[str]:
    """One table row per model of a record; the first also has the record's own columns."""
    r = line.record
    first = f"| {line.n} | {code(r.time, 30)} | {code(r.head[:7])} | {numbers.badge(r.verdict)}"
    identity = code(r.identity[:SHOWN_DIGITS])
    if not r.models:
        return [f"{first} | {inline(r.reason, 80)} | | {identity} |"]
    others = "| | | | "
    return [
        f"{first if i == 0 else others} | {inline(entry.name, 60)} | {_changes(entry)} | {identity if i == 0 else ''} |"
        for i, entry in enumerate(r.models[:20])
    ]


def _changes(entry: ModelEntry) -> str:
    named = [(name, entry.numbers[name]) for name in in_order(dict.fromkeys(entry.numbers, ""))]
    changes = (f"{numbers.in_sentence(name)} {numbers.change(c.change, c.unit)}" for name, c in named[:6])
    return prose(", ".join(changes), 300)
