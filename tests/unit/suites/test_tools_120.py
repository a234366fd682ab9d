"""The promises of the card of tools-120: every expected call is valid, perfect answers score 1, and wrong ones 0."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from unit.suites.test_general_200 import MOST_ALIKE, sketch

from ftgate import suites
from ftgate.datasets import Needs, read_suite
from ftgate.domain import Answer, Item, ToolCall
from ftgate.scoring.rules import RULES

FOLDER = Path(suites.__file__).parent
DATA = FOLDER / "tools-120.jsonl"
CARD = (FOLDER / "tools-120.md").read_text(encoding="utf-8")
ROWS: list[dict[str, Any]] = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
WITH_TOOLS = [row for row in ROWS if "tool_call" in row["check"]]
CALLING = [row for row in WITH_TOOLS if row["check"]["tool_call"]]
LONGEST = 60


@cache
def items() -> dict[str, Item]:
    return {item.id: item for item in read_suite("tools", DATA, needs=Needs(check=True)).items}


def calls(row: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = row["check"].get("tool_call", [])
    return wanted if isinstance(wanted, list) else [wanted]


def parameters(row: dict[str, Any]) -> dict[str, Any]:
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in row["tools"]}


def made(entries: list[dict[str, Any]]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(entry["name"], json.dumps(entry["arguments"])) for entry in entries)


def score(row: dict[str, Any], answer: Answer) -> float:
    return RULES["check"](items()[row["id"]], answer)


def calling(row: dict[str, Any], entries: list[dict[str, Any]]) -> float:
    """The score of an answer with these calls, which is the same for calls written as Qwen's models write them."""
    text = "\n".join(call.text for call in made(entries))
    as_text = score(row, Answer(text=text or "Of course.", tokens=9))
    as_read = score(row, Answer(text="", tokens=9, tool_calls=made(entries)))
    assert as_text == as_read
    return as_text


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value} x"
    if isinstance(value, list):
        return value[:-1] or ["x"]
    if value is None:
        return 0
    return {name: changed(entry) for name, entry in value.items()}


def card_table() -> list[list[str]]:
    found = re.search(r"^\| kind \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", CARD, re.MULTILINE)
    assert found
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def test_there_are_120_rows_of_five_kinds_with_ids_that_count_up() -> None:
    assert len(items()) == 120
    counts = Counter(row["tags"][0] for row in ROWS)
    assert counts == {"choose": 25, "arguments": 25, "several": 25, "none": 25, "structured": 20}
    seen: Counter[str] = Counter()
    for row in ROWS:
        (kind,) = row["tags"]
        seen[kind] += 1
        assert row["id"] == f"tools-{kind}-{seen[kind]:02d}"


def test_rows_have_the_fields_that_the_card_names() -> None:
    for row in ROWS:
        own = {"answer"} if row["tags"] == ["structured"] else {"tools"}
        assert set(row) == {"id", "prompt", "check", "tags"} | own, row["id"]


@pytest.mark.parametrize("row", CALLING, ids=lambda row: row["id"])
def test_every_expected_call_is_valid_under_the_schema_of_its_tool(row: dict[str, Any]) -> None:
    for entry in calls(row):
        schema = parameters(row)[entry["name"]]
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(entry["arguments"])


def test_kinds_are_what_they_say() -> None:
    for row in WITH_TOOLS:
        offered, wanted = len(row["tools"]), len(calls(row))
        least = {"choose": (6, 1), "arguments": (2, 1), "several": (4, 2), "none": (2, 0)}[row["tags"][0]]
        assert offered >= least[0], row["id"]
        assert (wanted >= 2) if row["tags"] == ["several"] else (wanted == least[1]), row["id"]


@pytest.mark.parametrize("row", CALLING, ids=lambda row: row["id"])
def test_the_expected_calls_score_1_in_any_order_and_wrong_ones_0(row: dict[str, Any]) -> None:
    wanted = calls(row)
    assert calling(row, wanted) == 1
    assert calling(row, wanted[::-1]) == 1
    assert calling(row, []) == 0
    assert calling(row, wanted[:-1]) == 0
    assert calling(row, [*wanted, wanted[0]]) == 0
    first, rest = wanted[0], wanted[1:]
    other = next((name for name in parameters(row) if name != first["name"]), "unknown")
    assert calling(row, [{**first, "name": other}, *rest]) == 0
    for name, value in first["arguments"].items():
        wrong = {**first, "arguments": {**first["arguments"], name: changed(value)}}
        if wrong not in wanted:
            assert calling(row, [wrong, *rest]) == 0, name
        left_out = {key: entry for key, entry in first["arguments"].items() if key != name}
        assert calling(row, [{**first, "arguments": left_out}, *rest]) == 0, name


@pytest.mark.parametrize("row", [row for row in WITH_TOOLS if not calls(row)], ids=lambda row: row["id"])
def test_where_no_call_is_wanted_a_text_scores_1_and_any_call_0(row: dict[str, Any]) -> None:
    assert score(row, Answer(text="Gladly: here it is.", tokens=5)) == 1
    for name in parameters(row):
        assert calling(row, [{"name": name, "arguments": {}}]) == 0


@pytest.mark.parametrize("row", [r for r in ROWS if r["tags"] == ["structured"]], ids=lambda row: row["id"])
def test_structured_output_of_the_right_value_scores_1_and_any_other_0(row: dict[str, Any]) -> None:
    value = json.loads(row["answer"])
    assert score(row, Answer(text=row["answer"], tokens=5)) == 1
    assert score(row, Answer(text=f"```json\n{json.dumps(value, indent=2)}\n```", tokens=5)) == 1
    for wrong in (json.dumps(changed(value)), "{}", "", "I don't know.", "null"):
        assert score(row, Answer(text=wrong, tokens=5)) == 0, wrong


def test_requests_are_short_and_no_two_nearly_the_same() -> None:
    assert [row["id"] for row in ROWS if len(row["prompt"].split()) > LONGEST] == []
    sketches = [(row["id"], sketch(row["prompt"])) for row in ROWS]
    pairs = [(a, b) for at, a in enumerate(sketches) for b in sketches[:at]]
    assert [(first, second) for (first, a), (second, b) in pairs if a.jaccard(b) > MOST_ALIKE] == []


def test_every_tool_is_offered_and_wanted_somewhere() -> None:
    offered = {name for row in WITH_TOOLS for name in parameters(row)}
    assert {entry["name"] for row in WITH_TOOLS for entry in calls(row)} == offered
    assert f"{len(offered)} tools of a household" in CARD


def test_the_cards_table_is_the_data() -> None:
    expected = []
    for kind in dict.fromkeys(line[0] for line in card_table()):
        rows = [row for row in ROWS if kind in ("all", row["tags"][0])]
        counts = (len(rows), sum("tool_call" in row["check"] for row in rows), sum(len(calls(row)) for row in rows))
        expected.append([kind, *map(str, counts)])
    assert [[line[0], *line[2:]] for line in card_table()] == expected


def test_a_call_that_cannot_be_read_is_no_answer_without_calls() -> None:
    row = next(row for row in WITH_TOOLS if not calls(row))
    assert score(row, replace(Answer(text="<tool_call>{</tool_call>", tokens=5))) == 0
