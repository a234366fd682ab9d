"""Target: does the candidate do the task it was tuned for better than the base?"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from ftgate.domain import Estimate
from ftgate.measurements.base import (
    Evidence,
    Scorer,
    why_invalid,
)
from ftgate.measurements.estimate import ScoreEstimate, difference, flip_details, judge_details
from ftgate.measurements.free_form import FreeFormMeasurement
from ftgate.measurements.power_facts import PowerFacts
from ftgate.measurements.rejected import rejected_text
from ftgate.stats.interval import wilson_interval


class Target(FreeFormMeasurement):
    """Gain in mean score on a held-out split of the training distribution, as an absolute difference."""

    kind: ClassVar[str] = "target"
    title: ClassVar[str] = "Task"
    question: ClassVar[str] = "does it do the target task better?"
    subject: ClassVar[str] = "its task"
    limit_field: ClassVar[str] = "min_gain"
    worse: ClassVar[Literal["up", "down"]] = "down"
    remedy: ClassVar[str] = "no gain"
    as_trained: ClassVar[bool] = True
    relative: ClassVar[bool] = False

    ALIKE: ClassVar[float] = 0.1
    """Its tolerance."""

    scorer: Scorer = "exact"
    """How answers become scores (docs/suites.md)."""
    min_gain: float = Field(default=0.0, ge=-1, lt=1)
    """The gain must exceed this; a negative value allows a loss."""

    @property
    def answer_scorer(self) -> Scorer:
        """The policy's scorer."""
        return self.scorer

    @property
    def tolerance(self) -> float:
        """``ALIKE``: the minimum gain is often 0, so it cannot serve as a scale."""
        return self.ALIKE

    def power_facts(self) -> PowerFacts:
        """Those of a gain; if a loss is allowed, a total loss on that share of the items must not go unseen."""
        loss = -self.min_gain
        return PowerFacts("gain", self.min_gain, loss if 0 < loss < 1 else None)

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Gain ``mean(candidate) - mean(base)`` with a two-sided interval of level 1 - 2 alpha (methods: section 1).

        Where a policy allows a loss and the base has no more than that to lose, nothing would block: not applicable,
        unless the candidate gained, or the scorer rejects right answers.
        """
        estimate = difference(evidence.scored, evidence, rng, self.min_gain)
        if self.min_gain < 0 and estimate.interval[0] <= 0:
            estimate = self._unless_nothing_to_lose(estimate, evidence)
        return estimate.to_estimate(
            self.name,
            evidence,
            len(evidence.scored.items),
            worse=self.worse,
            limit=self.limit,
            invalid_reason=why_invalid(evidence, evidence.scored),
        )

    def _unless_nothing_to_lose(self, estimate: ScoreEstimate, evidence: Evidence) -> ScoreEstimate:
        scored, allowed = evidence.scored, -self.min_gain
        if wilson_interval(estimate.base, len(scored.items), evidence.whole_alpha).high > allowed:
            return estimate
        facts = (
            f"the base scores {100 * estimate.base:.1f} of 100 on {len(scored.items)} items, and the limit allows a "
            f"loss of {100 * allowed:g} points: nothing that it could lose would block"
        )
        rejected = rejected_text(scored, evidence.pairs)
        if evidence.last and not rejected:
            return replace(estimate, not_applicable=facts)
        return replace(estimate, cannot_pass=(*estimate.cannot_pass, rejected or facts))

    def with_details(self, estimate: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:  # noqa: ARG002
        """The estimate with the items that flipped."""
        return replace(estimate, details={**flip_details(evidence.scored), **judge_details(evidence)})
