"""People's grades in files: what is written comes back, no cell is a formula, every mistake is named by its line."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.domain import Item, Message, ToolCall
from ftgate.errors import DatasetError
from ftgate.judge.labels import COLUMNS, LEAST_LABELS, Label, label_key, read_labels, write_labels
from ftgate.judge.rubric import RUBRIC


def labelled(n: int = LEAST_LABELS, grade: float | None = 0.75) -> list[Label]:
    return [Label(Item(f"i{i}", (Message("user", f"say {i}"),), answer=f"word {i}"), f"{i}", grade) for i in range(n)]


def rows_of(labels: list[Label], folder: Path) -> list[dict[str, Any]]:
    write_labels(labels, folder / "rows.jsonl")
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]


def in_json(rows: list[dict[str, Any]], folder: Path) -> Path:
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder / "labels.jsonl"


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as error:
        read_labels(path, "labels")
    return error.value.message


nasty = st.text(st.one_of(st.sampled_from("=+-@'\"\t\r\n,;[]{}"), st.characters(codec="utf-8")), max_size=20)
turns = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), nasty), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(turns=turns, reference=st.none() | nasty, text=nasty, kind=st.sampled_from(["csv", "jsonl"]))
def test_what_is_written_comes_back(
    turns: list[tuple[Any, str]], reference: str | None, text: str, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("labels") / f"labels.{kind}"
    label = Label(Item("x", tuple(Message(*turn) for turn in turns), answer=reference), text, 0.25)
    write_labels([label, *labelled()], path)
    found = read_labels(path, "labels")
    assert found.grades[label.key] == 0.25
    assert len(found.labels) == len(labelled()) + 1


@settings(max_examples=150, deadline=None)
@given(prompt=nasty, text=nasty, note=nasty)
def test_no_cell_is_a_formula(prompt: str, text: str, note: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    write_labels([Label(Item("x", (Message("user", prompt),), answer=text), text, None, note)], path)
    for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")):
        for cell in row:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_csv_and_json_lines_are_the_same_labels(tmp_path: Path) -> None:
    labels = [*labelled(), replace(labelled(1)[0], text="=1+1", grade=0.0)]
    for kind, order in (("csv", 1), ("jsonl", -1)):
        write_labels(labels[::order], tmp_path / f"labels.{kind}")
    csv_file, json_file = (read_labels(tmp_path / f"labels.{kind}", "x") for kind in ("csv", "jsonl"))
    assert csv_file.sha256 == json_file.sha256
    other = read_labels(in_json(rows_of([*labels[:-1], replace(labels[-1], grade=1.0)], tmp_path), tmp_path), "x")
    assert other.sha256 != csv_file.sha256


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_make_of_a_file_is_read(tmp_path: Path, delimiter: str) -> None:
    """Another delimiter, 4.0 or 4,0 for 4, no apostrophe before a formula, other line ends, an empty last row."""
    labels = [*labelled(), Label(Item("x", (Message("user", "a\nb"),)), "=1+1", None)]
    write_labels(labels, tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[-1] |= {"answer": "=1+1", "prompt": "a\r\nb", "grade": "1"}
    rows[0]["grade"], rows[1]["grade"] = "4.0", "4,0"
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, delimiter=delimiter)
    writer.writeheader()
    writer.writerows([*rows, dict.fromkeys(COLUMNS, "")])
    (tmp_path / "labels.csv").write_text(text.getvalue(), encoding="utf-8-sig", newline="")
    found = read_labels(tmp_path / "labels.csv", "x")
    assert [label.grade for label in found.labels] == [0.75] * LEAST_LABELS + [0.0]


def test_a_key_is_of_question_reference_and_answer() -> None:
    item = Item("a", (Message("user", "q"),), answer="r")
    assert label_key(item, "t") == label_key(replace(item, id="b", line=7), "t")
    others = [
        (replace(item, messages=(Message("user", "q2"),)), "t"),
        (replace(item, messages=(Message("system", "q"), Message("user", "q"))), "t"),
        (replace(item, answer="r2"), "t"),
        (item, "t2"),
    ]
    assert len({label_key(item, "t"), *(label_key(*other) for other in others)}) == 5


def test_what_a_tool_was_called_with_is_part_of_the_question(tmp_path: Path) -> None:
    messages = (Message("user", "q"), Message("assistant", "", (ToolCall("f", '{"a": 1}'),)), Message("tool", "2"))
    label = Label(Item("x", messages, answer="r"), "t", 0.5)
    write_labels([label, *labelled()], tmp_path / "labels.csv")
    assert read_labels(tmp_path / "labels.csv", "x").grades[label.key] == 0.5


def test_rows_without_a_grade_are_counted(tmp_path: Path) -> None:
    write_labels([*labelled(), *[replace(x, text="later", grade=None) for x in labelled(7)]], tmp_path / "labels.csv")
    found = read_labels(tmp_path / "labels.csv", "x")
    assert (len(found.labels), found.blank) == (LEAST_LABELS, 7)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"grade": 6}, "line 3: grade '6' is none of 1, 2, 3, 4, 5"),
        ({"grade": "good"}, "line 3: grade 'good' is none"),
        ({"grade": 3.5}, "line 3: grade '3.5' is none"),
        ({"grade": True}, "line 3: grade 'True' is none"),
        ({"rubric": "0" * 12}, f"line 3: graded by the rubric '000000000000', and the judge's is '{RUBRIC}'"),
        ({"answer": "mended"}, "line 3: prompt, reference or answer is not the one that was to be graded"),
        ({"answer": None}, "line 3: answer and reference must be text"),
        ({"messages": []}, "line 3: no conversation"),
        ({"messages": [{"role": "king", "content": "x"}]}, "line 3: no conversation"),
    ],
)
def test_a_row_that_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    rows = rows_of(labelled(), tmp_path)
    rows[2] |= change
    assert says in refused(in_json(rows, tmp_path))


@pytest.mark.parametrize(("grade", "says"), [(4, "is here twice"), (1, "is here with another grade")])
def test_an_answer_has_one_label(tmp_path: Path, grade: int, says: str) -> None:
    rows = rows_of(labelled(), tmp_path)
    assert f"line 51: the answer of line 5 {says}" in refused(in_json([*rows, {**rows[4], "grade": grade}], tmp_path))


def test_of_many_problems_the_first_are_named(tmp_path: Path) -> None:
    rows = [{**row, "grade": 9} for row in rows_of(labelled(), tmp_path)]
    assert refused(in_json(rows, tmp_path)).endswith("; and 45 more")


def test_too_few_grades_are_refused(tmp_path: Path) -> None:
    write_labels([*labelled(49), replace(labelled(50)[-1], grade=None)], tmp_path / "labels.csv")
    assert "49 of 50 rows have a grade, and at least 50 are needed" in refused(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.csv", None, "no such file"),
        ("labels.xlsx", b"PK", "not a .csv or .jsonl file"),
        ("labels.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("labels.csv", b"key,grade\n1,2\n", "no column rubric, prompt, reference, answer"),
        ("labels.csv", b'key,rubric,prompt,reference,answer,grade\n"x', "not valid CSV"),
        ("labels.csv", b"", "no column key"),
        ("labels.jsonl", b"{\n", "line 1: not valid JSON"),
        ("labels.jsonl", b"[1]\n", "line 1: list, not an object"),
        ("labels.jsonl", b"", "0 of 0 rows have a grade"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert says in refused(tmp_path / name)
