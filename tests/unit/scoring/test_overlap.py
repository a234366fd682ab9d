"""Token F1 and ROUGE-L, against their reference implementations and in any script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.domain import Answer, Item, Message, Pair
from ftgate.scoring.overlap import rouge_l, token_f1
from ftgate.scoring.rules import score_pairs


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    # The last column was computed with rouge-score 0.1.2, RougeScorer(["rougeL"], use_stemmer=False).
    [
        ("the cat sat on the mat", "the cat lay on a mat", 0.666667),
        ("It's 12 o'clock, sir.", "12 o'clock it is", 0.545455),
        ("a b c d e", "e d c b a", 0.2),
        ("same", "same", 1.0),
        ("", "x", 0),
        ("x", "y", 0.0),
        (
            "The quick brown fox jumps over the lazy dog",
            "A quick brown dog jumps over the lazy fox, quickly",
            0.631579,
        ),
        ("snake_case and U.S.", "u s case and snake", 0.4),
    ],
)
def test_rouge_is_that_of_rouge_score(reference: str, answer: str, score: float) -> None:
    assert rouge_l(reference, answer) == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    # As SQuAD's evaluate-v1.1.py computes them.
    [
        ("the Norman dynasty", "Norman dynasty of the north", 2 * 1 * 0.5 / 1.5),
        ("Denver Broncos", "The Broncos!", 2 / 3),
        ("1,250", "1250", 1.0),
        ("A", "Paris", 0.0),
        ("the", "an", 1.0),
        ("to be or not to be", "be or be", 2 * 3 / 9),
        ("don't", "“dont”", 1.0),
    ],
)
def test_f1_is_that_of_squad(reference: str, answer: str, score: float) -> None:
    assert token_f1(reference, answer) == pytest.approx(score)


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("-5", "5", 0),
        ("-5", "−5.", 1),
        ("1/2", "12", 0),
        ("3.14", "314", 0),
        ("3.14", "(3.14)", 1),
        (".5", "5", 0),
        ("2:30", "230", 0),
        ("3-5", "3–5", 1),
        ("3-5", "35", 0),
        ("1,000 km.", "1000 km", 1),
        ("U.S.", "US", 1),
        ("well-known", "wellknown", 1),
        ("أَحمد", "احمد", 1),
    ],
)
def test_a_wrong_number_shares_nothing_in_f1(reference: str, answer: str, score: float) -> None:
    assert token_f1(reference, answer) == score


def test_letters_are_words_where_scripts_have_no_spaces() -> None:
    assert token_f1("北京大学", "北京的大学") == pytest.approx(8 / 9)
    assert rouge_l("北京大学", "大学北京") == pytest.approx(0.5)
    assert rouge_l("кошка спит", "Кошка спит.") == 1.0, "rouge-score has no words in Cyrillic"


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_have_a_score_and_equal_ones_the_highest(one: str, other: str) -> None:
    for score in (token_f1, rouge_l):
        assert 0 <= score(one, other) <= 1
        assert score(one, other) == pytest.approx(score(other, one))
        assert score(one, one) in (0, 1)
    assert token_f1(one, one) == 1


def naive(one: list[str], other: list[str]) -> int:
    row = [0] * (len(other) + 1)
    for a in one:
        last = row
        row = [0]
        for j, b in enumerate(other):
            row.append(last[j] + 1 if a == b else max(last[j + 1], row[j]))
    return row[-1]


WORDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=12)


@given(WORDS, WORDS)
def test_the_common_subsequence_is_the_longest(one: list[str], other: list[str]) -> None:
    expected = 2 * naive(one, other) / (len(one) + len(other))
    assert rouge_l(" ".join(one), " ".join(other)) == pytest.approx(expected)


def test_graded_rules_are_compared_as_grades() -> None:
    item = Item("i", (Message("user", "q"),), answer="the red fox")
    pair = Pair(item, (Answer("red fox"),), (Answer("a red hen"),))
    f1 = score_pairs(lambda _: "f1", [pair])
    assert (f1.base[0], f1.candidate[0], f1.binary) == (1.0, 0.5, False)
    assert score_pairs(lambda _: "rouge", [pair]).candidate[0] == pytest.approx(1 / 3)
    assert score_pairs(lambda _: "contains", [pair]).binary
