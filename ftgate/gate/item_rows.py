"""Every item of a run with both models' answers, scores and grades, for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from ftgate.domain import Answer, Item, Pair
from ftgate.gate.changes import flip_scores, outcome_of
from ftgate.gate.derived_run import DerivedRun
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.measurements.base import Measurement
from ftgate.measurements.derived import as_read_id
from ftgate.measurements.tail import deciles
from ftgate.measurements.tail_map import TailMap
from ftgate.report.items import AnswerSide, ItemRow, ModelAnswer
from ftgate.scoring.trace import OPEN


def item_rows(job: Job, runs: Sequence[MeasurementRun | DerivedRun]) -> list[ItemRow]:
    """A row for every item that was asked, by measurement and in the order of its answers."""
    rows: list[ItemRow] = []
    for run in runs:
        assert run.result is not None, "rows come after the last look"
        if isinstance(run, DerivedRun):
            rows += rows_of(run.name, run.result, _contaminated_as_read(job))
            continue
        places = {} if run.tail_map is None else _places(run.tail_map)
        own = rows_of(run.name, run.result, _contaminated(job, run.name), run.measurement)
        for row, pair in zip(own, run.result.evidence.pairs, strict=True):
            _add_grades(row, pair, run)
            if row.item in places:
                row.distance, row.slices = places[row.item]
        rows += own
    return rows


def rows_of(
    name: str, result: Result, left_out: Mapping[str, str], measurement: Measurement | None = None
) -> list[ItemRow]:
    """A row for every item of one measurement. ``left_out``: by item id, why it does not count.

    ``measurement`` says what a loss is; None for one that is decided on the others' answers.
    """
    about, scored = result.finding.estimate.about, result.evidence.scored
    exact = scored.is_exact
    worth = flip_scores(result.evidence.pairs, scored, measurement)
    rivals = _rival_sides(result, measurement)
    rows = []
    for i, pair in enumerate(result.evidence.pairs):
        item = pair.item
        outcome, why = outcome_of(pair, float(worth[1][i] - worth[0][i]), exact=bool(exact[i]))
        if item.id in left_out:
            outcome, why = "left out", left_out[item.id]
        elif about is not None and item.id not in about:
            outcome, why = "left out", "it is not in the part that decides"
        rows.append(
            ItemRow(
                measurement=name,
                item=item.id,
                outcome=outcome,
                why=why,
                messages=_messages(item),
                reference=item.answer,
                choices=list(_choices(item)),
                tags=list(item.tags),
                line=item.line,
                cluster=item.cluster or "",
                base=_side(pair.base, (scored.base_low[i], scored.base_high[i]), worth[0][i]),
                candidate=_side(pair.candidate, (scored.candidate_low[i], scored.candidate_high[i]), worth[1][i]),
                incumbent=rivals.get(item.id),
            )
        )
    return rows


def _rival_sides(result: Result, measurement: Measurement | None) -> dict[str, AnswerSide]:
    """What the incumbent answered, by item id; empty without one."""
    if result.incumbent is None:
        return {}
    evidence = result.incumbent.evidence
    worth = flip_scores(evidence.pairs, evidence.scored, measurement)[0]
    scores = zip(evidence.scored.base_low, evidence.scored.base_high, worth, strict=True)
    return {
        pair.item.id: _side(pair.base, (low, high), of)
        for pair, (low, high, of) in zip(evidence.pairs, scores, strict=True)
    }


def _side(answers: Sequence[Answer], bounds: tuple[float, float], worth: float) -> AnswerSide:
    score = float(bounds[0]) if bounds[0] == bounds[1] else None
    return AnswerSide(
        score=score,
        worth=None if score is None or worth == score else float(worth),
        answers=[ModelAnswer(text=answer.text, note=_note(answer)) for answer in answers if not _only_options(answer)],
        options=list(answers[0].option_logprobs) if answers else [],
        likelihoods=bool(answers) and answers[0].continued,
    )


def _only_options(answer: Answer) -> bool:
    return bool(answer.option_logprobs) and not answer.text and answer.error is None


def _note(answer: Answer) -> str:
    if answer.error is not None:
        return f"no answer: {answer.error}"
    if answer.trace == OPEN:
        return "no answer: its reasoning never ended"
    return "cut at the token limit" if answer.finish == "length" else ""


def _messages(item: Item) -> list[tuple[str, str]]:
    """The prompt's turns; of a task of the harness the text that is continued."""
    if item.request is not None and item.request.prompt and not item.request.chat:
        return [("prompt", item.request.prompt)]
    return [(message.role, message.text) for message in item.messages]


def _choices(item: Item) -> Sequence[str]:
    return item.choices or (item.request.choices if item.request is not None else ())


def _contaminated(job: Job, name: str) -> dict[str, str]:
    """Why items do not count that the training data contain, by id."""
    overlap = job.overlaps.get(name)
    excluded = {item.id for item in job.excluded_items.get(name, ())}
    if overlap is None or job.training is None:
        return dict.fromkeys(excluded, "it occurs in the training data")
    file = PurePath(job.training.source).name
    return {
        item_id: f"it occurs in the training data ({file}:{match.line})"
        for item_id, match in overlap.contained.items()
        if item_id in excluded
    }


def _contaminated_as_read(job: Job) -> dict[str, str]:
    """The same for a derived measurement, which sees all items under ids of its own."""
    return {
        as_read_id(m, item_id): why for m in job.measurements for item_id, why in _contaminated(job, m.name).items()
    }


def _add_grades(row: ItemRow, pair: Pair, run: MeasurementRun) -> None:
    """Add what the judge gave the first answer of each model."""
    part = run.measurement.scored_part(pair)
    for side, answers in ((row.base, part.base), (row.candidate, part.candidate)):
        if answers:
            side.grades = run.grades_of(pair.item, answers[0])


def _places(tail_map: TailMap) -> dict[str, tuple[float, list[str]]]:
    """Distance and slices by distance and topic of each query."""
    topics = tail_map.topics or ("",) * len(tail_map.item_ids)
    tenth = deciles(tail_map)
    return {
        item_id: (distance, [*([topic] if topic else []), f"distance decile {tenth[item_id]}"])
        for item_id, distance, topic in zip(tail_map.item_ids, tail_map.distance, topics, strict=True)
    }
