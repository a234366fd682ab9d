"""One measurement that asks nothing, in one run: it reads what the others were answered, and decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ftgate.domain import FloatArray, Pair, Status
from ftgate.gate.decide import add_details, decide_measurement
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.measurements.base import Evidence, Measurement
from ftgate.measurements.derived import DerivedMeasurement, as_read, read_pairs
from ftgate.measurements.incumbent import Comparison
from ftgate.measurements.looks import Look
from ftgate.scoring.scores import PairedScores

EARLY_SHARE = 0.1
"""The share of alpha that the looks before the last one may use together."""


def derived_look(number: int, of: int, alpha: float, *, last: bool) -> Look:
    """Look ``number`` of at most ``of``, at its share of the error rate ``alpha``."""
    if of > 1:
        alpha *= 1 - EARLY_SHARE if last else EARLY_SHARE / (of - 1)
    return Look(number, of, number / of, alpha)


class DerivedRun:
    """One measurement that asks nothing, in one run. The state is ``result``, the outcome of the latest look.

    It is looked at whenever the others were, and for the last time when they are done. A block ends the run at any
    look; a pass before the last look means nothing, because the others still go on. When the others are done follows
    from their answers, which are also its own: so its levels rest on no schedule. The early looks share
    ``EARLY_SHARE`` of alpha evenly, the last one has the rest (Bonferroni).
    """

    def __init__(self, measurement: DerivedMeasurement, job: Job, runs: Sequence[MeasurementRun]) -> None:
        self.measurement = measurement
        self.name = measurement.name
        self.result: Result | None = None
        excluded = tuple(as_read(m, item) for m in job.measurements for item in job.excluded_items.get(m.name, ()))
        self._job = replace(job, excluded_items={**job.excluded_items, measurement.name: excluded})
        self._runs = runs
        self._looks = max(len(run.looks) for run in runs)
        self._taken = 0

    def decide(self, *, last: bool) -> None:
        """Estimate and decide on all that was answered so far; the outcome is ``result``."""
        self._taken += 1
        look = derived_look(self._taken, self._looks, self._job.policy.evidence.alpha, last=last)
        answered = [(run.measurement, run.result.evidence.pairs) for run in self._runs if run.result is not None]
        self.result = self._result_of(look, read_pairs(answered), last=last)

    def corrupted(self, pairs: Sequence[Pair], share: float = 1.0) -> Result:
        """The result on ``pairs``, corrupted on purpose, at ``share`` of alpha. The state does not change."""
        end = Look(1, 1, 1.0, self._job.policy.evidence.alpha * share)
        return self._result_of(end, tuple(pairs), last=True)

    def score(self, pairs: Sequence[Pair]) -> PairedScores:
        """Both models' scores for ``pairs``."""
        return self.measurement.score(pairs)

    def per_item(self, answered: Iterable[tuple[Measurement, Sequence[Pair]]]) -> tuple[FloatArray, FloatArray]:
        """The measurement's numbers for what it reads of ``answered``, for the A/A test."""
        pairs = read_pairs(answered)
        return self.measurement.per_item(pairs, self.score(pairs))

    def compared(self, comparison: Comparison, look: Look, pairs: tuple[Pair, ...], *, last: bool) -> Result:
        """The result of ``comparison`` on what was read. The state does not change."""
        rules = self._job.policy.evidence
        evidence = Evidence(pairs, self.score(pairs), look.alpha, rules.draws, overall_alpha=rules.alpha, last=last)
        return decide_measurement(self._job, comparison, evidence, look)

    def add_details(self) -> None:
        """Add what the report shows beside the decision; called once, at the end."""
        assert self.result is not None, "details come after the last look"
        self.result = add_details(self._job, self.measurement, self.result)

    def _result_of(self, look: Look, pairs: tuple[Pair, ...], *, last: bool) -> Result:
        result = self.compared(self.measurement, look, pairs, last=last)
        finding = result.finding
        words = self.measurement.in_words(finding.estimate, result.pairs)
        if finding.status in (Status.BLOCK, Status.INCONCLUSIVE) and finding.estimate.invalid_reason is None and words:
            result = replace(result, finding=replace(finding, reason=f"{finding.reason}: {words}"))
        return result
