"""Target: does the candidate do the job it was tuned for better than the base?"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from ftgate.domain import Claim
from ftgate.measurements.base import Evidence, Measurement, Scorer, first_of, share_failed, share_unknown, unfit
from ftgate.measurements.estimate import difference, flips, judging


class Target(Measurement):
    """Gain in mean score on a held-out split of the training distribution, as an absolute difference."""

    name: ClassVar[str] = "target"
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

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Claim:
        """Gain ``mean(candidate) - mean(base)`` with a two-sided interval of level 1 - 2 alpha (methods: section 1)."""
        estimate = difference(evidence.scored, evidence, rng, self.min_gain)
        return estimate.claim(
            self.name,
            evidence,
            len(evidence.scored.items),
            worse="down",
            limit=self.min_gain,
            void=first_of(unfit(evidence.fitness), share_failed(evidence), share_unknown(evidence.scored)),
        )

    def described(self, claim: Claim, evidence: Evidence, rng: np.random.Generator) -> Claim:  # noqa: ARG002
        """The claim with the items that flipped."""
        return replace(claim, details={**flips(evidence.scored), **judging(evidence)})
