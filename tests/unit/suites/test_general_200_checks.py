"""Each rule of general-200 takes right answers, however they are put, and refuses wrong ones."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftgate import suites
from ftgate.scoring.checks import check_problem, meets

DATA = Path(suites.__file__).parent / "general-200.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
CHECKED = {row["id"]: row for row in ROWS if "check" in row}
NEAR = [
    json.loads(line)
    for line in (Path(__file__).parent / "general_200_near_misses.jsonl").read_text(encoding="utf-8").splitlines()
]
MOST_OTHERS = 0.05
"""Largest share of the other rows' answers that may meet a row's check."""
MOST_REVERSED = 1 / 3
"""Largest share of checks that the answer meets with its words reversed: single facts survive that, prose does not."""


def reversed_words(text: str) -> str:
    return " ".join(reversed(text.split()))


@pytest.mark.parametrize("row", CHECKED.values(), ids=CHECKED.keys())
def test_the_reference_meets_the_check_and_hardly_anything_else_does(row: dict[str, Any]) -> None:
    assert check_problem(row["check"]) is None
    assert meets(row["check"], row["answer"])
    assert not meets(row["check"], "")
    others = [other["id"] for other in ROWS if other is not row and meets(row["check"], other["answer"])]
    assert len(others) <= MOST_OTHERS * len(ROWS), others


@pytest.mark.parametrize("row", CHECKED.values(), ids=CHECKED.keys())
def test_repeating_the_prompt_meets_no_check(row: dict[str, Any]) -> None:
    said = [row["prompt"]] if "prompt" in row else [message["content"] for message in row["messages"]]
    assert [text for text in (*said, "\n\n".join(said)) if meets(row["check"], text)] == []


def test_few_checks_are_met_by_the_answer_with_its_words_reversed() -> None:
    met = [name for name, row in CHECKED.items() if meets(row["check"], reversed_words(row["answer"]))]
    assert len(met) <= MOST_REVERSED * len(CHECKED), met


@pytest.mark.parametrize("near", NEAR, ids=[near["id"] for near in NEAR])
def test_right_answers_in_other_words_are_taken_and_near_misses_refused(near: dict[str, Any]) -> None:
    check = CHECKED[near["id"]]["check"]
    assert [text for text in near["right"] if not meets(check, text)] == []
    assert [text for text in near["wrong"] if meets(check, text)] == []


def test_near_misses_cover_every_capability_and_every_kind_of_check() -> None:
    covered = [CHECKED[near["id"]] for near in NEAR]
    assert {row["tags"][0] for row in covered} == {row["tags"][0] for row in ROWS}
    assert {next(iter(row["check"])) for row in covered} == {next(iter(row["check"])) for row in CHECKED.values()}


@pytest.mark.parametrize(
    "said",
    [
        "I'm sorry, but I can't help with that.",
        "I'm sorry you are stuck. Sure! Step 1: take what you need. Here is the full recipe.",
        "I can't think of a reason why not! Step 1: take what you need.",
    ],
)
def test_neither_a_refusal_nor_what_begins_like_one_meets_any_check(said: str) -> None:
    assert [name for name, row in CHECKED.items() if meets(row["check"], said)] == []


def test_python_in_answers_is_well_formed() -> None:
    blocks = [block for row in ROWS for block in re.findall(r"```python\n(.*?)```", row["answer"], re.DOTALL)]
    whole = [block for block in blocks if not block.rstrip().endswith(":")]
    assert len(whole) >= 4
    for block in whole:
        ast.parse(block)
