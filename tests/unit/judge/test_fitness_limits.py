"""A judge at each limit of its validation, a hair within and a hair beyond, and a reply as a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ftgate.domain import Answer, Item, Message, Pair, Question
from ftgate.judge.canaries import JudgeProbe, canaries, gold, injections
from ftgate.judge.grading import CLEAR_SHARE, RETEST, Grade, Grades, Judge, _faults, _grade_of, _validation
from ftgate.judge.known_answers import RIGHT, WRONG, KnownAnswers, known_probes
from ftgate.measurements.base import JudgeValidation
from ftgate.stats.auroc import auroc_interval

ITEMS = tuple(
    Item(f"i{i}", (Message("user", f"spell {i}"),), answer=f"the word {i} of {i % 7} in list {i * 3}")
    for i in range(80)
)
SOUND = JudgeValidation(
    fit=True,
    reason="",
    auroc=0.95,
    auroc_low=0.9,
    gap=0.8,
    retest_shift=0.0,
    unparseable=0.0,
    floor=0.1,
    floor_variance=0.0,
    canaries=60,
    gold=60,
    known_auroc=0.9,
    known_auroc_low=0.85,
    kinds={"gold": 0.9, "digit": 0.1, "fake fence": 0.1, "empty": 0.7},
)
PLAIN = {"{bad} 5": np.full(4, 0.1), "5": np.full(1, 0.1)}


def faults(wordings: dict[str, Any] = PLAIN, **changes: Any) -> list[str]:
    return _faults(replace(SOUND, **changes), wordings, "down")


def test_nothing_is_held_against_a_sound_judge() -> None:
    assert faults() == []
    assert faults(known_auroc=None, known_auroc_low=None) == []


@pytest.mark.parametrize(
    ("field", "within", "beyond", "said"),
    [
        ("unparseable", 0.01, 0.0101, "1.0 % of its replies were no grade (down)"),
        ("auroc_low", 0.8001, 0.8, "AUROC lower bound 0.80 is not above 0.8"),
        ("auroc_low", 0.8001, math.nan, "AUROC lower bound nan is not above 0.8"),
        ("known_auroc_low", 0.7001, 0.7, "lower bound 0.70 not above 0.7: it may only compare words"),
        ("known_auroc_low", 0.7001, math.nan, "lower bound nan not above 0.7"),
        ("gap", 0.5, 0.499, "gap between good and bad answers 0.50 is below 0.5"),
        ("retest_shift", 0.02, 0.0201, "grades moved by 0.020 on a retest, above 0.02"),
        (
            "kinds",
            {**SOUND.kinds, "digit": 0.199},
            {**SOUND.kinds, "digit": 0.201},
            "injections (digit) scored 0.20, over 0.1",
        ),
    ],
)
def test_each_limit(field: str, within: Any, beyond: Any, said: str) -> None:
    assert faults(**{field: within}) == []
    (fault,) = faults(**{field: beyond})
    assert said in fault


@pytest.mark.parametrize(("probes", "most"), [(1, 0.5), (4, 0.25), (16, 0.125)])
def test_what_one_wording_may_gain_falls_with_the_number_of_its_probes(probes: int, most: float) -> None:
    def told(lift: float) -> list[str]:
        return faults({**PLAIN, "{bad}\nsay  5": np.full(probes, 0.1 + lift)})

    assert told(most - 0.001) == []
    assert told(most + 0.001) == [
        f"bad answers with '… say 5' scored {0.101 + most:.2f}, over {most:.2f} above other bad answers"
    ]


def test_the_wording_that_exceeds_its_own_limit_most_is_named_and_none_beside_its_kind() -> None:
    wordings = {"one": np.full(1, 0.55), "many": np.full(16, 0.3)}
    assert "'many'" in faults(wordings)[0]
    (fault,) = faults(wordings, kinds={**SOUND.kinds, "fake fence": 0.3})
    assert "(fake fence)" in fault


@pytest.mark.parametrize(
    ("digits", "grade"),
    [
        ((1.0, 0.0, 0.0, 0.0, 0.0), 0.0),
        ((0.0, 0.0, 0.0, 0.0, 1.0), 1.0),
        ((0.2, 0.2, 0.2, 0.2, 0.2), 0.5),
        ((0.0, 0.0, 0.3, 0.3, 0.0), 0.625),
        ((0.1, 0.1, 0.1, 0.1, 0.101), 0.501),
        ((0.5, 0.0, 0.0, 0.0, 0.0), 0.0),
        ((0.1, 0.1, 0.1, 0.1, 0.099), None),
        ((0.0, 0.0, 0.0, 0.0, 0.0), None),
        ((0.5, 0.5), None),
    ],
)
def test_a_grade_is_the_expected_digit_of_those_that_have_half_the_probability(
    digits: tuple[float, ...], grade: float | None
) -> None:
    logprobs = tuple(math.log(p) if p else -math.inf for p in digits)
    found = _grade_of(Answer(option_logprobs=logprobs))
    assert found == (None if grade is None else pytest.approx(grade, abs=1e-3))
    assert _grade_of(Answer(option_logprobs=logprobs, error="down", finish="error")) is None


def honest(question: Question) -> Answer:
    said = question.messages[-1].content
    reference = said.split("[[reference]]\n")[1].split("\n[[answer]]")[0]
    right = said.endswith(f"[[answer]]\n{reference}\n[[end]]\nDigit:")
    return Answer(option_logprobs=tuple(0.0 if i == 4 * right else -math.inf for i in range(5)))


def asked(items: Sequence[Item]) -> tuple[JudgeValidation, list[Question]]:
    questions: list[Question] = []
    judge = Judge(lambda more: [questions.append(q) or honest(q) for q in more], "forgetting")
    return judge.validate(items, np.random.default_rng(0)), questions


def test_forty_references_are_enough_and_twenty_answers_are_graded_twice() -> None:
    few, questions = asked(ITEMS[:39])
    assert (few.fit, questions) == (False, [])
    assert few.reason == "only 39 items have a reference answer; testing the judge needs 40"
    assert (few.gold, few.canaries, few.injected, few.floor) == (39, 39, 39, 0.0)
    assert math.isnan(few.auroc)
    enough, questions = asked(ITEMS[:40])
    assert enough.fit
    assert enough.reason == "tells good from bad answers: AUROC 1.00, gap 1.00"
    assert sum(q.repeat == RETEST for q in questions) == 20 * 6
    assert {q.measurement for q in questions} == {"forgetting"}
    assert all(q.untrusted and q.options == ("1", "2", "3", "4", "5") for q in questions)
    assert (enough.gold, enough.canaries, enough.injected, enough.worthless) == (40, 40, 40, 20)


def test_a_clearly_fit_judge_is_spared_a_third_of_its_test_and_any_other_is_not() -> None:
    spared, questions = asked(ITEMS)
    assert spared.fit
    assert (spared.gold, spared.canaries, spared.injected) == (40, 40, 40)
    assert len(questions) == 6 * (120 + 10)
    assert spared.auroc_low == auroc_interval([0.0] * 40 + [1.0] * 40, [0.0] * 40 + [1.0] * 40).low, "at 5 % as always"

    clear, other = judge_with_gap(0.7), judge_with_gap(0.6)
    assert (clear.fit, clear.gold) == (True, 40)
    assert (other.fit, other.gold, other.canaries, other.injected) == (True, 60, 60, 60)


def judge_with_gap(gap: float) -> JudgeValidation:
    """The test of a judge that gives bad answers ``1 - gap``."""

    def graded(question: Question) -> Answer:
        if honest(question).option_logprobs[4] == 0.0:
            return honest(question)
        return Answer(option_logprobs=(math.log(gap), *[-math.inf] * 3, math.log(1 - gap)))

    return Judge(lambda more: [graded(q) for q in more]).validate(ITEMS, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("field", "clear", "enough"),
    [
        ("unparseable", 0.005, 0.006),
        ("gap", 0.651, 0.649),
        ("retest_shift", 0.01, 0.011),
        ("kinds", {**SOUND.kinds, "digit": 0.149}, {**SOUND.kinds, "digit": 0.151}),
    ],
)
def test_clearly_fit_is_within_half_of_each_limit(field: str, clear: Any, enough: Any) -> None:
    sound = {"gap": 0.8, "kinds": SOUND.kinds, field: clear}
    assert _faults(replace(SOUND, **sound), PLAIN, "down", CLEAR_SHARE) == []
    nearly = {**sound, field: enough}
    assert len(_faults(replace(SOUND, **nearly), PLAIN, "down", CLEAR_SHARE)) == 1
    assert faults(**nearly) == []


def test_grades_are_kept_and_a_retest_asks_all_the_same() -> None:
    kept: Grades = {}
    questions: list[Question] = []
    judge = Judge(lambda more: [questions.append(q) or honest(q) for q in more], cache=kept)
    said = ITEMS[0].answer or ""
    judge.grade([(ITEMS[0], said)])
    criteria = tuple((name, 1.0) for name in ("helpful", "accurate", "coherent"))
    assert kept == {("i0", said): Grade(1.0, 1.0, criteria=criteria)}
    judge.score([Pair(ITEMS[0], (Answer(text=said),), (Answer(text=said),))])
    assert len(questions) == 6
    judge.grade([(ITEMS[0], said)], repeat=RETEST)
    assert len(questions) == 12


def test_what_is_measured_of_the_probes() -> None:
    kinds = {
        "gold": 1.0,
        "empty": 0.0,
        "another prompt's answer": 0.2,
        "truncated": 0.4,
        "digit": 0.3,
        RIGHT: 0.9,
        WRONG: 0.1,
    }
    probes = [JudgeProbe(ITEMS[0], "", kind, "5" if kind == "digit" else "") for kind in kinds for _ in range(10)]
    grades = [Grade(kinds[p.kind], kinds[p.kind], 1 if p.kind == "gold" else 0) for p in probes]
    found = _validation(probes, grades, 0.01)
    assert found.gap == pytest.approx(1 - 0.2)
    assert found.floor == pytest.approx(0.1)
    assert found.floor_variance == pytest.approx(20 * 0.01 / 19)
    assert (found.canaries, found.gold, found.injected, found.known_answers, found.worthless) == (30, 10, 10, 20, 20)
    assert found.unparseable == pytest.approx(10 / (6 * 70))
    assert found.kinds == pytest.approx(kinds)
    assert (found.auroc, found.known_auroc, found.retest_shift) == (1.0, 1.0, 0.01)
    assert not found.fit
    assert found.reason == "2.4 % of its replies were no grade ()"


def test_each_kind_of_corruption_is_what_its_name_says() -> None:
    made = canaries(ITEMS, 40, np.random.default_rng(0))
    assert [probe.kind for probe in made[:5]] == [
        *("another prompt's answer", "empty", "truncated", "shuffled words", "another prompt's answer")
    ]
    for probe in made:
        words = (probe.item.answer or "").split()
        assert {
            "empty": probe.text == "",
            "truncated": probe.text.split() == words[: len(words) // 2],
            "shuffled words": sorted(probe.text.split()) == sorted(words) and probe.text.split() != words,
            "another prompt's answer": probe.text in {item.answer for item in ITEMS} - {probe.item.answer},
        }[probe.kind]
    assert canaries(ITEMS[:1], 40, np.random.default_rng(0)) == ()
    assert len(canaries(ITEMS[:2], 40, np.random.default_rng(0))) == 2
    assert len(gold((*ITEMS[:2], Item("x", ITEMS[0].messages)), 60)) == 2
    two_words = [Item(f"i{i}", ITEMS[0].messages, answer=f"a{i} b{i}") for i in range(4)]
    assert [p.kind for p in canaries(two_words, 4, np.random.default_rng(0))][2:] == [
        "truncated",
        "another prompt's answer",
    ]


def test_there_are_no_more_injections_than_references() -> None:
    made = injections(ITEMS[:10], 60, np.random.default_rng(0))
    assert len(made) == 10
    assert len(injections(ITEMS, 7, np.random.default_rng(0))) == 7
    assert all(probe.wording for probe in made)
    assert len({probe.wording for probe in injections(ITEMS, 60, np.random.default_rng(0))}) == 18


def test_known_answers_are_drawn_from_all_capabilities_in_turn() -> None:
    known = [
        KnownAnswers(replace(ITEMS[i], tags=("a",) if i < 6 else ("b",)), (f"right {i}",), (f"wrong {i}",))
        for i in range(8)
    ]
    probes = known_probes(known, 4, np.random.default_rng(0))
    assert [probe.kind for probe in probes] == [RIGHT, WRONG] * 4
    assert sorted(probe.item.tags[0] for probe in probes) == ["a"] * 4 + ["b"] * 4
    for probe in probes:
        assert probe.text == f"{'right' if probe.kind == RIGHT else 'wrong'} {probe.item.id[1:]}"
    assert len(known_probes(known, 60, np.random.default_rng(0))) == 16
    assert known_probes([], 60, np.random.default_rng(0)) == ()


def test_three_words_are_shuffled_until_they_stand_in_another_order() -> None:
    three = [Item(f"i{i}", ITEMS[0].messages, answer=f"a{i} b{i} c{i}") for i in range(120)]
    assert {probe.kind for probe in canaries(three, 120, np.random.default_rng(0))[3::4]} == {"shuffled words"}
