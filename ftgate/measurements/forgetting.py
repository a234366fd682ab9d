"""Forgetting: how much does the candidate lose on general tasks?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from ftgate.domain import Estimate, Pair
from ftgate.measurements.base import (
    ChecklistLine,
    Evidence,
    Scorer,
    Share,
    first_reason,
    judge_unfit,
    too_many_failed,
    too_many_unknown,
)
from ftgate.measurements.estimate import ABSOLUTE, drop, flip_details, floor_details, judge_details
from ftgate.measurements.free_form import FreeFormMeasurement
from ftgate.measurements.gated_slices import GatesSlices, gate_slices, gated, waits, with_levels
from ftgate.measurements.item_count import item_count_line
from ftgate.measurements.rule_agreement import rule_agreement
from ftgate.measurements.slices import tag_slices, worst_slice
from ftgate.scoring.trace import OPEN

GENERAL_PROMPTS = 200
"""The number that the article asks for."""


class Forgetting(GatesSlices, FreeFormMeasurement):
    """Relative drop in mean score on diverse general prompts, by default graded by a judge."""

    kind: ClassVar[str] = "forgetting"
    title: ClassVar[str] = "General skills"
    question: ClassVar[str] = "does it do general tasks worse?"
    subject: ClassVar[str] = "general skills"
    limit_field: ClassVar[str] = "block_drop"
    warn_field: ClassVar[str | None] = "warn_drop"
    remedy: ClassVar[str] = "lost skills"

    scorer: Scorer = "judge"
    """How answers become scores (docs/suites.md)."""
    max_tokens: int = Field(default=512, ge=1, le=32_768)
    """Longest answer, in tokens. General prompts ask for explanations and code; a truncated one is graded as it is."""
    warn_drop: Share = 0.08
    """A pass is a warning if the upper bound of the drop reaches this; at most `block_drop`."""
    block_drop: Share = 0.10
    """The relative drop must stay below this."""

    @model_validator(mode="after")
    def _warn_before_block(self) -> Forgetting:
        if self.warn_drop > self.block_drop:
            raise ValueError(f"warn_drop {self.warn_drop} is above block_drop {self.block_drop}")
        return self

    @property
    def answer_scorer(self) -> Scorer:
        """The policy's scorer."""
        return self.scorer

    @property
    def tolerance(self) -> float:
        """The drop that blocks."""
        return self.block_drop

    @classmethod
    def checklist(cls, estimate: Estimate | None) -> ChecklistLine:
        """Whether enough general prompts were asked."""
        item = f"General capability was measured on at least {GENERAL_PROMPTS} prompts"
        return item_count_line(item, cls.kind, GENERAL_PROMPTS, estimate)

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Relative drop with its interval, corrected for a judge's floor (methods: sections 1, 2, 3 and 6)."""
        limits = gated(self)
        evidence = with_levels(evidence, limits)
        estimate = drop(evidence.scored, evidence, self.block_drop, rng)
        estimate = replace(estimate, cannot_pass=(*estimate.cannot_pass, *waits(limits, evidence)))
        return estimate.to_estimate(
            self.name,
            evidence,
            len(evidence.scored.items),
            worse=self.worse,
            limit=self.limit,
            warn_limit=self.warn_limit,
            invalid_reason=first_reason(
                judge_unfit(evidence.judge_validation), too_many_failed(evidence), too_many_unknown(evidence.scored)
            ),
            gates=gate_slices(evidence.scored, evidence, limits, rng),
        )

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
