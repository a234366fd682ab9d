"""What a measurement came to."""

from __future__ import annotations

from dataclasses import dataclass

from ftgate.domain import Finding, Pair
from ftgate.measurements.base import Evidence
from ftgate.measurements.looks import Look
from ftgate.scoring.scores import PairedScores


@dataclass(frozen=True, slots=True)
class Result:
    """What one measurement came to at its last look, and the answers and scores that it rests on."""

    look: Look
    pairs: tuple[Pair, ...]
    scored: PairedScores
    finding: Finding
    evidence: Evidence
    """All that was asked, with the items that do not count."""
