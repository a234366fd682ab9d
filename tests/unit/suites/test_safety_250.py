"""The promises of the card of safety-250: how many requests of what kind, how unlike each other, and how they read."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from unit.suites.test_general_200 import MOST_ALIKE, sketch
from unit.suites.test_general_200 import ROWS as GENERAL_200
from unit.suites.test_general_200 import prompt as prompt_of

from ftgate import suites
from ftgate.datasets import Needs, read_suite
from ftgate.measurements.safety import Safety
from ftgate.scoring.refusals import LABELS

FOLDER = Path(suites.__file__).parent
DATA = FOLDER / "safety-250.jsonl"
CARD = (FOLDER / "safety-250.md").read_text(encoding="utf-8")
ROWS: list[dict[str, Any]] = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
LABELLED: list[dict[str, str]] = [
    json.loads(line) for line in (FOLDER / "safety-250-labelled.jsonl").read_text(encoding="utf-8").splitlines()
]
LONGEST = 40
"""Most words of a request: longer ones would have to say how."""
AMOUNTS = re.compile(r"\b\d+(?:[.,]\d+)?\s?(?:g|mg|ml|grams?|millilit\w+|°|degrees|volts?|mol)\b|https?:|www\.")
"""Quantities, temperatures and addresses, which a recipe has and a request does not need."""


def kind(row: dict[str, Any]) -> str:
    return str(row["tags"][0])


def tag(row: dict[str, Any], name: str) -> str:
    (found,) = (t.removeprefix(f"{name}:") for t in row["tags"] if t.startswith(f"{name}:"))
    return str(found)


def card_table(heading: str) -> list[list[str]]:
    found = re.search(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", CARD, re.MULTILINE)
    assert found, heading
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def test_it_is_a_suite_that_the_measurement_takes() -> None:
    suite = read_suite("safety", DATA, needs=Needs())
    assert len(suite.items) == 250
    assert [item.id for item in suite.items if Safety().unusable(item)] == []


def test_every_row_has_the_fields_that_the_card_names_and_no_others() -> None:
    for row in ROWS:
        assert set(row) == {"id", "prompt", "tags"}, row["id"]
        assert len(row["tags"]) == 3, row["id"]


def test_there_are_150_requests_to_refuse_in_15_areas_and_100_look_alikes_of_the_same() -> None:
    counts = Counter((kind(row), tag(row, "area")) for row in ROWS)
    must, benign = ({area: n for (k, area), n in counts.items() if k == name} for name in ("must_refuse", "benign"))
    assert list(must) == list(benign)
    assert len(must) == 15
    assert set(must.values()) == {10}
    assert set(benign.values()) == {6, 7}
    assert sum(benign.values()) == 100


def test_ids_count_up_within_their_kind_and_area() -> None:
    seen: Counter[str] = Counter()
    for row in ROWS:
        stem = f"{'harm' if kind(row) == 'must_refuse' else 'benign'}-{tag(row, 'area')}"
        seen[stem] += 1
        assert row["id"] == f"{stem}-{seen[stem]:02d}"


def test_requests_are_short_and_hold_no_quantities_or_addresses() -> None:
    assert [row["id"] for row in ROWS if not 3 <= len(row["prompt"].split()) <= LONGEST] == []
    assert [row["id"] for row in ROWS if kind(row) == "must_refuse" and AMOUNTS.search(row["prompt"])] == []


def test_no_two_prompts_are_nearly_the_same_nor_like_one_of_general_200() -> None:
    ours = [(row["id"], sketch(row["prompt"])) for row in ROWS]
    theirs = [(row["id"], sketch(prompt_of(row))) for row in GENERAL_200]
    pairs = [(a, b) for at, a in enumerate(ours) for b in [*ours[:at], *theirs]]
    assert [(first, second) for (first, a), (second, b) in pairs if a.jaccard(b) > MOST_ALIKE] == []


def test_no_text_has_blanks_around_it_or_characters_that_do_not_show() -> None:
    for row in ROWS:
        assert row["prompt"] == row["prompt"].strip(), row["id"]
        assert row["prompt"].isprintable(), row["id"]


def test_the_cards_tables_are_the_data() -> None:
    counts = Counter((kind(row), tag(row, "area")) for row in ROWS)
    areas = dict.fromkeys(tag(row, "area") for row in ROWS)
    expected = [[a, str(counts["must_refuse", a]), str(counts["benign", a])] for a in areas]
    assert [[line[0], *line[2:]] for line in card_table("area")] == [*expected, ["all", "150", "100"]]
    spoken = Counter((tag(row, "language"), kind(row)) for row in ROWS)
    by_language = {line[0]: (int(line[1]), int(line[2])) for line in card_table("language")}
    assert by_language == {
        n: (spoken[n, "must_refuse"], spoken[n, "benign"]) for n in {language for language, _ in spoken}
    }
    labels = Counter((row["label"], row["id"].split("-")[0]) for row in LABELLED)
    assert card_table("label") == [[n, str(labels[n, "harm"]), str(labels[n, "benign"])] for n in LABELS]
    assert f"holds {len(LABELLED)} answers" in CARD


def test_labelled_answers_are_of_rows_of_the_suite_and_each_is_given_once() -> None:
    ids = {row["id"] for row in ROWS}
    assert all(row["id"] in ids and row["label"] in LABELS for row in LABELLED)
    texts = Counter(row["text"] for row in LABELLED if row["text"])
    assert max(texts.values()) == 1
    assert len({(row["id"], row["text"]) for row in LABELLED}) == len(LABELLED)


def test_compliant_answers_hold_no_quantities_or_addresses() -> None:
    assert [row["id"] for row in LABELLED if row["id"].startswith("harm") and AMOUNTS.search(row["text"])] == []
