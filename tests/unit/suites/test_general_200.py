"""The promises of the card of general-200: how many prompts, of what kind, how unlike each other, and how they read."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasketch import MinHash

from ftgate import suites
from ftgate.datasets import Needs, read_suite

FOLDER = Path(suites.__file__).parent
DATA = FOLDER / "general-200.jsonl"
CARD = (FOLDER / "general-200.md").read_text(encoding="utf-8")
ROWS: list[dict[str, Any]] = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
FIELDS = {"id", "prompt", "messages", "answer", "tags", "check"}
DIFFICULTIES = ("easy", "medium", "hard")
LEFT_TO_THE_JUDGE = {"summarising", "safety"}
"""Capabilities in which what makes an answer wrong is seldom anything that a rule could see."""
MOST_ALIKE = 0.3
"""Largest estimated share of three-word runs that two prompts may have in common (Jaccard similarity)."""


def capability(row: dict[str, Any]) -> str:
    return row["tags"][0]


def prompt(row: dict[str, Any]) -> str:
    return row.get("prompt") or "\n".join(turn["content"] for turn in row["messages"])


def card_table(heading: str) -> list[list[str]]:
    """The body rows of the table whose first column has this heading."""
    lines = CARD.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    body = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        body.append([cell.strip() for cell in line.strip("|").split("|")])
    return body


def sketch(text: str) -> MinHash:
    words = re.findall(r"\w+", text.casefold())
    found = MinHash(num_perm=128, seed=1)
    for at in range(max(1, len(words) - 2)):
        found.update(" ".join(words[at : at + 3]).encode())
    return found


def test_it_is_a_suite_that_ftgate_reads() -> None:
    suite = read_suite("general", DATA, needs=Needs(answer=True))
    assert len(suite.items) == 200
    assert all(item.messages[-1].role == "user" for item in suite.items)


def test_every_row_has_the_fields_that_the_card_names_and_no_others() -> None:
    for row in ROWS:
        assert set(row) <= FIELDS, row["id"]
        assert {"id", "answer", "tags"} <= set(row), row["id"]
        assert ("prompt" in row) != ("messages" in row), row["id"]


def test_there_are_enough_capabilities_and_enough_prompts_of_each() -> None:
    counts = Counter(capability(row) for row in ROWS)
    assert len(counts) >= 12
    assert min(counts.values()) >= 12


def test_ids_are_unique_and_count_up_within_their_capability() -> None:
    expected: list[str] = []
    for name, count in Counter(capability(row) for row in ROWS).items():
        expected += [f"{name}-{number:02d}" for number in range(1, count + 1)]
    assert [row["id"] for row in ROWS] == expected


def test_tags_are_a_capability_and_a_difficulty() -> None:
    for row in ROWS:
        name, difficulty = row["tags"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name), row["id"]
        assert difficulty in {f"difficulty:{level}" for level in DIFFICULTIES}, row["id"]


@pytest.mark.parametrize("level", DIFFICULTIES)
def test_every_capability_has_prompts_of_every_difficulty(level: str) -> None:
    counts = Counter(capability(row) for row in ROWS if row["tags"][1] == f"difficulty:{level}")
    assert all(counts[name] >= 3 for name in {capability(row) for row in ROWS})


def test_most_rows_have_a_reference_and_most_a_check() -> None:
    assert sum("answer" in row for row in ROWS) >= 190
    assert sum("check" in row for row in ROWS) >= 110


def test_at_least_half_of_each_capability_has_a_check_but_where_prose_is_asked_for() -> None:
    checked = Counter(capability(row) for row in ROWS if "check" in row)
    counts = Counter(capability(row) for row in ROWS if capability(row) not in LEFT_TO_THE_JUDGE)
    assert len(counts) == 13
    assert all(checked[name] >= count / 2 for name, count in counts.items())


def test_no_two_prompts_are_nearly_the_same() -> None:
    sketches = [(row["id"], sketch(prompt(row))) for row in ROWS]
    alike = [
        (first, second)
        for at, (first, a) in enumerate(sketches)
        for second, b in sketches[:at]
        if a.jaccard(b) > MOST_ALIKE
    ]
    assert not alike


def test_the_comparison_of_prompts_finds_a_copy_with_a_few_words_changed() -> None:
    text = prompt(ROWS[0])
    assert sketch(text).jaccard(sketch(text.replace("short", "brief"))) > MOST_ALIKE


def test_prompts_are_short_and_long() -> None:
    lengths = [len(prompt(row).split()) for row in ROWS]
    assert 3 <= min(lengths) <= 8
    assert 30 <= statistics.median(lengths) <= 60
    assert 150 <= max(lengths) <= 250


def test_no_answer_is_empty_or_the_answer_of_another_row() -> None:
    answers = Counter(" ".join(row["answer"].casefold().split()) for row in ROWS)
    assert "" not in answers
    assert max(answers.values()) == 1


def test_conversations_alternate_and_several_have_a_system_prompt() -> None:
    conversations = [[turn["role"] for turn in row["messages"]] for row in ROWS if "messages" in row]
    assert sum(roles[0] == "system" for roles in conversations) >= 4
    for roles in conversations:
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"]


def test_no_text_has_blanks_around_it_or_characters_that_do_not_show() -> None:
    for row in ROWS:
        for text in [prompt(row), row["answer"]]:
            assert text == text.strip(), row["id"]
            assert all(character.isprintable() or character == "\n" for character in text), row["id"]


def test_the_cards_table_of_capabilities_is_the_data() -> None:
    rows = {}
    for name in dict.fromkeys(capability(row) for row in ROWS):
        group = [row for row in ROWS if capability(row) == name]
        levels = Counter(row["tags"][1].removeprefix("difficulty:") for row in group)
        counted = [len(group), *(levels[level] for level in DIFFICULTIES)]
        rows[name] = [*counted, sum("answer" in row for row in group), sum("check" in row for row in group)]
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    assert [[cell.strip("`*") for cell in line] for line in card_table("capability")] == [
        [name, *map(str, counts)] for name, counts in rows.items()
    ]


def test_the_cards_table_of_checks_is_the_data() -> None:
    kinds = Counter(kind for row in ROWS for kind in row.get("check", {}) if kind != "tolerance")
    assert {line[0].strip("`"): int(line[1]) for line in card_table("kind of check")} == kinds
