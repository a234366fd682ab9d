"""What the base's first answers say about a suite: each diagnosis, and silence where nothing is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.domain import Answer, Item, Message, Pair, TaskRequest
from ftgate.measurements.base import Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.pilot import Pilot, read_pilot
from ftgate.measurements.safety import Safety
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target
from ftgate.scoring.rules import bounded, score_pairs
from ftgate.scoring.task_requests import HARNESS

EXACT = Forgetting(dataset="x", scorer="exact")
CHOICE = Forgetting(dataset="x", scorer="choice")
CHOICES = ("red", "green", "blue", "grey")
WORD = "paris"


def free(i: int, **more: Any) -> Item:
    return Item(f"i{i}", (Message("user", f"question {i}"),), answer=WORD, **more)


def said(text: str, **more: Any) -> Answer:
    return Answer(text=text, tokens=3, **more)


def letters(right: bool, mass: float = 0.96) -> Answer:
    """The right option is the first."""
    rest = mass / 12
    return Answer(
        option_logprobs=tuple(math.log(mass - 3 * rest if i == (0 if right else 1) else rest) for i in range(4))
    )


def piloted(m: Measurement, answers: Sequence[Answer], items: Sequence[Item] | None = None) -> Pilot:
    rows = items or [free(i, choices=CHOICES if a.option_logprobs else ()) for i, a in enumerate(answers)]
    if items is None and answers[0].option_logprobs:
        rows = [Item(item.id, item.messages, CHOICES, "red") for item in rows]
    pairs = [Pair(item, (a,), (a,)) for item, a in zip(rows, answers, strict=True)]
    return read_pilot(m, pairs, score_pairs(m.scored_by, pairs))


def mixed(right: int, wrong: str = "no idea", n: int = 20) -> list[Answer]:
    return [said(WORD if i < right else wrong) for i in range(n)]


def test_cut_answers_to_documents_of_a_task_name_the_limit_of_the_task() -> None:
    request = TaskRequest("gsm8k", "exact_match", "p", max_tokens=256)
    cut = (Answer("so", finish="length"),)
    pairs = [Pair(free(i, request=request), cut, cut) for i in range(20)]
    pilot = read_pilot(EXACT, pairs, score_pairs(EXACT.scored_by, pairs, {HARNESS: lambda *_: 1.0}))
    assert pilot.warnings == (
        "20 of 20 answers of the base are cut at max_gen_toks 256: raise max_gen_toks in a task file that includes "
        "gsm8k, or ask for short answers",
    )


@pytest.mark.parametrize(("right", "warned"), [(0, True), (1, True), (2, False), (14, False), (20, False)])
def test_a_base_near_zero_has_too_little_to_lose(right: int, warned: bool) -> None:
    pilot = piloted(EXACT, mixed(right))
    assert (pilot.items, pilot.base) == (20, right / 20)
    assert pilot.warnings == (
        (
            f"the base scores {5 * right} % on 20 items, so low that a loss of 10 % could go unseen: use an easier "
            "suite such as builtin:general-easy-200, another scorer, or examples in the prompt",
        )
        if warned
        else ()
    )


def test_a_base_near_one_leaves_no_room_for_a_gain_and_one_near_zero_does() -> None:
    gain = Target(dataset="x", scorer="exact")
    assert piloted(gain, mixed(19)).warnings == (
        "the base scores 95 % on 20 items, which leaves hardly any room for a gain above 0 points: use a harder suite",
    )
    assert piloted(gain, mixed(18)).warnings == piloted(gain, mixed(0)).warnings == ()
    assert piloted(Target(dataset="x", scorer="exact", min_gain=-0.02), mixed(20)).warnings == ()
    assert "a gain above 30 points" in piloted(Target(dataset="x", scorer="exact", min_gain=0.3), mixed(13)).warnings[0]


@pytest.mark.parametrize(("right", "warned"), [(2, True), (6, True), (7, False), (15, False)])
def test_a_base_that_may_be_guessing_the_letters(right: int, warned: bool) -> None:
    warnings = piloted(CHOICE, [letters(i < right) for i in range(20)]).warnings
    assert bool(warnings) is warned
    if warned:
        assert f"the base scores {5 * right} % on 20 multiple-choice items, and guessing 25 %" in warnings[0]
        assert "a scorer that reads text" in warnings[0]


@pytest.mark.parametrize("measurement", [CHOICE, Tail(dataset="x", scorer="choice"), Calibration(dataset="x")])
def test_little_probability_on_the_letters(measurement: Measurement) -> None:
    assert piloted(measurement, [letters(i < 15) for i in range(20)]).warnings == ()
    (warning,) = piloted(measurement, [letters(i < 15, mass=0.12) for i in range(20)]).warnings
    assert warning.startswith("the base puts 12 % of its probability on the option letters")
    assert "check the chat template" in warning


def test_right_answers_that_the_scorer_rejects() -> None:
    (warning,) = piloted(EXACT, mixed(15, "The answer is Paris.")[:19]).warnings
    assert warning == (
        "4 of 19 answers of the base hold the right answer and are scored as wrong: use another scorer (contains), ask "
        "for the bare answer, or use examples in the prompt"
    )
    assert piloted(EXACT, mixed(17, "The answer is Paris.")).warnings == (), "under a fifth"
    assert piloted(EXACT, mixed(15, "not Parisian")).warnings == (), "whole words"
    assert piloted(Forgetting(dataset="x", scorer="contains"), mixed(15, "The answer is Paris.")).warnings == ()
    number = [Item(f"i{i}", (Message("user", "?"),), answer="42") for i in range(20)]
    told = [said("42" if i < 15 else "it is 42, as in 7 by 6") for i in range(20)]
    assert "scored as wrong" in piloted(Forgetting(dataset="x", scorer="numeric"), told, number).warnings[0]


def test_answers_that_are_cut_or_empty() -> None:
    short = Forgetting(dataset="x", scorer="exact", max_tokens=8)
    cut = [said("well then", finish="length") if i < 10 else said(WORD) for i in range(20)]
    assert piloted(short, cut).warnings == (
        "10 of 20 answers of the base are cut at max_tokens 8: raise max_tokens, or ask for short answers",
    )
    assert piloted(short, cut[1:]).warnings == ()
    requests = [Item(f"i{i}", (Message("user", "?"),), tags=("must_refuse",)) for i in range(20)]
    assert piloted(Safety(scorer="rules", max_tokens=8), cut, requests).warnings == (), (
        "it asks for the beginning alone"
    )
    (warning,) = piloted(EXACT, [said("  \n" if i < 12 else WORD) for i in range(20)]).warnings
    assert warning.startswith("12 of 20 answers of the base are empty: check the chat template")


def test_a_judge_that_cannot_be_read_is_named_before_it_is_tested() -> None:
    judged = Forgetting(dataset="x", scorer="judge")
    rows = [free(i) for i in range(20)]
    pairs = [Pair(item, (said("well"),), (said("well"),)) for item in rows]
    for unread, warned in ((20, True), (10, True), (9, False)):
        ends = [(0.0, 1.0) if i < unread else (0.8, 0.8) for i in range(20)]
        warnings = read_pilot(judged, pairs, bounded(tuple(rows), ends, ends, binary=False)).warnings
        named = f"no reply of the judge can be read on {unread} of 20 answers"
        assert [w[: len(named)] for w in warnings] == ([named] if warned else [])
    by_rule = read_pilot(EXACT, pairs, bounded(tuple(rows), [(0.0, 1.0)] * 20, [(0.0, 1.0)] * 20, binary=True))
    assert not any("judge" in warning for warning in by_rule.warnings)


def test_every_answer_failed() -> None:
    failed = [Answer(finish="error", error="prompt of 9000 tokens")] * 20
    assert piloted(EXACT, failed) == Pilot("forgetting", 20, None, failure="prompt of 9000 tokens")
    some = piloted(EXACT, [*failed[:5], *mixed(12, n=15)])
    assert (some.base, some.failure, some.warnings) == (12 / 15, None, ())


def test_graded_items_are_read_by_their_grades_and_unread_ones_left_out() -> None:
    judged = Forgetting(dataset="x", scorer="judge")
    items = tuple(free(i) for i in range(20))
    pairs = [Pair(item, (said("The capital is Paris."),), (said("other"),)) for item in items]
    grades = [(0.0, 1.0)] * 4 + [(0.75, 0.75)] * 16
    pilot = read_pilot(judged, pairs, bounded(items, grades, [(0.0, 0.0)] * 20, binary=False))
    assert (pilot.base, pilot.warnings) == (0.75, ())
    unread = read_pilot(judged, pairs, bounded(items, [(0.0, 1.0)] * 20, [(0.0, 0.0)] * 20, binary=False))
    assert unread.base is None
    assert all(warning.startswith("no reply of the judge can be read") for warning in unread.warnings)


texts = st.text(max_size=12) | st.sampled_from([WORD, f"it is {WORD}", "", "?"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(texts, st.sampled_from(["stop", "length"]), st.none() | st.just("late")), max_size=25))
def test_any_answers_have_a_reading(told: list[tuple[str, str, str | None]]) -> None:
    answers = [Answer(text=text, finish=finish, error=error) for text, finish, error in told]
    items = [free(i) for i in range(len(answers))]
    pairs = [Pair(item, (a,), (a,)) for item, a in zip(items, answers, strict=True)]
    pilot = read_pilot(EXACT, pairs, score_pairs(EXACT.scored_by, pairs))
    assert pilot.items == len(answers)
    assert pilot.base is None or 0 <= pilot.base <= 1
    assert (pilot.failure is not None) is (bool(answers) and all(a.error for a in answers))
    assert all(": " in warning for warning in pilot.warnings), "each says what to do"
