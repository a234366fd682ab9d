"""The incumbent in a run: asked the same items at the same looks, and compared with the candidate as the base is.

The comparison only adds demands: whatever the incumbent is, nothing is decided otherwise against the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Item, Pair, Question
from ftgate.gate.adapter_effect import adapter_effect
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.decide import decide_measurement
from ftgate.gate.derived_run import DerivedRun, derived_look
from ftgate.gate.judge_labels import labelled_items
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.result import Result
from ftgate.gate.served import effect_words
from ftgate.jobs.prepare import Job
from ftgate.measurements.base import failures
from ftgate.measurements.derived import read_pairs
from ftgate.measurements.incumbent import DEPLOYED, AgainstIncumbent, in_words, retaining
from ftgate.measurements.looks import looks, planned_share
from ftgate.report.schema import ChecklistEntry
from ftgate.scoring.scores import PairedScores


class IncumbentRun:
    """The comparison of the candidate with the incumbent in one measurement that asks questions.

    It adds ``incumbent`` to the result of ``run``, which is not settled before both comparisons are.
    """

    def __init__(self, run: MeasurementRun, job: Job) -> None:
        self.run = run
        self._job = job
        self._answered: dict[str, tuple[Answer, ...]] = {}
        self._scored: PairedScores | None = None
        rules = corrected(job)
        levels = looks(rules, planned_share(run.measurement, job.clean_size(run.name)))
        self._block_alphas = [look.alpha for look in levels]
        self._comparison = retaining(run.measurement, job.policy.incumbent.block_drop)

    def unanswered(self) -> tuple[Item, ...]:
        """The items of the next look that the incumbent was not asked yet."""
        return tuple(item for item in self.run.next_items() if item.id not in self._answered)

    def questions(self, item: Item) -> tuple[Question, ...]:
        """The questions about ``item``: those that the base is asked."""
        return self.run.questions(item)

    def add(self, item: Item, answers: tuple[Answer, ...]) -> None:
        """Store the incumbent's answers to one item."""
        self._answered[item.id] = answers

    def decide(self) -> None:
        """Compare at the look that ``run`` has just decided."""
        result = self.run.result
        assert result is not None, "the comparison with the base comes first"
        pairs = tuple(replace(pair, base=self._answered[pair.item.id]) for pair in result.evidence.pairs)
        scored = self.run.score(pairs, self._scored)
        people = labelled_items(self._job, self.run.measurement, pairs)
        evidence = replace(result.evidence, pairs=pairs, scored=scored, labelled=people)
        against = AgainstIncumbent(self._comparison, self._block_alphas[result.look.number - 1])
        compared = decide_measurement(self._job, against, evidence, result.look)
        self.run.result = replace(result, incumbent=_named(compared, self.run.measurement.subject))
        self._scored = scored
        if any(failures(pair) for pair in pairs):
            self._answered, self._scored = {}, None  # the next look asks again; what was answered is in the journal


class DerivedIncumbentRun:
    """The comparison with the incumbent in one measurement that asks nothing: of the answers to the others."""

    def __init__(self, run: DerivedRun, rivals: Sequence[IncumbentRun], job: Job) -> None:
        self.run = run
        self._rivals = rivals
        self._rules = corrected(job)
        self._comparison = retaining(run.measurement, job.policy.incumbent.block_drop)

    def decide(self, *, last: bool) -> None:
        """Compare at the look that ``run`` has just decided."""
        result = self.run.result
        assert result is not None, "the comparison with the base comes first"
        look = derived_look(result.look.number, result.look.of, self._rules.alpha, last=last)
        against = AgainstIncumbent(self._comparison, look.alpha)
        compared = self.run.compared(against, result.look, self._pairs(), last=last)
        self.run.result = replace(result, incumbent=_named(compared, self.run.measurement.subject))

    def _pairs(self) -> tuple[Pair, ...]:
        runs = [(rival.run.measurement, rival.run.result) for rival in self._rivals]
        return read_pairs([(m, r.incumbent.evidence.pairs) for m, r in runs if r is not None and r.incumbent])


def corrected(job: Job) -> EvidenceSettings:
    """The rules for blocks by the incumbent: all comparisons together have the error of one (Bonferroni)."""
    rules = job.policy.evidence
    gating = sum(m.tier != "advisory" for m in (*job.measurements, *job.derived))
    return rules.model_copy(update={"alpha": rules.alpha / max(1, gating)})


def _named(result: Result, subject: str) -> Result:
    return replace(result, finding=in_words(result.finding, subject))


def incumbent_lines(job: Job, effect: Mapping[str, Any] | None) -> list[ChecklistEntry]:
    """The checklist's lines on the incumbent; none where nothing names one. ``effect`` is that control's outcome."""
    item = f"The candidate was compared with {DEPLOYED}"
    named, notes = job.deployed.named, job.deployed.notes
    if job.deployed.compared is None or named is None:
        return [ChecklistEntry(item=item, ok=None, evidence=note) for note in notes]
    evidence = f"{named.reference} {named.digest[:19]}"
    lines = [ChecklistEntry(item=item, ok=True, evidence="; ".join((evidence, *notes)))]
    if effect is None:
        return lines
    return [*lines, ChecklistEntry(item="The incumbent's weights took effect", ok=True, evidence=effect_words(effect))]


def incumbent_effect(models: CachedEngine, job: Job, items: Sequence[Item]) -> dict[str, Any]:
    """Whether the incumbent's weights take effect, among the controls; nothing without one of its own."""
    if job.deployed.compared is None or job.deployed.compared == job.base:
        return {}
    return {"incumbent_effect": adapter_effect(models, job.base, job.deployed.compared, items)}
