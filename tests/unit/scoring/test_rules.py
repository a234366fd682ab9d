"""Scores that need no judge, and the multiple-choice prompt."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.domain import Answer, Item, Message, Pair
from ftgate.scoring.choice import choice_messages, letters_for, rotated
from ftgate.scoring.rules import check, choice, contains, exact, numeric, score_pairs


def item(answer: str, choices: tuple[str, ...] = ()) -> Item:
    return Item("i", (Message("user", "question"),), choices, answer)


@pytest.mark.parametrize(
    ("said", "wanted", "equal", "inside"),
    [
        ("Paris", "paris", 1, 1),
        (" Paris. ", "Paris", 1, 1),
        ("It is Paris, of course", "Paris", 0, 1),
        ("Parisian", "Paris", 0, 0),
        ("1 2  3", "1 2 3", 1, 1),
        ("123", "12", 0, 0),
        ("", "Paris", 0, 0),
        ("STRASSE", "straße", 1, 1),
        ("a+b", "a+b", 1, 1),
        ("?", "?", 1, 1),
        ("", "?", 0, 0),
        ("Really?", "?", 0, 1),
        ("Really.", "?", 0, 0),
        ("２４", "24", 1, 1),
        ("法国的首都是巴黎。", "巴黎", 0, 1),
        ("「巴黎」。", "巴黎", 1, 1),
        ("答えはParisです", "Paris", 0, 1),
        ("共有5 个", "5个", 0, 1),
        ("共有15个", "5", 0, 0),
        ("是-5", "5", 0, 0),
        ("红\n狐狸", "红狐狸", 1, 1),
        ("เมืองหลวงคือกรุงเทพมหานคร", "กรุงเทพ", 0, 1),
        ("រាជធានីភ្នំពេញ។", "ភ្នំពេញ", 0, 1),
        ("ນະຄອນຫຼວງວຽງຈັນ", "ວຽງຈັນ", 0, 1),
        ("정답은 파리입니다.", "파리", 0, 1),
        ("대한민국", "민국", 0, 0),
        ("```python\nprint(1)\nx\n```", "print(1)\nx", 1, 1),
        ("$O(n)$", "O(n)", 1, 1),
        ("I use C++.", "C", 0, 0),
        ("in C#", "C", 0, 0),
        ("in C", "C", 0, 1),
        ("istanbul", "İstanbul", 1, 1),
        ("\u200fشلوم\u200f", "شلوم", 1, 1),
        ("−5", "-5", 1, 1),
        ("It is –5", "-5", 0, 1),
        ("3–5", "-5", 0, 0),
    ],
)
def test_exact_and_contains(said: str, wanted: str, equal: int, inside: int) -> None:
    answer = Answer(text=said)
    assert exact(item(wanted), answer) == equal
    assert contains(item(wanted), answer) == inside


def test_choice_takes_the_likeliest_letter() -> None:
    question = item("no", ("yes", "no"))
    assert choice(question, Answer(option_logprobs=(-2.0, -1.0))) == 1
    assert choice(question, Answer(option_logprobs=(-1.0, -2.0))) == 0


def test_a_tie_between_options_is_no_right_answer() -> None:
    assert choice(item("no", ("yes", "no")), Answer(option_logprobs=(-1.0, -1.0))) == 0


def test_failures_are_bounded_and_counted_never_scored() -> None:
    pairs = [
        Pair(item("a"), (Answer(text="a"),), (Answer(finish="error", error="too long"),)),
        Pair(item("a"), (Answer(text="a"),), (Answer(text="b"),)),
    ]
    scored = score_pairs(lambda _: "exact", pairs)
    assert scored.unreadable == 1
    assert scored.candidate_low.tolist() == [0, 0]
    assert scored.candidate_high.tolist() == [1, 0]
    assert scored.base.tolist() == [1, 1]


def test_a_letter_without_a_number_is_a_failure() -> None:
    question = item("no", ("yes", "no"))
    broken = Answer(option_logprobs=(math.nan, -1.0))
    assert score_pairs(lambda _: "choice", [Pair(question, (broken,), (broken,))]).unreadable == 2


@given(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=8, unique=True).map(tuple), st.integers(0, 20))
def test_rotation_keeps_every_choice_and_undoes_itself(choices: tuple[str, ...], by: int) -> None:
    turned = rotated(choices, by)
    assert sorted(turned) == sorted(choices)
    assert all(turned[j] == choices[(j + by) % len(choices)] for j in range(len(choices)))


def test_the_prompt_lists_one_option_a_line() -> None:
    question = item("no", ("yes", "no"))
    assert letters_for(question) == ("A", "B")
    assert choice_messages(question, 1)[-1].content == "question\nA. no\nB. yes\nReply with one letter."


def test_from_the_27th_option_on_letters_are_small() -> None:
    question = item("0", tuple(f"intent {i}" for i in range(52)))
    assert letters_for(question)[24:28] == ("Y", "Z", "a", "b")
    lines = choice_messages(question)[-1].content.splitlines()
    assert (lines[26], lines[27], lines[52]) == ("Z. intent 25", "a. intent 26", "z. intent 51")


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_cut_answer_has_no_last_number(finish: str) -> None:
    whole = finish == "stop"
    answer = Answer(text="First 6 times 7 is 42", finish=finish)
    by_reference = Item("i", (Message("user", "q"),), answer="42")
    by_check = Item("i", (Message("user", "q"),), check={"numeric": 42})
    assert numeric(by_reference, answer) == check(by_check, answer) == float(whole)
    assert contains(Item("i", (Message("user", "q"),), answer="42"), answer) == 1, "what it holds it holds"
    assert check(Item("i", (Message("user", "q"),), check={"contains": "42"}), answer) == 1
