"""What measurements of a loss share: the relative drop in the mean score, its two limits, and slices that gate."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from pydantic import model_validator

from ftgate.domain import Estimate
from ftgate.measurements.base import Evidence, Share, why_invalid
from ftgate.measurements.estimate import drop
from ftgate.measurements.free_form import FreeFormMeasurement
from ftgate.measurements.gated_slices import GatesSlices, gate_slices, gated, waits, with_levels


class RelativeDrop(GatesSlices, FreeFormMeasurement):
    """A measurement that blocks where the candidate's mean score lies too far below the base's."""

    limit_field: ClassVar[str] = "block_drop"
    warn_field: ClassVar[str | None] = "warn_drop"

    warn_drop: Share = 0.08
    """A pass is a warning if the upper bound of the drop reaches this; at most `block_drop`."""
    block_drop: Share = 0.10
    """The relative drop must stay below this."""

    @model_validator(mode="after")
    def _warn_before_block(self) -> Self:
        if self.warn_drop > self.block_drop:
            raise ValueError(f"warn_drop {self.warn_drop} is above block_drop {self.block_drop}")
        return self

    @property
    def tolerance(self) -> float:
        """The drop that blocks."""
        return self.block_drop

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
            invalid_reason=why_invalid(evidence, evidence.scored),
            gates=gate_slices(evidence.scored, evidence, limits, rng),
        )
