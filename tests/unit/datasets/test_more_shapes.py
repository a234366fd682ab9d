"""Shapes with faces of their own: nested files, unanswerable questions, capitalised headers, counted columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftgate.datasets import Needs, read_suite
from ftgate.domain import Suite
from ftgate.errors import DatasetError
from ftgate.scoring.checks import meets


def read(path: Path, text: str) -> Suite:
    path.write_text(text, encoding="utf-8")
    return read_suite("s", path, needs=Needs())


def read_rows(folder: Path, *rows: Any) -> Suite:
    return read(folder / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_squad_is_read_as_it_is_published(tmp_path: Path) -> None:
    questions = [{"id": "1", "question": "q", "answers": [{"text": "a", "answer_start": 0}]}]
    questions += [{"id": "2", "question": "r", "answers": [], "is_impossible": True}]
    whole = {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": questions}]}]}
    suite = read(tmp_path / "dev.json", json.dumps(whole))
    assert [(item.id, item.messages[0].content, item.answer) for item in suite.items] == [("1", "c\n\nq", "a")]
    assert suite.notes[0] == "read as SQuAD rows"
    assert "the context does not answer the question" in suite.notes[-1]


def test_unanswerable_questions_are_left_out_by_name(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "context": "c", "answers": {"text": ["a"] * (i < 2)}} for i in range(3)]
    suite = read_rows(tmp_path, *rows)
    assert [item.messages[0].content for item in suite.items] == ["c\n\nq0", "c\n\nq1"]
    assert suite.notes[-1].startswith("left out: the context does not answer the question")


@pytest.mark.parametrize(
    ("header", "row", "answer"),
    [
        ("Question,Answer", "q,a", "a"),
        ("QUESTION,ANSWER,Tags", "q,a,t", "a"),
        ("Question,Option A,Option B,Answer", "q,x,y,B", "y"),
        ("Question,A,B,Correct Answer", "q,x,y,A", "x"),
        ("Prompt,Choices,Answer", "q,x | y,y", "y"),
    ],
)
def test_a_header_of_capitalised_words_is_read(tmp_path: Path, header: str, row: str, answer: str) -> None:
    (item,) = read(tmp_path / "rows.csv", f"{header}\n{row}\n").items
    assert (item.messages[0].content, item.answer) == ("q", answer)


def test_columns_name_the_fields_as_they_are_in_the_file(tmp_path: Path) -> None:
    from ftgate.config.columns import Columns

    path = tmp_path / "rows.csv"
    path.write_text("Question,Reply\nq,a\n")
    (item,) = read_suite("s", path, needs=Needs(), columns=Columns(prompt="Question", answer="Reply")).items
    assert item.answer == "a"


def test_cosmos_qa_counts_its_columns_from_0(tmp_path: Path) -> None:
    row = {"id": "1", "context": "c", "question": "q", **{f"answer{i}": f"option {i}" for i in range(4)}, "label": 3}
    suite = read_rows(tmp_path, row)
    assert (suite.items[0].messages[0].content, suite.items[0].answer) == ("c\n\nq", "option 3")
    assert suite.notes == ("read as rows with a column for each option",)


def test_several_references_in_columns_counted_from_1_are_no_options(tmp_path: Path) -> None:
    (item,) = read_rows(tmp_path, {"question": "q", "answer": "a", "answer1": "b", "answer2": "c"}).items
    assert (item.choices, item.answer) == ((), "a")


def test_winogrande_counts_from_1_and_a_third_option_is_named(tmp_path: Path) -> None:
    row = {"sentence": "s", "option1": "x", "option2": "y"}
    rows = [{**row, "sentence": f"s{i}", "answer": answer} for i, answer in enumerate(("1", "2", ""))]
    assert [item.answer for item in read_rows(tmp_path, *rows).items] == ["x", "y", None]
    with pytest.raises(DatasetError, match="neither '1' nor '2'"):
        read_rows(tmp_path, *rows, {**row, "answer": "3"})


@pytest.mark.parametrize(("final", "answers"), [("50%", ("0.5", "50 %", "50")), ("3 million", ("3000000", "3"))])
def test_the_unit_of_a_gsm8k_answer_counts(tmp_path: Path, final: str, answers: tuple[str, ...]) -> None:
    (item,) = read_rows(tmp_path, {"question": "q", "answer": f"so\n#### {final}"}).items
    assert all(meets(item.check or {}, answer) for answer in answers)
    assert not meets(item.check or {}, "7")


def test_instructions_of_several_kinds_are_expressed_together(tmp_path: Path) -> None:
    names = ["change_case:capital_word_frequency", "length_constraints:number_words", "length_constraints:number_words"]
    arguments = [
        {"capital_frequency": 2, "capital_relation": "at least"},
        {"relation": "at least", "num_words": 3},
        {"relation": "less than", "num_words": 6},
    ]
    (item,) = read_rows(tmp_path, {"prompt": "q", "instruction_id_list": names, "kwargs": arguments}).items
    passes = {
        text: meets(item.check or {}, text) for text in ("A BIG DOG", "BIG DOG", "a big dog", "A BIG dog or A CAT")
    }
    assert list(passes.values()) == [True, False, False, False]


@pytest.mark.parametrize("wanted", ["50 %", "3 million", "12万"])
def test_a_numeric_check_may_have_a_unit(wanted: str) -> None:
    assert meets({"numeric": wanted}, f"It is {wanted}.")
    assert not meets({"numeric": wanted}, "It is 7.")
