"""What the part of general-800 in other languages promises: eight languages, mixed tasks, no English in them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from unit.suites.test_general_200 import MOST_ALIKE, prompt, sketch

from ftgate import suites
from ftgate.datasets import Needs, read_suite
from ftgate.measurements.slices import LEAST_SLICE

DATA = Path(suites.__file__).parent / "general-800-multilingual.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
LANGUAGES = {
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "pt": "portuguese",
    "nl": "dutch",
    "zh": "chinese",
    "ja": "japanese",
}
SCRIPTS = {"zh": r"[\u4e00-\u9fff]", "ja": r"[\u3040-\u30ff]"}
ENGLISH = re.compile(r"\b(?:the|what|which|with|and|answer|write|sentence|please)\b", re.IGNORECASE)
ENGLISH_ON_PURPOSE = {"es-04", "nl-05"}
"""Rows that translate from English."""


def described(row: dict[str, Any], name: str) -> str:
    """What a tag such as ``difficulty:hard`` says of the row."""
    (value,) = [tag.partition(":")[2] for tag in row["tags"] if tag.startswith(f"{name}:")]
    return str(value)


def test_it_is_a_suite_that_ftgate_reads() -> None:
    assert len(read_suite("languages", DATA, needs=Needs(answer=True, check=True)).items) == 60


def test_there_are_eight_languages_about_equally_often() -> None:
    counts = Counter(described(row, "language") for row in ROWS)
    assert set(counts) == set(LANGUAGES)
    assert set(counts.values()) <= {7, 8}


def test_ids_count_up_within_their_language() -> None:
    expected: list[str] = []
    for code, count in Counter(described(row, "language") for row in ROWS).items():
        expected += [f"multilingual-{code}-{number:02d}" for number in range(1, count + 1)]
    assert [row["id"] for row in ROWS] == expected


def test_every_language_is_a_slice_of_its_own_that_is_large_enough_to_be_tested() -> None:
    for row in ROWS:
        plain = [tag for tag in row["tags"] if ":" not in tag]
        assert plain == ["multilingual", LANGUAGES[described(row, "language")]], row["id"]
    assert min(Counter(row["tags"][1] for row in ROWS).values()) >= LEAST_SLICE


def test_difficulties_and_capabilities_are_mixed() -> None:
    for code in LANGUAGES:
        group = [row for row in ROWS if described(row, "language") == code]
        assert {described(row, "difficulty") for row in group} == {"easy", "medium", "hard"}
        assert len({described(row, "capability") for row in group}) >= 4, code


@pytest.mark.parametrize("code", SCRIPTS)
def test_chinese_and_japanese_are_written_in_their_script(code: str) -> None:
    for row in (row for row in ROWS if described(row, "language") == code):
        assert re.search(SCRIPTS[code], prompt(row)), row["id"]


def test_prompts_and_answers_are_not_in_english() -> None:
    found = {row["id"] for row in ROWS if ENGLISH.search(f"{prompt(row)}\n{row['answer']}")}
    assert found <= {f"multilingual-{name}" for name in ENGLISH_ON_PURPOSE}


def test_no_two_prompts_are_nearly_the_same() -> None:
    sketches = [(row["id"], sketch(prompt(row))) for row in ROWS]
    pairs = [(a, b) for at, a in enumerate(sketches) for b in sketches[:at]]
    assert [(first, second) for (first, a), (second, b) in pairs if a.jaccard(b) > MOST_ALIKE] == []


def test_no_answer_is_the_answer_of_another_row_or_has_blanks_around_it() -> None:
    answers = [row["answer"] for row in ROWS]
    assert len(set(answers)) == len(answers)
    assert all(text and text == text.strip() for text in answers)
