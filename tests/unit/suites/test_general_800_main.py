"""The promises of the main part of general-800: how many prompts, of what kind, and what their rules see."""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from unit.suites.test_general_200 import MOST_ALIKE, capability, prompt, sketch
from unit.suites.test_general_200 import ROWS as GENERAL_200

from ftgate import suites
from ftgate.datasets import Needs, read_suite
from ftgate.scoring.checks import check_problem, meets

FOLDER = Path(suites.__file__).parent
DATA = FOLDER / "general-800-main.jsonl"
CARD = (FOLDER / "general-800.md").read_text(encoding="utf-8")
FIELDS = {"id", "prompt", "messages", "answer", "tags", "check"}
LEVELS = ("easy", "medium", "hard")
LONG = "long_context"
LEAST_AGREEMENT = 0.95
MOST_OTHERS = 0.05
"""Largest share of the other rows' answers that may meet a row's check."""
MOST_REVERSED = 1 / 3
"""Largest share of checks that the answer meets with its words reversed: single facts survive that, prose does not."""
MOST_LIKE_A_STRING = 0.35
"""How well a comparison of words with the reference may tell right from wrong (AUROC; 0.5 is by chance)."""
PROGRAMS = ["code-15", "code-20", "code-26", "code-29", "code-31", "code-33", "long_context-10"]
"""Rows whose prompt holds a whole Python program and whose answer holds what it prints."""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


ROWS = lines(DATA)
CHECKED = {row["id"]: row for row in ROWS if "check" in row}
ANSWERS = lines(FOLDER / "general-800-main-answers.jsonl")


def level(row: dict[str, Any]) -> str:
    return row["tags"][1].removeprefix("difficulty:")


def card_table(heading: str) -> list[list[str]]:
    """The body rows of the card's table whose first column has this heading."""
    found = re.search(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", CARD, re.MULTILINE)
    assert found, heading
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first.casefold().split(), second.casefold().split()).ratio()


def test_it_is_a_suite_that_ftgate_reads() -> None:
    suite = read_suite("general", DATA, needs=Needs(answer=True))
    assert len(suite.items) == 340
    assert all(item.messages[-1].role == "user" for item in suite.items)


def test_every_row_has_the_same_fields_as_in_general_200() -> None:
    for row in ROWS:
        assert set(row) <= FIELDS, row["id"]
        assert {"id", "answer", "tags"} <= set(row), row["id"]
        assert ("prompt" in row) != ("messages" in row), row["id"]


def test_ids_continue_those_of_general_200() -> None:
    counts = Counter(capability(row) for row in GENERAL_200)
    expected = []
    for name, more in Counter(capability(row) for row in ROWS).items():
        expected += [f"{name}-{number:02d}" for number in range(counts[name] + 1, counts[name] + more + 1)]
    assert [row["id"] for row in ROWS] == expected
    assert not {row["id"] for row in ROWS} & {row["id"] for row in GENERAL_200}


def test_tags_are_a_capability_and_a_difficulty() -> None:
    known = {capability(row) for row in GENERAL_200} | {LONG}
    for row in ROWS:
        assert len(row["tags"]) == 2, row["id"]
        assert capability(row) in known, row["id"]
        assert row["tags"][1] in {f"difficulty:{name}" for name in LEVELS}, row["id"]


def test_every_capability_grows_alike_and_is_mostly_of_medium_difficulty() -> None:
    for name in {capability(row) for row in ROWS} - {LONG}:
        group = [level(row) for row in ROWS if capability(row) == name]
        assert 20 <= len(group) <= 21, name
        assert (group.count("easy"), group.count("hard")) == (5, 5), name


def test_thirty_prompts_are_longer_than_four_thousand_characters() -> None:
    long = [row for row in ROWS if capability(row) == LONG]
    assert len(long) == 30
    assert min(len(prompt(row)) for row in long) > 4000


def test_no_two_prompts_are_nearly_the_same() -> None:
    old = [(row["id"], sketch(prompt(row))) for row in GENERAL_200]
    new = [(row["id"], sketch(prompt(row))) for row in ROWS]
    alike = [
        (name, other)
        for at, (name, mine) in enumerate(new)
        for other, its in [*old, *new[:at]]
        if mine.jaccard(its) > MOST_ALIKE
    ]
    assert not alike


