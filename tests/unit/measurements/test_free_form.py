"""Several answers to an item: who is asked what, what the policy may say, and how the mean over them is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.evidence import decided, evidence_of

from ftgate.config.strict import validate
from ftgate.domain import Answer, Item, Message, Pair, Question, Status
from ftgate.errors import ConfigurationError
from ftgate.measurements.base import JudgeValidation, Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.deployed import seeded
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.registry import MEASUREMENTS, read_measurements
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target
from ftgate.scoring.rules import score_pairs

FREE_FORM: tuple[type[Measurement], ...] = (Target, Forgetting, Tail)
EXACT = Forgetting(dataset="d", scorer="exact")


def item(i: int = 0, **more: Any) -> Item:
    return Item(f"i{i}", (Message("user", f"question {i}"),), **{"answer": "right", **more})


def several(kind: type[Measurement] = Forgetting, answers: Any = 3, **more: Any) -> Measurement:
    return validate(kind, {"dataset": "d", "scorer": "exact", "answers": answers, "temperature": 0.7, **more}, "p")


def pair(i: int, base: Sequence[bool], candidate: Sequence[bool]) -> Pair:
    sides = (tuple(Answer(text="right" if good else "wrong") for good in side) for side in (base, candidate))
    return Pair(item(i), *sides)


@pytest.mark.parametrize("kind", FREE_FORM)
def test_by_default_one_greedy_answer_is_asked_as_ever(kind: type[Measurement]) -> None:
    measurement = validate(kind, {"dataset": "d", "scorer": "exact"}, "p")
    (question,) = seeded(measurement.plan(item()), 5)
    assert question == Question(measurement.name, "i0", item().messages, max_tokens=question.max_tokens)
    assert question.content().keys() == {"messages", "options", "max_tokens", "repeat"}
    assert measurement.sampling_details() == {}


@pytest.mark.parametrize("kind", FREE_FORM)
def test_both_models_are_asked_with_the_same_seeds_each_as_often_as_the_policy_says(kind: type[Measurement]) -> None:
    measurement = several(kind, {"base": 8, "candidate": 2})
    base = seeded(measurement.plan(item()), 0)
    candidate = seeded(measurement.plan(item(), "candidate"), 0)
    assert (len(base), len(candidate)) == (8, 2)
    assert candidate == base[:2]
    assert {q.temperature for q in base} == {0.7}
    assert {(q.messages, q.max_tokens) for q in base} == {(item().messages, base[0].max_tokens)}
    assert measurement.sampling_details() == {"answers": {"base": 8, "candidate": 2, "temperature": 0.7}}


def test_seeds_follow_from_the_run_the_item_and_the_number_of_the_answer() -> None:
    four, other_item, other_run = (
        [q.seed for q in seeded(several(answers=4).plan(item(i)), run)] for i, run in ((0, 0), (1, 0), (0, 1))
    )
    assert len({*four, *other_item, *other_run}) == 12
    two = [q.seed for q in seeded(several(answers=2).plan(item()), 0)]
    assert two == four[:2], "more answers later ask for the new ones only"


def test_one_sampled_answer_needs_no_number() -> None:
    (question,) = several(answers=1).plan(item())
    assert question.temperature == 0.7


@pytest.mark.parametrize("answers", [2, {"base": 8}, {"candidate": 2}])
def test_several_greedy_answers_are_refused_with_what_to_do(answers: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"answers: \d at temperature 0 .*set temperature"):
        validate(Forgetting, {"dataset": "d", "answers": answers}, "policy p")


@pytest.mark.parametrize("fields", [{"answers": 2, "temperature": 1.0}, {"temperature": 0.5}])
@pytest.mark.parametrize("kind", FREE_FORM)
def test_a_choice_has_no_answers_to_sample(kind: type[Measurement], fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"answers and temperature are not for scorer: choice"):
        validate(kind, {"dataset": "d", "scorer": "choice", **fields}, "policy p")


@pytest.mark.parametrize("form", ["choices", "sampled"])
@pytest.mark.parametrize("fields", [{"answers": 4}, {"temperature": 1}, {"answers": 4, "temperature": 1}])
def test_calibration_says_why_it_takes_no_answers(form: str, fields: dict[str, Any]) -> None:
    named = " and ".join(fields)
    with pytest.raises(ConfigurationError, match=f"{named}: not for calibration.*samples is the number"):
        validate(Calibration, {"dataset": "d", "form": form, **fields}, "policy p")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"answers": 0}, "greater than or equal to 1"),
        ({"answers": 65}, "less than or equal to 64"),
        ({"answers": 2.5}, "answers"),
        ({"answers": {"bas": 2}}, "unknown field"),
        ({"answers": 2, "temperature": -1}, "temperature"),
        ({"answers": 2, "temperature": 3}, "temperature"),
    ],
)
def test_other_numbers_are_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read_measurements({"tail": {"dataset": "d", "temperature": 0.7, **fields}}, "policy p")


def test_rows_with_choices_are_asked_once() -> None:
    row = item(choices=("right", "wrong"))
    (question,) = several(scorer="auto", answers=4).plan(row)
    assert question.options == ("A", "B")
    assert question.temperature == 0


@given(st.lists(st.tuples(*(st.lists(st.booleans(), min_size=1, max_size=5),) * 2), min_size=1, max_size=8))
def test_an_items_score_is_the_mean_over_its_answers(sides: list[tuple[list[bool], list[bool]]]) -> None:
    scored = score_pairs(EXACT.scored_by, [pair(i, b, c) for i, (b, c) in enumerate(sides)])
    assert scored.base == pytest.approx([np.mean(b) for b, _ in sides])
    assert scored.candidate == pytest.approx([np.mean(c) for _, c in sides])
    assert scored.is_exact.all()
    assert scored.binary is all(len(b) == len(c) == 1 for b, c in sides)
    assert not scored.graded.any(), "no judge took part, so no judge's floor is subtracted"


def test_an_answer_that_failed_leaves_the_others_and_widens_the_score() -> None:
    broken = replace(pair(0, [True, True, True, True], [True, True, False, False]))
    failed = Answer(finish="error", error="too long")
    scored = score_pairs(EXACT.scored_by, [replace(broken, candidate=(*broken.candidate[:3], failed))])
    assert (scored.candidate_low[0], scored.candidate_high[0]) == (0.5, 0.75)
    assert scored.base_low[0] == scored.base_high[0] == 1
    assert scored.unreadable == 1


def test_calibration_scores_the_first_answer_alone() -> None:
    sampled = Calibration(dataset="d", form="sampled")
    whole = pair(0, [True] + [False] * 20, [False] + [True] * 20)
    scored = score_pairs(sampled.scored_by, [sampled.scored_part(whole)])
    assert (scored.base[0], scored.candidate[0], scored.binary) == (1.0, 0.0, True)


def drawn(n: int, answers: tuple[int, int], kept: float = 1.0, seed: int = 0) -> list[Pair]:
    """Items of difficulty beta(0.6, 0.4), so that answers to one of them correlate by a half."""
    rng = np.random.default_rng(seed)
    chances = rng.beta(0.6, 0.4, n)
    return [
        pair(i, (rng.random(answers[0]) < p).tolist(), (rng.random(answers[1]) < kept * p).tolist())
        for i, p in enumerate(chances)
    ]


def test_means_are_decided_as_graded_scores_and_more_answers_narrow_the_interval() -> None:
    widths = {}
    for answers in ((1, 1), (2, 2), (4, 4), (8, 2)):
        scored = score_pairs(EXACT.scored_by, drawn(200, answers))
        estimate = decided(EXACT, evidence_of(scored)).estimate
        widths[answers] = estimate.interval[1] - estimate.interval[0]
        assert ("bootstrap" in estimate.method) is (answers != (1, 1))
        assert "floor" not in estimate.method
    assert widths[4, 4] < widths[8, 2] < widths[2, 2] < widths[1, 1]
    assert widths[4, 4] == pytest.approx(widths[1, 1] / 2, rel=0.2)


@pytest.mark.parametrize(("kept", "status"), [(1.0, Status.PASS), (0.7, Status.BLOCK)])
def test_a_lossless_model_passes_and_a_worse_one_is_blocked(kept: float, status: Status) -> None:
    scored = score_pairs(EXACT.scored_by, drawn(200, (8, 4), kept))
    assert decided(EXACT, evidence_of(scored)).status is status


def test_fewer_than_a_hundred_items_cannot_pass_however_many_answers_they_have() -> None:
    finding = decided(EXACT, evidence_of(score_pairs(EXACT.scored_by, drawn(99, (16, 16)))))
    assert finding.status is Status.INCONCLUSIVE
    assert "99 graded items are too few" in finding.reason


def test_a_judges_floor_counts_for_the_judged_items_alone() -> None:
    judge = JudgeValidation(True, "fit", 1.0, 1.0, 0.9, 0.0, 0.0, 0.2, 0.01, 60, 60)
    scored = score_pairs(EXACT.scored_by, drawn(200, (4, 4)))
    estimate = decided(EXACT, evidence_of(scored, judge_validation=judge)).estimate
    assert "floor" not in estimate.method


def test_lengths_and_empty_answers_are_those_of_all_answers() -> None:
    said = [Answer(text="right", tokens=4), Answer(text=" ", tokens=2)]
    pairs = tuple(Pair(item(i), (said[0],) * 3, tuple(said)) for i in range(200))
    evidence = evidence_of(score_pairs(EXACT.scored_by, pairs), pairs=pairs)
    details = decided(EXACT, evidence).estimate.details
    assert details["answer_tokens"] == {"base": 4.0, "candidate": 3.0, "ratio": 0.75}
    assert details["empty_candidate_answers"] == 200


def test_every_measurement_says_how_many_answers_it_averages() -> None:
    sections = {kind.kind: {"dataset": "d"} for kind in MEASUREMENTS}
    assert {m.answer_counts for m in read_measurements(sections, "p")} == {(1, 1)}
