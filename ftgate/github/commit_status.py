"""The description of a commit status: one line of at most 140 characters that ends with its record's digest. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.github.audit.record import Record, status_suffix
from ftgate.github.comment import CommentSection
from ftgate.github.event import Outcome
from ftgate.github.runner_paths import without_paths
from ftgate.report import numbers
from ftgate.report.escape import plain_line, without_code
from ftgate.report.explanation import explanation

DESCRIPTION_LIMIT = 140
REMOVED_LIMIT = 70
"""Characters of these that the names of removed manifests may take."""


def description(
    outcome: Outcome,
    sections: Sequence[CommentSection],
    problems: Sequence[str],
    record: Record | None = None,
    newer: str = "",
    removed: Sequence[str] = (),
) -> str:
    """The status's text. ``newer`` is the head that superseded this commit, if there is one.

    ``removed`` are the paths of manifests that the change removes: a success must not hide that.
    """
    removed_part = clip("removed: " + ", ".join(removed), REMOVED_LIMIT)
    # In parentheses, so that no path can be mistaken for the record that a status ends with.
    ending = f" ({removed_part})" if removed else ""
    ending += status_suffix(record) if record else ""
    text = f"superseded by {newer[:7]}: " if newer else ""
    return clip(text + _text(outcome, sections, problems), DESCRIPTION_LIMIT - len(ending)) + ending


def _text(outcome: Outcome, sections: Sequence[CommentSection], problems: Sequence[str]) -> str:
    if outcome == "no model change":
        return "no model change"
    if outcome == "pending":
        return f"judging {numbers.count(len(sections))} {'model' if len(sections) == 1 else 'models'}"
    if outcome == "error":
        reasons = [*problems, *(f"{s.title}: {p}" for s in sections for p in s.problems)]
        return f"the gate could not judge: {without_paths(reasons[0]) if reasons else 'see the log'}"
    matching = [s for s in sections if s.verdict == outcome] or list(sections)
    if outcome == "waived":
        return f"waived: {', '.join(s.title for s in sections if s.verdict != 'allow')}"
    if len(sections) == 1 and (report := matching[0].report) is not None:
        return f"{outcome}{' (smoke test)' if report.smoke_test else ''}: {without_code(explanation(report))}"
    return f"{outcome}: {', '.join(s.title for s in matching)} (of {numbers.count(len(sections))} models)"


def clip(text: str, limit: int) -> str:
    """``text`` as one line of at most ``limit`` characters."""
    line = plain_line(text, 1000)
    return line if len(line) <= limit else line[: limit - 1] + "…"