def test_no_answer_is_empty_or_the_answer_of_another_row() -> None:
    answers = Counter(" ".join(row["answer"].casefold().split()) for row in [*GENERAL_200, *ROWS])
    assert "" not in answers
    assert max(answers.values()) == 1


def test_conversations_alternate_and_several_have_a_system_prompt() -> None:
    conversations = [[turn["role"] for turn in row["messages"]] for row in ROWS if "messages" in row]
    assert sum(roles[0] == "system" for roles in conversations) >= 8
    for roles in conversations:
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"]


def test_no_text_has_blanks_around_it_or_characters_that_do_not_show() -> None:
    for row in ROWS:
        said = [row["prompt"]] if "prompt" in row else [turn["content"] for turn in row["messages"]]
        for text in [*said, row["answer"]]:
            assert text == text.strip(), row["id"]
            assert all(character.isprintable() or character == "\n" for character in text), row["id"]


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
    assert [text[:80] for text in (*said, "\n\n".join(said)) if meets(row["check"], text)] == []


def test_few_checks_are_met_by_the_answer_with_its_words_reversed() -> None:
    met = [name for name, row in CHECKED.items() if meets(row["check"], " ".join(reversed(row["answer"].split())))]
    assert len(met) <= MOST_REVERSED * len(CHECKED), met


def test_every_check_comes_with_right_answers_in_other_words_and_subtly_wrong_ones() -> None:
    assert [entry["id"] for entry in ANSWERS] == list(CHECKED)
    for entry in ANSWERS:
        said = [*entry["right"], *entry["wrong"], CHECKED[entry["id"]]["answer"]]
        assert set(entry) == {"id", "right", "wrong"}, entry["id"]
        assert min(len(entry["right"]), len(entry["wrong"])) >= 2, entry["id"]
        assert len(set(said)) == len(said), entry["id"]


def test_the_rules_agree_with_the_answers() -> None:
    wrongly = [
        (entry["id"], text)
        for entry in ANSWERS
        for kind in ("right", "wrong")
        for text in entry[kind]
        if meets(CHECKED[entry["id"]]["check"], text) != (kind == "right")
    ]
    said = sum(len(entry["right"]) + len(entry["wrong"]) for entry in ANSWERS)
    assert len(wrongly) <= (1 - LEAST_AGREEMENT) * said, wrongly


def test_a_comparison_of_words_with_the_reference_takes_the_wrong_answers_for_the_better_ones() -> None:
    likes: dict[str, list[float]] = {"right": [], "wrong": []}
    for entry in ANSWERS:
        for kind, found in likes.items():
            found += [likeness(CHECKED[entry["id"]]["answer"], text) for text in entry[kind]]
    above = sum((right > wrong) + (right == wrong) / 2 for right in likes["right"] for wrong in likes["wrong"])
    assert above / (len(likes["right"]) * len(likes["wrong"])) <= MOST_LIKE_A_STRING


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


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_in_prompts_print_what_the_answers_say(name: str) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", prompt(CHECKED[name]), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in CHECKED[name]["answer"]


def test_functions_in_answers_can_be_defined() -> None:
    blocks = [block for row in ROWS for block in re.findall(r"```python\n(.*?)```", row["answer"], re.DOTALL)]
    assert len(blocks) >= 4
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block, "answer", "exec"), {"__name__": "answer"})


def test_the_cards_table_of_capabilities_is_the_data() -> None:
    rows = {}
    for name in dict.fromkeys(capability(row) for row in ROWS):
        group = [row for row in ROWS if capability(row) == name]
        levels = Counter(map(level, group))
        rows[name] = [len(group), *(levels[each] for each in LEVELS), sum("check" in row for row in group)]
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    assert card_table("capability of the main part") == [[name, *map(str, counts)] for name, counts in rows.items()]


def test_the_cards_table_of_checks_is_the_data() -> None:
    kinds = Counter(kind for row in ROWS for kind in row.get("check", {}) if kind != "tolerance")
    assert {line[0]: int(line[1]) for line in card_table("kind of check")} == kinds
