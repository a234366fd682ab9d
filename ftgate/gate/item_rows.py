"""Every item of a run with both models' answers, scores and grades, for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from ftgate.domain import Answer, Item, Pair
from ftgate.gate.derived_run import DerivedRun
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.measurements.base import failures
from ftgate.measurements.derived import as_read_id
from ftgate.measurements.tail import deciles
from ftgate.measurements.tail_map import TailMap
from ftgate.report.items import AnswerSide, ItemRow, ModelAnswer, Outcome
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
        own = rows_of(run.name, run.result, _contaminated(job, run.name))
        for row, pair in zip(own, run.result.evidence.pairs, strict=True):
            _add_grades(row, pair, run)
            if row.item in places:
                row.distance, row.slices = places[row.item]
        rows += own
    return rows


def rows_of(name: str, result: Result, left_out: Mapping[str, str]) -> list[ItemRow]:
    """A row for every item of one measurement. ``left_out``: by item id, why it does not count."""
    about, scored = result.finding.estimate.about, result.evidence.scored
    exact = scored.is_exact
    rivals = _rival_sides(result)
    rows = []
    for i, pair in enumerate(result.evidence.pairs):
        item = pair.item
        base, candidate = float(scored.base[i]), float(scored.candidate[i])
        outcome, why = _outcome(pair, candidate - base, exact=bool(exact[i]))
        if item.id in left_out:
            outcome, why = "left out", left_out[item.id]
        elif about is not None and item.id not in about:
            outcome, why = "left out", "it is not in the part that decides"
        base_exact, candidate_exact = (low == high for low, high in _bounds(result, i))
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
                base=_side(pair.base, base if base_exact else None),
                candidate=_side(pair.candidate, candidate if candidate_exact else None),
                incumbent=rivals.get(item.id),
            )
        )
    return rows


def _bounds(result: Result, i: int) -> list[tuple[float, float]]:
    scored = result.evidence.scored
    return [
        (float(scored.base_low[i]), float(scored.base_high[i])),
        (float(scored.candidate_low[i]), float(scored.candidate_high[i])),
    ]


def _outcome(pair: Pair, change: float, *, exact: bool) -> tuple[Outcome, str]:
    reasons = failures(pair)
    if reasons or not exact:
        return "failed", reasons[0] if reasons else "an answer could not be scored"
    return ("worse" if change < 0 else "better" if change > 0 else "same"), ""


def _rival_sides(result: Result) -> dict[str, AnswerSide]:
    """What the incumbent answered, by item id; empty without one."""
    if result.incumbent is None:
        return {}
    evidence = result.incumbent.evidence
    scores = zip(evidence.scored.base_low, evidence.scored.base_high, strict=True)
    return {
        pair.item.id: _side(pair.base, float(low) if low == high else None)
        for pair, (low, high) in zip(evidence.pairs, scores, strict=True)
    }


def _side(answers: Sequence[Answer], score: float | None) -> AnswerSide:
    return AnswerSide(
        score=score,
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
