"""Target: does the candidate do the job it was tuned for better than the base?"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from ftgate.domain import Estimate
from ftgate.measurements.base import (
    Evidence,
    Measurement,
    PowerFacts,
    Scorer,
    first_of,
    share_failed,
    share_unknown,
    unfit,
)
from ftgate.measurements.estimate import difference, flips, judging


class Target(Measurement):
    """Gain in mean score on a held-out split of the training distribution, as an absolute difference."""

    name: ClassVar[str] = "target"
    title: ClassVar[str] = "Target"
    question: ClassVar[str] = "does it do the target task better?"
    subject: ClassVar[str] = "the target task"
    column: ClassVar[tuple[str, str]] = ("target", "p.p.")
    limit_field: ClassVar[str] = "min_gain"
    worse: ClassVar[Literal["up", "down"]] = "down"
    remedy: ClassVar[str] = "no gain"
    as_trained: ClassVar[bool] = True
    relative: ClassVar[bool] = False

    scorer: Scorer = "exact"
    """How answers become scores (docs/suites.md)."""
    min_gain: float = Field(default=0.0, ge=-1, lt=1)
    """The gain must exceed this; a negative value allows a loss."""

    @property
    def reads(self) -> Scorer:
        """The policy's scorer."""
        return self.scorer

    @property
    def tolerance(self) -> float:
        """A tenth of the score: the least gain asked for is often 0, which says nothing about size."""
        return 0.1

    def power_facts(self) -> PowerFacts:
        """Of a gain; where a loss is allowed, one on too small a share of the items must not go unseen."""
        loss = -self.min_gain
        return PowerFacts("gain", self.min_gain, loss if 0 < loss < 1 else None)

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """Gain ``mean(candidate) - mean(base)`` with a two-sided interval of level 1 - 2 alpha (methods: section 1)."""
        estimate = difference(evidence.scored, evidence, rng, self.min_gain)
        return estimate.claim(
            self.name,
            evidence,
            len(evidence.scored.items),
            worse=self.worse,
            limit=self.limit,
            invalid_reason=first_of(
                unfit(evidence.judge_validation), share_failed(evidence), share_unknown(evidence.scored)
            ),
        )

    def with_details(self, claim: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:  # noqa: ARG002
        """The claim with the items that flipped."""
        return replace(claim, details={**flips(evidence.scored), **judging(evidence)})
