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
    incumbent: Result | None = None
    """The outcome of the comparison with the incumbent at the same look, if there is one."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The finding against the base and, where there is one, that against the incumbent."""
        return (self.finding,) if self.incumbent is None else (self.finding, self.incumbent.finding)

    @property
    def settled(self) -> bool:
        """Whether more items would change nothing in any comparison."""
        return all(finding.settled for finding in self.findings)
