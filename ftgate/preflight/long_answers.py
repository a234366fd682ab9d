"""Reference answers that no model can give, as its answers are cut before."""

from __future__ import annotations

from ftgate.domain import Item
from ftgate.measurements.base import Measurement
from ftgate.preflight.fit import CheckState
from ftgate.preflight.prompt_lengths import PromptLengths
from ftgate.scoring.scorer_facts import JUDGED, facts_of

MOST_LONGER = 0.1
"""The share of the rows whose reference may be longer than an answer: a right answer can be shorter."""


def check_long_answers(checks: CheckState, tokenizer: PromptLengths) -> None:
    """Warn of measurements whose references have more tokens than an answer; where all have, it can never pass."""
    draft = checks.draft
    for m in draft.measurements:
        rows = [item for item in draft.suites[m.name].items if _is_compared(m, item)] if m.name in draft.suites else []
        lengths = tokenizer.lengths([item.answer or "" for item in rows])
        longer = sum(length > m.max_tokens for length in lengths)
        if longer <= MOST_LONGER * len(rows):
            continue
        graded = any(facts_of(m.scored_by(item)).graded for item in rows)
        so = "which lowers every score" if graded else "so that it cannot be right"
        checks.warnings.append(
            f"measurements.{m.name}: the reference has more tokens than max_tokens {m.max_tokens:,} in {longer:,} of "
            f"{len(rows):,} rows, and an answer is cut there, {so}; set measurements.{m.name}.max_tokens to "
            f"{max(lengths):,}, as the longest has"
        )
        if longer == len(draft.suites[m.name].items) and not graded:
            checks.never.append(m.name)


def _is_compared(m: Measurement, item: Item) -> bool:
    """Whether the text that answers ``item`` is compared with its reference by a rule."""
    scorer, facts = m.scored_by(item), facts_of(m.scored_by(item))
    return item.request is None and bool(item.answer) and facts.answer and not facts.options and scorer not in JUDGED
