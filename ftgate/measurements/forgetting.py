"""Forgetting: how much does the candidate lose on general tasks?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ftgate.domain import Estimate, Pair
from ftgate.measurements.base import ChecklistLine, Evidence, Scorer
from ftgate.measurements.estimate import ABSOLUTE, flip_details, floor_details, judge_details
from ftgate.measurements.item_count import item_count_line
from ftgate.measurements.relative_drop import RelativeDrop
from ftgate.measurements.rule_agreement import rule_agreement
from ftgate.measurements.slices import tag_slices, worst_slice
from ftgate.scoring.trace import OPEN

GENERAL_PROMPTS = 200
"""The number that the article asks for."""


class Forgetting(RelativeDrop):
    """Relative drop in mean score on diverse general prompts, by default graded by a judge."""

    kind: ClassVar[str] = "forgetting"
    title: ClassVar[str] = "General skills"
    question: ClassVar[str] = "does it do general tasks worse?"
    subject: ClassVar[str] = "general skills"
    remedy: ClassVar[str] = "lost skills"

    scorer: Scorer = "judge"
    """How answers become scores (docs/suites.md)."""
    max_tokens: int = Field(default=512, ge=1, le=32_768)
    """Longest answer, in tokens. General prompts ask for explanations and code; a truncated one is graded as it is."""

    @property
    def answer_scorer(self) -> Scorer:
        """The policy's scorer."""
        return self.scorer

    @classmethod
    def checklist(cls, estimate: Estimate | None) -> ChecklistLine:
        """Whether enough general prompts were asked."""
        item = f"General capability was measured on at least {GENERAL_PROMPTS} prompts"
        return item_count_line(item, cls.kind, GENERAL_PROMPTS, estimate)

    def with_details(self, estimate: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The estimate with a slice per capability, rule scores of judged answers, flips and answer lengths."""
        slices = tag_slices(evidence.scored, evidence, self.block_drop, rng, absolute=estimate.unit == ABSOLUTE)
        judged = self.judges(evidence.scored.items)
        ruled, agreement = rule_agreement(evidence, rng) if judged else ((), {})
        details = {
            **flip_details(evidence.scored),
            **judge_details(evidence),
            **floor_details(evidence.scored, evidence, estimate.change, estimate.unit),
            **_lengths(evidence.pairs),
            **worst_slice(slices),
            **agreement,
        }
        return replace(estimate, slices=(*slices, *ruled), details=details)


def _lengths(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Mean answer lengths in tokens and their ratio: judges tend to prefer longer answers."""
    base = float(np.mean([answer.tokens for pair in pairs for answer in pair.base])) if pairs else 0.0
    candidate = float(np.mean([answer.tokens for pair in pairs for answer in pair.candidate])) if pairs else 0.0
    empty = sum(not answer.text.strip() and answer.trace != OPEN for pair in pairs for answer in pair.candidate)
    return {
        "answer_tokens": {"base": base, "candidate": candidate, "ratio": candidate / base if base else None},
        "empty_candidate_answers": empty,
    }
