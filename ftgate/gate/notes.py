"""What a reader must know at the verdict about how the two models were run and asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.measurements.traces import thinking_notes
from ftgate.models.chat import chat_notes
from ftgate.models.generation import generation_note
from ftgate.report.numbers import in_sentence
from ftgate.scoring import amounts
from ftgate.verdict import SMOKE_TEST


def verdict_notes(job: Job, results: Mapping[str, Result]) -> list[str]:
    """The notes, one sentence each: how the models were asked, and whether they think alike."""
    generation = generation_note(job.policy.engine, job.candidate)
    items = job.policy.evidence.smoke_test
    return [
        *([SMOKE_TEST.format(items)] if items is not None else []),
        *chat_notes(job.base, job.candidate),
        *([generation] if generation else []),
        *job.deployed.notes,
        *_people_notes(results),
        *thinking_notes([pair for m in job.measurements for pair in results[m.name].pairs]),
    ]


def _people_notes(results: Mapping[str, Result]) -> Iterator[str]:
    """Where people's grades changed what a measurement came to."""
    for name, result in results.items():
        finding = result.finding
        people = finding.estimate.details.get("people") or {}
        alone = people.get("status_by_the_judge_alone", finding.status.value)
        if alone != finding.status.value:
            change = amounts.change(people["by_the_judge_alone"], finding.estimate.unit)
            grades = f"people's grades of {people['items']} items (`judge.labels`)"
            status = f"{in_sentence(name)}: {finding.status.value} by {grades}"
            yield f"{status}; by the judge alone ({change}) it would be {alone}"
