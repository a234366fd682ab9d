"""The words of a commit status: one line of at most 140 characters that ends with the digest of its record. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.github.audit.record import Record, quote
from ftgate.github.comment import CommentSection
from ftgate.github.event import Outcome
from ftgate.report import numbers
from ftgate.report.escape import plain_line
from ftgate.report.explanation import explanation

DESCRIPTION_LIMIT = 140
REMOVED_LIMIT = 70
"""Of these, what the names of removed manifests may take."""


def description(
    outcome: Outcome,
    sections: Sequence[CommentSection],
    problems: Sequence[str],
    record: Record | None = None,
    newer: str = "",
    removed: Sequence[str] = (),
) -> str:
    """What the status says. ``newer`` is the head that superseded this commit, if one did.

    ``removed`` are paths of manifests that the change takes away, so that no success hides it.
    """
    gone = clip("removed: " + ", ".join(removed), REMOVED_LIMIT)
    # In brackets of its own, so that no path can pass for the record that a status ends with.
    ending = f" ({gone})" if removed else ""
    ending += quote(record) if record else ""
    text = f"superseded by {newer[:7]}: " if newer else ""
    return clip(text + _words(outcome, sections, problems), DESCRIPTION_LIMIT - len(ending)) + ending


def _words(outcome: Outcome, sections: Sequence[CommentSection], problems: Sequence[str]) -> str:
    if outcome == "no model change":
        return "no model change"
    if outcome == "pending":
        return f"judging {numbers.count(len(sections))} {'model' if len(sections) == 1 else 'models'}"
    if outcome == "error":
        said = [*problems, *(f"{s.title}: {p}" for s in sections for p in s.problems)]
        return f"the gate could not judge: {said[0] if said else 'see the log'}"
    named = [s for s in sections if s.verdict == outcome] or list(sections)
    if outcome == "waived":
        return f"waived: {', '.join(s.title for s in sections if s.verdict != 'allow')}"
    if len(sections) == 1 and (report := named[0].report) is not None:
        return f"{outcome}: {explanation(report)}"
    return f"{outcome}: {', '.join(s.title for s in named)} (of {numbers.count(len(sections))} models)"


def clip(text: str, limit: int) -> str:
    """``text`` as one line of at most ``limit`` characters."""
    line = plain_line(text, 1000)
    return line if len(line) <= limit else line[: limit - 1] + "…"
