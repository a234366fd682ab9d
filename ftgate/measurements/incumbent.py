"""The candidate against the incumbent, the model that is deployed today: may not be worse in any measurement.

The same comparison as with the base, with the incumbent's answers in the base's place and a limit of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from ftgate.domain import Estimate, Finding, Status, Tier
from ftgate.measurements.base import (
    AnyMeasurement,
    Evidence,
    why_invalid,
)
from ftgate.measurements.estimate import drop
from ftgate.measurements.gated_slices import GatesSlices
from ftgate.measurements.target import Target
from ftgate.scoring import amounts

DEPLOYED = "the model deployed today"


class Comparison(Protocol):
    """What a decision needs of a measurement."""

    @property
    def name(self) -> str:
        """The measurement's name."""
        ...

    @property
    def kind(self) -> str:
        """Its kind."""
        ...

    @property
    def tier(self) -> Tier:
        """What a loss beyond the limit does."""
        ...

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The estimate from the answers, before the decision."""
        ...


class Limited(Comparison, Protocol):
    """A comparison whose limit is known before the answers."""

    @property
    def worse(self) -> Literal["up", "down"]:
        """Which direction of its change is harm."""
        ...

    @property
    def limit(self) -> float:
        """The limit that its change must stay on the good side of."""
        ...

    def limit_of(self, unit: str) -> float:
        """The limit on a change in ``unit``, where its parts have one each."""
        ...


@dataclass(frozen=True, slots=True)
class KeepsTarget:
    """The target task against the incumbent: no gain is asked for, and the relative drop must stay below a limit."""

    name: str
    limit: float
    tier: Tier = "blocking"
    kind: str = Target.kind
    worse: Literal["up", "down"] = "up"

    def limit_of(self, unit: str) -> float:  # noqa: ARG002
        """The only limit."""
        return self.limit

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The relative drop with its interval (methods: sections 1, 2, 3 and 6)."""
        scored = evidence.scored
        unusable = why_invalid(evidence, scored)
        more = {"worse": self.worse, "limit": self.limit, "invalid_reason": unusable}
        return drop(scored, evidence, self.limit, rng).to_estimate(self.name, evidence, len(scored.items), **more)


@dataclass(frozen=True, slots=True)
class AgainstIncumbent:
    """One measurement with the incumbent in the base's place, and ``block_alpha``, the error of a block at this look.

    The bound that a pass rests on is at the level of the evidence, because a pass needs every comparison's. The bound
    that a block rests on is at ``block_alpha``, corrected for the number of comparisons, any of which blocks (methods:
    section 13).
    """

    comparison: Comparison
    block_alpha: float

    @property
    def name(self) -> str:
        """The measurement's name."""
        return self.comparison.name

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.comparison.kind

    @property
    def tier(self) -> Tier:
        """What a loss beyond the limit does."""
        return self.comparison.tier

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The estimate; where the two levels lead to different statistics, that of the block, on both sides."""
        evidence = replace(evidence, shared=None)  # slices gate against the base alone
        state = rng.bit_generator.state
        of_pass = self.comparison.compare(evidence, rng)
        if self.block_alpha >= evidence.alpha:
            return of_pass
        rng.bit_generator.state = state
        of_block = self.comparison.compare(replace(evidence, alpha=self.block_alpha), rng)
        if (of_block.unit, of_block.about) != (of_pass.unit, of_pass.about):
            return of_block
        (low, high), (low_corrected, high_corrected) = of_pass.interval, of_block.interval
        interval = (low_corrected, high) if of_pass.worse == "up" else (low, high_corrected)
        return replace(of_pass, interval=interval)


def retaining(measurement: AnyMeasurement, block_drop: float) -> Limited:
    """What ``measurement`` asks of the candidate against the incumbent.

    A drop must stay below ``block_drop``, and so must that of the target task, where the base asks for a gain. Any
    other change keeps its limit.
    """
    if isinstance(measurement, Target):
        return KeepsTarget(measurement.name, block_drop, measurement.tier)
    if measurement.limit_field != "block_drop":
        return measurement
    changes: dict[str, Any] = {
        field: block_drop for field in (measurement.limit_field, measurement.warn_field) if field is not None
    }
    if isinstance(measurement, GatesSlices):  # their limits are on what the base can do
        changes["gate_slices"] = {}
    return measurement.model_copy(update=changes)


def in_words(finding: Finding, subject: str) -> Finding:
    """``finding`` with a reason that names the incumbent, and what was measured, to follow "worse on"."""
    reason = finding.reason.replace(amounts.OF_BASE, amounts.OF_DEPLOYED)
    than = {
        Status.BLOCK: f"worse than {DEPLOYED} on {subject}: ",
        Status.INCONCLUSIVE: f"not shown to be as good as {DEPLOYED} on {subject}: ",
    }.get(finding.status, "")
    return replace(finding, reason=than + reason)


def objections(rivals: Mapping[str, Finding]) -> list[Finding]:
    """What stands in the way of an allow: a pass against the incumbent alone allows nothing, so it says nothing."""
    return [f for f in rivals.values() if f.status is Status.BLOCK or not (f.settled or f.cut_short_by)]
