"""The rules of the easy tier and of the other languages: right answers are taken, wrong and broken ones refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ftgate import suites
from ftgate.scoring.checks import check_problem, meets

FOLDER = Path(suites.__file__).parent
NAMES = ("general-easy-200", "general-800-multilingual")
MOST_OTHERS = 0.05
"""Largest share of the other rows' answers that may meet a row's check."""
LEAST_AGREEMENT = 0.95
"""Share of the known answers on which the rules must be right."""
MOST_TOLD = 0.7
"""Area under the ROC curve that the comparison with the reference must not reach: else a string match is a judge."""
BROKEN = {
    "nothing": "",
    "line breaks": "\n" * 4000,
    "blanks": " " * 4000,
    "one sign": "#" * 4000,
    "one word": "the " * 1000,
    "one sentence": "The answer to this question is the answer to this question. " * 80,
    "a refusal": "I'm sorry, but I can't help with that.",
    "no knowledge": "I don't know.",
    "both": "Yes and no.",
    "an empty promise": "Sure! Here is the answer:",
    "counting": " ".join(map(str, range(1, 200))),
    "digits": "0123456789" * 100,
    "the alphabet": " ".join("QWRTYUIOPASDFGHJKLZXCVBNM"),
}
"""What ruined models say instead of an answer; no row asks for any of it."""


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


ROWS = {name: read(f"{name}.jsonl") for name in NAMES}
CHECKED = {row["id"]: (name, row) for name in NAMES for row in ROWS[name] if "check" in row}
KNOWN = {row["id"]: row for name in NAMES for row in read(f"{name}-answers.jsonl")}
every_rule = pytest.mark.parametrize(("name", "row"), CHECKED.values(), ids=CHECKED.keys())


def known_answers(name: str) -> list[tuple[Mapping[str, Any], str, bool]]:
    """Row, text and whether it is right, for every known answer of the suite."""
    ids = [row["id"] for row in ROWS[name] if "check" in row]
    kinds = (("right", True), ("wrong", False))
    return [(CHECKED[i][1], text, right) for i in ids for kind, right in kinds for text in KNOWN[i][kind]]


@every_rule
def test_the_reference_meets_the_check_and_hardly_anything_else_does(name: str, row: dict[str, Any]) -> None:
    assert check_problem(row["check"]) is None
    assert meets(row["check"], row["answer"])
    others = [other["id"] for other in ROWS[name] if other is not row and meets(row["check"], other["answer"])]
    assert len(others) <= MOST_OTHERS * len(ROWS[name]), others


@every_rule
def test_repeating_the_prompt_meets_no_check(name: str, row: dict[str, Any]) -> None:
    said = [row["prompt"]] if "prompt" in row else [message["content"] for message in row["messages"]]
    texts = [*said, "\n\n".join(said)]
    texts += [f"{text}\n{text}" for text in texts]
    assert [text for text in texts if meets(row["check"], text)] == [], name


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN.keys())
def test_broken_answers_meet_no_check_and_none_takes_too_long(said: str) -> None:
    assert [number for number, (_, row) in CHECKED.items() if meets(row["check"], said)] == []


def test_every_check_has_two_right_answers_in_other_words_and_two_wrong_ones() -> None:
    assert list(KNOWN) == list(CHECKED)
    for number, known in KNOWN.items():
        assert set(known) == {"id", "right", "wrong"}
        texts = [*known["right"], *known["wrong"]]
        assert min(len(known["right"]), len(known["wrong"])) >= 2, number
        assert len({*texts, CHECKED[number][1]["answer"]}) == len(texts) + 1, number
        assert all(text and text == text.strip() for text in texts), number


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_rules_agree_with_the_known_answers_of_each_kind(name: str, right: bool) -> None:
    agree = [meets(row["check"], text) == right for row, text, kind in known_answers(name) if kind == right]
    assert np.mean(agree) >= LEAST_AGREEMENT


def test_no_rule_is_wrong_about_two_of_its_known_answers() -> None:
    wrong = [
        row["id"] for name in NAMES for row, text, right in known_answers(name) if meets(row["check"], text) != right
    ]
    assert len(set(wrong)) == len(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_likeness_to_the_reference_does_not_tell_right_from_wrong(name: str) -> None:
    known = known_answers(name)
    right = [kind for _, _, kind in known]
    same = [float(text.strip(' ."').casefold() == row["answer"].strip(' ."').casefold()) for row, text, _ in known]
    shared = [shared_words(text, row["answer"]) for row, text, _ in known]
    length = [len(text) / len(row["answer"]) for row, text, _ in known]
    for values in (same, shared, length):
        area = roc_auc_score(right, values)
        assert max(area, 1 - area) < MOST_TOLD


def shared_words(said: str, reference: str) -> float:
    """Jaccard similarity of the two sets of words."""
    one, other = set(said.casefold().split()), set(reference.casefold().split())
    return len(one & other) / len(one | other)
