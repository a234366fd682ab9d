"""Suites on which a model that always says the same is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ftgate.domain import Item
from ftgate.jobs.prepare import JobDraft
from ftgate.measurements.base import Measurement
from ftgate.preflight.fit import CheckState
from ftgate.scoring.choice import letters_for
from ftgate.scoring.scorer_facts import CHOICE, JUDGED, facts_of

MOST_ALIKE = 0.9
"""The share of rows with one and the same answer from which little but that answer is measured."""
LEAST_ROWS = 10
"""With fewer rows it may be chance, and too few is what is said of them."""


_ROTATES = "calibration"
"""The kind that asks with the options in several orders."""


def check_constant_answers(checks: CheckState) -> None:
    """Warn of suites in which most rows have the same reference, or the right option in the same place."""
    checks.warnings += _constant(checks.draft)


def _constant(draft: JobDraft) -> Iterator[str]:
    for m in draft.measurements:
        if m.name not in draft.suites:
            continue
        rows = [item for item in draft.suites[m.name].items if _has_reference(m, item)]
        answer, share = _most_common(m, rows)
        if len(rows) >= LEAST_ROWS and share >= MOST_ALIKE:
            part = f"all of its {len(rows):,}" if share == 1 else f"{round(share * len(rows)):,} of its {len(rows):,}"
            yield (
                f"measurements.{m.name}: {part} rows have the answer {answer}, so that a model which always says so "
                f"scores {100 * share:.0f} of 100, whatever it is asked; add rows with other answers, as many of each"
            )


def _has_reference(m: Measurement, item: Item) -> bool:
    """Whether an answer to ``item`` is compared with its reference by a rule."""
    scorer = m.scored_by(item)
    return item.request is None and item.answer is not None and scorer not in JUDGED and facts_of(scorer).answer


def _most_common(m: Measurement, rows: Sequence[Item]) -> tuple[str, float]:
    """The most common answer in words, by its text or by the letter of its option, and the share of the rows."""
    if not rows:
        return "", 0.0
    answers = Counter((item.answer or "").strip() for item in rows)
    letters = Counter(
        letters_for(item)[item.choices.index(item.answer)]
        for item in rows
        if m.kind != _ROTATES and m.scored_by(item) == CHOICE and item.answer in item.choices
    )
    (text, by_text), *_ = answers.most_common(1)
    (letter, by_letter), *_ = letters.most_common(1) or [("", 0)]
    if by_letter > by_text:
        return f"option {letter}", by_letter / len(rows)
    return f"{text!a:.60}", by_text / len(rows)
