"""Answers that are known to be right or wrong: the rules tell them apart, and likeness to the reference does not."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from support.players import rouge_l

from ftgate import suites
from ftgate.datasets.builtin import builtin_suites
from ftgate.scoring.checks import meets
from ftgate.scoring.text import normalized

FOLDER = Path(suites.__file__).parent
CARD = (FOLDER / "general-200.md").read_text(encoding="utf-8")


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


ROWS = {row["id"]: row for row in read("general-200.jsonl")}
KNOWN = {row["id"]: row for row in read("general-200-answers.jsonl")}
CHECKED = [name for name, row in ROWS.items() if "check" in row]
ANSWERS = [(name, text, kind) for name, known in KNOWN.items() for kind in ("right", "wrong") for text in known[kind]]
RIGHT = np.array([kind == "right" for _, _, kind in ANSWERS])
LEAST_AGREEMENT = 0.95
"""Share of the known answers on which the rules must be right."""
MOST_TOLD = 0.8
"""Area under the ROC curve that a measure of form must not reach, in either direction."""


def told_apart(values: list[float]) -> float:
    """How well a measure tells right answers from wrong ones, whichever direction does it better: from 1/2 to 1."""
    area = float(roc_auc_score(RIGHT, values))
    return max(area, 1 - area)


def test_every_row_has_known_answers_three_of_each_kind_where_it_has_a_check() -> None:
    assert list(KNOWN) == list(ROWS)
    for name, known in KNOWN.items():
        assert set(known) == {"id", "right", "wrong"}
        least = 3 if "check" in ROWS[name] else 2
        assert min(len(known["right"]), len(known["wrong"])) >= least, name


def test_no_answer_occurs_twice_in_its_row_or_has_blanks_around_it() -> None:
    for name, known in KNOWN.items():
        texts = [*known["right"], *known["wrong"]]
        assert len(set(texts)) == len(texts), name
        assert all(text and text == text.strip() for text in texts), name


def test_most_right_answers_are_in_other_words_than_the_reference() -> None:
    same = [normalized(text) == normalized(ROWS[name]["answer"]) for name, text, kind in ANSWERS if kind == "right"]
    assert np.mean(same) < 0.1
    assert not [name for name, text, kind in ANSWERS if kind == "wrong" and text == ROWS[name]["answer"]]


def test_rules_agree_with_the_known_answers() -> None:
    agree = {
        (name, text): meets(ROWS[name]["check"], text) == (kind == "right")
        for name, text, kind in ANSWERS
        if name in CHECKED
    }
    assert len(agree) >= 6 * len(CHECKED)
    assert np.mean(list(agree.values())) >= LEAST_AGREEMENT
    often_wrong = Counter(name for (name, _), agrees in agree.items() if not agrees)
    assert [name for name, count in often_wrong.items() if count > 1] == []


@pytest.mark.parametrize("kind", ["right", "wrong"])
def test_rules_agree_with_the_known_answers_of_each_kind(kind: str) -> None:
    met = [meets(ROWS[name]["check"], text) for name, text, of in ANSWERS if of == kind and name in CHECKED]
    assert np.mean([value == (kind == "right") for value in met]) >= LEAST_AGREEMENT


def test_likeness_to_the_reference_does_not_tell_right_from_wrong() -> None:
    assert (
        told_apart([float(normalized(text) == normalized(ROWS[name]["answer"])) for name, text, _ in ANSWERS])
        < MOST_TOLD
    )
    likeness = [rouge_l(text, ROWS[name]["answer"]) for name, text, _ in ANSWERS]
    assert told_apart(likeness) < MOST_TOLD
    assert f"ROC curve of ROUGE-L: {roc_auc_score(RIGHT, likeness):.2f}" in CARD


def test_length_and_markup_do_not_tell_right_from_wrong() -> None:
    assert told_apart([len(text) / len(ROWS[name]["answer"]) for name, text, _ in ANSWERS]) < MOST_TOLD
    assert told_apart([float(len(re.findall(r"[*#$`|\\]", text))) for _, text, _ in ANSWERS]) < MOST_TOLD


def test_a_script_that_compares_strings_is_seen_where_right_answers_are_the_reference() -> None:
    likeness = [1.0 if kind == "right" else rouge_l(text, ROWS[name]["answer"]) for name, text, kind in ANSWERS]
    assert told_apart(likeness) > MOST_TOLD


def test_rouge_l_is_what_its_paper_says() -> None:
    assert rouge_l("police killed the gunman", "police kill the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police kill the gunman") == pytest.approx(0.5)


def test_known_answers_are_no_suite() -> None:
    assert "builtin:general-200" in builtin_suites()
    assert not [name for name in builtin_suites() if name.endswith("-answers")]


def test_the_card_counts_the_known_answers() -> None:
    right = sum(len(known["right"]) for known in KNOWN.values())
    wrong = sum(len(known["wrong"]) for known in KNOWN.values())
    assert f"{right} right and {wrong} wrong answers" in CARD
