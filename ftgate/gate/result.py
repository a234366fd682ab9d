"""The result of one measurement."""

from __future__ import annotations

from dataclasses import dataclass

from ftgate.domain import Finding, Pair
from ftgate.measurements.base import Evidence
from ftgate.measurements.looks import Look
from ftgate.scoring.scores import PairedScores


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one measurement at its latest look, with the answers and scores behind it."""

    look: Look
    pairs: tuple[Pair, ...]
    scored: PairedScores
    finding: Finding
    evidence: Evidence
    """Everything that was asked, contaminated items included."""
