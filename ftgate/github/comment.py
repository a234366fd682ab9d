"""The one comment in a pull request's thread: what was decided about each model, and the audit trail. Pure.

Nothing is ever decided from a comment. It is a display, and the trail in it can be checked against the statuses.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ftgate.github.audit.record import SHOWN_DIGITS, Ledger, LedgerLine, ModelEntry, Record, read_chain
from ftgate.github.changed_manifests import BaseChange
from ftgate.measurements.registry import in_order
from ftgate.report import numbers
from ftgate.report.escape import block, code, inline
from ftgate.report.render import COMMENT_LIMIT, MARKER, render_comment
from ftgate.report.schema import Report

HISTORY = "<!-- ftgate:history -->"
"""Stands before the records. Whatever a stranger wrote cannot look like it: escaping breaks it up."""
TRAIL_OPENS = "<details><summary>History: "
HISTORY_LIMIT = 14_000
"""Characters that the trail may take of a comment; the oldest records give way."""
DIFF_LIMIT = 6_000
LEAST_SECTION = 1_500
"""Characters below which a model gets one line instead of a section of its own."""
MOST_LISTED = 100


@dataclass(frozen=True, slots=True)
class CommentSection:
    """What is said about one model: its report, or why there is none that counts."""

    title: str
    verdict: str
    report: Report | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that a comment shows."""

    verdict: str
    head: str
    sections: tuple[CommentSection, ...] = ()
    problems: tuple[str, ...] = ()
    """What kept the gate from judging at all."""
    policy: str = ""
    policy_change: str = ""
    """Unified diff of the policy, where the pull request edits it."""
    waivers: tuple[Record, ...] = ()
    bases: tuple[BaseChange, ...] = ()


def compose(page: Page, chain: Ledger) -> str:
    """The comment, at most 60,000 characters: the newest records stay, sections shrink, models are listed at last."""
    trail = _history(chain)
    ends = [*_bases(page.bases), *_waivers(page.waivers), *_policy(page), _foot(page)]
    head = _heading(page)
    room = COMMENT_LIMIT - sum(len(part) + 2 for part in (MARKER, *head, *ends, trail))
    parts = [*head, *_sections(page.sections, room), *ends]
    return "\n\n".join([f"{MARKER}\n{parts[0]}", *parts[1:], trail]).strip() + "\n"


def summary(page: Page) -> str:
    """The same for the job's summary page, where there is no trail."""
    return compose(page, Ledger()).removeprefix(f"{MARKER}\n")


def read_trail(body: str) -> Ledger:
    """The records in a comment of ours; the first of them may have given way to newer ones."""
    _, found, rest = body.replace("\r\n", "\n").rpartition(f"\n{HISTORY}\n```json\n")
    return read_chain(rest.split("\n```", 1)[0].split("\n"), whole=False) if found else Ledger()


def missing_from(chain: Ledger) -> str:
    """What to say of records that a trail begins without, though there was room for them; nothing if all is well."""
    gone = chain.links[0].n - 1 if chain.links else 0
    if not gone or 2 * sum(_size(link) for link in chain.links) > HISTORY_LIMIT:
        return ""
    return f"{'record 1' if gone == 1 else f'records 1 to {gone}'}: removed, for there was room"


def with_waiver(body: str, record: Record) -> str:
    """A comment of ours with one more record, a waiver, shown at its top; the same comment if it shows it already."""
    chain = read_trail(body)
    if chain.find(record):
        return body
    shown = with_trail(body, chain.then(record)).removeprefix(MARKER).strip()
    return f"{MARKER}\n{_waivers([record])[0]}\n\n{shown}\n"


def with_trail(body: str, chain: Ledger) -> str:
    """A comment of ours with another trail; what it says of the models stays."""
    content, found, _ = body.replace("\r\n", "\n").rpartition(f"\n{TRAIL_OPENS}")
    return f"{(content if found else body).strip()}\n\n{_history(chain)}".strip() + "\n"


def difference(before: str, after: str | None, path: str) -> str:
    """How a pull request edits the policy, as a unified diff."""
    new = (after or "").splitlines()
    return "\n".join(difflib.unified_diff(before.splitlines(), new, f"base: {path}", f"head: {path}", lineterm=""))


def _heading(page: Page) -> list[str]:
    if len(page.sections) == 1 and not page.problems:
        return []
    models = f"{numbers.count(len(page.sections))} models" if page.sections else "no model was judged"
    if page.verdict == "no model change":
        models = f"at {code(page.head[:7])} no manifest differs from the base"
    lines = [f"## {numbers.badge(page.verdict)} · {models}"]
    lines += ["\n".join(f"- {inline(problem, 600)}" for problem in page.problems[:20])] if page.problems else []
    if len(page.sections) > 1:
        rows = [f"| {inline(s.title, 80)} | **{numbers.badge(s.verdict)}** |" for s in page.sections[:MOST_LISTED]]
        more = len(page.sections) - len(rows)
        rows += [f"| … and {numbers.count(more)} more | |"] if more else []
        lines.append("\n".join(["| model | verdict |", "|---|---|", *rows]))
    return lines


