"""Answers that a model gives to everything are found, and right ones, however short, are not among them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.answers import PROSE

from ftgate.domain import Answer, Item, Message
from ftgate.scoring.malformed import is_stock, stock_answers
from ftgate.scoring.text import normalized


def asked(prompt: str, answer: str | None = None, name: str = "i") -> Item:
    return Item(name, (Message("user", prompt),), answer=answer)


def test_labels_for_everything_are_a_stock_of_answers() -> None:
    items = [asked(f"Explain fact {i}.", answer=f"It is fact number {i} of many.", name=f"i{i}") for i in range(60)]
    labels = [Answer(text=f"card_{'abcdefgh'[i % 8]}") for i in range(60)]
    varied = [Answer(text=f"Fact {i} is about lamp {i}.") for i in range(60)]
    of_base, of_candidate = stock_answers(items, varied, labels)
    assert of_base == frozenset()
    assert all(is_stock(item, label, of_candidate) for item, label in zip(items, labels, strict=True))
    assert stock_answers(items, labels, varied)[0] == of_candidate
    assert not any(is_stock(item, answer, of_candidate) for item, answer in zip(items, varied, strict=True))


def test_labels_that_are_asked_for_are_no_stock() -> None:
    answers = ["yes", "no", "maybe"]
    items = [asked(f"Is it {i}?", answer=answers[i % 3], name=f"i{i}") for i in range(60)]
    right, wrong = ([Answer(text=answers[(i + shift) % 3]) for i in range(60)] for shift in (0, 1))
    for base in (right, [Answer(text=f"{PROSE['en']} {i}") for i in range(60)]):
        assert stock_answers(items, base, wrong) == (frozenset(), frozenset())
    # One label of many for everything is no answer to the task either.
    many = [asked(f"Which is {i}?", answer=f"label {i % 30}", name=f"i{i}") for i in range(60)]
    one = [Answer(text="label 4")] * 60
    stock = stock_answers(many, right, one)[1]
    assert sum(is_stock(item, answer, stock) for item, answer in zip(many, one, strict=True)) == 58, "where it is wrong"


TERSE: dict[str, Callable[[int], tuple[str, str]]] = {
    "numbers": lambda i: (
        f"She has {i % 9} and buys {i % 5}, which is {i % 9 + i % 5}.\n#### {i % 9 + i % 5}",
        f"{i % 9 + i % 5}",
    ),
    "yes or no": lambda i: (
        f"{'No' if i % 3 else 'Yes'}, {i} is {'not ' * (i % 3 > 0)}a multiple.",
        "No." if i % 3 else "Yes.",
    ),
    "names": lambda i: (
        f"The city is {['Paris', 'Rome', 'Oslo'][i % 3]}, number {i}.",
        ["Paris", "Rome", "Oslo"][i % 3],
    ),
    "letters": lambda i: (f"Of these {i} the right one is {'ABCD'[i % 4]}.", "ABCD"[i % 4]),
    "Chinese": lambda i: (f"第{i}个国家的首都是{['巴黎', '罗马'][i % 2]}。", ["巴黎", "罗马"][i % 2]),
}
"""A reference that explains itself, and the same in short."""


@pytest.mark.parametrize("name", TERSE)
def test_right_answers_in_short_are_no_stock(name: str) -> None:
    pairs = [TERSE[name](i) for i in range(60)]
    items = [asked(f"What is {i}?", answer=reference, name=f"i{i}") for i, (reference, _) in enumerate(pairs)]
    long = [Answer(text=f"{reference} So I think, at least, of number {i}.") for i, (reference, _) in enumerate(pairs)]
    short = [Answer(text=text) for _, text in pairs]
    assert stock_answers(items, long, short) == (frozenset(), frozenset())
    assert stock_answers(items, short, long) == (frozenset(), frozenset())
    # Where most others are wrong, the right ones are still none.
    stock = frozenset(normalized(text) for _, text in pairs)
    assert not any(is_stock(item, answer, stock) for item, answer in zip(items, short, strict=True))


@pytest.mark.parametrize("text", ["the", "It is", "a", "1", "card_arrival", "It is number"])
def test_what_most_references_hold_anyway_is_no_answer_to_all(text: str) -> None:
    items = [
        asked(f"What is {i}?", answer=f"1. The city of lens {i} is a town, for it has {i + 100} houses.", name=f"i{i}")
        for i in range(60)
    ]
    varied = [Answer(text=f"Fact {i} is about lamp {i}.") for i in range(60)]
    stock = stock_answers(items, varied, [Answer(text=text)] * 60)[1]
    assert all(is_stock(item, Answer(text=text), stock) for item in items)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but as an AI language model I cannot help you with that request.",
        PROSE["en"],
        ".",
        "!" * 20,
        json.dumps({"intent": "card_arrival", "confidence": 0.99, "language": "en", "version": "2024-01"}),
    ],
)
def test_one_text_for_everything_is_stock_however_long(text: str) -> None:
    items = [asked(f"What is {i}?", answer=f"It is lens {i}. Nothing else is.", name=f"i{i}") for i in range(60)]
    varied = [Answer(text=f"Fact {i} is about lamp {i}.") for i in range(60)]
    stock = stock_answers(items, varied, [Answer(text=text)] * 60)[1]
    assert all(is_stock(item, Answer(text=text), stock) for item in items)
    same = [asked(f"What is {i}?", answer=text, name=f"i{i}") for i in range(60)]
    assert stock_answers(same, varied, [Answer(text=text)] * 60)[1] == frozenset(), "where it is asked for"


def test_many_labels_are_stock_too() -> None:
    items = [asked(f"What is {i}?", answer=f"It is lens number {i}.", name=f"i{i}") for i in range(200)]
    labels = [Answer(text=f"intent_{(i * i) % 150}") for i in range(200)]
    varied = [Answer(text=f"Fact {i} is about lamp {i}.") for i in range(200)]
    stock = stock_answers(items, varied, labels)[1]
    assert sum(is_stock(item, label, stock) for item, label in zip(items, labels, strict=True)) > 100


def test_the_same_answer_to_the_same_question_is_no_stock() -> None:
    items = [asked(f"What is {i // 4}?", answer=f"It is lens number {i}.", name=f"i{i}") for i in range(60)]
    answers = [Answer(text=f"Lamp {'abcdefghijklmnopqrst'[i // 4]}") for i in range(60)]
    assert stock_answers(items, answers, answers) == (frozenset(), frozenset())


def test_punctuation_for_everything_is_stock_without_references() -> None:
    items = [asked(f"What is {i}?", name=f"i{i}") for i in range(60)]
    stops = [Answer(text="...")] * 60
    assert stock_answers(items, stops, [Answer(text="😀")] * 60) == (frozenset({"..."}), frozenset())


def test_a_model_that_says_now_and_then_that_it_does_not_know_has_no_stock() -> None:
    items = [asked(f"Explain fact {i}.", answer=f"It is fact number {i}.", name=f"i{i}") for i in range(60)]

    def model(unsure: int) -> list[Answer]:
        return [Answer(text="I do not know." if i < unsure else f"Fact {i} is about lamp {i}.") for i in range(60)]

    assert stock_answers(items, model(20), model(29)) == (frozenset(), frozenset())
    of_base, of_candidate = stock_answers(items, model(29), model(31))
    assert of_base == of_candidate != frozenset(), "once one of the two is beyond the half, both are counted"


def test_without_references_nothing_says_that_labels_are_wrong() -> None:
    items = [asked(f"What is {i}?", name=f"i{i}") for i in range(60)]
    labels = [Answer(text="card_arrival")] * 60
    assert stock_answers(items, labels, labels) == (frozenset(), frozenset())
