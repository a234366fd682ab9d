"""The judge against people: their agreement as a control, and people's grades of this run's own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ftgate.domain import Answer, Finding, Pair, Question
from ftgate.engines.base import Ask
from ftgate.errors import ConfigurationError
from ftgate.gate.cached_engine import CachedEngine
from ftgate.jobs.prepare import Job
from ftgate.judge.agreement import agreement
from ftgate.judge.grading import Judge
from ftgate.judge.labels import label_key, question_key
from ftgate.measurements.base import Measurement, failures
from ftgate.measurements.labelled import LabelledItems
from ftgate.report.schema import ChecklistEntry
from ftgate.scoring import amounts
from ftgate.scoring.scorer_facts import JUDGE
from ftgate.stats.seeding import drawn_order

NAME = "judge_labels"


def judge_against_people(job: Job, engine: CachedEngine | None) -> dict[str, Any]:
    """Have the judge grade what people graded, and compare; empty without labels or without a judge.

    Answers of this run are in the journal already, and those of older ones are asked once. Raises ConfigurationError if
    there is no engine (``ftgate decide``) and the journal lacks some.
    """
    model, settings = job.judge, job.policy.judge
    if job.labels is None or engine is None or model is None or settings is None:
        return {}
    engine.require([model])

    def ask(questions: Sequence[Question]) -> list[Answer]:
        return engine.ask([Ask(model, q) for q in questions], "grade labelled answers")

    judge = Judge(ask, "labels", item_first=settings.item_first)
    try:
        agreed = agreement(judge, job.labels)
    except ConfigurationError as error:
        if not engine.replays:
            raise
        source, count = job.labels.source, len(job.labels.labels)
        raise ConfigurationError(
            f"judge.labels {source}: some of its {count} answers are of another run, and the judge has not graded them",
            hint="`ftgate run` with the same --out has the judge grade these alone; `ftgate judge sample` writes "
            "answers of this run",
        ) from error
    return {NAME: {"ok": agreed.good, "reason": agreed.text, "blank": job.labels.blank, **asdict(agreed)}}


def checklist_lines(controls: Mapping[str, Any]) -> list[ChecklistEntry]:
    """The checklist's line on the judge and people; none without labels."""
    entry = controls.get(NAME)
    if entry is None:
        return []
    return [ChecklistEntry(item="The judge agrees with people", ok=entry["ok"], evidence=entry["reason"])]


def labelled_items(job: Job, measurement: Measurement, pairs: Sequence[Pair]) -> LabelledItems | None:
    """People's grades of the answers in ``pairs`` that the judge grades.

    None without labels or such answers, and where all labels are of other suites, which say nothing about this one.
    """
    judged = [p for p in pairs if measurement.scored_by(p.item) == JUDGE and not failures(p)]
    if job.labels is None or not judged:
        return None
    labelled = {question_key(label.item) for label in job.labels.labels}
    questions = sum(question_key(measurement.scored_part(pair).item) in labelled for pair in judged)
    if not questions:
        return None
    grades, of_both = job.labels.grades, dict[str, tuple[float, float]]()
    for pair in map(measurement.scored_part, judged):
        base, candidate = (_grade(pair, answers, grades) for answers in (pair.base, pair.candidate))
        if base is not None and candidate is not None:
            of_both[pair.item.id] = (base, candidate)
    ids = [pair.item.id for pair in judged]
    places = {ids[i]: place for place, i in enumerate(random_order(job, measurement.name, ids))}
    return LabelledItems(of_both, places, questions)


def random_order(job: Job, name: str, ids: Sequence[str]) -> list[int]:
    """The places of ``ids`` in the order in which a run asks its items: a look takes the first ones."""
    return drawn_order(job.seed, f"{name} order", ids)


def labels_facts(job: Job) -> dict[str, Any]:
    """The labels in the report's provenance; nothing without any."""
    if job.labels is None:
        return {}
    facts = {"source": job.labels.source, "sha256": job.labels.sha256, "labels": len(job.labels.labels)}
    return {NAME: facts}


def with_note(finding: Finding, controls: Mapping[str, Any]) -> Finding:
    """``finding`` with a note on the judge and people, if the measurement was judged and there are labels."""
    estimate, agreed = finding.estimate, controls.get(NAME)
    people = estimate.details.get("people")
    if agreed is None or people is None:
        return finding
    consequence = (
        f"the change is corrected by people's grades of {people['items']} items: by the judge alone it "
        f"{amounts.change(people['by_the_judge_alone'], estimate.unit)}"
        if people["corrected"]
        else f"the change is not corrected by them: {people['reason']}"
    )
    notes = [*estimate.details.get("notes", ()), f"judge against people: {agreed['reason']}; {consequence}"]
    return replace(finding, estimate=replace(estimate, details={**estimate.details, "notes": notes}))


def _grade(pair: Pair, answers: Sequence[Answer], grades: Mapping[str, float]) -> float | None:
    """People's grade of the only answer in ``answers``; None if there are several."""
    if len(answers) != 1:
        return None
    return grades.get(label_key(pair.item, answers[0].text))