def _sections(sections: Sequence[CommentSection], room: int) -> list[str]:
    """One section a model as long as there is room for all, else for the first ones."""
    share = max(LEAST_SECTION, room // max(1, len(sections)) - 2)
    texts: list[str] = []
    for section in sections:
        text = _section(section, share)
        if len(text) + 2 > room - 200:
            left = len(sections) - len(texts)
            return [
                *texts,
                f"_{numbers.count(left)} more did not fit into a comment; their reports are in the job's artifacts._",
            ]
        texts.append(text)
        room -= len(text) + 2
    return texts


def _section(section: CommentSection, limit: int) -> str:
    if section.report is not None and not section.problems:
        return render_comment(section.report, limit=limit).removeprefix(f"{MARKER}\n").strip()
    reasons = "\n".join(f"- {inline(problem, 400)}" for problem in section.problems[:10])
    told = "**The gate could not judge this model. That says nothing about the model itself.**"
    return f"## {numbers.badge('error')} · {code(section.title, 80)}\n\n{told}\n\n{reasons}"


def _waivers(waivers: Sequence[Record]) -> list[str]:
    return [
        f"### Waived\n**{inline(w.by, 60)}** let {code(w.models[0].candidate[:19], 20)} pass at {code(w.head[:7])} "
        f"until {inline(w.expires, 30)}: {inline(w.reason, 400)}"
        for w in waivers[:20]
        if w.models
    ]


def _bases(bases: Sequence[BaseChange]) -> list[str]:
    """Whoever names the base says what the candidate is measured against."""
    if not bases:
        return []
    lines = [f"- {code(b.path, 100)}: {code(b.after, 300)} in place of {code(b.before, 300)}" for b in bases[:20]]
    more = [f"- … and {numbers.count(len(bases) - 20)} more"] if len(bases) > 20 else []
    return ["\n".join(["### This pull request compares with another base", *lines, *more])]


def _policy(page: Page) -> list[str]:
    if not page.policy_change:
        return []
    shown = block(page.policy_change, DIFF_LIMIT, lines=150, language="diff")
    return [
        "### This pull request edits the policy\n"
        "The policy of the base branch was in force. The edit takes effect once it is merged.\n\n"
        f"<details><summary>What it edits</summary>\n\n{shown}\n\n</details>"
    ]


def _foot(page: Page) -> str:
    ruled = f" under the base branch's policy {code(page.policy[:12])}" if page.policy else ""
    return f"_Judged at {code(page.head[:7])}{ruled}._"


def _history(chain: Ledger) -> str:
    """The trail: a table to read, and the records themselves, one a line, to check."""
    if not chain.links:
        return ""
    shown: list[LedgerLine] = []
    room = HISTORY_LIMIT
    for link in reversed(chain.links):
        room -= _size(link)
        if room < 0 and shown:
            break
        shown.insert(0, link)
    left_out = shown[0].n - 1
    notes = [f"{numbers.count(left_out)} earlier records are left out here."] if left_out else []
    notes += [f"**{inline(problem, 300)}**" for problem in chain.problems[:10]]
    rows = [row for link in shown for row in _rows(link)]
    count = chain.links[-1].n
    return "\n".join(
        [
            f"{TRAIL_OPENS}{numbers.count(count)} {'record' if count == 1 else 'records'}</summary>",
            "",
            "| | when | head | verdict | model | change | record |",
            "|--:|---|---|---|---|---|---|",
            *rows,
            "",
            *[line for note in notes for line in (note, "")],
            "Each line names the SHA-256 of the line before it; `ftgate history` checks them against the statuses.",
            "",
            HISTORY,
            "```json",
            *[link.line for link in shown],
            "```",
            "",
            "</details>",
        ]
    )


def _size(link: LedgerLine) -> int:
    return len(link.line) + 1 + sum(len(row) + 1 for row in _rows(link))


def _rows(link: LedgerLine) -> list[str]:
    """One row for each model of a record, the first with what belongs to all of them."""
    r = link.record
    first = f"| {link.n} | {code(r.time, 30)} | {code(r.head[:7])} | {numbers.badge(r.verdict)}"
    identity = code(r.identity[:SHOWN_DIGITS])
    if not r.models:
        return [f"{first} | {inline(r.reason, 80)} | | {identity} |"]
    others = "| | | | "
    return [
        f"{first if i == 0 else others} | {inline(entry.name, 60)} | {_changes(entry)} | {identity if i == 0 else ''} |"
        for i, entry in enumerate(r.models[:20])
    ]


def _changes(entry: ModelEntry) -> str:
    named = [(name, entry.numbers[name]) for name in in_order(entry.numbers)]
    return inline(", ".join(f"{name} {numbers.change(c.change, c.unit)}" for name, c in named[:6]), 200)
