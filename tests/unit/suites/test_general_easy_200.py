"""The promises of the card of general-easy-200: how many prompts, of what kind, and how unlike each other."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from unit.suites.test_general_200 import MOST_ALIKE, capability, prompt, sketch
from unit.suites.test_general_200 import ROWS as GENERAL_200

from ftgate import suites
from ftgate.datasets import Needs, read_suite

FOLDER = Path(suites.__file__).parent
DATA = FOLDER / "general-easy-200.jsonl"
CARD = (FOLDER / "general-easy-200.md").read_text(encoding="utf-8")
ROWS: list[dict[str, Any]] = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
FIELDS = {"id", "prompt", "messages", "answer", "tags", "check"}
LEAST_CHECKED = 0.9
LONGEST = 60
"""Most words of a prompt, examples included: what a small model reads without losing the thread."""


def card_table(heading: str) -> list[list[str]]:
    """The body rows of the card's table whose first column has this heading."""
    found = re.search(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", CARD, re.MULTILINE)
    assert found, heading
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def test_it_is_a_suite_that_ftgate_reads() -> None:
    suite = read_suite("easy", DATA, needs=Needs(answer=True))
    assert len(suite.items) == 200
    assert all(item.messages[-1].role == "user" for item in suite.items)


def test_every_row_has_the_fields_that_the_card_names_and_no_others() -> None:
    for row in ROWS:
        assert set(row) <= FIELDS, row["id"]
        assert {"id", "answer", "tags"} <= set(row), row["id"]
        assert ("prompt" in row) != ("messages" in row), row["id"]


def test_capabilities_are_those_of_general_200_about_equally_often() -> None:
    counts = Counter(capability(row) for row in ROWS)
    assert list(counts) == list(dict.fromkeys(capability(row) for row in GENERAL_200))
    assert set(counts.values()) <= {13, 14}


def test_ids_count_up_within_their_capability_and_are_not_those_of_general_200() -> None:
    expected: list[str] = []
    for name, count in Counter(capability(row) for row in ROWS).items():
        expected += [f"easy-{name}-{number:02d}" for number in range(1, count + 1)]
    assert [row["id"] for row in ROWS] == expected


def test_all_rows_are_marked_as_easy() -> None:
    assert all(row["tags"][1:] == ["difficulty:easy", "tier:easy"] for row in ROWS)


def test_nearly_every_row_has_a_check_and_most_of_each_capability() -> None:
    checked = Counter(capability(row) for row in ROWS if "check" in row)
    assert checked.total() >= LEAST_CHECKED * len(ROWS)
    assert all(checked[name] >= 0.75 * count for name, count in Counter(capability(row) for row in ROWS).items())


def test_saying_always_yes_or_always_no_helps_little() -> None:
    starts = Counter(re.split(r"\W", row["answer"], maxsplit=1)[0].casefold() for row in ROWS)
    assert max(starts["yes"], starts["no"]) <= 0.04 * len(ROWS)


def test_no_two_prompts_are_nearly_the_same_nor_like_one_of_general_200() -> None:
    ours = [(row["id"], sketch(prompt(row))) for row in ROWS]
    theirs = [(row["id"], sketch(prompt(row))) for row in GENERAL_200]
    pairs = [(a, b) for at, a in enumerate(ours) for b in [*ours[:at], *theirs]]
    assert [(first, second) for (first, a), (second, b) in pairs if a.jaccard(b) > MOST_ALIKE] == []


def test_prompts_are_short() -> None:
    assert [row["id"] for row in ROWS if len(prompt(row).split()) > LONGEST] == []


def test_no_answer_is_empty_or_the_answer_of_another_row() -> None:
    answers = Counter(" ".join(row["answer"].casefold().split()) for row in ROWS)
    assert "" not in answers
    assert max(answers.values()) == 1


def test_conversations_alternate() -> None:
    for row in ROWS:
        roles = [turn["role"] for turn in row.get("messages", [])]
        turns = roles[1:] if roles[:1] == ["system"] else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"] * bool(turns), row["id"]


def test_no_text_has_blanks_around_it_or_characters_that_do_not_show() -> None:
    for row in ROWS:
        for text in [prompt(row), row["answer"]]:
            assert text == text.strip(), row["id"]
            assert all(character.isprintable() or character == "\n" for character in text), row["id"]


def test_the_cards_table_of_capabilities_is_the_data() -> None:
    rows = {}
    for name in dict.fromkeys(capability(row) for row in ROWS):
        group = [row for row in ROWS if capability(row) == name]
        rows[name] = [len(group), sum("messages" in row for row in group), sum("check" in row for row in group)]
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    assert [line[:4] for line in card_table("capability")] == [[name, *map(str, n)] for name, n in rows.items()]


def test_the_cards_table_of_checks_is_the_data() -> None:
    kinds = Counter(kind for row in ROWS for kind in row.get("check", {}) if kind != "tolerance")
    assert {line[0]: int(line[1]) for line in card_table("kind of check")} == kinds
